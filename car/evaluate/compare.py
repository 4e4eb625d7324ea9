"""Semantic runs of one benchmark side by side: what they differ in, and what that did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar

from car.errors import InputError
from car.evaluate.bootstrap import interval
from car.evaluate.compare_runs import RunComparison, differing_settings, with_interval
from car.evaluate.figures import rounded
from car.evaluate.markdown import count, number, per_cent, table, text
from car.evaluate.page import MOST_CLASSES, coverage, published
from car.evaluate.plan import Plan
from car.evaluate.report import Report
from car.evaluate.statistics import Statistics, ratio

MOST_DIFFERENT = 80
"""Of very many classes, so many are listed: those whose IoU differs most."""
_SHARES = {
    "pixel accuracy": "pixel_accuracy",
    "mean accuracy": "mean_accuracy",
    "frequency-weighted IoU": "frequency_weighted_iou",
}


@dataclass(frozen=True)
class Comparison(RunComparison):
    """Two or more semantic runs of one benchmark; the first is what the others are compared with.

    Differences are given between runs that evaluated the same pictures, and only between those: a run over others, or
    with other failures, stands beside them and is marked.

    Args:
        runs: what was counted, by what the page calls the runs.

    Raises:
        InputError: fewer than two runs, or they are of different benchmarks.
    """

    report: ClassVar[Any] = Report
    labels: ClassVar[tuple[str, ...]] = ("measure", "class id", "class")

    runs: Mapping[str, Statistics]

    @classmethod
    def check(cls, plans: Mapping[str, Plan]) -> None:
        """Refuse runs of different benchmarks.

        Raises:
            InputError: there is one.
        """
        (first, reference), *others = plans.items()
        for name, plan in others:
            if _measured(plan) != _measured(reference):
                raise InputError(
                    f"{name!r} is a run of {_told(plan)}, {first!r} one of {_told(reference)}: "
                    "only runs of the same benchmark can be compared."
                )

    def comparable(self, name: str) -> bool:
        """Whether a run evaluated the same pictures as the first."""
        return self.runs[name].evaluated == self._first.evaluated

    def _differing(self) -> list[list[str]]:
        return differing([run.plan for run in self.runs.values()])

    def _scores(self) -> Iterator[str]:
        reports, passes = self.reports, max(len(run.passes) for run in self.runs.values())
        header = ["per cent", "images", "mIoU", "difference"]
        header += [*list(self._first.rules)[1:], *_SHARES, "absent kept", "present dropped"]
        header += ["steps per image" if passes == 1 else "steps per image, by pass", "seconds per image"]
        rows = [self._row(name) for name in reports]
        known = dict.fromkeys(filter(None, (published(report.figures) for report in reports.values())))
        rows += [[f"published {text(name)}", "", f"{value:.1f}", *[""] * (len(header) - 3)] for name, value in known]
        yield table(header, rows)
        yield (
            f"Differences are to {text(next(iter(self.runs)))}, over the same images; in brackets the 95 % interval "
            "when those images are drawn again, with replacement, the same for both runs."
        )
        for name, report in reports.items():
            if not report.complete:
                yield f"{text(name)}: {coverage(report.figures)}"
            if not self.comparable(name):
                common = len(self.runs[name].evaluated & self._first.evaluated)
                yield f"{text(name)} is not comparable: only {count(common)} of its images are those of the first run."

    def _row(self, name: str) -> list[str]:
        report = self.reports[name]
        scores, images = report.figures["scores"], report.figures["images"]
        main, *others = scores.values()
        cells = [text(name), f"{count(images['evaluated'])} of {count(images['all'])}"]
        cells += [with_interval(main["miou"], main["miou_interval"]), self._difference(name)]
        cells += [per_cent(each["miou"], digits=2) for each in others]
        first = self._first_report.figures
        for key in _SHARES.values():
            cells.append(self._beside(name, main[key], first["scores"]["mIoU"][key]))
        for absent, whole in (("absent_kept", "absent"), ("present_dropped", "present")):
            cells.append(self._beside(name, *(_share(each, absent, whole) for each in (report.figures, first))))
        cells.append(" / ".join(number(each["mean_steps"]) for each in report.figures["passes"]))
        return [*cells, number(_seconds(report), 3)]

    def _pair(self, name: str) -> tuple[float, tuple[float, float]]:
        here, there = (nan if each.miou is None else each.miou for each in (self.reports[name], self._first_report))
        ends = (nan, nan)
        if len(self.runs[name].evaluated) > 1:
            ends = interval(self.runs[name].rounds() - self._first.rounds())
        return here - there, ends

    def _parts(self) -> Iterator[str]:
        yield "## Classes"
        lists = {name: report.figures["classes"] for name, report in self.reports.items()}
        first = next(iter(lists.values()))
        order = list(range(len(first)))
        if len(first) > MOST_CLASSES:
            spread = [_spread([_iou(each[i]) for each in lists.values()]) for i in order]
            order = sorted(order, key=lambda i: (-spread[i], i))[:MOST_DIFFERENT]
            yield f"The {MOST_DIFFERENT} of {count(len(first))} classes whose IoU differs most; the CSV file has all."
        rows = [
            [
                text(first[i]["name"]),
                *(self._beside(name, _iou(each[i]), _iou(first[i])) for name, each in lists.items()),
            ]
            for i in order
        ]
        yield table(["IoU, per cent", *map(text, lists)], rows)

    def _column(self, name: str) -> Iterator[tuple[tuple[str, str, str], Any]]:
        """One run's numbers by measure, id and name of the class; the classes' names are the first run's."""
        for measure, value in self._measures(name):
            yield (measure, "", ""), value
        first = self._first_report.figures["classes"]
        for each, named in zip(self.reports[name].figures["classes"], first, strict=True):
            yield ("IoU", "" if named["id"] is None else str(named["id"]), named["name"]), _iou(each)

    def _measures(self, name: str) -> Iterator[tuple[str, Any]]:
        figures = self.reports[name].figures
        yield from ((f"images {kind}", value) for kind, value in figures["images"].items())
        for rule, scores in figures["scores"].items():
            yield rule, scores["miou"]
            yield from zip((f"{rule} low", f"{rule} high"), scores["miou_interval"], strict=True)
        names = ("mIoU difference", "mIoU difference low", "mIoU difference high")
        yield from zip(names, self.differences[name], strict=True)
        yield from ((measure, figures["scores"]["mIoU"][key]) for measure, key in _SHARES.items())
        yield "absent kept", _share(figures, "absent_kept", "absent")
        yield "present dropped", _share(figures, "present_dropped", "present")
        yield "steps per image", rounded(sum(each["mean_steps"] or 0 for each in figures["passes"]))
        yield "seconds per image", rounded(_seconds(self.reports[name]))


def differing(plans: Sequence[Plan]) -> list[list[str]]:
    """Rows of a table: a setting, and its value in each plan; only settings that are not the same in all."""
    return differing_settings([_settings(plan) for plan in plans])


def _settings(plan: Plan) -> dict[str, Any]:
    """A plan as settings; passes go by their kind, and classes by their words."""
    settings = {key: value for key, value in plan.to_dict().items() if key != "published"}
    settings["classes"] = [", ".join(each["names"]) for each in plan.classes]
    settings["passes"] = {
        each.kind: {"classes": len(each.classes), "background": each.background, "prompts": each.prompts}
        for each in plan.passes
    }
    return settings


def _measured(plan: Plan) -> tuple[str, bool, int]:
    return plan.benchmark, plan.background, len(plan.classes)


def _told(plan: Plan) -> str:
    background = "with" if plan.background else "without"
    return f"{plan.benchmark} ({count(len(plan.classes))} classes {background} background)"


def _iou(entry: Mapping[str, Any]) -> float | None:
    return entry["iou"] if entry["true_pixels"] else None


def _spread(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0


def _share(figures: Mapping[str, Any], part: str, whole: str) -> float | None:
    """A share over all passes."""
    return rounded(ratio(*(sum(each[key] for each in figures["passes"]) for key in (part, whole))))


def _seconds(report: Report) -> float:
    return report.timing["seconds_per_image"].get("all", {}).get("mean", nan)
