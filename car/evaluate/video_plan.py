"""What a run of a referring benchmark of films computes, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from car.evaluate.expression_plan import ExpressionPlan


@dataclass(frozen=True)
class VideoPlan(ExpressionPlan):
    """What a run over films computes.

    sequences: how many films.
    annotators: those whose expressions are asked, one after the other.
    film: how to go from frame to frame, the fields of `car.video.VideoSettings`; empty for a method that takes every
        frame alone.
    """

    kind: ClassVar[str] = "video"
    unit: ClassVar[str] = "sequences"

    sequences: int
    annotators: Sequence[str]
    film: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The method, and how it goes from frame to frame."""
        return f"{self.method} {self.film['mode']}" if self.film else self.method
