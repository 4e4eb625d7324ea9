"""CaR in referring mode: each expression proposes for itself, all are judged together, each has a CRF of its own."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch

from car.io import ImageSource
from car.prepared import PreparedImage, resized
from car.recurrence import Turn
from car.referring.referral import Ranked, Referral
from car.segmenter import Segmenter

METHOD = "car"
DEFAULTS: dict[str, Any] = {"eta": 0.5, "theta": 0.3, "lam": 0.5, "templates": ("{}",)}
"""The paper's settings for RefCOCO, but for those that recognise absence: see `Config`."""
TINY = 0.05
"""Where the merged mask of an object covers no more of the image than this, the union is taken (released code)."""


class Recurrent:
    """Refer with CaR.

    Args:
        segmenter: models and settings; its background queries are the rivals of every expression.
    """

    method = METHOD

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def prepare(self, image: ImageSource) -> "PreparedRecurrent":
        """As `Referrer.prepare`."""
        return PreparedRecurrent(self.segmenter.prepare(image))

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """As `Referrer.refer`."""
        return self.prepare(image).refer(expression)


class PreparedRecurrent:
    """One image, ready for any number of expressions."""

    def __init__(self, prepared: PreparedImage) -> None:
        self.prepared = prepared

    def refer(self, expression: str) -> Referral:
        """What one expression means, judged against the background queries; it may come back absent."""
        return self.refer_together([expression])[0]

    @torch.inference_mode()
    def refer_together(self, expressions: Sequence[str]) -> list[Referral]:
        """What several expressions mean, rivals of each other where they are judged (CaR, section 3.4).

        Returns:
            One referral per expression, in order; expressions that are the same but for white space and letter case
            share one. In `ranking`, the mask is the only candidate.
        """
        asked = self.prepared.ask(distinct(expressions), together=False)
        turns = asked.turns()
        last, masks = turns[-1], self._masks(turns[-1], asked.clock)
        seconds = {stage: float(np.sum(value)) for stage, value in asked.clock.seconds.items()}
        found = {}
        for query, name in enumerate(asked.names):
            # Its last score: a query that was pruned has none in later turns.
            turn = next(turn for turn in reversed(turns) if query in turn.queries)
            score = float(turn.scores[turn.queries.index(query)])
            kept = query in last.survivors
            mask = masks[last.survivors.index(query)] if kept else np.zeros(masks.shape[1:], bool)
            found[name.casefold()] = Referral(
                image=self.prepared.image,
                expression=name,
                method=METHOD,
                mask=mask,
                score=score if kept else math.nan,
                ranking=(Ranked(query, score, mask),) if kept else (),
                why={
                    "steps": len(turns),
                    "score": score,
                    "theta": self.prepared.config.theta,
                    "rivals": [other for other in asked.names if other != name],
                    "background": list(asked.background) if self.prepared.config.against_background else [],
                },
                seconds=seconds,
            )
        return [found[tidy(expression).casefold()] for expression in expressions]

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """What several expressions mean that mean one object: the score-weighted mean of the masks of those that are
        left, at least one half; where that is tiny, their union (released code, per-object protocol)."""
        each = self.refer_together(expressions)
        asked = list({id(one): one for one in each}.values())
        left = [one for one in asked if not math.isnan(one.score)]
        masks = np.array([one.mask for one in left], bool).reshape(-1, *self.prepared.image.shape[:2])
        scores = np.array([one.score for one in left], np.float64)
        mask = merge_expressions(masks.astype(np.float32), scores, masks.shape[1:])
        score = float(scores.mean()) if len(left) else math.nan
        return Referral(
            image=self.prepared.image,
            expression=" / ".join(one.expression for one in asked),
            method=METHOD,
            mask=mask,
            score=score,
            ranking=tuple(
                Ranked(index, one.score, one.mask)
                for index, one in sorted(enumerate(left), key=lambda pair: -pair[1].score)
            ),
            why={
                "merged": [one.expression for one in left],
                "pruned": [one.expression for one in asked if math.isnan(one.score)],
                "scores": [one.why["score"] for one in asked],
            },
            seconds=each[0].seconds,
        )

    def _masks(self, turn: Turn, clock: Any) -> np.ndarray:
        """Masks of a turn's survivors at the size of the image, bool (n, H, W)."""
        size = self.prepared.image.shape[:2]
        masks = [resized(mask.astype(np.uint8), size) > 0 for mask in self.prepared.masks(turn, clock)]
        return np.array(masks, bool).reshape(-1, *size)


def tidy(expression: str) -> str:
    """An expression with tidy white space."""
    return " ".join(expression.split())


def distinct(expressions: Sequence[str]) -> list[str]:
    """Expressions, each once, white space and letter case aside."""
    return list({tidy(expression).casefold(): expression for expression in reversed(expressions)}.values())[::-1]


def merge_expressions(masks: np.ndarray, scores: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """One mask of several that mean one object (released code of CaR).

    Args:
        masks: (N, h, w) float32 in [0, 1].
        scores: (N,), above 0.
        size: (H, W) of the result.

    Returns:
        (H, W) bool: where the score-weighted mean, resized bilinearly, is at least 0.5; where that covers no more than
        `TINY` of the image, where any mask (what exceeds 0.5) is, resized. Nothing of no masks.
    """
    height, width = size
    if not len(masks):
        return np.zeros((height, width), bool)
    mean = (masks * scores[:, None, None]).sum(axis=0) / scores.sum()
    merged = scaled(mean, (height, width)) >= 0.5
    if merged.mean() > TINY:
        return merged
    # The released code resizes bytes: OpenCV rounds them, halves up.
    binary = (masks > 0.5).astype(np.uint8)
    return np.any([scaled(mask, (height, width)) > 0 for mask in binary], axis=0)


def scaled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values (h, w) resized bilinearly to (H, W), in their dtype."""
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
