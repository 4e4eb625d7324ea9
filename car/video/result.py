"""What is known of one frame of a film."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from car import rle
from car.video.frames import Frame

_DIGITS = 6


@dataclass(frozen=True)
class FrameResult:
    """One frame and its masks.

    frame: the frame.
    queries: the N queries, as asked, less repetitions.
    present: (N,) bool; which of them are there. The mask of one that is there can be empty all the same.
    found_masks: (n, H, W) bool, the masks of those, in order. They share no pixel where queries compete for theirs.
    scores: (N,) float32 in [0, 1], the last P_ii of each query: of this frame for those judged in it, of an earlier one
        for the others; NaN before a query was judged at all.
    uncertain: (N,) bool; which masks may be of another query's object, by `car.video.identity` or `car.video.claims`.
    taken_from: (N,) int64; whose object the mask seems to have taken over, -1 where no other query's; all of those are
        uncertain.
    checked: whether all queries were asked for, not only those that the frame before had.
    cut: whether a new shot begins here.
    reused: whether this frame equals the one before, pixel by pixel, so that its answer stands.
    """

    frame: Frame
    queries: tuple[str, ...]
    present: np.ndarray
    found_masks: np.ndarray = field(repr=False)
    scores: np.ndarray
    uncertain: np.ndarray
    taken_from: np.ndarray
    checked: bool
    cut: bool
    reused: bool

    @cached_property
    def masks(self) -> np.ndarray:
        """One mask per query, (N, H, W) bool; that of an absent query is empty."""
        masks = np.zeros((len(self.queries), *self.found_masks.shape[1:]), bool)
        masks[self.present] = self.found_masks
        return masks

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int32 label map: 0 is background, i + 1 is query i; where masks overlap, the one with the highest
        score is in front."""
        labels = np.zeros(self.found_masks.shape[1:], np.int32)
        there = np.flatnonzero(self.present)
        for row in np.argsort(self.scores[there], kind="stable").tolist():
            labels[self.found_masks[row]] = there[row] + 1
        return labels

    @property
    def found(self) -> tuple[str, ...]:
        """The queries that are present."""
        return tuple(query for query, present in zip(self.queries, self.present, strict=True) if present)

    def record(self) -> dict[str, Any]:
        """The frame as plain data for JSON.

        Returns:
            frame (its number), name, error (why it could not be read, or null), checked, cut, reused; `objects`, one
            entry per present query: query, label (its value in the label map), score, uncertain, taken_from (the label
            of the query whose object it seems to have taken over, or null), area in pixels and segmentation (COCO RLE);
            and `absent`, query and score of the others. Scores are rounded to 6 digits, null where there is none.
        """
        objects, absent, masks = [], [], iter(self.found_masks)
        for i, query in enumerate(self.queries):
            score = float(self.scores[i])
            said = {"query": query, "label": i + 1, "score": round(score, _DIGITS) if math.isfinite(score) else None}
            if not self.present[i]:
                absent.append(said)
                continue
            mask = next(masks)
            doubt = {"uncertain": bool(self.uncertain[i]), "taken_from": int(self.taken_from[i]) + 1 or None}
            objects.append({**said, **doubt, "area": int(mask.sum()), "segmentation": rle.encode(mask)})
        frame = {"frame": self.frame.number, "name": self.frame.name, "error": self.frame.error}
        return {
            **frame,
            "checked": self.checked,
            "cut": self.cut,
            "reused": self.reused,
            "objects": objects,
            "absent": absent,
        }
