"""What a run's records come to: dataset-wide scores with their intervals, and how the loop went."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import nan
from typing import NamedTuple

import numpy as np

from car.evaluate.bootstrap import Bootstrap, draws, interval
from car.evaluate.counted import Counted
from car.evaluate.plan import Plan
from car.evaluate.record import Pass, Record
from car.metrics.semantic import SemanticScores, semantic_scores


class Rule(NamedTuple):
    """Which cells of the confusion matrix count: those from `row` and from `column` on; 0 is background."""

    row: int
    column: int


WITH_BACKGROUND = Rule(0, 0)
"""Background is a class like the others."""
PUBLISHED = Rule(1, 1)
"""Without background, as published: a pixel left to background is not counted at all."""
STRICT = Rule(1, 0)
"""Without background, but a pixel of a class that is left to background is missed."""


def rules_of(background: bool) -> dict[str, Rule]:
    """The rules a benchmark is scored by, by the name of their mIoU; the first is what is published."""
    return {"mIoU": WITH_BACKGROUND} if background else {"mIoU": PUBLISHED, "strict mIoU": STRICT}


class LoopStatistics:
    """How one list of queries went over the pictures.

    Attributes:
        pictures: how many.
        steps: pictures by how many steps the loop took.
        entered, left: by step, from 1: classes before and after it, over the pictures that took it.
        present, found, wrong: int64 (K,): pictures in which a class is present; is present and was kept; is absent and
            was kept. Present classes have true pixels. Classes that are not asked count nowhere.
    """

    def __init__(self, asked: Sequence[int], classes: int) -> None:
        self.asked, self.pictures = frozenset(asked), 0
        self.steps: Counter[int] = Counter()
        self.entered: Counter[int] = Counter()
        self.left: Counter[int] = Counter()
        self.present, self.found, self.wrong = (np.zeros(classes, np.int64) for _ in range(3))

    def add(self, went: Pass, present: set[int]) -> None:
        """Count one picture, given the ids of the classes that have true pixels in it."""
        self.pictures += 1
        self.steps[len(went.steps)] += 1
        before = len(self.asked)
        for step, kept in enumerate(went.steps, 1):
            self.entered[step] += before
            self.left[step] += len(kept)
            before = len(kept)
        asked, kept_ids = present & self.asked, set(went.kept)
        self.present[list(asked)] += 1
        self.found[list(asked & kept_ids)] += 1
        self.wrong[list(kept_ids - asked)] += 1

    @property
    def mean_steps(self) -> float:
        """Steps per picture."""
        return ratio(sum(step * pictures for step, pictures in self.steps.items()), self.pictures)

    @property
    def absent_kept(self) -> float:
        """Share of the absent queries that were kept, over all pictures."""
        return ratio(self.wrong.sum(), self.pictures * len(self.asked) - self.present.sum())

    @property
    def present_dropped(self) -> float:
        """Share of the present queries that were dropped, over all pictures."""
        return ratio(self.present.sum() - self.found.sum(), self.present.sum())

    def reached(self, step: int) -> int:
        """How many pictures took a step, counted from 1."""
        return sum(pictures for steps, pictures in self.steps.items() if steps >= step)


class SemanticTally:
    """The mIoU of the pictures so far, as published.

    Attributes:
        measure: what it is called.
    """

    measure = "mIoU"

    def __init__(self, plan: Plan) -> None:
        self._rule = next(iter(rules_of(plan.background).values()))
        self._confusion = np.zeros((len(plan.classes) + 1,) * 2, np.int64)

    @property
    def value(self) -> float:
        """In [0, 1]; NaN where no pixel was counted."""
        return semantic_scores(self._confusion[self._rule.row :, self._rule.column :]).miou

    def add(self, record: Record) -> None:
        """One more picture."""
        if record.cells:
            rows, columns, pixels = np.array(record.cells).T
            self._confusion[rows, columns] += pixels


class Statistics(Counted):
    """Sums over records: the confusion matrix and the rounds of the bootstrap; no record is kept.

    Attributes:
        rules: what the benchmark is scored by, see `rules_of`.
        confusion: (K + 1, K + 1) int64, rows truth; 0 is background, i + 1 is class i.
        passes: one per pass of the plan.
    """

    def __init__(self, plan: Plan, keys: Iterable[str]) -> None:
        super().__init__(plan, keys)
        classes = len(plan.classes)
        self.confusion = np.zeros((classes + 1, classes + 1), np.int64)
        self.passes = [LoopStatistics(each.classes, classes) for each in plan.passes]
        self.rules = rules_of(plan.background)
        self._bootstraps = {name: Bootstrap(classes + 1) for name in self.rules}

    def scores(self) -> dict[str, SemanticScores]:
        """Scores by rule; `class_iou` is (K + 1,) under every rule, NaN for background where it is no class."""
        found = {}
        for name, rule in self.rules.items():
            scores = semantic_scores(self.counted(rule))
            if rule.row:
                scores.class_iou[0] = nan
            found[name] = scores
        return found

    def counted(self, rule: Rule) -> np.ndarray:
        """The confusion matrix (K + 1, K + 1) with zeros where a rule does not count."""
        counted = np.zeros_like(self.confusion)
        counted[rule.row :, rule.column :] = self.confusion[rule.row :, rule.column :]
        return counted

    def rounds(self, name: str = "mIoU") -> np.ndarray:
        """The mIoU of every round of the bootstrap, float64 (ROUNDS,); see `car.evaluate.bootstrap`."""
        return self._bootstraps[name].mious()

    def interval(self, name: str = "mIoU") -> tuple[float, float]:
        """The 95 % interval of a rule's mIoU over pictures; NaN with fewer than two."""
        return interval(self.rounds(name)) if len(self.evaluated) > 1 else (nan, nan)

    def _count(self, record: Record) -> None:
        self._add_cells(record)
        for loop, went in zip(self.passes, record.passes, strict=True):
            loop.add(went, record.present)

    def _add_cells(self, record: Record) -> None:
        cells = np.array(record.cells, np.int64).reshape(-1, 3)
        rows, columns, pixels = cells.T
        np.add.at(self.confusion, (rows, columns), pixels)
        drawn = draws(record.key)
        for name, rule in self.rules.items():
            self._bootstraps[name].add(drawn, cells[(rows >= rule.row) & (columns >= rule.column)])

    def _fits(self, record: Record) -> bool:
        classes = len(self.plan.classes)
        fits = len(record.passes) == len(self.passes)
        fits &= all(0 <= label <= classes for cell in record.cells for label in cell[:2])
        fits &= all(pixels >= 0 for _, _, pixels in record.cells)
        for loop, went in zip(self.passes, record.passes, strict=False):
            fits &= bool(went.steps) and all(loop.asked.issuperset(step) for step in went.steps)
        return fits


def ratio(part: float, whole: float) -> float:
    """A share or mean; NaN of nothing."""
    return float(part / whole) if whole else nan
