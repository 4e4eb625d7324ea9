"""What a run keeps of each picture: counts and history, no pixels; one line of JSON each.

{"key": "2007_000033", "size": [366, 500], "cells": [[0, 0, 91234], [1, 0, 512], ...],
 "passes": [{"steps": [[0, 4, 7], [0, 4]], "scores": [0.93, 0.88]}], "seconds": {"read": 0.01, "propose": 0.2, ...}}
{"key": "2007_000039", "error": "'JPEGImages/2007_000039.jpg' is empty (0 bytes)."}
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from car.errors import InputError
from car.export import dumps

R = TypeVar("R")


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
        return line_of(self, size=self.size, cells=self.cells, passes=[asdict(each) for each in self.passes])

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """The record that `to_line` wrote.

        Raises:
            InputError: it is no such line.
        """
        return record_in(line, cls, _fields, "records")

    @property
    def present(self) -> set[int]:
        """Ids of the classes that have true pixels."""
        return {row - 1 for row, _, _ in self.cells if row > 0}


def cells_of(confusion: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Non-zero cells of a confusion matrix (K + 1, K + 1) as (row, column, pixels)."""
    rows, columns = confusion.nonzero()
    return tuple(zip(rows.tolist(), columns.tolist(), confusion[rows, columns].tolist(), strict=True))


class AnyKind(Protocol):
    """What a record of any kind has."""

    @property
    def key(self) -> str:
        """Of what."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """By stage."""

    @property
    def error(self) -> str | None:
        """Why there is no result."""


def line_of(record: AnyKind, **result: Any) -> str:
    """A record of any kind as one line of JSON without its end: its result, or why there is none."""
    if record.error is not None:
        return dumps({"key": record.key, "error": record.error}, indent=None)
    return dumps({"key": record.key, **result, "seconds": dict(record.seconds)}, indent=None)


def record_in(
    line: str | bytes, kind: Callable[..., R], fields: Callable[[Mapping[str, Any]], Mapping[str, Any]], name: str
) -> R:
    """The record of a kind that a line holds.

    Args:
        fields: those of its result, of the data in the line.
        name: of such records in the error.

    Raises:
        InputError: it holds none.
    """
    try:
        values = json.loads(line)
        if "error" in values:
            return kind(str(values["key"]), error=str(values["error"]))
        seconds = {str(stage): float(each) for stage, each in values["seconds"].items()}
        return kind(str(values["key"]), seconds=seconds, **fields(values))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"Expected a line of {name}, but got {str(line)[:80]!r}.") from None


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    height, width = map(int, values["size"])
    return {
        "size": (height, width),
        "cells": tuple((int(row), int(column), int(pixels)) for row, column, pixels in values["cells"]),
        "passes": tuple(
            Pass(tuple(tuple(map(int, step)) for step in each["steps"]), tuple(map(float, each["scores"])))
            for each in values["passes"]
        ),
    }
