"""The report of one referring run: the same bytes for the same records, whatever their order; see
`car.evaluate.expression_report`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from car.evaluate.expression_report import ExpressionReport
from car.evaluate.figures import rounded, stage_seconds
from car.evaluate.markdown import count, per_cent, within
from car.evaluate.referring_page import of_categories, page, protocol_of
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_published import Published, published
from car.evaluate.referring_statistics import ReferringStatistics, main_measure
from car.evaluate.report import stage_shares


@dataclass(frozen=True)
class ReferringReport(ExpressionReport):
    """A referring run's results."""

    unit: ClassVar[str] = ReferringPlan.unit

    @classmethod
    def of(cls, statistics: ReferringStatistics) -> "ReferringReport":
        """The report of what was counted."""
        return cls(figures(statistics), seconds(statistics))

    @property
    def page(self) -> str:
        """Content of report.md."""
        return page(self.figures)

    @property
    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [self._result(), self._coverage()]
        lines += [f"published: {each}" for each in self._published()]
        if self.timing["images"]:
            lines.append(self._split())
        return "\n".join(lines)

    def _result(self) -> str:
        values, plan = self.figures, self.figures["plan"]
        if not values["answers"]["scored"]:
            return f"{values['benchmark']} {values['split']}: no result"
        scores = ", ".join(f"{name} {per_cent(value, digits=2)}" for name, value in values["scores"].items())
        return (
            f"{values['benchmark']} {values['split']}{of_categories(plan)}, {plan['method']}, {protocol_of(plan)}: "
            f"{scores}; "
            f"{values['main']} {within(values['interval'])}"
        )

    def _coverage(self) -> str:
        images, answers = self.figures["images"], self.figures["answers"]
        others = [f"{count(images[kind])} {kind}" for kind in ("failed", "missing", "skipped") if images[kind]]
        others += [f"{count(answers['failed'])} answers failed"] if answers["failed"] else []
        line = f"{count(images['evaluated'])} of {count(images['all'])} images, {count(answers['scored'])} answers"
        return f"{line}; {', '.join(others)}" if others else line

    def _published(self) -> list[str]:
        return [
            f"{each['method']}, per {each['protocol']}: "
            + ", ".join(f"{name} {value:.2f}" for name, value in each["scores"].items())
            for each in self.figures["published_per_cent"]
            if each["protocol"] == self.figures["plan"]["protocol"]
        ]

    def _split(self) -> str:
        stages, per_answer = self.timing["seconds_per_image"], self.timing["seconds_per_answer"]
        each = "" if per_answer is None else f", {per_answer:.3f} s per answer"
        return f"{stages['all']['mean']:.3f} s per image{each}: {stage_shares(stages)}"


def figures(statistics: ReferringStatistics) -> dict[str, Any]:
    """All numbers of a run but the seconds; equal for equal records, whatever their order."""
    plan = statistics.plan
    return {
        "kind": plan.kind,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "images": {
            **statistics.coverage,
            "without_proposals": statistics.without_proposals,
            "skipped": len(statistics.skipped),
        },
        "targets": {"counted": statistics.targets, "no_target": statistics.no_targets},
        "answers": {
            "scored": statistics.answers,
            "nothing_found": statistics.nothing_found,
            "failed": statistics.failed_answers,
        },
        "complete": statistics.complete,
        "main": main_measure(plan),
        "scores": scores(statistics),
        "interval": [rounded(end) for end in statistics.interval()],
        "published_per_cent": [asdict_of(each) for each in comparable(plan)],
        "problems": [
            {"image": key, "target": target, "problems": list(statistics.problems[key, target])}
            for key, target in sorted(statistics.problems)
        ],
        "failures": statistics.failed,
        "missing": statistics.missing,
        "skipped": [key for key in statistics.keys if key in statistics.skipped],
        "plan": plan.to_dict(),
    }


def scores(statistics: ReferringStatistics) -> dict[str, float | None]:
    """Scores by the name of their measure, the main one first."""
    plain = statistics.scores()
    if not statistics.plan.generalized:
        found = {"mIoU": plain.miou, "oIoU": plain.oiou, **{f"P@{x}": plain.precision[x] for x in plain.precision}}
        return {name: rounded(value) for name, value in {**found, **grouped(statistics)}.items()}
    each = statistics.generalized()
    found = {"gIoU": each.giou, "cIoU": each.ciou, "N-acc": each.n_acc, "T-acc": each.t_acc}
    found |= {f"Pr@{x}": value for x, value in each.precision.items()}
    return {name: rounded(value) for name, value in {**found, "mIoU": plain.miou}.items()}


def grouped(statistics: ReferringStatistics) -> dict[str, float]:
    """Shares of instances and images that are right as a whole, where there are such groups of answers."""
    plan = statistics.plan
    if not plan.grouped:
        return {}
    scores = statistics.grouped()
    by_instance = {"InstAcc": scores.inst_acc} if plan.protocol == "sentence" else {}
    return {**by_instance, "ImgAcc": scores.img_acc}


def seconds(statistics: ReferringStatistics) -> dict[str, Any]:
    """Wall time per picture by stage, the longest first, then of all stages; and per answer."""
    stages, answers = stage_seconds(statistics), statistics.answers
    return {
        "images": len(statistics.evaluated),
        "answers": answers,
        "seconds_per_answer": round(stages["all"]["sum"] / answers, 6) if answers else None,
        "seconds_per_image": stages,
    }


def comparable(plan: ReferringPlan) -> tuple[Published, ...]:
    """Published results on what a run asks for; none where it asks for some categories alone."""
    return () if plan.categories else published(plan.benchmark, plan.variant, plan.split)


def asdict_of(each: Any) -> dict[str, Any]:
    """A published result as plain data."""
    return {**each._asdict(), "scores": dict(each.scores)}
