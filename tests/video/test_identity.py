import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car.video.identity import MARGIN, overlaps, uncertain

MASKS = arrays.arrays(bool, (3, 4, 5))


@given(MASKS, MASKS)
def test_overlaps_are_ious(one, other):
    found = overlaps(one, other)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            union = (a | b).sum()
            assert found[i, j] == pytest.approx((a & b).sum() / union if union else 0)


@given(arrays.arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=32)), st.permutations(range(4)))
def test_doubt_goes_with_the_query_whatever_the_order(scores, order):
    doubt = uncertain(scores, np.eye(4))
    again = uncertain(scores[np.ix_(order, order)], np.eye(4))
    assert np.array_equal(again, doubt[list(order)])


def test_doubt_is_where_another_query_fits_nearly_as_well():
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert not uncertain(sure, np.eye(2)).any()
    assert uncertain(sure, 1.0 - np.eye(2)).all()  # each is where the other was
    assert uncertain(np.array([[0.5, 0.5 - MARGIN / 2], [0.1, 0.9]]), np.zeros((2, 2))).tolist() == [True, False]
    assert uncertain(np.array([[0.4]]), np.zeros((1, 1))).tolist() == [False]
    assert uncertain(np.zeros((0, 0)), np.zeros((0, 0))).shape == (0,)
