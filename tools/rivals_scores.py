"""Scores of a run with 95 % intervals over pictures, all of them sums over sums; and what a run took."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

import numpy as np

from car.evaluate.bootstrap import draws, interval
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.referring_statistics import counts, iou
from car.metrics.referring import Overlap

READING = "read"
"""The stage of a record that is the benchmark's and not the method's: the picture and its truth are read."""
GENERALIZED = ("gIoU", "cIoU", "N-acc", "T-acc")
PLAIN = ("mIoU", "oIoU", "P@0.5")


@dataclass(frozen=True)
class Score:
    """A score in [0, 1], NaN where it is of nothing.

    ends: of its 95 % interval.
    rounds: its values in the rounds of the bootstrap; those of two runs over the same pictures are pairs.
    """

    value: float
    ends: tuple[float, float]
    rounds: np.ndarray


def scores(plan: ReferringPlan, records: Iterable[ReferringRecord]) -> dict[str, Score]:
    """Scores by name: those of gRefCOCO where the plan is of it, else those of the RefCOCO family."""
    counted = [record for record in records if counts(record, plan)]
    drawn = np.array([draws(record.key) for record in counted]).reshape(len(counted), -1)
    names = GENERALIZED if plan.generalized else PLAIN
    parts = np.array([[parts_of(name, record, plan) for name in names] for record in counted], float)
    return {name: ratio(parts[:, i], drawn) for i, name in enumerate(names)} if counted else {}


def ratio(parts: np.ndarray, drawn: np.ndarray) -> Score:
    """The score of parts (pictures, 2), sums to be divided by each other, and draws (pictures, ROUNDS)."""
    over, under = parts.T @ drawn
    whole = parts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rounds, value = over / under, float(np.divide(*whole))
    return Score(value, interval(rounds), rounds)


def parts_of(name: str, record: ReferringRecord, plan: ReferringPlan) -> tuple[float, float]:
    """What a picture adds to both sides of a score."""
    each = [overlap for target in record.targets for overlap in target.overlaps]
    if name in ("mIoU", "gIoU"):
        return fsum(iou(one, plan) for one in each), len(each)
    if name == "P@0.5":
        return sum(one.iou() >= 0.5 for one in each), len(each)
    if name in ("oIoU", "cIoU"):
        return pixels(each, generalized=name == "cIoU")
    there = [one for one in each if one.no_target == (name == "N-acc")]
    return sum(one.flagged == one.no_target for one in there), len(there)


def pixels(each: Iterable[Overlap], *, generalized: bool) -> tuple[int, int]:
    """Intersections and unions; by ReLA's rules what is told to have no target has no intersection, and if it has none
    no union."""
    over = under = 0
    for one in each:
        told = generalized and one.flagged
        over += 0 if told else one.intersection
        under += 0 if told and one.no_target else one.union
    return over, under


def seconds_per_expression(records: Iterable[ReferringRecord]) -> float:
    """Wall time of all stages but the reading of the data, over the number of answers; NaN without any."""
    whole, answers = 0.0, 0
    for record in records:
        whole += fsum(seconds for stage, seconds in record.seconds.items() if stage != READING)
        answers += sum(len(target.answers) for target in record.targets)
    return whole / answers if answers else float("nan")


def candidates(records: Iterable[ReferringRecord]) -> float | None:
    """Mask proposals per picture; None of a method without."""
    numbers = [record.proposals for record in records if record.error is None]
    known = [number for number in numbers if number is not None]
    return float(np.mean(known)) if known else None


def difference(one: Mapping[str, Score], other: Mapping[str, Score], name: str) -> tuple[float, tuple[float, float]]:
    """How much larger a score of one run is than that of the other, with the interval of paired rounds."""
    return one[name].value - other[name].value, interval(one[name].rounds - other[name].rounds)
