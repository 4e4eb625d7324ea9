"""Runs of one benchmark side by side: what they differ in, and what that did."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

from car.errors import InputError
from car.evaluate.bootstrap import interval
from car.evaluate.figures import rounded
from car.evaluate.markdown import count, number, per_cent, table, text, within
from car.evaluate.page import MOST_CLASSES, coverage, published, setting
from car.evaluate.plan import Plan, flat
from car.evaluate.report import Report, write_texts
from car.evaluate.statistics import Statistics, ratio

FILES = ("comparison.csv", "comparison.md")
"""What `Comparison.write` writes, in the order it does."""
MOST_DIFFERENT = 80
"""Of very many classes, so many are listed: those whose IoU differs most."""
_SHARES = {
    "pixel accuracy": "pixel_accuracy",
    "mean accuracy": "mean_accuracy",
    "frequency-weighted IoU": "frequency_weighted_iou",
}
_MOST_ITEMS = 6


@dataclass(frozen=True)
class Comparison:
    """Two or more runs of one benchmark; the first is what the others are compared with.

    Differences are given between runs that evaluated the same pictures, and only between those: a run over others, or
    with other failures, stands beside them and is marked.

    Args:
        runs: what was counted, by what the page calls the runs.

    Raises:
        InputError: fewer than two runs, or they are of different benchmarks.
    """

    runs: Mapping[str, Statistics]

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise InputError("A comparison needs at least two runs.")
        (first, reference), *others = self.runs.items()
        for name, run in others:
            if _measured(run.plan) != _measured(reference.plan):
                raise InputError(
                    f"{name!r} is a run of {_told(run.plan)}, {first!r} one of {_told(reference.plan)}: "
                    "only runs of the same benchmark can be compared."
                )

    @cached_property
    def reports(self) -> dict[str, Report]:
        """The report of each run."""
        return {name: Report.of(run) for name, run in self.runs.items()}

    @property
    def complete(self) -> bool:
        """Whether every run is."""
        return all(run.complete for run in self.runs.values())

    def comparable(self, name: str) -> bool:
        """Whether a run evaluated the same pictures as the first."""
        return self.runs[name].evaluated == self._first.evaluated

    @property
    def page(self) -> str:
        """The comparison in Markdown."""
        plan = self._first.plan
        sections = [
            f"# {text(plan.benchmark)} {text(plan.split)}: {count(len(self.runs))} runs",
            "## What differs",
            *self._settings(),
            "## Scores",
            *self._scores(),
            "## Classes",
            *self._classes(),
        ]
        return "\n\n".join(sections) + "\n"

    @property
    def csv(self) -> str:
        """Every number of the comparison: shares in [0, 1], a column per run, a row per measure and class."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["measure", "class id", "class", *self.runs])
        columns = [dict(self._column(name)) for name in self.runs]
        for measure in columns[0]:
            writer.writerow([*measure, *(column[measure] for column in columns)])
        return buffer.getvalue()

    def write(self, folder: str | Path) -> None:
        """Write the table of numbers and the page, each whole or not at all.

        Raises:
            InputError: the folder cannot be made.
            CarError: writing failed.
        """
        write_texts(folder, dict(zip(FILES, (self.csv, self.page), strict=True)))

    @property
    def _first(self) -> Statistics:
        return next(iter(self.runs.values()))

    def _settings(self) -> Iterator[str]:
        rows = differing([run.plan for run in self.runs.values()])
        if rows:
            yield table(["setting", *map(text, self.runs)], rows, numbers=False)
        else:
            yield "The runs have the same plan."

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
        cells += [_with_interval(main["miou"], main["miou_interval"]), self._difference(name)]
        cells += [per_cent(each["miou"], digits=2) for each in others]
        first = next(iter(self.reports.values())).figures
        for key in _SHARES.values():
            cells.append(self._beside(name, main[key], first["scores"]["mIoU"][key]))
        for absent, whole in (("absent_kept", "absent"), ("present_dropped", "present")):
            cells.append(self._beside(name, *(_share(each, absent, whole) for each in (report.figures, first))))
        cells.append(" / ".join(number(each["mean_steps"]) for each in report.figures["passes"]))
        return [*cells, number(_seconds(report), 3)]

    def _difference(self, name: str) -> str:
        if self._is_first(name):
            return ""
        if not self.comparable(name):
            return "other images"
        difference, *ends = self._paired(name)
        return _with_interval(difference, ends, "+")

    def _paired(self, name: str) -> tuple[float | None, float | None, float | None]:
        """Difference of the mIoU to that of the first run, and the ends of its interval; None where not comparable."""
        here, there = self.reports[name].miou, next(iter(self.reports.values())).miou
        if not self.comparable(name) or here is None or there is None:
            return None, None, None
        ends = (nan, nan)
        if len(self.runs[name].evaluated) > 1:
            ends = interval(self.runs[name].rounds() - self._first.rounds())
        return rounded(here - there), rounded(ends[0]), rounded(ends[1])

    def _beside(self, name: str, value: float | None, first: float | None) -> str:
        """A share, and how it differs from the first run's."""
        if self._is_first(name) or value is None or first is None or not self.comparable(name):
            return per_cent(value)
        return f"{per_cent(value)} ({per_cent(value - first, '+')})"

    def _is_first(self, name: str) -> bool:
        return self.runs[name] is self._first

    def _classes(self) -> Iterator[str]:
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
        first = next(iter(self.reports.values())).figures["classes"]
        for each, named in zip(self.reports[name].figures["classes"], first, strict=True):
            yield ("IoU", "" if named["id"] is None else str(named["id"]), named["name"]), _iou(each)

    def _measures(self, name: str) -> Iterator[tuple[str, Any]]:
        figures = self.reports[name].figures
        yield from ((f"images {kind}", value) for kind, value in figures["images"].items())
        for rule, scores in figures["scores"].items():
            yield rule, scores["miou"]
            yield from zip((f"{rule} low", f"{rule} high"), scores["miou_interval"], strict=True)
        names = ("mIoU difference", "mIoU difference low", "mIoU difference high")
        yield from zip(names, self._paired(name), strict=True)
        yield from ((measure, figures["scores"]["mIoU"][key]) for measure, key in _SHARES.items())
        yield "absent kept", _share(figures, "absent_kept", "absent")
        yield "present dropped", _share(figures, "present_dropped", "present")
        yield "steps per image", rounded(sum(each["mean_steps"] or 0 for each in figures["passes"]))
        yield "seconds per image", rounded(_seconds(self.reports[name]))


def _with_interval(value: float | None, ends: Sequence[float | None], sign: str = "") -> str:
    text = per_cent(value, sign, 2)
    return text if None in ends else f"{text} {within(ends, sign)}"


def differing(plans: Sequence[Plan]) -> list[list[str]]:
    """Rows of a table: a setting, and its value in each plan; only settings that are not the same in all."""
    columns = [dict(flat(_settings(plan))) for plan in plans]
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key) for column in columns]
        if any(value != values[0] for value in values):
            rows.append([key, *_cells(key, values)])
    return rows


def _settings(plan: Plan) -> dict[str, Any]:
    """A plan as settings; passes go by their kind, and classes by their words."""
    settings = {key: value for key, value in plan.to_dict().items() if key != "published"}
    settings["classes"] = [", ".join(each["names"]) for each in plan.classes]
    settings["passes"] = {
        each.kind: {"classes": len(each.classes), "background": each.background, "prompts": each.prompts}
        for each in plan.passes
    }
    return settings


def _cells(key: str, values: Sequence[Any]) -> list[str]:
    """Values of a setting; of long lists, only what not all of them have."""
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) < len(values) or max(map(len, lists)) <= _MOST_ITEMS:
        return [setting(key, value) for value in values]
    shared = set(lists[0]).intersection(*lists[1:])
    return [_own(value, shared, lists[0]) for value in lists]


def _own(items: Sequence[str], shared: set[str], first: Sequence[str]) -> str:
    own = [item for item in items if item not in shared]
    if own:
        listed = text("; ".join(own[:_MOST_ITEMS]))
        return f"{count(len(items))}, with {listed}{'; ...' if len(own) > _MOST_ITEMS else ''}"
    return count(len(items)) if items == first or set(first) > shared else f"{count(len(items))}, in another order"


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
