"""What the kinds of runs, semantic, referring and video, do not have in common; a plan tells which kind a run is of.

Whatever plans, does, keeps, joins and reports runs asks here for the part that depends on the kind. A module that
brings networks is imported only when a job is to be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from car.errors import InputError
from car.evaluate import expression_report, plots, referring_plots, report, video_plots
from car.evaluate.compare import Comparison
from car.evaluate.compare_referring import ReferringComparison
from car.evaluate.compare_runs import other_benchmark
from car.evaluate.compare_video import VideoComparison
from car.evaluate.job import Job, ReferringJob, VideoJob
from car.evaluate.plan import Plan
from car.evaluate.record import Record
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.referring_report import ReferringReport
from car.evaluate.referring_statistics import ReferringStatistics, ReferringTally
from car.evaluate.report import Report
from car.evaluate.statistics import SemanticTally, Statistics
from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_record import VideoRecord
from car.evaluate.video_report import VideoReport
from car.evaluate.video_statistics import VideoStatistics, VideoTally

if TYPE_CHECKING:
    from car.evaluate.evaluator import Evaluator
    from car.evaluate.referring_evaluator import ReferringEvaluator
    from car.evaluate.video_evaluator import VideoEvaluator

AnyJob = Job | ReferringJob | VideoJob
AnyPlan = Plan | ReferringPlan | VideoPlan
AnyRecord = Record | ReferringRecord | VideoRecord
AnyComparison = Comparison | ReferringComparison | VideoComparison
AnyReport = Report | ReferringReport | VideoReport
AnyStatistics = Statistics | ReferringStatistics | VideoStatistics


@dataclass(frozen=True)
class Kind:
    """What runs of one kind are made of.

    plan, record, tally, statistics, report, comparison: the classes.
    files: names of what its report is written to.
    plots: the module that draws, with `write_plots` and `files`.
    """

    plan: Any
    record: Any
    tally: Any
    statistics: Any
    report: Any
    comparison: Any
    files: Sequence[str]
    plots: Any


SEMANTIC = Kind(Plan, Record, SemanticTally, Statistics, Report, Comparison, report.FILES, plots)
REFERRING = Kind(
    ReferringPlan,
    ReferringRecord,
    ReferringTally,
    ReferringStatistics,
    ReferringReport,
    ReferringComparison,
    expression_report.FILES,
    referring_plots,
)
VIDEO = Kind(
    VideoPlan,
    VideoRecord,
    VideoTally,
    VideoStatistics,
    VideoReport,
    VideoComparison,
    expression_report.FILES,
    video_plots,
)


def kind_of(plan: AnyPlan) -> Kind:
    """The kind of a plan."""
    return next(kind for kind in (SEMANTIC, REFERRING, VIDEO) if isinstance(plan, kind.plan))


def evaluator_of(job: AnyJob) -> "Evaluator | ReferringEvaluator | VideoEvaluator":
    """What turns the pictures or films of a job into records; raises as it does."""
    if isinstance(job, VideoJob):
        from car.evaluate.video_evaluator import VideoEvaluator

        return VideoEvaluator(job)
    if isinstance(job, ReferringJob):
        from car.evaluate.referring_evaluator import ReferringEvaluator

        return ReferringEvaluator(job)
    from car.evaluate.evaluator import Evaluator

    return Evaluator(job)


def check_predictions(job: AnyJob) -> None:
    """Refuse to keep predictions where there is not one label map per picture to keep.

    Raises:
        InputError: it is a job with expressions: masks of expressions overlap, and films have label maps by annotator.
    """
    if isinstance(job, ReferringJob):
        raise InputError("Predictions are not kept of referring benchmarks, whose masks overlap; see `car refer`.")
    if isinstance(job, VideoJob):
        raise InputError("Predictions are not kept of films; `car video --referring` writes label maps of one.")


def plan_from(values: Mapping[str, Any]) -> AnyPlan:
    """The plan that a run's file holds.

    Raises:
        InputError: it is none.
    """
    if not isinstance(values, Mapping):
        raise InputError("This is not the plan of a run.")
    named = {kind.plan.kind: kind for kind in (REFERRING, VIDEO)}
    return named.get(values.get("kind"), SEMANTIC).plan.from_dict(values)


def record_from(plan: AnyPlan, line: str | bytes) -> AnyRecord:
    """A record of a run of this plan.

    Raises:
        InputError: the line is none.
    """
    return kind_of(plan).record.from_line(line)


def failed_record(plan: AnyPlan, key: str, reason: str) -> AnyRecord:
    """The record of a picture or film without a result."""
    return kind_of(plan).record(key, error=reason)


def tally_of(plan: AnyPlan) -> Any:
    """A tally of the plan's kind: what knows the main score of the pictures or films so far."""
    return kind_of(plan).tally(plan)


def statistics_of(plan: AnyPlan, keys: Iterable[str]) -> Any:
    """The statistics that records of a run of this plan are counted in."""
    return kind_of(plan).statistics(plan, keys)


def report_of(statistics: AnyStatistics) -> AnyReport:
    """The report of what was counted."""
    return kind_of(statistics.plan).report.of(statistics)


def report_files(plan: AnyPlan) -> Sequence[str]:
    """Names of what the report of a run of this plan is written to."""
    return kind_of(plan).files


def check_comparable(plans: Mapping[str, AnyPlan]) -> None:
    """Refuse to compare runs whose scores say nothing about each other.

    Args:
        plans: two or more, by what errors call the runs.

    Raises:
        InputError: one cannot be compared with the first; it says what differs.
    """
    (first, reference), *others = plans.items()
    kind = kind_of(reference)
    for name, plan in others:
        if kind_of(plan) is not kind:
            raise other_benchmark(name, plan, first, reference)
    kind.comparison.check(plans)


def comparison_of(runs: Mapping[str, AnyStatistics]) -> AnyComparison:
    """Runs side by side, by what the page calls them; raises as `check_comparable` does, and with fewer than two."""
    check_comparable({name: run.plan for name, run in runs.items()})
    return kind_of(next(iter(runs.values())).plan).comparison(runs)


def plot_files(plan: AnyPlan, names: Sequence[str]) -> list[str]:
    """Names of what `write_plots` writes for runs of this plan's kind with these names."""
    return kind_of(plan).plots.files(names)


def write_plots(folder: str | Path, runs: Mapping[str, AnyStatistics]) -> list[Path]:
    """Draw runs of one kind; arguments, result and errors are those of `car.evaluate.plots.write_plots`."""
    return kind_of(next(iter(runs.values())).plan).plots.write_plots(folder, runs)


def write_report(folder: str | Path, plan: AnyPlan, keys: Sequence[str], records: Iterable[Any]) -> AnyReport:
    """Count a run's records and write its report to its folder.

    Args:
        plan: of the run.
        keys: of all pictures or films that it is to evaluate.
        records: at most one per key, in any order; read once.

    Raises:
        InputError: a record is of none of the keys, or the second of one, or does not fit the plan; or the folder
            cannot be made.
        CarError: writing failed.
    """
    written = report_of(kind_of(plan).statistics.of(plan, keys, records))
    written.write(folder)
    return written
