import json
import random
from dataclasses import asdict, replace
from fractions import Fraction
from math import isnan

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.metrics.referring import (
    GENERALIZED_THRESHOLDS,
    THRESHOLDS,
    Overlap,
    generalized_scores,
    grouped_scores,
    overlap,
    precision_at,
    referring_scores,
)
from tests.golden import golden

MASKS = hnp.arrays(bool, (5, 7))


@st.composite
def overlaps(draw: st.DrawFn) -> Overlap:
    union = draw(st.integers(0, 20) | st.integers(0, 10**7))
    no_target = draw(st.booleans())
    intersection = 0 if no_target else draw(st.integers(0, union))
    return Overlap(intersection, union, no_target, draw(st.booleans()))


several = st.lists(overlaps(), min_size=1, max_size=12)


def masks(name: str) -> np.ndarray:
    return golden("metrics")[name].astype(bool)


def test_scores_match_the_reference():
    z = golden("metrics")
    samples = [overlap(*pair) for pair in zip(masks("ref_pred"), masks("ref_gt"), strict=True)]
    scores = referring_scores(samples)
    np.testing.assert_allclose([each.iou() for each in samples], z["ref_iou"], atol=1e-6)
    assert sum(each.intersection for each in samples) == z["ref_cumI"]
    assert sum(each.union for each in samples) == z["ref_cumU"]
    np.testing.assert_allclose([scores.oiou, scores.miou], [z["ref_oIoU"], z["ref_mIoU"]], atol=1e-6)
    np.testing.assert_allclose(THRESHOLDS, z["ref_thresholds"], atol=1e-6)
    np.testing.assert_allclose(list(scores.precision.values()), z["ref_precision_ge"], atol=1e-6)
    np.testing.assert_allclose(list(scores.strict_precision.values()), z["ref_precision_gt"], atol=1e-6)
    assert scores.precision[0.5] > scores.strict_precision[0.5]


def test_generalized_scores_match_the_reference():
    z = golden("metrics")
    flags = zip(z["gref_gt_no_target"], z["gref_pred_no_target"], strict=True)
    samples = [
        overlap(predicted, truth, no_target=no_target, flagged=flagged)
        for predicted, truth, (no_target, flagged) in zip(masks("gref_pred"), masks("gref_gt"), flags, strict=True)
    ]
    scores = generalized_scores(samples)
    found = [100 * scores.giou, 100 * scores.ciou, scores.n_acc, scores.t_acc]
    expected = [z[name] for name in ("gref_gIoU", "gref_cIoU", "gref_N_acc", "gref_T_acc")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose([100 * share for share in scores.precision.values()], z["gref_Pr_789"], atol=1e-6)
    assert (scores.expressions, scores.no_targets) == (8, 3)


@given(MASKS, MASKS)
def test_counts_are_the_definition_pixel_by_pixel(predicted, truth):
    pixels = list(zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True))
    found = overlap(predicted, truth)
    assert found.intersection == sum(a and b for a, b in pixels)
    assert found.union == sum(a or b for a, b in pixels)
    assert found == overlap(truth, predicted)


@given(several, st.randoms())
def test_the_order_does_not_change_a_bit(samples, generator: random.Random):
    shuffled = generator.sample(samples, len(samples))
    assert repr(referring_scores(iter(shuffled))) == repr(referring_scores(samples))
    assert repr(generalized_scores(iter(shuffled))) == repr(generalized_scores(samples))


@given(several)
def test_records_go_through_json(samples):
    text = json.dumps([asdict(each) for each in samples])
    assert [Overlap(**values) for values in json.loads(text)] == samples


@given(several)
def test_scores_are_the_definition_in_exact_fractions(samples):
    exact = [Fraction(each.intersection, each.union) if each.union else Fraction(0) for each in samples]
    scores = referring_scores(samples)
    assert scores.miou == pytest.approx(float(sum(exact) / len(exact)), rel=1e-12)
    for x in THRESHOLDS:
        threshold = Fraction(str(x))
        assert scores.precision[x] == sum(iou >= threshold for iou in exact) / len(exact)
        assert scores.strict_precision[x] == sum(iou > threshold for iou in exact) / len(exact)


@given(several)
def test_with_targets_and_no_flags_both_families_agree(samples):
    plain = [Overlap(each.intersection, each.union) for each in samples]
    referring, generalized = referring_scores(plain), generalized_scores(plain)
    assert (generalized.giou, repr(generalized.ciou)) == (referring.miou, repr(referring.oiou))
    assert generalized.precision == {x: referring.precision[x] for x in GENERALIZED_THRESHOLDS}
    assert generalized.t_acc == 1.0
    assert isnan(generalized.n_acc)


@given(several)
def test_referring_scores_do_not_look_at_flags(samples):
    assert repr(referring_scores(replace(each, flagged=True) for each in samples)) == repr(referring_scores(samples))


@pytest.mark.parametrize("x", THRESHOLDS)
@pytest.mark.parametrize("union", [10, 30, 70, 110, 123450])
def test_an_iou_of_exactly_x_reaches_it_but_not_strictly(x, union):
    exactly = Overlap(round(x * union), union)
    assert exactly.intersection * 10 == round(x * 10) * union
    scores = referring_scores([exactly])
    assert (scores.precision[x], scores.strict_precision[x]) == (1.0, 0.0)


def test_generalized_scores_by_hand():
    scores = generalized_scores(
        [
            Overlap(8, 10),
            Overlap(7, 10, flagged=True),
            Overlap(0, 5, no_target=True),
            Overlap(0, 1000, no_target=True, flagged=True),
        ]
    )
    assert scores.giou == pytest.approx((0.8 + 0 + 0 + 1) / 4)
    assert scores.ciou == 8 / 25
    assert (scores.n_acc, scores.t_acc) == (0.5, 0.5)
    assert scores.precision == {0.7: 0.5, 0.8: 0.5, 0.9: 0.0}


def test_the_rule_for_empty_unions_has_a_name():
    samples = [Overlap(0, 0), Overlap(1, 2)]
    assert referring_scores(samples).miou == referring_scores(samples, empty_union="zero").miou == 0.25
    by_one = referring_scores(samples, empty_union="one")
    assert (by_one.miou, by_one.oiou, by_one.precision[0.9]) == (0.75, 0.5, 0.5)
    with pytest.raises(InputError, match=r"No rule 'skip' for empty unions\. Available: zero, one\."):
        referring_scores(samples, empty_union="skip")


@given(st.lists(st.lists(several, min_size=1, max_size=4), min_size=1, max_size=6), st.randoms())
def test_groups_are_right_where_their_worst_expression_is(images, generator: random.Random):
    def worst(group):
        return min(Fraction(each.intersection, each.union) if each.union else Fraction(0) for each in group)

    instances = [instance for image in images for instance in image]
    scores = grouped_scores(images)
    assert (scores.instances, scores.images) == (len(instances), len(images))
    assert scores.inst_acc == sum(worst(each) > Fraction(1, 2) for each in instances) / len(instances)
    assert scores.img_acc == sum(min(map(worst, each)) > Fraction(1, 2) for each in images) / len(images)
    assert grouped_scores(iter(generator.sample(images, len(images)))) == scores


@given(several)
def test_with_one_expression_each_instances_are_the_strict_precision(samples):
    strict = referring_scores(samples).strict_precision[0.5]
    assert grouped_scores([[each] for each in samples] for _ in range(1)).inst_acc == strict
    assert grouped_scores([[each]] for each in samples).img_acc == strict


def test_groups_by_hand():
    right, exactly, empty = Overlap(51, 100), Overlap(50, 100), Overlap(0, 0)
    scores = grouped_scores([[[right, right], [right]], [[right, exactly], [right]], [[empty]]])
    assert (scores.inst_acc, scores.img_acc) == (3 / 5, 1 / 3)
    assert grouped_scores([[[empty]]], empty_union="one").img_acc == 1.0
    for nothing in ([[]], [[[right], []]]):
        with pytest.raises(InputError, match="to have at least one"):
            grouped_scores(nothing)


@pytest.mark.filterwarnings("error")
def test_nothing_has_no_score():
    referring, generalized = referring_scores([]), generalized_scores([])
    values = [referring.oiou, referring.miou, *referring.precision.values(), *referring.strict_precision.values()]
    values += [generalized.giou, generalized.ciou, generalized.n_acc, generalized.t_acc]
    assert np.isnan([*values, *generalized.precision.values()]).all()
    assert referring.expressions == generalized.expressions == generalized.no_targets == 0
    assert isnan(precision_at([], 0.5))
    assert isnan(grouped_scores([]).inst_acc)
    assert isnan(grouped_scores([]).img_acc)


def test_only_expressions_without_a_target():
    scores = generalized_scores([Overlap(0, 3, no_target=True, flagged=True), Overlap(0, 4, no_target=True)])
    assert (scores.giou, scores.ciou, scores.n_acc) == (0.5, 0.0, 0.5)
    assert isnan(scores.t_acc)
    assert isnan(scores.precision[0.7])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((5, 4), "0 <= intersection <= union, but got 5 and 4"),
        ((-1, 4), "0 <= intersection <= union, but got -1 and 4"),
        ((2, 4, True), "no intersection without a target, but got 2 pixels"),
    ],
)
def test_records_that_count_nothing(values, message):
    with pytest.raises(InputError, match=message):
        Overlap(*values)


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), r"`predicted` of bool, \(H, W\) of one size, but got bool"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), "`predicted` of bool.*but got uint8"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), np.uint8), "`truth` of bool.*but got uint8"),
        (np.zeros(6, bool), np.zeros(6, bool), r"but got bool, \(6,\)"),
    ],
)
def test_masks_that_cannot_be_counted(predicted, truth, message):
    with pytest.raises(InputError, match=message):
        overlap(predicted, truth)


def test_no_target_with_true_pixels():
    with pytest.raises(InputError, match="`truth` to be empty where there is no target"):
        overlap(np.zeros((2, 3), bool), np.ones((2, 3), bool), no_target=True)
