"""What a run keeps of each picture: counts and history, no pixels; one line of JSON each.

{"key": "2007_000033", "size": [366, 500], "cells": [[0, 0, 91234], [1, 0, 512], ...],
 "passes": [{"steps": [[0, 4, 7], [0, 4]], "scores": [0.93, 0.88]}], "seconds": {"read": 0.01, "propose": 0.2, ...}}
{"key": "2007_000039", "error": "'JPEGImages/2007_000039.jpg' is empty (0 bytes)."}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from car.errors import InputError
from car.export import dumps


@dataclass(frozen=True)
class Pass:
    """How one list of queries went.

    steps: classes that are left after each step of the loop, ascending ids; all of the pass entered the first.
    scores: last scores of the classes that are left in the end, in the order of their ids; rounded to 6 digits.
    """

    steps: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Ids of the classes that are left in the end."""
        return self.steps[-1]


@dataclass(frozen=True)
class Record:
    """One picture of a run.

    key: the picture.
    size: height and width in pixels.
    cells: non-zero cells of its confusion matrix, (row, column, pixels), ascending; row and column 0 are background,
        i + 1 is class i; rows are the truth.
    passes: as the run's plan lists them.
    seconds: wall time by stage; no two runs have the same.
    error: why there is no result; everything else is then empty.
    """

    key: str
    size: tuple[int, int] = (0, 0)
    cells: tuple[tuple[int, int, int], ...] = ()
    passes: tuple[Pass, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        values: dict[str, Any] = {"key": self.key}
        if self.error is not None:
            return dumps({**values, "error": self.error}, indent=None)
        values |= {"size": self.size, "cells": self.cells, "passes": [asdict(each) for each in self.passes]}
        return dumps({**values, "seconds": dict(self.seconds)}, indent=None)

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """The record that `to_line` wrote.

        Raises:
            InputError: it is no such line.
        """
        try:
            values = json.loads(line)
            if "error" in values:
                return cls(str(values["key"]), error=str(values["error"]))
            height, width = map(int, values["size"])
            return cls(
                str(values["key"]),
                (height, width),
                tuple((int(row), int(column), int(pixels)) for row, column, pixels in values["cells"]),
                tuple(
                    Pass(tuple(tuple(map(int, step)) for step in each["steps"]), tuple(map(float, each["scores"])))
                    for each in values["passes"]
                ),
                {str(stage): float(seconds) for stage, seconds in values["seconds"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"Expected a line of records, but got {str(line)[:80]!r}.") from None

    @property
    def present(self) -> set[int]:
        """Ids of the classes that have true pixels."""
        return {row - 1 for row, _, _ in self.cells if row > 0}


def cells_of(confusion: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Non-zero cells of a confusion matrix (K + 1, K + 1) as (row, column, pixels)."""
    rows, columns = confusion.nonzero()
    return tuple(zip(rows.tolist(), columns.tolist(), confusion[rows, columns].tolist(), strict=True))
