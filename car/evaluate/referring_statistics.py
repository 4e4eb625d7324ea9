"""What a referring run's records come to: scores over all answers, with an interval over images."""

from array import array
from collections.abc import Iterable, Iterator
from math import fsum, nan
from typing import Self

import numpy as np

from car.errors import InputError
from car.evaluate.bootstrap import ROUNDS, draws, interval
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_record import ReferringRecord, TargetRecord
from car.evaluate.statistics import Timing, timing
from car.metrics.referring import (
    GeneralizedScores,
    Overlap,
    ReferringScores,
    generalized_scores,
    referring_scores,
)

_UNITS = 2**32
"""IoU are summed over the bootstrap's rounds as whole numbers of this, so that no order of records matters."""


class ReferringTally:
    """The main score of the pictures so far: mIoU, or gIoU.

    Attributes:
        measure: what it is called.
    """

    def __init__(self, plan: ReferringPlan) -> None:
        self.plan = plan
        self.measure = main_measure(plan)
        self._sum, self._answers = 0.0, 0

    @property
    def value(self) -> float:
        """The score in [0, 1]; NaN where nothing was counted."""
        return self._sum / self._answers if self._answers else nan

    def add(self, record: ReferringRecord) -> None:
        """One more picture."""
        if counts(record, self.plan):
            ious = [iou(each, self.plan) for target in record.targets for each in target.overlaps]
            self._sum += fsum(ious)
            self._answers += len(ious)


class ReferringStatistics:
    """Sums over records, whatever their order; no record is kept, but 18 bytes per answer.

    Args:
        plan: of the run.
        keys: of all its pictures.

    Attributes:
        evaluated: keys of the pictures with a result.
        failures: reasons by key.
        skipped: keys of the pictures that are left out, for they have no mask proposals.
        without_proposals: how many pictures have none, left out or not.
        targets, no_targets: how many were counted, and how many of them refer to nothing.
        nothing_found: answers for which the method chose nothing.
        problems: by key and target, which expressions were not asked, and why.
        failed_answers: answers that are empty because none of their expressions was asked.
    """

    def __init__(self, plan: ReferringPlan, keys: Iterable[str]) -> None:
        self.plan, self.keys = plan, dict.fromkeys(keys)
        self.evaluated: set[str] = set()
        self.failures: dict[str, str] = {}
        self.skipped: set[str] = set()
        self.without_proposals = self.targets = self.no_targets = self.nothing_found = self.failed_answers = 0
        self.problems: dict[tuple[str, str], tuple[str, ...]] = {}
        self._intersections, self._unions, self._flags = array("q"), array("q"), array("B")
        self._sums, self._answers = np.zeros(ROUNDS, np.int64), np.zeros(ROUNDS, np.int64)
        self._seconds: dict[str, array] = {}
        self._all_seconds = array("d")

    @classmethod
    def of(cls, plan: ReferringPlan, keys: Iterable[str], records: Iterable[ReferringRecord]) -> Self:
        """The statistics of all records; raises as `add` does."""
        statistics = cls(plan, keys)
        for record in records:
            statistics.add(record)
        return statistics

    def add(self, record: ReferringRecord) -> None:
        """Count one picture.

        Raises:
            InputError: the run has no such picture, or it was counted before, or the record is not of the plan.
        """
        if record.key not in self.keys:
            raise InputError(f"The run has a record of {record.key!r}, which is not among its pictures.")
        if record.key in self.evaluated or record.key in self.failures:
            raise InputError(f"The run has two records of {record.key!r}.")
        if record.error is not None:
            self.failures[record.key] = record.error
            return
        self._check(record)
        self.evaluated.add(record.key)
        self.without_proposals += record.proposals == 0
        for stage, seconds in record.seconds.items():
            self._seconds.setdefault(stage, array("d")).append(seconds)
        self._all_seconds.append(fsum(record.seconds.values()))
        if counts(record, self.plan):
            self._add_answers(record)
        else:
            self.skipped.add(record.key)

    @property
    def missing(self) -> list[str]:
        """Keys of the pictures without a record, in the run's order."""
        return [key for key in self.keys if key not in self.evaluated and key not in self.failures]

    @property
    def complete(self) -> bool:
        """Whether every picture has a result."""
        return len(self.evaluated) == len(self.keys)

    @property
    def answers(self) -> int:
        """How many answers are scored."""
        return len(self._flags)

    def overlaps(self) -> Iterator[Overlap]:
        """What is scored, in the order it was counted."""
        for intersection, union, flags in zip(self._intersections, self._unions, self._flags, strict=True):
            yield Overlap(intersection, union, bool(flags & 1), bool(flags & 2))

    def scores(self) -> ReferringScores:
        """Scores by the rules of the RefCOCO family."""
        return referring_scores(self.overlaps())

    def generalized(self) -> GeneralizedScores:
        """Scores by the rules of gRefCOCO."""
        return generalized_scores(self.overlaps())

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the main score over pictures; NaN with fewer than two."""
        if len(self.evaluated) - len(self.skipped) < 2:
            return nan, nan
        with np.errstate(invalid="ignore"):
            return interval(self._sums / _UNITS / self._answers)

    def timings(self) -> dict[str, Timing]:
        """By stage, the longest first; at the end "all", the stages together."""
        pictures = len(self.evaluated)
        padded = {stage: [*seconds, *[0.0] * (pictures - len(seconds))] for stage, seconds in self._seconds.items()}
        stages = {stage: timing(seconds) for stage, seconds in padded.items()}
        ordered = dict(sorted(stages.items(), key=lambda each: (-each[1].sum, each[0])))
        return {**ordered, "all": timing(self._all_seconds)} if pictures else {}

    def _add_answers(self, record: ReferringRecord) -> None:
        total = answers = 0
        for target in record.targets:
            self._add_target(record.key, target)
            for each in target.overlaps:
                self._intersections.append(each.intersection)
                self._unions.append(each.union)
                self._flags.append(each.no_target | each.flagged << 1)
                total += round(iou(each, self.plan) * _UNITS)
                answers += 1
        drawn = draws(record.key)
        self._sums += total * drawn
        self._answers += answers * drawn

    def _add_target(self, key: str, target: TargetRecord) -> None:
        self.targets += 1
        self.no_targets += target.no_target
        self.nothing_found += sum(not answer.found for answer in target.answers)
        self.failed_answers += sum(
            bool(answer.problems) and not answer.found and not answer.flagged for answer in target.answers
        )
        if problems := tuple(problem for answer in target.answers for problem in answer.problems):
            self.problems[key, target.id] = problems

    def _check(self, record: ReferringRecord) -> None:
        fits = bool(record.targets) and (record.proposals is None) == (not self.plan.proposals)
        for target in record.targets:
            fits &= bool(target.answers) and (self.plan.protocol != "object" or len(target.answers) == 1)
            for each in target.answers:
                fits &= 0 <= each.intersection <= each.union and not (target.no_target and each.intersection)
        if not fits:
            raise InputError(f"The record of {record.key!r} does not fit the plan of its run.")


def main_measure(plan: ReferringPlan) -> str:
    """What the score is called that stands first."""
    return "gIoU" if plan.generalized else "mIoU"


def counts(record: ReferringRecord, plan: ReferringPlan) -> bool:
    """Whether a picture is in the scores."""
    return record.error is None and not (plan.skip_empty and record.proposals == 0)


def iou(overlap: Overlap, plan: ReferringPlan) -> float:
    """What one answer adds to the main score."""
    if not plan.generalized:
        return overlap.iou()
    return float(overlap.flagged) if overlap.no_target else 0.0 if overlap.flagged else overlap.iou()
