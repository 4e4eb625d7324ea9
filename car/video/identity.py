"""Whose mask is whose: what tells that a query may have taken another one's place.

Between frames a query keeps its mask, and it is judged against the others in each of them. It can still move over to
another query's object, above all where one is left for two of them. Giving masks to queries anew, by the assignment
with the highest sum of scores and overlaps, was tried and changed nothing for the better: masks are not exchanged, two
queries take one object. So what cannot be told is said, not mended.
"""

import numpy as np

MARGIN = 0.25
"""Scores and overlaps together, from 0 to 2, by which a mask must be more its own query's than any other's."""


def uncertain(scores: np.ndarray, overlaps: np.ndarray) -> np.ndarray:
    """Whose masks could as well be another query's.

    Args:
        scores: (n, n), P_ij, how much mask i shows query j.
        overlaps: (n, n), IoU of mask i with where query j was one frame before, as it lies in this one; 0 where it was
            not there.

    Returns:
        (n,) bool.

    >>> uncertain(np.array([[0.9, 0.1], [0.5, 0.4]]), np.array([[0.8, 0.0], [0.1, 0.2]])).tolist()
    [False, True]
    """
    value = scores + overlaps
    own = value.diagonal().copy()
    others = np.where(np.eye(len(own), dtype=bool), -np.inf, value).max(axis=1, initial=-np.inf)
    return own < others + MARGIN


def overlaps(masks: np.ndarray, before: np.ndarray) -> np.ndarray:
    """IoU (n, m) of masks (n, H, W) with others (m, H, W), in [0, 1] or bool; 0 where both are empty."""
    one, other = (each.reshape(len(each), -1).astype(np.float32) for each in (masks, before))
    shared = one @ other.T
    union = one.sum(axis=1)[:, None] + other.sum(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
