"""What the two kinds of runs, semantic and referring, do not have in common; a plan tells which kind a run is of.

Whatever plans, does, keeps, joins and reports runs asks here for the part that depends on the kind. A module that
brings networks is imported only when a job is to be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from car.errors import InputError
from car.evaluate.job import Job, ReferringJob
from car.evaluate.plan import Plan
from car.evaluate.record import Record
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.referring_report import FILES as REFERRING_FILES
from car.evaluate.referring_report import ReferringReport
from car.evaluate.referring_report import write_report as write_referring_report
from car.evaluate.referring_statistics import ReferringStatistics, ReferringTally
from car.evaluate.report import FILES as SEMANTIC_FILES
from car.evaluate.report import Report
from car.evaluate.report import write_report as write_semantic_report
from car.evaluate.statistics import SemanticTally, Statistics

if TYPE_CHECKING:
    from car.evaluate.evaluator import Evaluator
    from car.evaluate.referring_evaluator import ReferringEvaluator

AnyJob = Job | ReferringJob
AnyPlan = Plan | ReferringPlan
AnyRecord = Record | ReferringRecord
AnyReport = Report | ReferringReport
AnyStatistics = Statistics | ReferringStatistics


def evaluator_of(job: AnyJob) -> "Evaluator | ReferringEvaluator":
    """What turns the pictures of a job into records; raises as it does."""
    if isinstance(job, ReferringJob):
        from car.evaluate.referring_evaluator import ReferringEvaluator

        return ReferringEvaluator(job)
    from car.evaluate.evaluator import Evaluator

    return Evaluator(job)


def check_predictions(job: AnyJob) -> None:
    """Refuse to keep predictions where there is no label map to keep.

    Raises:
        InputError: it is a referring job: masks of expressions overlap.
    """
    if isinstance(job, ReferringJob):
        raise InputError("Predictions are not kept of referring benchmarks, whose masks overlap; see `car refer`.")


def plan_from(values: Mapping[str, Any]) -> AnyPlan:
    """The plan that a run's file holds.

    Raises:
        InputError: it is none.
    """
    if not isinstance(values, Mapping):
        raise InputError("This is not the plan of a run.")
    kind = ReferringPlan if values.get("kind") == ReferringPlan.kind else Plan
    return kind.from_dict(values)


def record_from(plan: AnyPlan, line: str | bytes) -> AnyRecord:
    """A record of a run of this plan.

    Raises:
        InputError: the line is none.
    """
    return ReferringRecord.from_line(line) if isinstance(plan, ReferringPlan) else Record.from_line(line)


def failed_record(plan: AnyPlan, key: str, reason: str) -> AnyRecord:
    """The record of a picture without a result."""
    return ReferringRecord(key, error=reason) if isinstance(plan, ReferringPlan) else Record(key, error=reason)


def tally_of(plan: AnyPlan) -> Any:
    """A `SemanticTally` or `ReferringTally`: what knows the main score of the pictures so far."""
    return ReferringTally(plan) if isinstance(plan, ReferringPlan) else SemanticTally(plan)


def statistics_of(plan: AnyPlan, keys: Iterable[str]) -> Any:
    """The `Statistics` or `ReferringStatistics` that records of a run of this plan are counted in."""
    return ReferringStatistics(plan, keys) if isinstance(plan, ReferringPlan) else Statistics(plan, keys)


def report_of(statistics: AnyStatistics) -> AnyReport:
    """The report of what was counted."""
    return ReferringReport.of(statistics) if isinstance(statistics, ReferringStatistics) else Report.of(statistics)


def report_files(plan: AnyPlan) -> Sequence[str]:
    """Names of what the report of a run of this plan is written to."""
    return REFERRING_FILES if isinstance(plan, ReferringPlan) else SEMANTIC_FILES


def write_report(folder: str | Path, plan: AnyPlan, keys: Sequence[str], records: Iterable[Any]) -> AnyReport:
    """Count a run's records and write its report to its folder; as `car.evaluate.report.write_report`."""
    if isinstance(plan, ReferringPlan):
        return write_referring_report(folder, plan, keys, records)
    return write_semantic_report(folder, plan, keys, records)
