"""The report of one run: the same bytes for the same records, whatever their order and however they came about.

    report.md      for people
    report.json    all figures but the seconds; see `car.evaluate.figures`
    classes.csv    a row per class
    timing.json    seconds per stage

Of two runs of the same plan, timing.json alone differs.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from car.evaluate.figures import figures, seconds
from car.evaluate.markdown import count, number, per_cent, within
from car.evaluate.page import page, published, scored
from car.evaluate.plan import Plan
from car.evaluate.statistics import Statistics
from car.export import dumps, make_folder, reported, write_atomically

FILES = ("timing.json", "classes.csv", "report.md", "report.json")
"""What `Report.write` writes, in the order it does."""


@dataclass(frozen=True)
class Report:
    """A run's results.

    figures: content of report.json.
    timing: content of timing.json.
    """

    unit: ClassVar[str] = Plan.unit

    figures: Mapping[str, Any]
    timing: Mapping[str, Any]

    @classmethod
    def of(cls, statistics: Statistics) -> "Report":
        """The report of what was counted."""
        return cls(figures(statistics), seconds(statistics))

    @property
    def complete(self) -> bool:
        """Whether every picture has a result: none failed, none is missing."""
        return self.figures["complete"]

    @property
    def miou(self) -> float | None:
        """The dataset's mIoU in [0, 1] as published; None where no pixel was counted."""
        return self.figures["scores"]["mIoU"]["miou"]

    @property
    def page(self) -> str:
        """Content of report.md."""
        return page(self.figures)

    @property
    def classes_csv(self) -> str:
        """Content of classes.csv."""
        rows, buffer = self.figures["classes"], io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    @property
    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = [self._result(), self._coverage(), *self._loop()]
        if stages := self.timing["seconds_per_image"]:
            lines.append(self._split(stages))
        return "\n".join(lines)

    def write(self, folder: str | Path) -> None:
        """Write the four files, each whole or not at all; report.json last.

        Raises:
            InputError: the folder cannot be made.
            CarError: writing failed.
        """
        contents = (dumps(self.timing) + "\n", self.classes_csv, self.page, dumps(self.figures) + "\n")
        write_texts(folder, dict(zip(FILES, contents, strict=True)))

    def _result(self) -> str:
        main, known = self.figures["scores"]["mIoU"], published(self.figures)
        line = f"{self.figures['benchmark']} {self.figures['split']}: {scored(self.miou)}"
        if self.miou is not None:
            line += f" {within(main['miou_interval'])}".replace(" -", "")
        for name, scores in list(self.figures["scores"].items())[1:]:
            line += f", {name} {per_cent(scores['miou'], digits=2)}"
        return line if known is None else f"{line}; published: {known[1]:.1f} {known[0]}"

    def _coverage(self) -> str:
        images = self.figures["images"]
        line = f"{count(images['evaluated'])} of {count(images['all'])} images"
        others = [f"{count(images[kind])} {kind}" for kind in ("failed", "missing") if images[kind]]
        return f"{line}; {', '.join(others)}" if others else line

    def _loop(self) -> list[str]:
        lines = []
        for each in self.figures["passes"]:
            name = f"{each['kind']}: " if len(self.figures["passes"]) > 1 else ""
            lines.append(
                f"{name}{number(each['mean_steps'])} steps per image; "
                f"absent queries kept: {per_cent(each['absent_kept_share'])} %, "
                f"present ones dropped: {per_cent(each['present_dropped_share'])} %"
            )
        return lines

    @staticmethod
    def _split(stages: Mapping[str, Mapping[str, float]]) -> str:
        return f"{stages['all']['mean']:.3f} s per image: {stage_shares(stages)}"


def stage_shares(stages: Mapping[str, Mapping[str, float]]) -> str:
    """The share of each stage in the seconds of all, in one line."""
    whole = stages["all"]["mean"]
    return ", ".join(
        f"{stage} {per_cent(each['mean'] / whole if whole else None, digits=0)} %"
        for stage, each in stages.items()
        if stage != "all"
    )


def write_texts(folder: str | Path, contents: Mapping[str, str]) -> None:
    """Write files to a folder, which is made when absent, each whole or not at all.

    Args:
        contents: text by the name of the file; what UTF-8 cannot hold is escaped.

    Raises:
        InputError: the folder cannot be made.
        CarError: writing failed.
    """
    folder = Path(folder)
    make_folder(folder)
    for name, content in contents.items():
        with reported(folder / name):
            write_atomically(folder / name, content.encode(errors="backslashreplace"))
