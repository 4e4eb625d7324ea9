"""COCO run-length masks: runs of 0 and 1 in turn, down the columns, beginning with 0.

The compressed form writes each run as its difference from the run two before it (from the fourth run on), five bits at
a time, low bits first: 32 marks that more bits follow, 48 makes it printable ASCII.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from car.errors import InputError
from car.io import MAX_PIXELS

_LONGEST_NUMBER = 7
"""Characters of the longest number: a run of 2 ** 31 pixels or its negative fits."""


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Compress a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        ``{"size": [H, W], "counts": str}``, ready for JSON; `pycocotools` reads it.

    Raises:
        InputError: no such array, or it has no pixels.

    >>> encode(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': '13'}
    """
    if mask.dtype != np.bool_ or mask.ndim != 2 or not mask.size:
        raise InputError(f"Expected a mask (H, W) of bool, but got shape {mask.shape} of {mask.dtype}.")
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, 0] if flat[0] else [0]
    runs = np.diff(np.concatenate([starts, edges, [flat.size]]))
    return {"size": list(mask.shape), "counts": _compress(runs)}


def decode(rle: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Expand a mask.

    Args:
        rle: ``{"size": [H, W], "counts": ...}``; counts are compressed (str or ASCII bytes) or the runs themselves.
        max_pixels: the largest H * W to expand; checked before anything is allocated.

    Returns:
        (H, W) bool, contiguous, owned by the caller.

    Raises:
        InputError: no run-length mask, a broken one, or one that is too large.

    >>> decode({"size": [2, 2], "counts": [1, 3]}).tolist()
    [[False, True], [True, True]]
    """
    height, width = _size(rle, max_pixels)
    runs = _runs(rle, height * width)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def area(rle: Mapping[str, Any]) -> int:
    """Pixels of a mask, without expanding it; raises InputError as `decode` does.

    >>> area({"size": [2, 2], "counts": "13"})
    3
    """
    height, width = _size(rle, MAX_PIXELS)
    return int(_runs(rle, height * width)[1::2].sum())


def _size(rle: Mapping[str, Any], max_pixels: int) -> tuple[int, int]:
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise InputError('Expected a run-length mask {"size": [H, W], "counts": ...}.')
    size = rle["size"]
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"Expected the size of a run-length mask to be [H, W], but got {str(size)[:60]}.")
    height, width = size
    if height * width > max_pixels:
        raise InputError(f"A run-length mask of {height} x {width} pixels is over the limit of {max_pixels:,}.")
    return height, width


def _runs(rle: Mapping[str, Any], pixels: int) -> np.ndarray:
    """Lengths of the runs, int64, checked to cover exactly `pixels`."""
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        runs = _expand(counts)
    elif isinstance(counts, list | tuple) and counts and all(type(run) is int and 0 <= run <= pixels for run in counts):
        runs = np.array(counts, np.int64)
    else:
        raise InputError(f"Expected the counts of a run-length mask to be text or a list of integers in [0, {pixels}].")
    if runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        raise InputError(f"The runs of a run-length mask do not add up to its {pixels} pixels.")
    return runs


def _compress(runs: np.ndarray) -> str:
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    characters = np.zeros((len(numbers), _LONGEST_NUMBER), np.uint8)
    more = np.ones(len(numbers), bool)
    for place in range(_LONGEST_NUMBER):
        bits = numbers & 31
        written = more
        numbers = numbers >> 5
        # Done when what is left repeats the sign, which the reader takes from bit 4 of the last character.
        more = written & (numbers != np.where(bits & 16, -1, 0))
        characters[:, place] = np.where(written, bits + 32 * more + 48, 0)
        if not more.any():
            break
    return characters[characters > 0].tobytes().decode("ascii")


def _expand(counts: str | bytes) -> np.ndarray:
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        text = b""
    characters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = characters & 32 == 0
    ends = np.flatnonzero(last)
    if not text or characters.min() < 0 or characters.max() > 63 or not last[-1]:
        raise InputError("The counts of a run-length mask are no compressed text, or are cut off.")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_NUMBER:
        raise InputError("The counts of a run-length mask hold a number that is too large.")
    places = np.arange(len(characters)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((characters & 31) << (5 * places), starts)
    numbers -= np.where(characters[ends] & 16, 1 << (5 * lengths), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
