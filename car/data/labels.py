"""Label maps on disk: how their values name classes, and how they are read without changing them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from car.data.dataset import IGNORE
from car.errors import InputError

_FORMATS = ("PNG", "TIFF")
_BYTES, _WORDS = 256, 65536
_SPREAD = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class Coding:
    """How the values of a label map name classes.

    first: the value of class 0; that of class i is `first` + i. Where it is 1, 0 is background or "other".
    void: whether the greatest value that the file can hold (255 or 65535) marks pixels that are not counted.
    """

    first: int = 1
    void: bool = True


def decode(values: np.ndarray, coding: Coding, classes: int, *, background: bool) -> np.ndarray:
    """Labels, as `car.data.Truth` has them, of a map's values.

    Args:
        values: (H, W) uint8 or uint16, as in the file.
        classes: K, at least 1.
        background: whether the value 0 of a coding from 1 is scored as background; it is not counted otherwise.

    Returns:
        (H, W) uint16: i + 1 is class i, 0 is background, `IGNORE` is not counted.

    Raises:
        InputError: a value that names nothing; the line begins with "has".

    >>> decode(np.array([[0, 1, 20, 255]], np.uint8), Coding(), 20, background=True).tolist()
    [[0, 1, 20, 65535]]
    """
    labels = _table(coding, classes, background, _BYTES if values.dtype == np.uint8 else _WORDS)[values]
    if labels.size and labels.min() < 0:
        row, column = map(int, np.argwhere(labels < 0)[0])
        meant = described(coding, classes, background=background, words=values.dtype != np.uint8)
        raise InputError(f"has the value {values[row, column]} at row {row}, column {column}; it may have {meant}.")
    return labels.astype(np.uint16)


def described(coding: Coding, classes: int, *, background: bool, words: bool) -> str:
    """What the values of a map of 8 bits, or of 16 where `words`, mean.

    >>> described(Coding(), 20, background=True, words=False)
    '0 (background), 1 to 20 (the classes), 255 (not counted)'
    """
    size = _WORDS if words else _BYTES
    last = min(coding.first + classes, size - coding.void) - 1
    zero = ["0 (background)" if background else "0 (other, not counted)"] if coding.first else []
    most = [f"{size - 1} (not counted)"] if coding.void else []
    return ", ".join([*zero, f"{coding.first} to {last} (the classes)", *most])


@contextmanager
def open_map(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A label map of which only the header was read.

    Raises:
        InputError: it cannot be read, here or in the block; the line names the file.
    """
    try:
        with Image.open(path, formats=_FORMATS) as label_map:
            yield label_map
    except InputError as error:
        raise InputError(f"{str(path)!r} {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{str(path)!r} is damaged, or no PNG or TIFF.") from None
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"Cannot read {str(path)!r}: {reason}.") from error


def map_values(label_map: ImageFile.ImageFile) -> np.ndarray:
    """The values of an opened label map as they are in the file: palette indices, or grey levels.

    Returns:
        (H, W) uint8, or uint16 where the file has more than 8 bits.

    Raises:
        InputError: it is a picture in colour, with alpha or of fractions; the line begins with what it has.
    """
    mode = label_map.mode
    if mode in ("1", "P"):
        return np.asarray(label_map).astype(np.uint8)
    if mode == "L":
        spread = _spread(label_map)  # known only until the pixels are loaded
        return np.asarray(label_map) // np.uint8(spread)
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(label_map)
        if values.size and not 0 <= values.min() <= values.max() < _WORDS:
            raise InputError(f"has values from {values.min()} to {values.max()}, but ids are below {_WORDS}.")
        return values.astype(np.uint16)
    raise InputError(
        f"is no label map but a picture ({mode}): its pixels must be class ids, not colours. "
        "Write the ids as a palette or grey PNG of 8 or 16 bits."
    )


def _spread(label_map: ImageFile.ImageFile) -> int:
    """What Pillow multiplies grey levels of 2 and 4 bits by; several programs write those when ids are small."""
    arguments = label_map.tile[0][3]
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    return _SPREAD.get(str(raw_mode)[:3], 1)


@lru_cache(maxsize=8)
def _table(coding: Coding, classes: int, background: bool, size: int) -> np.ndarray:
    """(size,) int32: the label of every value, -1 where it has none."""
    table = np.full(max(size, coding.first + classes), -1, np.int32)
    table[0] = 0 if background else IGNORE
    table[coding.first : coding.first + classes] = np.arange(1, classes + 1)
    if coding.void:
        table[size - 1] = IGNORE
    return table[:size]
