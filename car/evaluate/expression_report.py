"""What the reports of runs with expressions have in common: three files, a figure per measure.

    report.md      for people
    report.json    all figures but the seconds
    timing.json    seconds per stage

Shares and scores are in [0, 1], rounded to 10 digits, None where they are not defined; published figures are in per
cent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from car.evaluate.report import write_texts
from car.export import dumps

FILES = ("timing.json", "report.md", "report.json")
"""What `ExpressionReport.write` writes, in the order it does."""


@dataclass(frozen=True)
class ExpressionReport(ABC):
    """A run's results.

    figures: content of report.json.
    timing: content of timing.json.
    """

    unit: ClassVar[str]

    figures: Mapping[str, Any]
    timing: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every picture or sequence has a result: none failed, none is missing."""
        return self.figures["complete"]

    @property
    @abstractmethod
    def page(self) -> str:
        """Content of report.md."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """A few lines for the terminal."""

    def write(self, folder: str | Path) -> None:
        """Write the three files, each whole or not at all; report.json last.

        Raises:
            InputError: the folder cannot be made.
            CarError: writing failed.
        """
        contents = (dumps(self.timing) + "\n", self.page, dumps(self.figures) + "\n")
        write_texts(folder, dict(zip(FILES, contents, strict=True)))
