"""What comparisons of all kinds of runs have in common: a table of what the runs differ in, scores with the difference
to the first run, and a CSV file of every number.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from car.errors import InputError
from car.evaluate.figures import rounded
from car.evaluate.markdown import count, per_cent, table, text, within
from car.evaluate.page import setting
from car.evaluate.plan import flat
from car.evaluate.report import write_texts

FILES = ("comparison.csv", "comparison.md")
"""What `RunComparison.write` writes, in the order it does."""
_MOST_ITEMS = 6


@dataclass(frozen=True)
class RunComparison(ABC):
    """Two or more runs of one benchmark; the first is what the others are compared with.

    Args:
        runs: what was counted, by what the page calls the runs.

    Raises:
        InputError: fewer than two runs, or they cannot be compared.
    """

    report: ClassVar[Any]
    """The class of a run's report."""
    labels: ClassVar[tuple[str, ...]]
    """What a row of the CSV file begins with."""

    runs: Mapping[str, Any]

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise InputError("A comparison needs at least two runs.")
        self.check({name: run.plan for name, run in self.runs.items()})

    @classmethod
    @abstractmethod
    def check(cls, plans: Mapping[str, Any]) -> None:
        """Refuse plans whose scores say nothing about each other.

        Args:
            plans: of this kind, by what errors call the runs.

        Raises:
            InputError: one cannot be compared with the first.
        """

    @cached_property
    def reports(self) -> dict[str, Any]:
        """The report of each run."""
        return {name: self.report.of(run) for name, run in self.runs.items()}

    @cached_property
    def differences(self) -> dict[str, tuple[float | None, float | None, float | None]]:
        """How much higher the main score of each run is than the first one's, and the ends of its 95 % interval.

        None where it is not comparable, or what it needs is not defined.
        """
        found: dict[str, tuple[float | None, float | None, float | None]] = dict.fromkeys(self.runs, (None,) * 3)
        for name in filter(self.comparable, self.runs):
            difference, (low, high) = self._pair(name)
            found[name] = rounded(difference), rounded(low), rounded(high)
        return found

    @property
    def complete(self) -> bool:
        """Whether every run is."""
        return all(run.complete for run in self.runs.values())

    @abstractmethod
    def comparable(self, name: str) -> bool:
        """Whether there is a difference between a run and the first one."""

    @property
    def page(self) -> str:
        """The comparison in Markdown."""
        sections = [
            f"# {self._title()}: {count(len(self.runs))} runs",
            *self._about(),
            "## What differs",
            *self._settings(),
            "## Scores",
            *self._scores(),
            *self._parts(),
        ]
        return "\n\n".join(sections) + "\n"

    @property
    def csv(self) -> str:
        """Every number of the comparison: shares in [0, 1], a column per run, a row per measure and part."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*self.labels, *self.runs])
        columns = [dict(self._column(name)) for name in self.runs]
        for measure in dict.fromkeys(measure for column in columns for measure in column):
            writer.writerow([*measure, *(column.get(measure) for column in columns)])
        return buffer.getvalue()

    def write(self, folder: str | Path) -> None:
        """Write the table of numbers and the page, each whole or not at all.

        Raises:
            InputError: the folder cannot be made.
            CarError: writing failed.
        """
        write_texts(folder, dict(zip(FILES, (self.csv, self.page), strict=True)))

    @property
    def _first(self) -> Any:
        return next(iter(self.runs.values()))

    @property
    def _first_report(self) -> Any:
        return next(iter(self.reports.values()))

    def _is_first(self, name: str) -> bool:
        return self.runs[name] is self._first

    def _title(self) -> str:
        plan = self._first.plan
        return f"{text(plan.benchmark)} {text(plan.split)}"

    def _about(self) -> Iterator[str]:
        """What is to be known before the table of settings."""
        yield from ()

    def _settings(self) -> Iterator[str]:
        rows = self._differing()
        if rows:
            yield table(["setting", *map(text, self.runs)], rows, numbers=False)
        else:
            yield "The runs have the same plan."

    @abstractmethod
    def _differing(self) -> list[list[str]]:
        """Rows of the table of settings, see `differing_settings`."""

    @abstractmethod
    def _scores(self) -> Iterator[str]:
        """The table of scores, and what is to be known of it."""

    def _parts(self) -> Iterator[str]:
        """Scores of parts, with their title."""
        yield from ()

    @abstractmethod
    def _column(self, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
        """One run's numbers by what their rows begin with."""

    @abstractmethod
    def _pair(self, name: str) -> tuple[float, tuple[float, float]]:
        """The difference of a run that is comparable, and the ends of its interval; NaN where not defined."""

    def _difference(self, name: str) -> str:
        if self._is_first(name):
            return ""
        if not self.comparable(name):
            return f"other {self._first.plan.unit}"
        difference, *ends = self.differences[name]
        return with_interval(difference, ends, "+")

    def _beside(self, name: str, value: float | None, first: float | None) -> str:
        """A share, and how it differs from the first run's."""
        if self._is_first(name) or value is None or first is None or not self.comparable(name):
            return per_cent(value)
        return f"{per_cent(value)} ({per_cent(value - first, '+')})"


def other_benchmark(name: str, plan: Any, first: str, reference: Any) -> InputError:
    """What refuses a run of another benchmark than the first."""
    return InputError(
        f"{name!r} is a run of {plan.benchmark}, {first!r} one of {reference.benchmark}: "
        "only runs of the same benchmark can be compared."
    )


def with_interval(value: float | None, ends: Sequence[float | None], sign: str = "") -> str:
    """A share with its interval, in per cent.

    >>> with_interval(0.5, (0.4, 0.6)), with_interval(0.5, (None, None))
    ('50.00 [40.0, 60.0]', '50.00')
    """
    told = per_cent(value, sign, 2)
    return told if None in ends else f"{told} {within(ends, sign)}"


def differing_settings(plans: Sequence[Mapping[str, Any]], *, absent: str = "`None`") -> list[list[str]]:
    """Rows of a table: a setting, and its value in each plan; only settings that are not the same in all.

    Where plans have methods, a setting that no run of a method has says nothing about that method.

    Args:
        plans: settings, nested by their names.
        absent: what stands for the value of a setting that a plan does not have.

    >>> plans = [{"config": {"eta": 0.5, "theta": 0.6}}, {"config": {"eta": 0.5}}]
    >>> differing_settings(plans, absent="-")
    [['config.theta', '`0.6`', '-']]
    >>> differing_settings([{"method": f"m{number}", **plan} for number, plan in enumerate(plans)])
    [['method', '`m0`', '`m1`']]
    """
    columns = [dict(flat(plan)) for plan in plans]
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        methods = {column.get("method") for column in columns if key in column}
        known = [column.get(key) for column in columns if column.get("method") in methods]
        if any(value != known[0] for value in known):
            cells = zip(_cells(key, [column.get(key) for column in columns]), columns, strict=True)
            rows.append([key, *(cell if key in column else absent for cell, column in cells)])
    return rows


def _cells(key: str, values: Sequence[Any]) -> list[str]:
    """Values of a setting; of long lists, only what not all of them have."""
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) < len(values) or max(map(len, lists)) <= _MOST_ITEMS:
        return [setting(key, value) for value in values]
    shared = set(lists[0]).intersection(*lists[1:])
    return [_own(value, shared, lists[0]) for value in lists]


def _own(items: Sequence[str], shared: set[str], first: Sequence[str]) -> str:
    own = [item for item in items if item not in shared]
    if own:
        listed = text("; ".join(own[:_MOST_ITEMS]))
        return f"{count(len(items))}, with {listed}{'; ...' if len(own) > _MOST_ITEMS else ''}"
    return count(len(items)) if items == first or set(first) > shared else f"{count(len(items))}, in another order"
