"""What a row of the parity table is, and reference arrays that know which of them were compared or used."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch


class Row(NamedTuple):
    """One quantity beside its reference.

    file: the reference file, without suffix.
    what: the quantity.
    largest: the largest absolute deviation, or None where values have to be equal.
    relative: that as a share of the reference's largest magnitude; None where that is 0.
    unequal, of: where values have to be equal, how many of how many are not.
    """

    file: str
    what: str
    largest: float | None = None
    relative: float | None = None
    unequal: int = 0
    of: int = 0

    def __str__(self) -> str:
        if self.largest is None:
            told = f"{self.unequal} of {self.of} differ"
        else:
            told = f"{self.largest:.1e}" + ("" if self.relative is None else f"  {self.relative:.1e}")
        return f"{self.file:15} {self.what:52} {told}"


def far(file: str, what: str, ours: object, reference: np.ndarray) -> Row:
    """How far real numbers are from their reference; where that is NaN, ours has to be NaN, else the row is infinite.

    Raises:
        ValueError: the shapes differ.
    """
    found, expected = as_array(ours).astype(np.float64), reference.astype(np.float64)
    refuse_shapes(what, found, expected)
    known = ~np.isnan(expected)
    if np.isnan(found[known]).any() or not np.isnan(found[~known]).all():
        return Row(file, what, float("inf"))
    largest, size = np.abs(found - expected)[known].max(), np.abs(expected[known]).max()
    return Row(file, what, float(largest), float(largest / size) if size else None)


def same(file: str, what: str, ours: object, reference: np.ndarray) -> Row:
    """How many values are not exactly those of the reference.

    Raises:
        ValueError: the shapes differ.
    """
    found = as_array(ours)
    refuse_shapes(what, found, reference)
    return Row(file, what, unequal=int(np.count_nonzero(found != reference)), of=int(reference.size))


def as_array(values: object) -> np.ndarray:
    return values.numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def refuse_shapes(what: str, ours: np.ndarray, reference: np.ndarray) -> None:
    # numpy would compare (1, 32) with (32,) and (3,) with ().
    if ours.shape != reference.shape:
        raise ValueError(f"{what}: ours has the shape {ours.shape}, the reference {reference.shape}.")


class Arrays:
    """The arrays of one reference file.

    Args:
        path: of the .npz.

    Attributes:
        file: its name without suffix.
        unread: names of the arrays that nothing has asked for.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.stem
        with np.load(path) as arrays:
            self._arrays = {name: arrays[name] for name in arrays.files}
        self.unread = set(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        self.unread.discard(name)
        return self._arrays[name]

    def tensor(self, name: str) -> torch.Tensor:
        """An array as a tensor."""
        return torch.from_numpy(self[name])

    def far(self, what: str, ours: object, name: str) -> Row:
        """See `far`."""
        return far(self.file, what, ours, self[name])

    def same(self, what: str, ours: object, name: str) -> Row:
        """See `same`."""
        return same(self.file, what, ours, self[name])


def together(what: str, rows: Iterable[Row]) -> Row:
    """Rows of values that have to be equal as one."""
    each = list(rows)
    return Row(each[0].file, what, unequal=sum(row.unequal for row in each), of=sum(row.of for row in each))
