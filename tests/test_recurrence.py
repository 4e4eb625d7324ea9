import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.propose.proposals import Proposals
from car.recurrence import recur

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8)


def no_masks(kept):
    return Proposals(torch.zeros(len(kept), 1, 1), (1, 1))


def run(judge, n, **options):
    return recur(range(n), no_masks, judge, **{"theta": 0.5, **options})


@given(SCORES, st.floats(0, 1))
def test_fixed_scores_are_filtered_once_and_then_confirmed(scores, theta):
    scores = np.array(scores, np.float32)
    turns = run(lambda kept, _: scores[list(kept)], len(scores), theta=theta)
    expected = tuple(i for i, s in enumerate(scores) if s >= theta)
    assert turns[-1].survivors == expected
    assert len(turns) == (1 if len(expected) in (0, len(scores)) else 2)


@given(st.integers(1, 12))
def test_dropping_one_query_a_turn_takes_a_turn_each(n):
    def judge(kept, _):
        scores = np.ones(len(kept), np.float32)
        scores[0] = 0 if len(kept) > 1 else 1
        return scores

    turns = run(judge, n)
    assert [len(t.queries) for t in turns] == list(range(n, 0, -1))
    assert all(set(t.survivors) <= set(t.queries) for t in turns)
    assert turns[-1].survivors == turns[-1].queries == (n - 1,)


def test_a_score_equal_to_theta_stays():
    assert run(lambda kept, _: np.full(len(kept), 0.5, np.float32), 2)[-1].survivors == (0, 1)


def test_an_answer_may_be_empty_unless_the_best_is_kept():
    def judge(kept, _):
        return np.array([0.1, 0.3, 0.2], np.float32)[list(kept)]

    assert run(judge, 3)[-1].survivors == ()
    turns = run(judge, 3, keep_best=True)
    assert turns[-1].survivors == (1,)
    # The survivor alone goes round once more, so that the answer is its own proposal.
    assert turns[-1].queries == (1,)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_number_of_turns_can_be_limited(steps):
    turns = run(lambda kept, _: np.r_[0, np.ones(len(kept) - 1)].astype(np.float32), 5, max_steps=steps)
    assert len(turns) == steps
