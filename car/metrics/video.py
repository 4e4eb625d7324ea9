"""Scores of segmented video as the DAVIS challenges define them: J and F of every object over the frames.

A sequence comes in frame by frame as label maps, and what is kept of it is an `ObjectScores` per object; `video_scores`
sums up the objects of any number of sequences. J and F of one frame are in `car.metrics.region`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product
from math import fsum, nan
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from car.errors import InputError
from car.metrics.region import Region, boundary_reach, boundary_score, iou

VOID = 255
"""The true label of pixels that count for nobody."""
MAX_PROPOSALS = 20
"""So many masks may be proposed in a sequence where proposals are assigned to objects."""


class Rule(NamedTuple):
    """Which frames and pixels count, and which predicted mask is compared with which object.

    trimmed: the first and the last frame are dropped.
    assigned: predicted ids mean nothing; each object gets one of at most 20 proposals, such that the mean of J and F
        over objects and frames is as high as it can be. Otherwise object i is compared with the predicted id i.
    void: true pixels of value 255 are taken out of the prediction, too; otherwise they are background.
    """

    trimmed: bool
    assigned: bool
    void: bool


RULES = {
    "semi-supervised": Rule(trimmed=True, assigned=False, void=False),
    "unsupervised": Rule(trimmed=False, assigned=True, void=True),
    "fixed-ids": Rule(trimmed=False, assigned=False, void=True),
}
"""The two tasks of davis2017-evaluation; and the second without the assignment, which is stricter and fits expressions,
for each of them names its object."""


@dataclass(frozen=True)
class ObjectScores:
    """What is kept of one object of a sequence: plain numbers, so that `dataclasses.asdict` is its JSON and
    `ObjectScores(**values)` reads it back.

    proposal: the predicted id that it was compared with; 0 where there were not enough of them.
    region, boundary: J and F by frame, in [0, 1].
    changes: by pair of consecutive frames, the predicted change less the true one as in `flicker`, in [-1, 1]; void
        pixels are what the rule makes them.
    """

    proposal: int
    region: Sequence[float]
    boundary: Sequence[float]
    changes: Sequence[float]


class Statistics(NamedTuple):
    """J or F over frames.

    mean: in [0, 1].
    recall: share of the frames that are above 0.5.
    decay: mean of the first quarter less mean of the last, in [-1, 1]; positive where it gets worse.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True)
class VideoScores:
    """Means over objects, not over sequences; NaN where there are none.

    Attributes:
        objects: how many.
        region, boundary: of the statistics of J and F.
        j_and_f: J&F, the mean of the means of J and F.
        flicker: mean over the objects of at least two frames, see `flicker`.
    """

    objects: int
    region: Statistics
    boundary: Statistics
    j_and_f: float
    flicker: float


def score_sequence(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], rule: str, *, objects: int | None = None
) -> tuple[ObjectScores, ...]:
    """Compare one sequence with its truth; of any length, no more than four frames are in memory.

    Args:
        frames: label maps (predicted, truth) in order, gone through once; (H, W) of any integer dtype, 0 is background,
            ids start at 1, 255 in the truth is void. A predicted id that does not occur is an empty mask. The
            predictions for frames that the rule drops are not looked at.
        rule: one of `RULES`.
        objects: how many there are, up to 254; by default the highest id in the first frame of the truth, as in the
            reference. Higher ids in the truth are background.

    Returns:
        The scores of objects 1, 2, ... in this order. (The reference lists them by proposal where it assigns, and so
        gives scores to the wrong names; the means are the same.)

    Raises:
        InputError: no such rule; no frames, or none left; label maps that do not fit; or a predicted id higher than the
            number of objects, or than 20 where proposals are assigned.

    >>> truth = np.array([[1, 1, 0, 0]] * 4)
    >>> score_sequence([(truth, truth), (0 * truth, truth)], "fixed-ids")
    (ObjectScores(proposal=1, region=(1.0, 0.0), boundary=(1.0, 0.0), changes=(1.0,)),)
    """
    if rule not in RULES:
        raise InputError(f"No rule {rule!r} for video. Available: {', '.join(RULES)}.")
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError("Expected argument `frames` to have a frame, but there is none.")
    if objects is None:
        _check_labels("truth", first[1])
        objects = int(first[1].max(initial=0, where=first[1] != VOID))
    if not 0 <= objects < VOID:
        raise InputError(f"Expected argument `objects` to be in [0, {VOID}), but got {objects}.")
    comparison = _Comparison(RULES[rule], objects)
    inner = (frame for frame, _ in pairwise(iterator))
    for predicted, truth in inner if RULES[rule].trimmed else chain([first], iterator):
        comparison.add(predicted, truth)
    if not comparison.region:
        raise InputError(f"The rule {rule!r} drops the first and the last frame, and there are no others.")
    return comparison.scores()


def flicker(predicted: np.ndarray, truth: np.ndarray) -> float:
    """How much more the mask of one object changes from frame to frame than it truly does.

    The change of a mask is 1 - J with itself in the next frame, motion included; flicker is the mean over consecutive
    frames of the predicted change less the true change. It is 0 for the truth itself, and for a mask that stands still
    where the truth does, right or wrong; positive for masks that jump, or come and go; negative for masks that stay
    behind a moving object, which is no merit: it says how steady a mask is, and only J and F say how good.

    Args:
        predicted, truth: (T, H, W) bool.

    Returns:
        A number in [-1, 1]; NaN with fewer than two frames.

    Raises:
        InputError: shapes or dtypes do not fit.

    >>> truth = np.ones((3, 4, 4), bool)
    >>> flicker(truth, truth), flicker(truth & np.array([True, False, True])[:, None, None], truth)
    (0.0, 1.0)
    """
    for name, masks in (("predicted", predicted), ("truth", truth)):
        if masks.dtype != np.bool_ or masks.ndim != 3 or masks.shape != truth.shape:
            raise InputError(
                f"Expected `{name}` of bool, (T, H, W) of one size, but got {masks.dtype}, {masks.shape} "
                f"for a truth of {truth.shape}."
            )
    found, true = ([iou(*pair) for pair in pairwise(map(Region, masks))] for masks in (predicted, truth))
    return _mean(_changes(found, true))


def statistics(values: Sequence[float] | np.ndarray, *, as_released: bool = False) -> Statistics:
    """Mean, recall and decay of J or F of one object.

    The first quarter ends with the frame at 1/4 of the sequence, the last one starts with that at 3/4; both positions
    are rounded half up.

    Args:
        values: by frame, at least one.
        as_released: keep the numbers of those frames in 8 bits, as the reference does. Up to 256 frames it is the same;
            beyond, the quarters are wrong, and the decay is NaN where the last one has no frames.

    Raises:
        InputError: there are no values.

    >>> statistics([0.75, 0.75, 0.5, 0.25, 0.25])
    Statistics(mean=0.5, recall=0.4, decay=0.5)
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise InputError(f"Expected argument `values` to be one number per frame, but got shape {array.shape}.")
    first, third, last = ((quarter * (array.size - 1) + 2) // 4 for quarter in (1, 3, 4))
    if as_released:
        first, third, last = first % 256, third % 256, last % 256
    decay = _mean(array[: first + 1]) - _mean(array[third : last + 1])
    return Statistics(_mean(array), float((array > 0.5).mean()), decay)


def video_scores(objects: Iterable[ObjectScores], *, as_released: bool = False) -> VideoScores:
    """Score any number of objects of any number of sequences; the same to the last bit in any order.

    Where several annotators worded the same objects, all of their objects together give the mean over annotators.

    Args:
        objects: gone through once.
        as_released: see `statistics`.

    >>> scores = video_scores([ObjectScores(1, (1.0, 0.5), (0.5, 0.5), (0.25,))])
    >>> scores.region.mean, scores.j_and_f, scores.flicker
    (0.75, 0.625, 0.25)
    """
    region, boundary, flickers = [], [], []
    for each in objects:
        region.append(statistics(each.region, as_released=as_released))
        boundary.append(statistics(each.boundary, as_released=as_released))
        if each.changes:
            flickers.append(_mean(each.changes))
    j, f = (
        Statistics(*(_mean([getattr(one, name) for one in found]) for name in Statistics._fields))
        for found in (region, boundary)
    )
    return VideoScores(len(region), j, f, (j.mean + f.mean) / 2, _mean(flickers))


class _Comparison:
    """The frames of a sequence that count, compared one by one."""

    def __init__(self, rule: Rule, objects: int) -> None:
        self.rule, self.objects = rule, objects
        self.limit = MAX_PROPOSALS if rule.assigned else objects
        self.rows = max(self.limit, objects)
        ids = range(objects)
        self.pairs = list(product(range(self.rows), ids) if rule.assigned else zip(ids, ids, strict=True))
        self.highest = 0
        self.region: list[list[float]] = []
        self.boundary: list[list[float]] = []
        self.steady: list[list[float]] = []
        self.truly_steady: list[list[float]] = []
        self.size: tuple[int, ...] | None = None
        self.before: tuple[list[Region], list[Region]] | None = None

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        self._check(predicted, truth)
        self.highest = max(self.highest, int(predicted.max()))
        if self.rule.void and (void := truth == VOID).any():
            predicted = np.where(void, 0, predicted)
        reach = boundary_reach(*truth.shape)
        proposals, objects = _regions(predicted, self.rows, reach), _regions(truth, self.objects, reach)
        self.region.append([iou(proposals[row], objects[i]) for row, i in self.pairs])
        self.boundary.append([boundary_score(proposals[row], objects[i]) for row, i in self.pairs])
        if self.before is not None:
            self.steady.append(_ious(self.before[0], proposals))
            self.truly_steady.append(_ious(self.before[1], objects))
        self.before = proposals, objects

    def scores(self) -> tuple[ObjectScores, ...]:
        region, boundary = np.array(self.region), np.array(self.boundary)
        rows = self._assign(region, boundary) if self.rule.assigned else range(self.objects)
        return tuple(self._object(region, boundary, row, i) for i, row in enumerate(rows))

    def _object(self, region: np.ndarray, boundary: np.ndarray, row: int, i: int) -> ObjectScores:
        pair = self.pairs.index((row, i))
        there = row < self.highest or not self.rule.assigned
        return ObjectScores(
            proposal=row + 1 if there else 0,
            region=tuple(region[:, pair].tolist()),
            boundary=tuple(boundary[:, pair].tolist()),
            changes=tuple(_changes([ious[row] for ious in self.steady], [ious[i] for ious in self.truly_steady])),
        )

    def _assign(self, region: np.ndarray, boundary: np.ndarray) -> list[int]:
        """The row of each object's proposal; empty masks stand in where there are fewer proposals than objects."""
        quality = (region.mean(axis=0) + boundary.mean(axis=0)).reshape(self.rows, self.objects)
        rows, objects = linear_sum_assignment(quality[: max(self.highest, self.objects)], maximize=True)
        return rows[np.argsort(objects)].tolist()

    def _check(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        for name, labels in (("predicted", predicted), ("truth", truth)):
            _check_labels(name, labels)
        if predicted.shape != truth.shape:
            raise InputError(f"Expected `predicted` of the shape of `truth`, {truth.shape}, but got {predicted.shape}.")
        if self.size not in (None, truth.shape):
            raise InputError(
                f"Expected the frames of a sequence to be of one size, {self.size}, but got {truth.shape}."
            )
        self.size = truth.shape
        if predicted.max() > self.limit:
            of = "the most there may be" if self.rule.assigned else "the number of objects"
            raise InputError(f"Expected predicted ids up to {self.limit}, {of}, but got {predicted.max()}.")


def _regions(labels: np.ndarray, count: int, reach: int) -> list[Region]:
    highest, nothing = int(labels.max()), Region(np.zeros((1, 1), bool))
    return [Region(labels == i, reach) if i <= highest else nothing for i in range(1, count + 1)]


def _ious(regions: Iterable[Region], others: Iterable[Region]) -> list[float]:
    return [iou(one, other) for one, other in zip(regions, others, strict=True)]


def _changes(steady: Sequence[float], truly_steady: Sequence[float]) -> list[float]:
    """Predicted change less true change, from the IoU of each mask with itself in the next frame."""
    return [true - found for found, true in zip(steady, truly_steady, strict=True)]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return fsum(values) / len(values) if len(values) else nan


def _check_labels(name: str, labels: np.ndarray) -> None:
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or not labels.size:
        raise InputError(f"Expected `{name}` (H, W) of an integer dtype, but got {labels.shape} of {labels.dtype}.")
    for label in (labels.min(), labels.max()):
        if not 0 <= label <= VOID:
            raise InputError(f"Expected the labels of `{name}` to be in [0, {VOID}], but got {label}.")
