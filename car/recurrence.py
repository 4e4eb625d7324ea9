"""The loop of CaR (Algorithm 1): propose, judge, drop the queries that fail, until none does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from car.propose.proposals import Proposals


@dataclass(frozen=True)
class Turn:
    """One turn of the loop.

    queries: indices of the queries that entered it.
    proposals: their soft masks.
    scores: (n,) float32, P_ii of each.
    survivors: indices of those kept.
    """

    queries: tuple[int, ...]
    proposals: Proposals
    scores: np.ndarray
    survivors: tuple[int, ...]


def recur(
    queries: Sequence[int],
    propose: Callable[[Sequence[int]], Proposals],
    judge: Callable[[Sequence[int], Proposals], np.ndarray],
    *,
    theta: float,
    keep_best: bool = False,
    max_steps: int | None = None,
) -> list[Turn]:
    """Run the recurrence.

    Args:
        queries: h_0, indices of the queries.
        propose: f; proposals of the given queries.
        judge: v and g; P_ii (n,) of the given queries on their proposals.
        theta: a query stays iff its score is at least theta.
        keep_best: when none would stay, keep the best one (the released code); otherwise the answer is empty.
        max_steps: stop after so many turns; None runs until nothing changes.

    Returns:
        Every turn in order. The last one's proposals and scores, for its survivors, are the answer.
    """
    turns: list[Turn] = []
    hidden = tuple(queries)
    while hidden and (max_steps is None or len(turns) < max_steps):
        proposals = propose(hidden)
        scores = judge(hidden, proposals)
        survivors = tuple(q for q, score in zip(hidden, scores, strict=True) if score >= theta)
        if keep_best and not survivors:
            survivors = (hidden[int(np.argmax(scores))],)
        turns.append(Turn(hidden, proposals, scores, survivors))
        if survivors == hidden:
            break
        hidden = survivors
    return turns
