import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car.video.identity import MARGIN, alike, coverage, overlaps, uncertain

MASKS = arrays.arrays(bool, (3, 4, 5))
ALONE = np.zeros((4, 4), bool)


@given(MASKS, MASKS)
def test_overlaps_are_ious(one, other):
    found = overlaps(one, other)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            union = (a | b).sum()
            assert found[i, j] == pytest.approx((a & b).sum() / union if union else 0)


@pytest.mark.parametrize(("one", "other"), [(0, 3), (3, 0), (0, 0)])
def test_no_masks_have_no_overlaps(one, other):
    assert overlaps(np.zeros((one, 4, 5), bool), np.zeros((other, 4, 5), bool)).shape == (one, other)


@given(MASKS, MASKS)
def test_coverage_is_shares_of_places(masks, places):
    found = coverage(masks, places)
    for i, mask in enumerate(masks):
        for j, place in enumerate(places):
            assert found[i, j] == pytest.approx((mask & place).sum() / place.sum() if place.any() else 0)


@given(arrays.arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=32)), st.permutations(range(4)))
def test_doubt_goes_with_the_query_whatever_the_order(scores, order):
    doubt = uncertain(scores, np.eye(4), ALONE)
    again = uncertain(scores[np.ix_(order, order)], np.eye(4), ALONE)
    assert np.array_equal(again, doubt[list(order)])


def test_doubt_is_where_another_query_fits_nearly_as_well():
    sure, alone = np.array([[0.9, 0.1], [0.1, 0.9]]), ALONE[:2, :2]
    assert not uncertain(sure, np.eye(2), alone).any()
    assert uncertain(sure, 1.0 - np.eye(2), alone).all()  # each is where the other was
    near = np.array([[0.5, 0.5 - MARGIN / 2], [0.1, 0.9]])
    assert uncertain(near, np.zeros((2, 2)), alone).tolist() == [True, False]
    assert uncertain(np.array([[0.4]]), np.zeros((1, 1)), ALONE[:1, :1]).tolist() == [False]
    assert uncertain(np.zeros((0, 0)), np.zeros((0, 0)), ALONE[:0, :0]).shape == (0,)


def test_no_doubt_between_two_that_agree():
    scores = np.full((3, 3), 1 / 3)
    agreed = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    assert uncertain(scores, np.zeros((3, 3)), agreed).tolist() == [True, True, True]
    assert uncertain(scores[:2, :2], np.zeros((2, 2)), agreed[:2, :2]).tolist() == [False, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["bus"], ["a bus"], True),
        (["The Bus"], ["bus"], True),
        (["man on a bus"], ["the man on the bus"], True),
        (["coach", "bus"], ["a bus"], True),
        (["bus"], ["red bus"], False),
        (["red bus"], ["blue bus"], False),
        (["bus"], ["coach"], False),
        (["the"], ["a"], False),
    ],
)
def test_who_asks_for_the_same(one, other, same):
    assert alike([one, other]).tolist() == [[True, same], [same, True]]


def test_nobody_asks():
    assert alike([]).shape == (0, 0)
