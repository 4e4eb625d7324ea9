"""What a referring run's records come to: scores over all answers, with an interval over images."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from math import fsum, nan

from car.evaluate.bootstrap import MeanBootstrap
from car.evaluate.counted import Counted
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_record import ReferringRecord, TargetRecord
from car.metrics.referring import (
    GeneralizedScores,
    GroupedScores,
    Overlap,
    ReferringScores,
    generalized_scores,
    grouped_scores,
    referring_scores,
)


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


class ReferringStatistics(Counted):
    """Sums over records; no record is kept, but 25 bytes per answer, and 4 per target and per picture.

    Attributes:
        skipped: keys of the pictures that are left out, for they have no mask proposals.
        without_proposals: how many pictures have none, left out or not.
        targets, no_targets: how many were counted, and how many of them refer to nothing.
        nothing_found: answers for which the method chose nothing.
        problems: by key and target, which expressions were not asked, and why.
        failed_answers: answers that are empty because none of their expressions was asked.
        main: what each answer adds to the main score, by picture.
    """

    def __init__(self, plan: ReferringPlan, keys: Iterable[str]) -> None:
        super().__init__(plan, keys)
        self.skipped: set[str] = set()
        self.without_proposals = self.targets = self.no_targets = self.nothing_found = self.failed_answers = 0
        self.problems: dict[tuple[str, str], tuple[str, ...]] = {}
        self._intersections, self._unions, self._flags = array("q"), array("q"), array("B")
        self._answers_of_targets, self._targets_of_pictures = array("I"), array("I")
        self.main = MeanBootstrap()

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

    def grouped(self) -> GroupedScores:
        """How often all answers of a target, and of a picture, are right; pictures that are left out are in neither."""
        overlaps, sizes = self.overlaps(), iter(self._answers_of_targets)
        return grouped_scores(
            [list(islice(overlaps, answers)) for answers in islice(sizes, targets)]
            for targets in self._targets_of_pictures
        )

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the main score over pictures; NaN with fewer than two."""
        return self.main.interval() if len(self.evaluated) - len(self.skipped) > 1 else (nan, nan)

    def _count(self, record: ReferringRecord) -> None:
        self.without_proposals += record.proposals == 0
        if counts(record, self.plan):
            self._add_answers(record)
        else:
            self.skipped.add(record.key)

    def _add_answers(self, record: ReferringRecord) -> None:
        self._targets_of_pictures.append(len(record.targets))
        for target in record.targets:
            self._add_target(record.key, target)
            for each in target.overlaps:
                self._intersections.append(each.intersection)
                self._unions.append(each.union)
                self._flags.append(each.no_target | each.flagged << 1)
        scores = [iou(each, self.plan) for target in record.targets for each in target.overlaps]
        self.main.add(record.key, scores)

    def _add_target(self, key: str, target: TargetRecord) -> None:
        self.targets += 1
        self._answers_of_targets.append(len(target.answers))
        self.no_targets += target.no_target
        self.nothing_found += sum(not answer.found for answer in target.answers)
        self.failed_answers += sum(
            bool(answer.problems) and not answer.found and not answer.flagged for answer in target.answers
        )
        if problems := tuple(problem for answer in target.answers for problem in answer.problems):
            self.problems[key, target.id] = problems

    def _fits(self, record: ReferringRecord) -> bool:
        fits = bool(record.targets) and (record.proposals is None) == (not self.plan.proposals)
        for target in record.targets:
            fits &= bool(target.answers) and (self.plan.protocol != "object" or len(target.answers) == 1)
            for each in target.answers:
                fits &= 0 <= each.intersection <= each.union and not (target.no_target and each.intersection)
        return fits


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
