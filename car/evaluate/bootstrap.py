"""How much a dataset's mIoU depends on which pictures it was measured on, without keeping the pictures.

A Poisson bootstrap: in each of `ROUNDS` rounds a picture counts as often as a draw from Poisson(1) says, and the sums
of each round have an mIoU of their own. The draws come from the picture's key alone, so that neither the order of
pictures nor the machine matters, and rounds of two runs over the same pictures are pairs.
"""

import hashlib
import math
from array import array
from collections.abc import Iterable

import numpy as np

ROUNDS = 1000
_UNITS = 2**32
"""Scores are summed over the rounds as whole numbers of this, so that no order of records matters."""
_LEVELS = np.cumsum([math.exp(-1) / math.factorial(n) for n in range(13)])


def draws(key: str) -> np.ndarray:
    """How often a picture counts in each round, int64 (ROUNDS,).

    >>> draws("2007_000033").shape
    (1000,)
    """
    noise = np.frombuffer(hashlib.shake_256(key.encode(errors="surrogatepass")).digest(4 * ROUNDS), "<u4")
    return np.searchsorted(_LEVELS, noise / 2**32, side="right")


class Bootstrap:
    """The rounds' sums of one confusion matrix: of its diagonal, its rows and its columns.

    Args:
        classes: K, rows and columns of the matrix.
    """

    def __init__(self, classes: int) -> None:
        self.hits, self.true, self.predicted = (np.zeros((classes, ROUNDS), np.int64) for _ in range(3))

    def add(self, drawn: np.ndarray, cells: np.ndarray) -> None:
        """Count one picture.

        Args:
            drawn: int64 (ROUNDS,), its `draws`.
            cells: int64 (C, 3), rows, columns and pixels of its matrix's cells.
        """
        rows, columns, pixels = cells.T
        hit = rows == columns
        for sums, classes, counts in (
            (self.hits, rows[hit], pixels[hit]),
            (self.true, rows, pixels),
            (self.predicted, columns, pixels),
        ):
            touched, places = np.unique(classes, return_inverse=True)
            totals = np.zeros(len(touched), np.int64)
            np.add.at(totals, places, counts)
            sums[touched] += totals[:, None] * drawn

    def mious(self) -> np.ndarray:
        """mIoU of the rounds in [0, 1], float64 (ROUNDS,), over the classes that occur in each; NaN where none does."""
        with np.errstate(invalid="ignore"):
            iou = self.hits / (self.true + self.predicted - self.hits)
            occurs = self.true > 0
            return np.where(occurs, iou, 0).sum(axis=0) / occurs.sum(axis=0)


class MeanBootstrap:
    """Means of scores in [0, 1], of which a picture has any number, and what they are in the rounds.

    Attributes:
        scores: by picture; 8 bytes each.
    """

    def __init__(self) -> None:
        self.scores: dict[str, array] = {}

    def add(self, key: str, scores: Iterable[float]) -> None:
        """Count the scores of one picture."""
        self.scores[key] = array("d", scores)

    def mean(self, keys: Iterable[str]) -> float:
        """The mean of all scores of some pictures, whatever their order; NaN where there is no score."""
        found = [score for key in keys for score in self.scores[key]]
        return math.fsum(found) / len(found) if found else math.nan

    def rounds(self, keys: Iterable[str]) -> np.ndarray:
        """The mean over some pictures in every round, float64 (ROUNDS,); NaN where none of them was drawn."""
        sums, counts = np.zeros(ROUNDS, np.int64), np.zeros(ROUNDS, np.int64)
        for key in keys:
            units, drawn = [round(score * _UNITS) for score in self.scores[key]], draws(key)
            sums += sum(units) * drawn
            counts += len(units) * drawn
        with np.errstate(invalid="ignore"):
            return sums / _UNITS / counts

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean; NaN where there is no score."""
        return interval(self.rounds(self.scores))

    def difference(self, other: "MeanBootstrap") -> tuple[float, tuple[float, float]]:
        """How much higher this mean is than another over the pictures of both, with the 95 % interval of paired rounds.

        NaN where they share no picture, and for the ends where they share but one.

        >>> one, other = MeanBootstrap(), MeanBootstrap()
        >>> for key, score in (("a", 0.5), ("b", 0.75)):
        ...     one.add(key, [score])
        ...     other.add(key, [score - 0.25])
        >>> one.difference(other)[0]
        0.25
        """
        shared = [key for key in self.scores if key in other.scores]
        ends = (math.nan, math.nan)
        if len(shared) > 1:
            ends = interval(self.rounds(shared) - other.rounds(shared))
        return self.mean(shared) - other.mean(shared), ends


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the rounds' values, those that are NaN left out; NaN where all are.

    >>> interval(np.arange(101.0))
    (2.5, 97.5)
    """
    found = values[np.isfinite(values)]
    if not found.size:
        return math.nan, math.nan
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)
