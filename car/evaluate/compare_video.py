"""Runs over films side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar

from car.evaluate.compare_expressions import ExpressionComparison
from car.evaluate.markdown import number, per_cent, table, text
from car.evaluate.video_page import RULES, coverage, values_of
from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_report import VideoReport
from car.evaluate.video_statistics import MAIN, VideoStatistics


@dataclass(frozen=True)
class VideoComparison(ExpressionComparison):
    """Two or more runs over films; see `ExpressionComparison`. The main score is J&F by the rule for fixed ids."""

    report: ClassVar[Any] = VideoReport
    labels: ClassVar[tuple[str, ...]] = ("measure", "rule", "sequence")
    answers: ClassVar[str] = "expressions"

    runs: Mapping[str, VideoStatistics]

    @staticmethod
    def measured(plan: VideoPlan) -> dict[str, Any]:
        """The split, and whose annotations and expressions."""
        return {"split": plan.split, "variant": plan.variant, "list of annotators": ", ".join(plan.annotators)}

    def _title(self) -> str:
        return f"{super()._title()} ({text(self._first.plan.variant)})"

    def _about(self) -> Iterator[str]:
        yield f"Where no rule is named, it is {MAIN}: {RULES[MAIN]}."

    def _row(self, name: str) -> dict[str, str]:
        rate = self.reports[name].timing["frames_per_second"]
        return {**super()._row(name), "frames per second": number(rate)}

    def _parts(self) -> Iterator[str]:
        yield "## Sequences"
        films = {name: self._films(name) for name in self.runs}
        first = next(iter(films.values()))
        rows = [
            [text(key), *(self._beside(name, each.get(key), first.get(key)) for name, each in films.items())]
            for key in sorted({key for each in films.values() for key in each})
        ]
        yield table(["J&F, per cent", *map(text, films)], rows)

    def _films(self, name: str) -> dict[str, float | None]:
        """J&F by film."""
        return {each["sequence"]: each["j_and_f"] for each in self.reports[name].figures["films"]}

    def _column(self, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
        report = self.reports[name]
        for measure, value in self._measures(name):
            yield (measure, MAIN if measure.startswith("J&F") else "", ""), value
        yield ("frames per second", "", ""), report.timing["frames_per_second"]
        for rule, scores in report.figures["rules"].items():
            for measure, value in values_of(scores).items():
                yield (measure, rule, ""), value
            yield from zip((("J&F low", rule, ""), ("J&F high", rule, "")), scores["interval"], strict=True)
        for each in report.figures["films"]:
            for measure, value in values_of(each).items():
                yield (measure, MAIN, each["sequence"]), value

    @staticmethod
    def _main(figures: Mapping[str, Any]) -> tuple[str, float | None, list[float | None]]:
        main = figures["rules"][MAIN]
        return "J&F", main["j_and_f"], main["interval"]

    @staticmethod
    def _others(figures: Mapping[str, Any]) -> dict[str, str]:
        rules = figures["rules"]
        found = values_of(rules[MAIN])
        cells = {name: per_cent(found[name], digits=2) for name in ("J", "F")}
        cells["flicker"] = per_cent(found["flicker"], "+", digits=2)
        others = {rule: each["j_and_f"] for rule, each in rules.items() if rule != MAIN}
        return cells | {f"J&F {rule}": per_cent(value, digits=2) for rule, value in others.items()}

    @staticmethod
    def _coverage(figures: Mapping[str, Any]) -> str:
        return coverage(figures)

    @staticmethod
    def _asked(figures: Mapping[str, Any]) -> int:
        return figures["expressions"]["asked"]

    @staticmethod
    def _seconds(report: VideoReport) -> float:
        asked, stages = report.figures["expressions"]["asked"], report.timing["seconds_per_sequence"]
        return stages["all"]["sum"] / asked if asked else nan
