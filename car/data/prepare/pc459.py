"""Pascal Context with 459 classes, from the label maps in MATLAB files of the original release.

`LabelMap` of trainval/KEY.mat has values from 1; what is written is one less, and "none" where it is 0.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from car.data.benchmark import Benchmark
from car.data.prepare.ledger import digest
from car.data.prepare.matlab import MAX_BYTES, read_array
from car.data.prepare.outputs import LabelMap, Output
from car.data.prepare.preparation import Preparation, find_base, missing, places, unreadable
from car.errors import InputError
from car.wordlists import read_lines

LISTS = ("pascalcontext_val.txt", "ImageSets/SegmentationContext/val.txt")
"""Where the val split may be listed; the second is what preparing Pascal Context's 59 classes writes."""

_VOID = 65535
_VERSION = b"pc459 1"
_VARIABLE = "LabelMap"


class PC459(Preparation):
    """annotations_detectron2/pc459_val/KEY.tif."""

    def __init__(self, benchmark: Benchmark, root: Path, split: str) -> None:
        base = find_base(benchmark, root, "trainval")
        if base is None:
            raise missing(benchmark, places(benchmark, root), "folder 'trainval'")
        listed = next((base / each for each in LISTS if (base / each).is_file()), None)
        if listed is None:
            raise missing(benchmark, [base], " and no ".join(map(repr, LISTS)))
        super().__init__(benchmark, split, base, read_lines(listed), source=base / "trainval")

    def origin(self, key: str) -> str:
        return digest(_VERSION, _content(self._mat(key)))

    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        path = self._mat(key)
        found = read_label_map(path)
        if (found < 0).any() or (found > len(self.classes)).any():
            raise InputError(f"{str(path)!r} has values from {found.min()} to {found.max()}; expected 0 to 459.")
        values = np.where(found == 0, _VOID, found.astype(np.int64) - 1).astype(np.uint16)
        label_map = self.label_map(key, values)
        return [label_map], label_map

    def _mat(self, key: str) -> Path:
        return self.source / f"{key}.mat"


def read_label_map(path: Path) -> np.ndarray:
    """`LabelMap` of a MATLAB file: (H, W), whole numbers.

    Raises:
        InputError: the file cannot be read, is too large, is not of version 5, or has something else under that name.
    """
    content = _content(path)
    try:
        found = read_array(content, _VARIABLE)
        if found.dtype.kind == "f" and not (found == np.rint(found)).all():
            raise InputError(f"has a {_VARIABLE!r} with values that are no whole numbers.")
    except InputError as error:
        raise unreadable(path, error) from error
    return found


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"has more than {MAX_BYTES:,} bytes.")
        return path.read_bytes()
    except (OSError, InputError) as error:
        raise unreadable(path, error) from error
