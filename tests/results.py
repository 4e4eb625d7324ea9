"""Results to draw and export, made without a model."""

from collections.abc import Sequence

import numpy as np
import torch

from car.classify.visual_prompts import VisualPrompter
from car.propose.proposals import Proposals
from car.result import Segmentation, Step


def segmentation(
    queries: Sequence[str],
    labels: np.ndarray,
    *,
    absent: Sequence[int] = (),
    scores: Sequence[float] | None = None,
    theta: float = 0.5,
) -> Segmentation:
    """A result of two steps: all queries enter, the absent ones are dropped, the others are kept again."""
    n = len(queries)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*labels.shape, 3), np.uint8)
    present = ~np.isin(np.arange(n), absent)
    if scores is None:
        scores = np.where(present, 0.9, 0.1) - 0.001 * np.arange(n)
    scores = np.array(scores, np.float32)
    steps = [
        Step(
            queries=tuple(queries[i] for i in entering),
            indices=tuple(entering),
            scores=scores[entering],
            kept=present[entering],
            soft=Proposals(torch.rand(len(entering), 3, 4, generator=torch.Generator().manual_seed(0)), labels.shape),
            prompter=VisualPrompter(image, ["circle", "blur"]),
            eta=0.4,
        )
        for entering in (list(range(n)), np.flatnonzero(present).tolist())
        if entering
    ]
    return Segmentation(
        image=image,
        queries=tuple(queries),
        labels=labels.astype(np.int32),
        scores=scores,
        present=present,
        steps=tuple(steps),
        config={"theta": theta, "eta": 0.4, "prompts": ("circle", "blur")},
        model="mini",
    )


def stripes(rows: int, columns: int, values: Sequence[int]) -> np.ndarray:
    """A label map of vertical stripes, int32 (rows, columns)."""
    return np.tile(np.array(values, np.int32)[np.arange(columns) * len(values) // columns], (rows, 1))
