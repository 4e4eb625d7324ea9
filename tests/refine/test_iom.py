import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.refine.iom import iom, iom_matrix, merge
from tests.golden import golden

shares = st.floats(0, 1)


def stacks(count: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(bool, (count, 5, 7))


def square(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_iom_is_the_released_one():
    arrays = golden("car")
    found = iom(arrays["sam_pred"] > 0, arrays["sam_masks"] > 0, 0.05)
    np.testing.assert_allclose(found, arrays["sam_iom_min005"], rtol=1e-6)


@given(stacks(3), stacks(4), shares)
def test_matrix_is_the_definition_pair_by_pair(preds, masks, threshold):
    matrix = iom_matrix(preds, masks, threshold)
    for i, pred in enumerate(preds):
        for j, mask in enumerate(masks):
            shared = int((pred & mask).sum())
            of_pred = shared / pred.sum() if pred.any() else 0.0
            of_mask = shared / mask.sum() if mask.any() and of_pred >= threshold else 0.0
            assert matrix[i, j] == max(of_pred, of_mask)


def test_counts_stay_exact_over_many_blocks():
    preds = np.ones((1, 2100, 2100), bool)
    masks = np.ones((3, 2100, 2100), bool)
    masks[1, 0, 0] = False
    masks[2, 1:] = False
    assert iom_matrix(preds, masks, 0.0).tolist() == [[1.0, 1.0, 1.0]]
    preds[0, 0, 0] = False
    expected = [1.0, 1.0, 2099 / 2100]
    assert iom_matrix(preds, masks, 0.0).tolist() == [expected]
    assert iom_matrix(preds, masks, 0.5)[0, 2] == 2099 / (2100**2 - 1)


def test_matching_proposals_are_united_and_replace():
    pred = square(5, 5, 15, 15)
    left, right = square(5, 4, 15, 10), square(5, 10, 15, 16)
    elsewhere = square(0, 20, 20, 30)
    merged = merge(pred, np.stack([left, elsewhere, right]), phi_iou=0.6)
    assert np.array_equal(merged, left | right)


def test_a_union_that_disagrees_does_not_replace():
    pred = square(5, 5, 15, 15)
    everything = np.ones_like(pred)
    assert np.array_equal(merge(pred, np.stack([everything, square(5, 5, 15, 16)])), pred)


def test_the_best_single_one_is_tried_where_none_matches():
    pred = square(5, 5, 15, 15)
    shifted, worse = square(5, 7, 15, 17), square(5, 9, 15, 19)
    masks = np.stack([worse, shifted])
    assert iom(pred, masks, 0.05).tolist() == [0.6, 0.8]
    assert np.array_equal(merge(pred, masks, phi_iom=0.9, phi_iou=0.6), shifted)
    assert np.array_equal(merge(pred, masks, phi_iom=0.9, phi_iou=0.7), pred)


def test_both_thresholds_are_strict():
    pred, mask = square(0, 0, 10, 10), square(0, 0, 10, 5)[None]
    assert np.array_equal(merge(pred, mask, phi_iou=0.5), pred)
    assert np.array_equal(merge(pred, mask, phi_iou=0.49), mask[0])
    part = square(0, 0, 5, 10)
    both = np.stack([square(0, 0, 10, 9), part | square(15, 0, 20, 10)])
    # The second covers half of the prediction: it joins when the threshold is below 0.5 alone.
    assert np.array_equal(merge(pred, both, phi_iom=0.5, phi_iou=0.1), both[0])
    assert np.array_equal(merge(pred, both, phi_iom=0.49, phi_iou=0.1), both.any(axis=0))


def test_specks_inside_do_not_count():
    pred = square(0, 0, 10, 10)
    speck, most = square(0, 0, 2, 2), square(0, 0, 10, 8)
    masks = np.stack([speck, most])
    assert iom(pred, masks, 0.05).tolist() == [0.04, 1.0]
    assert iom(pred, masks, 0.04).tolist() == [1.0, 1.0]


@given(stacks(3), stacks(4), shares, shares, shares)
def test_merging_several_is_merging_each(preds, masks, phi_iom, phi_iou, threshold):
    options = {"phi_iom": phi_iom, "phi_iou": phi_iou, "min_pred_threshold": threshold}
    together = merge(preds, masks, **options)
    for pred, merged in zip(preds, together, strict=True):
        assert np.array_equal(merge(pred, masks, **options), merged)
        if not np.array_equal(pred, merged):
            assert (pred & merged).sum() / (pred | merged).sum() > phi_iou


def test_nothing_to_merge_leaves_the_prediction_and_never_the_same_array():
    pred, empty = square(5, 5, 15, 15), np.zeros((20, 30), bool)
    for given_pred, masks in ((pred, np.zeros((0, 20, 30), bool)), (empty, pred[None]), (pred, empty[None])):
        merged = merge(given_pred, masks)
        assert np.array_equal(merged, given_pred)
        assert merged is not given_pred
    assert merge(np.zeros((0, 20, 30), bool), pred[None]).shape == (0, 20, 30)


@pytest.mark.parametrize("name", ["phi_iom", "phi_iou", "min_pred_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_thresholds_outside_their_range(name, value):
    with pytest.raises(InputError, match=f"`{name}`"):
        merge(square(0, 0, 2, 2), square(0, 0, 2, 2)[None], **{name: value})


def test_shapes_and_dtypes_must_match():
    masks = np.zeros((2, 20, 30), bool)
    for preds, others in ((masks.astype(np.uint8), masks), (masks, masks.astype(float)), (masks, masks[:, :10])):
        with pytest.raises(InputError, match="Expected"):
            iom_matrix(preds, others, 0.05)
