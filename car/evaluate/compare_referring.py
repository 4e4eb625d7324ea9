"""Referring runs over pictures side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar

from car.evaluate.compare_expressions import ExpressionComparison
from car.evaluate.markdown import per_cent, text
from car.evaluate.referring_page import UNPUBLISHED, coverage, of_categories, protocol_of
from car.evaluate.referring_plan import PROTOCOLS, ReferringPlan
from car.evaluate.referring_report import ReferringReport
from car.evaluate.referring_statistics import ReferringStatistics


@dataclass(frozen=True)
class ReferringComparison(ExpressionComparison):
    """Two or more runs over pictures; see `ExpressionComparison`."""

    report: ClassVar[Any] = ReferringReport
    labels: ClassVar[tuple[str, ...]] = ("measure",)
    answers: ClassVar[str] = "answers"

    runs: Mapping[str, ReferringStatistics]

    @staticmethod
    def measured(plan: ReferringPlan) -> dict[str, Any]:
        """The split and who made it, which targets are asked for, and what an answer and its truth are."""
        return {
            "split": plan.split,
            "variant": plan.variant,
            "list of categories": "{source} ({sha256:.12})".format_map(plan.categories) if plan.categories else None,
            "protocol": protocol_of({"protocol": plan.protocol}),
            "rule for overlaps": plan.reading.get("overlap"),
            "rule for instances": plan.reading.get("instances"),
        }

    def _title(self) -> str:
        plan = self._first.plan
        variant = f" ({plan.variant})" if plan.variant else ""
        return f"{super()._title()}{variant}{text(of_categories({'categories': plan.categories}))}"

    def _about(self) -> Iterator[str]:
        protocol = self._first.plan.protocol
        yield f"Protocol: {protocol_of({'protocol': protocol})}, {PROTOCOLS[protocol]}."

    def _origin(self) -> str:
        return UNPUBLISHED if self._first.plan.categories else super()._origin()

    def _published(self) -> list[Mapping[str, Any]]:
        protocol = self._first.plan.protocol
        return [each for each in super()._published() if each["protocol"] == protocol]

    def _column(self, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
        scores = self.reports[name].figures["scores"]
        for measure, value in {**dict(self._measures(name)), **scores}.items():
            yield (measure,), value

    @staticmethod
    def _main(figures: Mapping[str, Any]) -> tuple[str, float | None, list[float | None]]:
        return figures["main"], figures["scores"][figures["main"]], figures["interval"]

    @staticmethod
    def _others(figures: Mapping[str, Any]) -> dict[str, str]:
        return {name: per_cent(value, digits=2) for name, value in figures["scores"].items() if name != figures["main"]}

    @staticmethod
    def _coverage(figures: Mapping[str, Any]) -> str:
        return coverage(figures)

    @staticmethod
    def _asked(figures: Mapping[str, Any]) -> int:
        return figures["answers"]["scored"]

    @staticmethod
    def _seconds(report: ReferringReport) -> float:
        seconds = report.timing["seconds_per_answer"]
        return nan if seconds is None else seconds
