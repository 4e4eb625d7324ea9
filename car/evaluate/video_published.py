"""Published scores of zero-shot methods on films with expressions, in per cent, to stand beside ours."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedVideo:
    """One published result.

    method: whose.
    scores: in per cent, by measure.
    note: what is known of how it was measured.
    """

    method: str
    scores: Mapping[str, float]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


FIGURES = {
    ("ref-davis17", "val"): (
        PublishedVideo(
            "CaR",
            {"J&F": 30.34, "J": 28.15, "F": 32.53},
            "on photographs; protocol not released, rule not stated",
        ),
    ),
}


def published(benchmark: str, split: str) -> tuple[PublishedVideo, ...]:
    """What is published for a split; nothing where nothing is known.

    >>> published("ref-davis17", "val")[0].scores["J&F"]
    30.34
    """
    return FIGURES.get((benchmark, split), ())
