"""Go through a benchmark's pictures, keep a record of each, report at the end; stopped at any moment, go on there."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from car.errors import InputError
from car.evaluate.evaluator import Outcome
from car.evaluate.kinds import (
    AnyJob,
    AnyPlan,
    AnyRecord,
    AnyReport,
    check_predictions,
    evaluator_of,
    tally_of,
    write_report,
)
from car.evaluate.run_writer import RunWriter
from car.evaluate.shards import Shard

ENGINES = ("local", "ray")
Evaluate = Callable[[Sequence[str]], Iterable[Outcome]]


class Progress:
    """How far a run has come.

    Attributes:
        folder: where it is written.
        unit: what is gone through, "images" or "sequences".
        total: how many of these there are to do in all.
        there: how many of them had a result already.
        done: how many have been dealt with by now.
        record: of the latest picture; None before the first.
    """

    def __init__(self, run: RunWriter, missing: Sequence[str]) -> None:
        self.folder, self.unit, self.total = run.folder, run.plan.unit, len(run.own_keys)
        self.there = self.done = self.total - len(missing)
        self.record: AnyRecord | None = None
        self._tally: Any = tally_of(run.plan)
        to_do = set(missing)
        for record in run.records():
            if record.key not in to_do:
                self._tally.add(record)

    @property
    def measure(self) -> str:
        """What the main score of the benchmark is called: mIoU, gIoU, or J&F."""
        return self._tally.measure

    @property
    def miou(self) -> float:
        """That score in [0, 1] of the pictures so far, `measure` tells which; NaN where nothing was counted."""
        return self._tally.value

    def add(self, record: AnyRecord) -> None:
        """One more picture."""
        self.done += 1
        self.record = record
        self._tally.add(record)


def run(
    job: AnyJob,
    out: str | Path,
    *,
    engine: str = "local",
    shard: Shard | None = None,
    workers: int | None = None,
    address: str | None = None,
    predictions: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> AnyReport:
    """Evaluate the pictures of a job that have no result yet, and write the report of all.

    Pictures that failed before are tried again. However often a run was stopped, and whatever engine did it, its
    report has the same bytes.

    Args:
        job: what to evaluate with what.
        out: the run's folder; a shard has a folder of its own in it. See `car.evaluate.run_directory`.
        engine: "local", in this process, or "ray".
        shard: do this part alone.
        workers, address: of the engine "ray"; see `car.evaluate.ray_engine.outcomes`.
        predictions: keep the predicted label maps, too; of semantic benchmarks alone.
        overwrite: begin anew, whatever run is there.
        on_progress: told before the first picture and after each.

    Returns:
        The report, of the shard's pictures where there is one; it is not complete if some pictures failed.

    Raises:
        InputError: as `Evaluator` and `RunWriter` do, an unknown engine, or predictions of a job with expressions.
        MissingError: as `Evaluator` does, or the engine is not installed.
        CarError: writing failed.
    """
    if predictions:
        check_predictions(job)
    plan, keys, evaluate = engaged(job, engine, workers, address)
    folder = Path(out) if shard is None else Path(out) / shard.folder
    with RunWriter(folder, plan, keys, data_root=job.data_root, shard=shard, overwrite=overwrite) as run:
        missing = run.missing(predictions=predictions)
        progress, tell = Progress(run, missing), on_progress or (lambda progress: None)
        tell(progress)
        # Closed at once, however this ends: an engine may have processes to end.
        with closing(each(evaluate, missing)) as outcomes:
            for outcome in outcomes:
                if predictions and outcome.labels is not None:
                    run.write_prediction(outcome.record.key, outcome.labels)
                run.append(outcome.record)
                progress.add(outcome.record)
                tell(progress)
        return write_report(run.folder, run.plan, run.own_keys, run.records())


def each(evaluate: Evaluate, keys: Sequence[str]) -> Generator[Outcome, None, None]:
    """The outcomes of these pictures; no engine starts for none."""
    if keys:
        yield from evaluate(keys)


def engaged(
    job: AnyJob, engine: str, workers: int | None, address: str | None
) -> tuple[AnyPlan, Sequence[str], Evaluate]:
    """A job's plan, its keys, and what turns keys into outcomes."""
    if engine not in ENGINES:
        raise InputError(f"Expected argument `engine` to be one of {', '.join(ENGINES)}, but got {engine!r}.")
    if engine == "local":
        if workers is not None or address is not None:
            raise InputError("Workers and a Ray address are for the engine 'ray'.")
        evaluator = evaluator_of(job)
        return evaluator.plan, evaluator.keys, partial(map, evaluator)
    from car.evaluate.ray_engine import outcomes

    # The models that this one holds are let go before the workers load theirs.
    evaluator = evaluator_of(job)
    return evaluator.plan, evaluator.keys, partial(outcomes, job, evaluator.plan, workers=workers, address=address)
