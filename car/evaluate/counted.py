"""What the statistics of all kinds of runs have in common: which records they have, and how long those took."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum
from typing import Any, Self

import numpy as np

from car.errors import InputError


@dataclass(frozen=True)
class Timing:
    """Seconds per record of one stage: the sum, mean and median; a record that skipped the stage took 0."""

    sum: float
    mean: float
    median: float


class Counted(ABC):
    """Records of a run that were counted, each once, whatever their order; a kind of run adds what it counts of them.

    It holds the keys, and 8 bytes per record and stage for the medians of the seconds.

    Args:
        plan: of the run.
        keys: of all its pictures or sequences.

    Attributes:
        evaluated: keys of those with a result.
        failures: reasons by key.
    """

    def __init__(self, plan: Any, keys: Iterable[str]) -> None:
        self.plan, self.keys = plan, dict.fromkeys(keys)
        self.evaluated: set[str] = set()
        self.failures: dict[str, str] = {}
        self._seconds: dict[str, array] = {}
        self._all_seconds = array("d")

    @classmethod
    def of(cls, plan: Any, keys: Iterable[str], records: Iterable[Any]) -> Self:
        """The statistics of all records; raises as `add` does."""
        statistics = cls(plan, keys)
        for record in records:
            statistics.add(record)
        return statistics

    def add(self, record: Any) -> None:
        """Count one record.

        Raises:
            InputError: it is of no key of the run, or of one that was counted before, or it is not of the plan.
        """
        if record.key not in self.keys:
            raise InputError(f"The run has a record of {record.key!r}, which is not among its {self.plan.unit}.")
        if record.key in self.evaluated or record.key in self.failures:
            raise InputError(f"The run has two records of {record.key!r}.")
        if record.error is not None:
            self.failures[record.key] = record.error
            return
        if not self._fits(record):
            raise InputError(f"The record of {record.key!r} does not fit the plan of its run.")
        self.evaluated.add(record.key)
        self._count(record)
        for stage, seconds in record.seconds.items():
            self._seconds.setdefault(stage, array("d")).append(seconds)
        self._all_seconds.append(fsum(record.seconds.values()))

    @property
    def missing(self) -> list[str]:
        """Keys without a record, in the run's order."""
        return [key for key in self.keys if key not in self.evaluated and key not in self.failures]

    @property
    def complete(self) -> bool:
        """Whether every key has a result."""
        return len(self.evaluated) == len(self.keys)

    @property
    def coverage(self) -> dict[str, int]:
        """How many keys there are, and what became of them."""
        return {
            "all": len(self.keys),
            "evaluated": len(self.evaluated),
            "failed": len(self.failures),
            "missing": len(self.missing),
        }

    @property
    def failed(self) -> dict[str, str]:
        """Reasons by key, in the run's order."""
        return {key: self.failures[key] for key in self.keys if key in self.failures}

    def timings(self) -> dict[str, Timing]:
        """By stage, the longest first; at the end "all", the stages together."""
        records = len(self.evaluated)
        padded = {stage: [*seconds, *[0.0] * (records - len(seconds))] for stage, seconds in self._seconds.items()}
        stages = {stage: timing(seconds) for stage, seconds in padded.items()}
        ordered = dict(sorted(stages.items(), key=lambda each: (-each[1].sum, each[0])))
        return {**ordered, "all": timing(self._all_seconds)} if records else {}

    @abstractmethod
    def _fits(self, record: Any) -> bool:
        """Whether a record with a result is of the plan."""

    @abstractmethod
    def _count(self, record: Any) -> None:
        """Count what is of its kind in a record that fits."""


def timing(seconds: Any) -> Timing:
    """Sum, mean and median of a sequence of numbers, whatever the order; at least one."""
    total = fsum(seconds)
    return Timing(total, total / len(seconds), float(np.median(seconds)))
