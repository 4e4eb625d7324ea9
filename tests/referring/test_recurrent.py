import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import car
from car.errors import InputError
from car.referring.recurrent import DEFAULTS, Recurrent, merge_expressions
from car.scenes import demo_masks
from tests.golden import golden


@pytest.fixture(scope="module")
def referrer():
    return Recurrent(car.load("mini", **DEFAULTS))


@pytest.fixture(scope="module")
def prepared(referrer):
    return referrer.prepare(car.demo_image())


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize(("masks", "out"), [("merge_masks", "merge_out"), ("merge_tiny_masks", "merge_tiny_out")])
def test_merging_agrees_with_the_released_code(masks, out):
    z = golden("car")
    merged = merge_expressions(z[masks], z["merge_scores"], z[out].shape)
    assert np.array_equal(merged, z[out] > 0)


@given(arrays.arrays(np.bool_, (3, 6, 7)), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_merging_stays_between_intersection_and_union(masks, scores):
    merged = merge_expressions(masks.astype(np.float32), np.array(scores), (6, 7))
    assert not (merged & ~masks.any(axis=0)).any()
    assert not (masks.all(axis=0) & ~merged).any()


def test_what_is_there_is_found_and_what_is_not_is_absent(prepared):
    there, absent = prepared.refer("cat"), prepared.refer("pizza")
    assert there.found
    assert iou(there.mask, demo_masks()["cat"]) > 0.5
    assert there.ranking[0].mask is there.mask
    assert there.score == there.why["score"] >= there.why["theta"]
    assert not absent.found
    assert math.isnan(absent.score)
    assert absent.ranking == ()
    assert absent.why["score"] < absent.why["theta"]


def test_expressions_propose_apart_and_are_judged_together(prepared):
    together = prepared.refer_together(["cat", "dog"])
    apart = [prepared.refer("cat"), prepared.refer("dog")]
    for one, other in zip(together, apart, strict=True):
        # The same proposal and a CRF of its own, whoever else was asked; the lattice rounds sets together.
        assert iou(one.mask, other.mask) > 0.999
        assert one.score != other.score
    asked = prepared.prepared.ask(["cat", "dog"], together=False)
    alone = prepared.prepared.ask(["cat"], together=False)
    torch.testing.assert_close(asked.propose([1, 0]).grid[1], alone.propose([0]).grid[0], atol=2e-2, rtol=0)


def test_repetitions_share_one_answer(prepared):
    first, second, third = prepared.refer_together(["cat", "dog", " Cat"])
    assert first is third
    assert second.expression == "dog"


def test_masks_of_several_expressions_may_overlap(prepared):
    one, other = prepared.refer_together(["cat", "a cat"])
    if one.found and other.found:
        assert iou(one.mask, other.mask) > 0.3


def test_an_object_has_one_mask_of_what_is_left(prepared):
    merged = prepared.refer_object(["cat", "pizza", "Cat"])
    assert iou(merged.mask, demo_masks()["cat"]) > 0.5
    assert merged.why["pruned"] == ["pizza"]
    assert merged.why["merged"] == ["cat"]
    assert merged.expression == "cat / pizza"
    nothing = prepared.refer_object(["pizza", "chair"])
    assert not nothing.found
    assert math.isnan(nothing.score)


def test_answers_have_the_size_of_the_image():
    image = car.demo_image()
    referrer = Recurrent(car.load("mini", max_side=100, **DEFAULTS))
    assert referrer.refer(image, "cat").mask.shape == image.shape[:2]


@pytest.mark.parametrize("expression", ["", "  ", "word " * 100])
def test_what_cannot_be_read_is_refused(prepared, expression):
    with pytest.raises(InputError):
        prepared.refer(expression)
