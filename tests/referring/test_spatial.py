import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.referring.proposals import MaskProposals
from car.referring.spatial import (
    DIRECTIONS,
    RELATIONS,
    GuidanceSettings,
    Guided,
    direction_mask,
    guide,
    heat_scores,
    holds,
    likeliest,
    position_heat,
    ranked,
    relation_terms,
)
from tests.golden import golden

PAPER, RELEASED = GuidanceSettings(), GuidanceSettings(as_released=True)
BOTH = pytest.mark.parametrize("settings", [PAPER, RELEASED], ids=["paper", "released"])
SIZE = (12, 16)
OPPOSITES = {"left": "right", "up": "down", "big": "small"}


def box_masks(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (x, y, width, height) in zip(masks, boxes, strict=True):
        mask[y : y + height, x : x + width] = True
    return masks


def noise(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(0))


BOXES = torch.tensor([[1, 2, 3, 4], [9, 1, 4, 5], [5, 7, 6, 5]]).float()
MASKS = box_masks(*BOXES.int().tolist())
FLAT = torch.ones(SIZE)


def test_direction_masks_match_the_reference():
    z = golden("hybridgl")
    for direction in (*DIRECTIONS, "none"):
        np.testing.assert_array_equal(direction_mask(direction, (37, 53), as_released=True), z[f"dir_{direction}"])


def test_relations_match_the_reference():
    z = golden("hybridgl")
    boxes = torch.from_numpy(z["rel_boxes_xywh"]).float()
    p, q = (torch.full((len(boxes),), float(z[f"rel_score_{name}"])) for name in "ij")
    for word, table in zip(z["rel_words"].tolist(), z["rel_table"], strict=True):
        for as_released in (False, True):
            np.testing.assert_allclose(relation_terms(boxes, word, p, q, as_released=as_released), table, atol=1e-6)


def golden_guidance(z: dict[str, np.ndarray], case: int) -> Guided:
    proposals = MaskProposals(z["sg_masks"] > 0)
    np.testing.assert_array_equal(proposals.sam_boxes, z["sg_boxes_xywh"])
    direction, relation = str(z["sg_combo_dir"][case]), str(z["sg_combo_rel"][case])
    heat = position_heat(torch.from_numpy(z["sg_heat"]), direction, z["sg_masks"].shape[1:], as_released=True)
    return guide(
        torch.from_numpy(z["sg_logits"]),
        torch.from_numpy(z["sg_logits_neg"]) if z["sg_combo_has_other_nouns"][case] else None,
        torch.from_numpy(z["sg_boxes_xywh"]).float(),
        torch.from_numpy(z["sg_masks"] > 0),
        heat,
        relation,
        RELEASED,
    )


def test_the_released_guidance_matches_the_reference():
    z = golden("hybridgl")
    for case, selected in enumerate(z["sg_selected"]):
        guided = golden_guidance(z, case)
        np.testing.assert_array_equal(guided.able, z["sg_topk_idx"])
        np.testing.assert_array_equal(likeliest(torch.from_numpy(z["sg_logits_neg"]), 6), z["sg_topk_neg_idx"])
        np.testing.assert_allclose(guided.relation_share[guided.able], z["sg_rel_softmax"][case], atol=1e-5)
        np.testing.assert_allclose(guided.heat_score, z["sg_score_gem"][case], atol=1e-5)
        np.testing.assert_allclose(guided.final[guided.able], z["sg_final_topk"][case], atol=1e-5)
        assert guided.order[0] == selected


def test_both_rules_have_the_documented_weights():
    assert [PAPER.weight(relation) for relation in (None, "left", "big", "small")] == [9, 9, 3, 14]
    assert [RELEASED.weight(relation) for relation in (None, "left", "big", "small")] == [9, 9, 39, 3]


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_are_strict_and_opposites_are_mirrored(relation):
    held = holds(BOXES, relation)
    if relation == "within":
        torch.testing.assert_close(held.diagonal(), torch.ones(3))
    else:
        assert not held.diagonal().any()
    if relation in OPPOSITES:
        assert torch.equal(held.T, holds(BOXES, OPPOSITES[relation]))


def test_relations_mean_what_they_say():
    assert holds(BOXES, "left").tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert holds(BOXES, "up").tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    assert holds(BOXES, "small").tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    inner = torch.tensor([[2, 2, 2, 2], [0, 0, 4, 8]]).float()
    assert holds(inner, "within").tolist() == [[1, 1], [0.125, 1]]


def test_a_box_without_area_is_within_nothing():
    line = torch.tensor([[2, 2, 0, 4], [0, 0, 8, 8]]).float()
    assert holds(line, "within")[0].tolist() == [0, 0]
    assert holds(line, "within", as_released=True)[0].isnan().all()


@pytest.mark.parametrize(("direction", "end"), [("left", 0), ("right", -1)])
def test_ramps_across(direction, end):
    mask = direction_mask(direction, (3, 7))
    assert (mask.shape, mask[:, end].min(), mask[:, -1 - end].max()) == ((3, 7), 1, 0)
    assert torch.equal(mask, direction_mask(direction, (3, 7), as_released=True))


@pytest.mark.parametrize(("direction", "across"), [("up", "left"), ("down", "right")])
def test_ramps_down_are_those_across_turned(direction, across):
    assert torch.equal(direction_mask(direction, (7, 3)), direction_mask(across, (3, 7)).T)


@given(st.sampled_from([*DIRECTIONS, None, "behind"]), st.integers(1, 9), st.integers(1, 9))
def test_direction_masks_of_any_size_are_weights(direction, height, width):
    mask = direction_mask(direction, (height, width))
    assert mask.shape == (height, width)
    assert mask.min() >= 0
    assert mask.max() <= 1


@given(st.sampled_from([*DIRECTIONS, None]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_heat_has_mean_one_whatever_the_map(direction, height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    heat = torch.rand(3, 4, generator=rng) * (seed % 3)
    full = position_heat(heat, direction, (height, width))
    torch.testing.assert_close(full.mean(), torch.tensor(1.0), atol=1e-4, rtol=0)
    assert full.min() >= 0


def test_a_map_that_tells_nothing_is_warm_everywhere():
    far_right = torch.zeros(6, 6)
    far_right[:, -1] = 1
    for heat, direction in ((torch.full((6, 6), 0.5), None), (far_right, "left")):
        assert torch.equal(position_heat(heat, direction, (6, 6)), torch.ones(6, 6))
        assert position_heat(heat, direction, (6, 6), as_released=True).isnan().any()


def test_a_direction_moves_the_heat_there():
    left, up = (position_heat(noise(6, 6), direction, SIZE) for direction in ("left", "up"))
    assert left[:, :8].sum() > left[:, 8:].sum()
    assert up[:6].sum() > up[6:].sum()


@pytest.mark.parametrize("lam", [0, 3, 9, 39])
def test_heat_scores_are_differences_of_means(lam):
    heat = noise(*SIZE)
    expected = [heat[mask].mean() - lam * heat[~mask].mean() for mask in MASKS]
    scores = heat_scores(heat, MASKS, lam)
    torch.testing.assert_close(scores, torch.stack(expected), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(heat_scores(heat, MASKS, lam, as_released=True), scores * 2 / (1 + lam))


def test_empty_and_whole_masks_divide_by_nothing_in_the_default_alone():
    masks = torch.stack([torch.zeros(SIZE), torch.ones(SIZE)]).bool()
    heat = position_heat(noise(*SIZE), None, SIZE)
    torch.testing.assert_close(heat_scores(heat, masks, 9), torch.tensor([-9.0, -8.0]), atol=1e-4, rtol=0)
    assert heat_scores(heat, masks, 9, as_released=True).isnan().all()


def test_a_mask_no_hotter_than_the_image_scores_as_the_whole_image():
    masks = torch.cat([MASKS, torch.ones(1, *SIZE, dtype=torch.bool)])
    torch.testing.assert_close(heat_scores(FLAT, masks, 9), torch.full((4,), -8.0))


def test_any_mask_can_win_in_the_default_and_only_the_likeliest_as_released():
    masks, boxes = MASKS[[0, 0, 0, 0, 1]], BOXES[[0, 0, 0, 0, 1]]
    logits = torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6])
    heat = FLAT.clone()
    heat[masks[4]] = 50
    paper, released = (guide(logits, None, boxes, masks, heat, None, settings) for settings in (PAPER, RELEASED))
    assert paper.order[0] == 4
    assert released.order.tolist() == [0, 1, 2]
    assert released.relation_share[3:].tolist() == [0, 0]


def test_an_empty_mask_never_wins_in_the_default_and_always_as_released():
    masks = torch.cat([torch.zeros(1, *SIZE, dtype=torch.bool), MASKS])
    boxes = torch.cat([torch.zeros(1, 4), BOXES])
    logits = torch.tensor([9.0, 1, 1, 1])
    heat = position_heat(noise(*SIZE), None, SIZE)
    paper = guide(logits, None, boxes, masks, heat, "within", PAPER)
    assert sorted(paper.order.tolist()) == [1, 2, 3]
    assert paper.final.isfinite().all()
    assert guide(logits, None, boxes, masks, heat, None, RELEASED).order[0] == 0


def test_of_the_mask_of_the_whole_image_the_default_makes_nothing_special():
    masks = torch.cat([torch.ones(1, *SIZE, dtype=torch.bool), MASKS])
    boxes = torch.cat([torch.tensor([[0.0, 0, 16, 12]]), BOXES])
    heat = FLAT.clone()
    heat[MASKS[1]] = 20
    logits = torch.zeros(4)
    assert guide(logits, None, boxes, masks, heat / heat.mean(), None, PAPER).order[0] == 2
    assert guide(logits, None, boxes, masks, heat / heat.mean(), None, RELEASED).order[0] == 0


def test_the_relation_decides_between_masks_that_are_otherwise_alike():
    alike, landmark = torch.tensor([2.0, 2.0, -9.0]), torch.tensor([-9.0, -9.0, 2.0])
    boxes = torch.tensor([[1, 4, 3, 3], [12, 4, 3, 3], [6, 4, 3, 3]]).float()
    masks = box_masks(*boxes.int().tolist())
    for relation, winner in (("left", 0), ("right", 1)):
        for settings in (PAPER, RELEASED):
            assert guide(alike, landmark, boxes, masks, FLAT, relation, settings).order[0] == winner


@BOTH
@given(seed=st.integers(0, 10**6), count=st.integers(1, 9), relation=st.sampled_from([*RELATIONS, None]))
def test_guidance_of_any_masks_is_finite_and_ranks_them(settings, seed, count, relation):
    rng = np.random.default_rng(seed)
    boxes = [
        (int(x), int(y), int(rng.integers(2, 16 - x)), int(rng.integers(2, 12 - y)))
        for x, y in zip(rng.integers(1, 13, count), rng.integers(1, 9, count), strict=True)
    ]
    masks = box_masks(*boxes)
    logits, others = (torch.from_numpy(rng.normal(size=count)).float() for _ in range(2))
    heat = position_heat(torch.from_numpy(rng.random((4, 4))).float(), None, SIZE)
    guided = guide(logits, others if seed % 2 else None, torch.tensor(boxes).float(), masks, heat, relation, settings)
    torch.testing.assert_close(guided.p.sum(), torch.tensor(1.0))
    torch.testing.assert_close(guided.relation_share.sum(), torch.tensor(1.0))
    assert guided.final.isfinite().all()
    assert len(guided.order) == (min(3, count) if settings is RELEASED else count)
    scores = guided.final[guided.order]
    assert (scores[:-1] >= scores[1:]).all()


@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_masks_does_not_matter(seed):
    rng = torch.Generator().manual_seed(seed)
    logits, heat = torch.randn(3, generator=rng), position_heat(torch.rand(5, 5, generator=rng), "up", SIZE)
    order = torch.randperm(3, generator=rng)
    for relation in ("left", "big", "within"):
        first = guide(logits, None, BOXES, MASKS, heat, relation, PAPER).final
        second = guide(logits[order], None, BOXES[order], MASKS[order], heat, relation, PAPER).final
        torch.testing.assert_close(second, first[order], atol=1e-6, rtol=1e-5)


def test_fewer_landmarks_can_be_asked_for():
    whole = guide(torch.tensor([3.0, 2, 1]), None, BOXES, MASKS, FLAT, None, PAPER)
    one = guide(torch.tensor([3.0, 2, 1]), None, BOXES, MASKS, FLAT, None, PAPER, reach=(1, 1))
    torch.testing.assert_close(whole.relation_score, 3 * one.relation_score)
    assert len(guide(torch.tensor([3.0, 2, 1]), None, BOXES, MASKS, FLAT, None, RELEASED, reach=(1, 1)).order) == 1


def test_equal_scores_rank_as_they_come_and_nan_is_best():
    scores = torch.tensor([0.5, math.nan, 0.5, 0.7])
    assert ranked(scores, torch.tensor([2, 3, 0, 1])).tolist() == [1, 3, 2, 0]
    assert likeliest(torch.tensor([1.0, 2, 2, 1]), 3).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "setting", [{"alpha": -0.1}, {"alpha": math.nan}, {"lam": -1.0}, {"lam": math.inf}, {"k1": 0}, {"k2": 0}], ids=str
)
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"`{name}`"):
        GuidanceSettings(**setting)


def test_all_pairs_of_boxes_relate_in_one_way_at_most():
    for one, other in OPPOSITES.items():
        for i, j in itertools.product(range(3), repeat=2):
            assert holds(BOXES, one)[i, j] + holds(BOXES, other)[i, j] == (i != j)
