"""What a segmentation returns: arrays, and the queries they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from car.errors import InputError

if TYPE_CHECKING:
    from car.classify.visual_prompts import VisualPrompter
    from car.propose.proposals import Proposals


@dataclass(frozen=True)
class Step:
    """One turn of the loop: which queries entered, what they proposed, how they were judged, who stayed.

    queries: the n queries that entered, in the order asked.
    indices: their positions among all queries asked.
    scores: (n,) float32 in [0, 1], P_ii.
    kept: (n,) bool.
    image: (h, w, 3) uint8 RGB, the image as the loop saw it: the user's own, or a smaller one (`Config.max_side`).
    """

    queries: tuple[str, ...]
    indices: tuple[int, ...]
    scores: np.ndarray
    kept: np.ndarray
    soft: "Proposals" = field(repr=False)
    prompter: "VisualPrompter" = field(repr=False)
    eta: float = field(repr=False)

    @property
    def image(self) -> np.ndarray:
        return self.prompter.image

    @property
    def pruned(self) -> tuple[str, ...]:
        """The queries dropped in this step."""
        return tuple(q for q, kept in zip(self.queries, self.kept, strict=True) if not kept)

    @property
    def proposals(self) -> np.ndarray:
        """All soft masks, (n, h, w) float32 in [0, 1]; computed when asked for."""
        return self.soft.full().cpu().numpy()

    def proposal(self, i: int) -> np.ndarray:
        """Soft mask of the i-th query of this step, (h, w) float32 in [0, 1]."""
        return self.soft.full(i, i + 1)[0].cpu().numpy()

    def prompted(self, i: int) -> np.ndarray:
        """The image with the visual prompt of the i-th query, as the classifier saw it: uint8 (h, w, 3)."""
        return self.prompter.render(self.soft.binary(i, self.eta))


@dataclass(frozen=True)
class Segmentation:
    """Text in, masks out.

    image: (H, W, 3) uint8 RGB.
    queries: the N queries, as asked, less repetitions.
    labels: (H, W) int32 label map; 0 is background, i + 1 is query i.
    scores: (N,) float32 in [0, 1]; the last P_ii of each query: that of the final step for those present, of the step
        that pruned it for those absent, NaN for those that a cascade did not show to the classifier.
    present: (N,) bool; False for the queries answered with "absent".
    steps: the loop, turn by turn.
    config: the effective configuration.
    model: name of the model set.
    seconds: wall time of each stage; "prompt" and "classify" have one entry per step.
    """

    image: np.ndarray
    queries: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    present: np.ndarray
    steps: tuple[Step, ...]
    config: Mapping[str, Any]
    model: str
    seconds: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def masks(self) -> np.ndarray:
        """One mask per query, (N, H, W) bool; that of an absent query is empty."""
        return self.labels == np.arange(1, len(self.queries) + 1).reshape(-1, 1, 1)

    @property
    def found(self) -> tuple[str, ...]:
        """The queries that are present."""
        return tuple(q for q, present in zip(self.queries, self.present, strict=True) if present)

    @property
    def absent(self) -> tuple[str, ...]:
        """The queries that were dropped."""
        return tuple(q for q, present in zip(self.queries, self.present, strict=True) if not present)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The absent queries that a cascade (`Config.cascade`) did not show to the classifier."""
        return tuple(q for q, score in zip(self.queries, self.scores, strict=True) if np.isnan(score))

    def mask(self, query: str) -> np.ndarray:
        """Mask of one query, bool (H, W)."""
        if query not in self.queries:
            raise InputError(f"{query!r} was not asked for; the queries are: {', '.join(self.queries)}.")
        return self.labels == self.queries.index(query) + 1

    def draw(self) -> np.ndarray:
        """The image with its masks, names and scores, and the absent queries below: uint8 RGB."""
        from car.draw import overlay

        return overlay(self)

    def save(self, folder: str | Path, stem: str = "image", **options: Any) -> dict[str, Any]:
        """Write overlay, label map, one mask per present query, and JSON; see `car.export.save`."""
        from car.export import save

        return save(self, folder, stem, **options)
