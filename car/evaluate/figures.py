"""A run's statistics as plain data: what report.json holds, and what the page is made of.

Shares and IoU are in [0, 1], rounded to 10 digits; None stands for what is not defined, such as the IoU of a class
without pixels. Published figures alone are in per cent, as published.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from car.evaluate.counted import Counted
from car.evaluate.statistics import LoopStatistics, Statistics
from car.metrics.semantic import SemanticScores

DIGITS = 10
STRICT = "strict mIoU"


def figures(statistics: Statistics) -> dict[str, Any]:
    """All numbers of a run but the seconds; equal for equal records, whatever their order."""
    plan, scores = statistics.plan, statistics.scores()
    return {
        "benchmark": plan.benchmark,
        "split": plan.split,
        "images": statistics.coverage,
        "complete": statistics.complete,
        "scores": {name: _scores(statistics, name, each) for name, each in scores.items()},
        "published_per_cent": dict(plan.published),
        "classes": list(_classes(statistics, scores)),
        "passes": [
            {"kind": planned.kind, **_loop(loop)} for planned, loop in zip(plan.passes, statistics.passes, strict=True)
        ],
        "failures": statistics.failed,
        "missing": statistics.missing,
        "plan": plan.to_dict(),
    }


def seconds(statistics: Statistics) -> dict[str, Any]:
    """Wall time per picture by stage, the longest first, then of all stages."""
    return {"images": len(statistics.evaluated), "seconds_per_image": stage_seconds(statistics)}


def stage_seconds(statistics: Counted) -> dict[str, dict[str, float]]:
    """Sum, mean and median by stage, the longest first, then of all stages."""
    stages = statistics.timings().items()
    return {stage: {name: round(value, 6) for name, value in asdict(each).items()} for stage, each in stages}


def rounded(value: float) -> float | None:
    """A number as JSON holds it.

    >>> rounded(1 / 3), rounded(math.nan)
    (0.3333333333, None)
    """
    return round(float(value), DIGITS) if math.isfinite(value) else None


def _scores(statistics: Statistics, name: str, scores: SemanticScores) -> dict[str, Any]:
    true = statistics.counted(statistics.rules[name]).sum(axis=1)
    return {
        "miou": rounded(scores.miou),
        "miou_interval": [rounded(end) for end in statistics.interval(name)],
        "pixel_accuracy": rounded(scores.pixel_accuracy),
        "mean_accuracy": rounded(scores.mean_accuracy),
        "frequency_weighted_iou": rounded(scores.frequency_weighted_iou),
        "classes": int((true > 0).sum()),
    }


def _classes(statistics: Statistics, scores: dict[str, SemanticScores]) -> Iterator[dict[str, Any]]:
    plan, rule = statistics.plan, next(iter(statistics.rules.values()))
    counted = statistics.counted(rule)
    true, predicted, correct = counted.sum(axis=1), counted.sum(axis=0), counted.diagonal()
    present, found, wrong = (
        np.sum([getattr(loop, name) for loop in statistics.passes], axis=0) for name in ("present", "found", "wrong")
    )
    for i in range(0 if plan.background else 1, len(counted)):
        entry: dict[str, Any] = {"id": i - 1, "name": plan.names[i - 1], "kind": plan.classes[i - 1]["kind"]}
        if i == 0:
            entry = {"id": None, "name": "background", "kind": "background"}
        entry |= {"iou": rounded(scores["mIoU"].class_iou[i])}
        if STRICT in scores:
            entry |= {"strict_iou": rounded(scores[STRICT].class_iou[i])}
        entry |= {
            "accuracy": rounded(correct[i] / true[i]) if true[i] else None,
            "true_pixels": int(true[i]),
            "predicted_pixels": int(predicted[i]),
            "correct_pixels": int(correct[i]),
        }
        for key, counts in (("present", present), ("kept_present", found), ("kept_absent", wrong)):
            entry[key] = int(counts[i - 1]) if i else None
        yield entry


def _loop(loop: LoopStatistics) -> dict[str, Any]:
    absent = loop.pictures * len(loop.asked) - int(loop.present.sum())
    return {
        "classes": len(loop.asked),
        "present": int(loop.present.sum()),
        "present_dropped": int(loop.present.sum() - loop.found.sum()),
        "present_dropped_share": rounded(loop.present_dropped),
        "absent": absent,
        "absent_kept": int(loop.wrong.sum()),
        "absent_kept_share": rounded(loop.absent_kept),
        "mean_steps": rounded(loop.mean_steps),
        "steps": [
            {
                "step": step,
                "images": loop.reached(step),
                "stopped": loop.steps[step],
                "mean_entered": rounded(loop.entered[step] / loop.reached(step)),
                "mean_left": rounded(loop.left[step] / loop.reached(step)),
                "mean_pruned": rounded((loop.entered[step] - loop.left[step]) / loop.reached(step)),
            }
            for step in range(1, max(loop.steps, default=0) + 1)
        ],
    }
