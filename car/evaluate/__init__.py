"""Benchmarks: a job is planned, done picture by picture, kept in a folder that can be gone on with, and reported.

>>> from car.evaluate import Shard
>>> Shard.parse("3/16").folder
'shard-03-of-16'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from car.evaluate.evaluator import Evaluator as Evaluator
    from car.evaluate.evaluator import Outcome as Outcome
    from car.evaluate.job import Job as Job
    from car.evaluate.job import ReferringJob as ReferringJob
    from car.evaluate.job import VideoJob as VideoJob
    from car.evaluate.merging import Merged as Merged
    from car.evaluate.merging import merge as merge
    from car.evaluate.plan import Plan as Plan
    from car.evaluate.record import Record as Record
    from car.evaluate.report import Report as Report
    from car.evaluate.run_directory import RunDirectory as RunDirectory
    from car.evaluate.runner import Progress as Progress
    from car.evaluate.runner import run as run
    from car.evaluate.shards import Shard as Shard

# The public names are imported when first used: to merge or compare runs, nobody should wait for torch.
_HOMES = {
    "Evaluator": "car.evaluate.evaluator",
    "Job": "car.evaluate.job",
    "Merged": "car.evaluate.merging",
    "Outcome": "car.evaluate.evaluator",
    "Plan": "car.evaluate.plan",
    "Progress": "car.evaluate.runner",
    "Record": "car.evaluate.record",
    "ReferringJob": "car.evaluate.job",
    "Report": "car.evaluate.report",
    "RunDirectory": "car.evaluate.run_directory",
    "Shard": "car.evaluate.shards",
    "VideoJob": "car.evaluate.job",
    "merge": "car.evaluate.merging",
    "run": "car.evaluate.runner",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'car.evaluate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
