"""The report of one run over films: the same bytes for the same records; see `car.evaluate.expression_report`.

Frames per second are in timing.json, with the other seconds.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from car.evaluate.expression_report import ExpressionReport
from car.evaluate.figures import rounded, stage_seconds
from car.evaluate.markdown import count, number, per_cent, within
from car.evaluate.report import stage_shares
from car.evaluate.video_page import page, shown_scores
from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_published import published
from car.evaluate.video_statistics import MAIN, VideoStatistics
from car.metrics.video import RULES, VideoScores


@dataclass(frozen=True)
class VideoReport(ExpressionReport):
    """A run's results over films."""

    unit: ClassVar[str] = VideoPlan.unit

    @classmethod
    def of(cls, statistics: VideoStatistics) -> "VideoReport":
        """The report of what was counted."""
        return cls(figures(statistics), seconds(statistics))

    @property
    def page(self) -> str:
        """Content of report.md."""
        return page(self.figures)

    @property
    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [self._result(), *self._others(), self._coverage()]
        lines += [
            f"published: {each['method']}: {shown_scores(each['scores'])} ({each['note']})"
            for each in self.figures["published_per_cent"]
        ]
        if self.timing["sequences"]:
            lines.append(self._speed())
        return "\n".join(lines)

    def _result(self) -> str:
        values, main = self.figures, self.figures["rules"][MAIN]
        run = f"{values['benchmark']} {values['split']}, {values['title']}"
        if main["j_and_f"] is None:
            return f"{run}: no result"
        scores = {"J&F": main["j_and_f"], "J": main["j"]["mean"], "F": main["f"]["mean"]}
        told = ", ".join(f"{name} {per_cent(value, digits=2)}" for name, value in scores.items())
        flicker = f"flicker {per_cent(main['flicker'], '+', digits=2)}"
        return f"{run}: {told}, {flicker} by the rule {MAIN}; J&F {within(main['interval'])}"

    def _others(self) -> list[str]:
        found = {rule: each["j_and_f"] for rule, each in self.figures["rules"].items() if rule != MAIN}
        told = ", ".join(f"{rule} {per_cent(value, digits=2)}" for rule, value in found.items() if value is not None)
        return [f"J&F by other rules: {told}"] if told else []

    def _coverage(self) -> str:
        sequences = self.figures["sequences"]
        there = [f"{count(self.figures[kind])} {kind}" for kind in ("frames", "objects")]
        others = [f"{count(sequences[kind])} {kind}" for kind in ("failed", "missing") if sequences[kind]]
        failed = self.figures["expressions"]["failed"]
        others += [f"{count(failed)} expressions not asked"] if failed else []
        line = f"{count(sequences['evaluated'])} of {count(sequences['all'])} sequences, {', '.join(there)}"
        return f"{line}; {', '.join(others)}" if others else line

    def _speed(self) -> str:
        stages = self.timing["seconds_per_sequence"]
        rate = number(self.timing["frames_per_second"])
        return f"{rate} frames/s per annotator, {stages['all']['mean']:.1f} s per sequence: {stage_shares(stages)}"


def figures(statistics: VideoStatistics) -> dict[str, Any]:
    """All numbers of a run but the seconds; equal for equal records, whatever their order."""
    plan: VideoPlan = statistics.plan
    return {
        "kind": plan.kind,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "title": plan.title,
        "sequences": statistics.coverage,
        "frames": statistics.frames,
        "objects": statistics.objects,
        "expressions": {
            "asked": statistics.asked,
            "failed": sum(map(len, statistics.problems.values())),
        },
        "masks": {"found": statistics.masks, "uncertain": statistics.uncertain},
        "complete": statistics.complete,
        "main": MAIN,
        "rules": {rule: of_rule(statistics, rule) for rule in (MAIN, *(each for each in RULES if each != MAIN))},
        "films": [
            {"sequence": key, "frames": film.frames, "objects": film.objects}
            | scored(statistics.scores(MAIN, key=key))
            | {name: sum(getattr(each, name) for each in film.annotators.values()) for name in ("masks", "uncertain")}
            for key, film in sorted(statistics.films.items())
        ],
        "published_per_cent": [each.to_dict() for each in published(plan.benchmark, plan.split)],
        "problems": [
            {"sequence": key, "annotator": annotator, "object": id, "problem": problem}
            for (key, annotator), problems in sorted(statistics.problems.items())
            for id, problem in problems.items()
        ],
        "failures": statistics.failed,
        "missing": statistics.missing,
        "plan": plan.to_dict(),
    }


def of_rule(statistics: VideoStatistics, rule: str) -> dict[str, Any]:
    """The scores by one rule, over all annotators and for each."""
    return {
        **scored(statistics.scores(rule)),
        "interval": [rounded(end) for end in statistics.interval(rule)],
        "annotators": {name: scored(statistics.scores(rule, annotator=name)) for name in statistics.plan.annotators},
    }


def scored(scores: VideoScores) -> dict[str, Any]:
    """Scores as plain data."""
    j, f = (
        {name: rounded(value) for name, value in each._asdict().items()} for each in (scores.region, scores.boundary)
    )
    return {"j_and_f": rounded(scores.j_and_f), "j": j, "f": f, "flicker": rounded(scores.flicker)}


def seconds(statistics: VideoStatistics) -> dict[str, Any]:
    """Wall time per sequence by stage, the longest first, then of all stages; and frames per second.

    The rate is of frames segmented by the expressions of one annotator, without reading and scoring them.
    """
    stages = stage_seconds(statistics)
    segmented = stages["segment"]["sum"] if stages else 0.0
    frames = statistics.frames * len(statistics.plan.annotators)
    return {
        "sequences": len(statistics.evaluated),
        "frames": statistics.frames,
        "frames_per_second": round(frames / segmented, 6) if segmented else None,
        "seconds_per_sequence": stages,
    }
