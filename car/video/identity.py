"""Whose mask is whose: what tells that a query may have taken another one's place.

Between frames a query keeps its mask, and it is judged against the others in each of them. It can still move over to
another query's object, above all where one is left for two of them. Giving masks to queries anew, by the assignment
with the highest sum of scores and overlaps, was tried and changed nothing for the better: masks are not exchanged, two
queries take one object. So what cannot be told is said, not mended.
"""

import math
from collections.abc import Sequence

import numpy as np

MARGIN = 0.25
"""Scores and overlaps together, from 0 to 2, by which a mask must be more its own query's than any other's."""
AGREE = 0.5
"""IoU of the masks of two queries from which on they show the same."""
ARTICLES = {"a", "an", "the"}


def uncertain(scores: np.ndarray, overlaps: np.ndarray, agreed: np.ndarray) -> np.ndarray:
    """Whose masks could as well be another query's.

    Args:
        scores: (n, n), P_ij, how much mask i shows query j.
        overlaps: (n, n), IoU of mask i with where query j was one frame before, as it lies in this one; 0 where it was
            not there.
        agreed: (n, n) bool, which ask for the same and show the same.

    Returns:
        (n,) bool.

    >>> scores, overlaps = np.array([[0.9, 0.1], [0.5, 0.4]]), np.array([[0.8, 0.0], [0.1, 0.2]])
    >>> uncertain(scores, overlaps, np.zeros((2, 2), bool)).tolist()
    [False, True]
    """
    value = scores + overlaps
    own = value.diagonal().copy()
    others = np.where(agreed | np.eye(len(own), dtype=bool), -np.inf, value).max(axis=1, initial=-np.inf)
    return own < others + MARGIN


def overlaps(masks: np.ndarray, before: np.ndarray) -> np.ndarray:
    """IoU (n, m) of masks (n, H, W) with others (m, H, W), in [0, 1] or bool; 0 where both are empty."""
    one, other = (each.reshape(len(each), math.prod(each.shape[1:])).astype(np.float32) for each in (masks, before))
    shared = one @ other.T
    union = one.sum(axis=1)[:, None] + other.sum(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def coverage(masks: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Share (n, m) of each place (m, H, W) that each mask (n, H, W) covers, both bool; 0 of one that is empty."""
    one, other = (each.reshape(len(each), math.prod(each.shape[1:])).astype(np.float32) for each in (masks, places))
    whole = other.sum(axis=1)
    return np.divide(one @ other.T, whole, out=np.zeros((len(one), len(other)), np.float32), where=whole > 0)


def alike(queries: Sequence[Sequence[str]]) -> np.ndarray:
    """Which of N queries ask for the same, (N, N) bool; each does as itself. Letter case and articles say nothing.

    Masks cannot tell: of two things that are asked for, the wrong one is often found where the right one is, in the
    first frame and in all others.

    Args:
        queries: each with its synonyms; with one in common, they ask for the same.

    >>> alike([["bus"], ["A bus", "a coach"], ["red bus"]]).tolist()
    [[True, True, False], [True, True, False], [False, False, True]]
    """
    wordings = [{wording(text) for text in synonyms} for synonyms in queries]
    shared = [[bool(one & other) for other in wordings] for one in wordings]
    return np.array(shared, bool).reshape(len(wordings), len(wordings))


def wording(text: str) -> tuple[str, ...]:
    """The words of an expression that say what is meant.

    >>> wording("The man on a bus")
    ('man', 'on', 'bus')
    """
    words = text.casefold().split()
    return tuple(word for word in words if word not in ARTICLES) or tuple(words)
