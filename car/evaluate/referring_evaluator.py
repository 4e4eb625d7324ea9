"""A referring job at work: pictures with expressions in, records out."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from car.data import (
    OfCategories,
    ReferringDataset,
    ReferringTruth,
    Target,
    find_referring,
    open_referring,
    read_categories,
)
from car.data.of_categories import category_file
from car.errors import InputError, MissingError
from car.evaluate.evaluator import Outcome, drawn, reason, set_threads
from car.evaluate.job import ReferringJob
from car.evaluate.method import check_method, load, of_files, planned, prepare
from car.evaluate.referring_plan import PROTOCOLS, ReferringPlan
from car.evaluate.referring_record import Answer, ReferringRecord, TargetRecord
from car.metrics.referring import overlap
from car.referring.referral import PreparedReferral, Referral

_READING = ("overlap", "instances", "sentence")


class ReferringEvaluator:
    """A referring benchmark that has been found, and a method that has been loaded.

    On a CPU the number of threads is set for the whole process, for rounding depends on it.

    Args:
        job: what to evaluate with what.

    Attributes:
        dataset: the benchmark, or of it the targets of `job.categories`.
        keys: its pictures, or those drawn by `job.limit`, sorted.
        plan: what is computed, whole.

    Raises:
        InputError: an unknown benchmark, split, method, protocol, category, preset, model or setting, or one that the
            method or the benchmark does not have.
        MissingError: data, weights or a package are not where they should be.
        CheckpointError: a file that is no CLIP checkpoint.
    """

    def __init__(self, job: ReferringJob) -> None:
        self.job = job
        check(job)
        self.dataset = opened(job)
        self.keys = drawn(self.dataset.keys, job.limit, job.seed)
        self.threads = set_threads(job.threads)
        self.referrer = load(job)
        self.plan = self._plan()

    def __call__(self, key: str) -> Outcome:
        """One picture of the benchmark; a bad one gives a record that says what is wrong with it."""
        start = time.perf_counter()
        try:
            truth = self.dataset.read(key)
            return self.evaluate(key, truth, time.perf_counter() - start)
        except (InputError, MissingError) as error:
            return Outcome(ReferringRecord(key, error=reason(error, self.dataset.root)))

    def evaluate(self, key: str, truth: ReferringTruth, seconds_read: float) -> Outcome:
        """One picture that has been read, in so many seconds."""
        prepared = self.prepare(key, truth.image)
        stages = {"read": seconds_read}
        targets = tuple(self.target(prepared, target, stages) for target in truth.targets)
        found = getattr(prepared, "proposals", None)
        rounded = {stage: round(seconds, 4) for stage, seconds in stages.items()}
        return Outcome(ReferringRecord(key, None if found is None else len(found), targets, rounded))

    def prepare(self, key: str, image: np.ndarray) -> Any:
        """What depends on the picture (H, W, 3) uint8 alone."""
        return prepare(self.referrer, key, image)

    def target(self, prepared: PreparedReferral, target: Target, stages: dict[str, float]) -> TargetRecord:
        """The answers for one target; the seconds are added to `stages`."""
        asked = [(number, text) for number, text in enumerate(target.expressions, 1)]
        if self.job.protocol == "sentence":
            answers = [answer([each], lambda texts: prepared.refer(texts[0]), target, stages) for each in asked]
        else:
            answers = [answer(asked, prepared.refer_object, target, stages)]
        return TargetRecord(target.id, target.no_target, tuple(answers))

    def _plan(self) -> ReferringPlan:
        job, choices = self.job, find_referring(self.job.benchmark).choices
        return ReferringPlan(
            images=len(self.keys),
            protocol=job.protocol,
            skip_empty=job.skip_empty,
            reading={name: getattr(job, name) for name in _READING if name in choices},
            categories={} if job.categories is None else of_files(str(category_file(job.categories))),
            threads=self.threads,
            **planned(job, self.dataset, self.keys, self.referrer),
        )


def opened(job: ReferringJob) -> ReferringDataset:
    """The benchmark of a job, with the targets that are asked for; raises as `ReferringEvaluator` does."""
    names = None if job.categories is None else read_categories(job.categories)
    dataset = open_referring(
        job.benchmark,
        job.data_root,
        split=job.split,
        split_by=job.split_by,
        **{name: getattr(job, name) for name in _READING},
    )
    return dataset if names is None else OfCategories(dataset, names)


def answer(
    asked: Sequence[tuple[int, str]],
    refer: Callable[[Sequence[str]], Referral],
    target: Target,
    stages: dict[str, float],
) -> Answer:
    """One answer to some expressions of a target, with their numbers; those that say nothing are not asked."""
    problems = [f"expression {number} is blank" for number, text in asked if not text.strip()]
    texts = [text for _, text in asked if text.strip()]
    nothing = np.zeros_like(target.mask)
    mask, found, flagged = nothing, False, False
    if texts:
        try:
            referral = refer(texts)
        except InputError as error:
            problems.append(f"{'expression' if len(asked) == 1 else 'expressions'} {_numbers(asked)}: {error}")
        else:
            for stage, seconds in referral.seconds.items():
                stages[stage] = stages.get(stage, 0.0) + float(np.sum(seconds))
            mask, found = referral.mask, bool(np.isfinite(referral.score))
            flagged = not found or not mask.any()
    counted = overlap(mask, target.mask, no_target=target.no_target)
    return Answer(counted.intersection, counted.union, found, flagged, tuple(problems))


def _numbers(asked: Sequence[tuple[int, str]]) -> str:
    return ", ".join(str(number) for number, text in asked if text.strip())


def check(job: ReferringJob) -> None:
    """Refuse what a benchmark or method does not have, before anything is read.

    Raises:
        InputError: no such protocol; a benchmark of video; or a choice that is of other methods.
    """
    if job.protocol not in PROTOCOLS:
        raise InputError(f"Expected argument `protocol` to be {' or '.join(PROTOCOLS)}, but got {job.protocol!r}.")
    if find_referring(job.benchmark).unit != "pictures":
        raise InputError(
            f"{job.benchmark} is a benchmark of video: it takes a `VideoJob`, or `car eval {job.benchmark}`."
        )
    if job.method == "car" and job.skip_empty:
        raise InputError("The method 'car' has no choice of `skip_empty`: it needs no mask proposals.")
    check_method(job)
