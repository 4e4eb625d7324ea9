import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from car.errors import InputError
from car.export import dumps
from car.referring.fusion import hybrid_features
from car.referring.hybrid import PARTS, HybridGL, HybridSettings, scaled_cosines
from car.referring.language import Parse, parse
from car.referring.proposals import MaskProposals, ProposalSource
from car.referring.referral import Referral
from car.referring.texts import ensemble
from car.scenes import scene
from car.vlm.model import CLIP
from car.vlm.registry import load_clip
from tests.golden import golden, golden_path
from tests.models import random_resnet, random_vit

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASKS = np.zeros((5, 40, 60), bool)
MASKS[0, 5:30, 8:40] = MASKS[1, 20:, 30:] = MASKS[2] = MASKS[3, 0, 0] = MASKS[4, 9:12, :20] = True
PROPOSALS = MaskProposals(MASKS)
RULES = pytest.mark.parametrize("as_released", [False, True], ids=["paper", "released"])


def built_in(text: str) -> Parse:
    return parse(text, parser="built-in")


def nothing(image: np.ndarray) -> np.ndarray:
    return np.zeros((0, *image.shape[:2]), bool)


def referrer(clip: CLIP | None = None, **options) -> HybridGL:
    chosen = HybridSettings(**({"fused_blocks": 2} | options))
    return HybridGL(clip or random_vit(), proposals=ProposalSource(nothing), settings=chosen, parse=built_in)


def refer(expression: str, **options) -> Referral:
    return referrer(**options).prepare(IMAGE, proposals=PROPOSALS).refer(expression)


def test_scores_match_the_reference():
    z, clip = golden("hybridgl"), CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))
    features = hybrid_features(clip.visual, z["image"], z["masks"] > 0)
    texts = clip.encode_text(torch.from_numpy(z["text_tokens"]))
    np.testing.assert_allclose(texts, z["text_features"], atol=1e-5)
    meant = ensemble(texts[0], texts[1], HybridSettings().r)
    np.testing.assert_allclose(meant[None], z["text_ensemble"], atol=1e-5)
    np.testing.assert_allclose(scaled_cosines(clip, features, meant), z["score_clip"], atol=1e-4)
    np.testing.assert_allclose(scaled_cosines(clip, features, texts[2]), z["score_clip_neg"], atol=1e-4)


def test_boxes_are_those_of_the_reference_as_released_and_whole_pixels_in_the_default():
    z = golden("hybridgl")
    proposals = MaskProposals(z["masks"] > 0)
    clip = random_vit()
    released, paper = (
        referrer(clip, as_released=rule).prepare(z["image"], proposals=proposals).boxes for rule in (True, False)
    )
    np.testing.assert_array_equal(released, z["boxes_xywh"])
    assert torch.equal(paper, released + torch.tensor([0, 0, 1, 1]))


def test_the_model_at_hand_finds_what_is_named_and_where():
    made = scene(3, size=(112, 112), among=["cat", "dog"], objects=(2, 2), repeats=0, background=["grass"])
    found = HybridGL(load_clip("mini"), proposals=ProposalSource(lambda image: made.masks, keep=False), parse=built_in)
    prepared = found.prepare(made.image)
    for name, mask in zip(made.names, made.masks, strict=True):
        result = prepared.refer(f"the {name}")
        np.testing.assert_array_equal(result.mask, mask)
        assert result.why["noun_phrase"] == f"the {name}"


@RULES
def test_the_answer_says_how_it_came_about(as_released):
    result = refer(" The red  dog LEFT of the tree ", as_released=as_released)
    why = json.loads(dumps(result.why))
    assert (result.method, result.expression) == ("hybridgl", "The red dog LEFT of the tree")
    assert why["sentence"] == "the red dog left of the tree"
    assert (why["parser"], why["noun_phrase"], why["other_nouns"]) == ("built-in", "the red dog", ["the tree"])
    assert (why["relation"], why["direction"]) == ("left", "left")
    assert (why["rule"], why["proposals"]) == ("released" if as_released else "paper", "given")
    assert all(len(why[part]) == len(MASKS) for part in (*PARTS, "hybrid"))


def test_the_parts_make_up_the_score():
    result = refer("the red dog left of the tree")
    why = result.why
    final = 0.4 * np.array(why["relation_share"]) + 0.6 * np.array(why["heat_share"])
    np.testing.assert_allclose(why["final"], final, atol=1e-6)
    assert [one.index for one in result.ranking] == np.argsort(-final, kind="stable").tolist()
    assert result.score == pytest.approx(final.max())
    np.testing.assert_array_equal(result.mask, MASKS[final.argmax()])


def test_right_is_a_relation_in_the_default_alone():
    assert refer("the dog right of the tree").why["relation"] == "right"
    assert refer("the dog right of the tree", as_released=True).why["relation"] is None


def test_no_other_nouns_leave_no_scores_for_them():
    for as_released in (False, True):
        result = refer("dog", as_released=as_released)
        assert (result.why["other_nouns"], result.why["q"]) == ([], None)
        assert result.found


@pytest.mark.parametrize("word", ["top", "bottom", "left"])
def test_up_and_down_change_the_heat_in_the_default_alone(word):
    clip = random_vit()
    for as_released, acts in ((False, True), (True, word == "left")):
        chosen = HybridSettings(fused_blocks=2, as_released=as_released)
        heat = [
            HybridGL(clip, proposals=ProposalSource(nothing), settings=chosen, parse=read)
            .prepare(IMAGE, proposals=MaskProposals(MASKS[:2]))
            .refer(f"{word} dog")
            .why["heat_score"]
            for read in (built_in, lambda text: replace(built_in(text), directions=()))
        ]
        assert (heat[0] != heat[1]) == acts


@RULES
def test_one_mask_is_the_answer_to_everything(as_released):
    for mask in (MASKS[0], MASKS[3]):
        prepared = referrer(as_released=as_released).prepare(IMAGE, proposals=MaskProposals(mask[None]))
        np.testing.assert_array_equal(prepared.refer("dog inside the tree").mask, mask)


def test_a_mask_of_the_whole_image_has_a_score_in_the_default_alone():
    only = MaskProposals(MASKS[2:3])
    assert math.isfinite(referrer().prepare(IMAGE, proposals=only).refer("dog").score)
    released = referrer(as_released=True).prepare(IMAGE, proposals=only).refer("dog")
    assert math.isnan(released.score)
    assert released.why["heat_score"] == [None]
    dumps(released.why)


@RULES
def test_without_proposals_nothing_is_found(as_released):
    prepared = referrer(as_released=as_released).prepare(IMAGE)
    for result in (prepared.refer("the dog by the tree"), prepared.refer_object(["dog", "left dog"])):
        assert result.mask.shape == IMAGE.shape[:2]
        assert not result.found
        assert math.isnan(result.score)
        assert result.ranking == ()
    assert prepared.refer("dog").why["final"] == []


def test_an_image_with_few_masks_changes_later_answers_as_released_and_only_there():
    few, clip = MaskProposals(MASKS[:2]), random_vit()
    for as_released, later in ((False, 5), (True, 2)):
        one = referrer(clip, as_released=as_released)
        before = one.prepare(IMAGE, proposals=PROPOSALS).refer("dog")
        one.prepare(IMAGE, proposals=few).refer("dog")
        after = one.prepare(IMAGE, proposals=PROPOSALS).refer("dog")
        assert len(before.ranking) == (3 if as_released else 5)
        assert len(after.ranking) == later
        if not as_released:
            assert before.why == after.why


def test_no_proposals_at_all_change_no_later_answer_as_released():
    one = referrer(as_released=True)
    one.prepare(IMAGE).refer("dog")
    assert len(one.prepare(IMAGE, proposals=PROPOSALS).refer("dog").ranking) == 3


def test_several_expressions_of_one_object_are_averaged():
    texts = ["left dog", "the animal below the tree"]
    prepared = referrer().prepare(IMAGE, proposals=PROPOSALS)
    merged, each = prepared.refer_object(texts), [prepared.refer(text) for text in texts]
    mean = np.mean([one.why["final"] for one in each], axis=0)
    assert merged.expression == "left dog / the animal below the tree"
    assert merged.score == pytest.approx(mean.max())
    assert [one.index for one in merged.ranking] == np.argsort(-mean, kind="stable").tolist()
    assert (merged.why["rule"], len(merged.why["expressions"])) == ("mean", 2)
    dumps(merged.why)


@RULES
def test_one_expression_of_an_object_is_that_expression(as_released):
    prepared = referrer(as_released=as_released).prepare(IMAGE, proposals=PROPOSALS)
    one, same = prepared.refer("left dog"), prepared.refer_object(["left dog"])
    np.testing.assert_equal((one.why, one.score, one.expression), (same.why, same.score, same.expression))


def test_what_can_win_for_any_expression_can_win_as_released():
    prepared = referrer(as_released=True, k1=1).prepare(IMAGE, proposals=PROPOSALS)
    texts = ["dog", "tree on the left", "zebra", "red car", "a photo"]
    winners = {prepared.refer(text).ranking[0].index for text in texts}
    assert {one.index for one in prepared.refer_object(texts).ranking} == winners


def test_the_image_is_encoded_once_for_all_expressions(monkeypatch):
    clip, seen = random_vit(), []
    first = clip.visual.blocks[0]
    monkeypatch.setattr(
        first, "forward", lambda x, mask=None, run=first.forward: (seen.append(len(x)), run(x, mask))[1]
    )
    prepared = referrer(clip, gem_depth=2).prepare(IMAGE, proposals=PROPOSALS)
    one, other = prepared.refer("dog"), prepared.refer("the tree behind the car")
    assert seen == [10, 1]
    assert {"proposals", "masks", "gem", "text", "guidance"} <= set(one.seconds)
    assert "masks" not in other.seconds


def test_an_image_answers_as_it_is_prepared_or_given():
    source = ProposalSource(lambda image: MASKS, keep=False)
    one = HybridGL(random_vit(), proposals=source, settings=HybridSettings(), parse=built_in)
    assert one.refer(IMAGE, "left dog").why == one.prepare(IMAGE).refer("left dog").why


@settings(max_examples=10)
@given(st.sampled_from(["dog", "top dog", "the dog inside the big car", "smaller one", "right half of the picture"]))
def test_answers_do_not_depend_on_what_was_asked_before(expression):
    prepared = referrer().prepare(IMAGE, proposals=PROPOSALS)
    first = prepared.refer(expression).why
    prepared.refer("the middle zebra above the dog")
    assert prepared.refer(expression).why == first


def test_a_resnet_is_refused():
    with pytest.raises(InputError, match="needs a ViT"):
        referrer(random_resnet())


def test_more_fused_blocks_than_there_are_are_refused():
    with pytest.raises(InputError, match="`fused_blocks` to be at most 3"):
        referrer(fused_blocks=4)


@pytest.mark.parametrize(
    "setting",
    [{"fusion": "sum"}, {"r": 1.5}, {"fused_blocks": 0}, {"gem_depth": 0}, {"batch_size": 0}, {"alpha": 2.0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"`{name}`"):
        HybridSettings(**setting)


@pytest.mark.parametrize("expressions", [[""], ["dog", "  "], []], ids=str)
def test_blank_expressions_are_refused(expressions):
    prepared = referrer().prepare(IMAGE, proposals=PROPOSALS)
    with pytest.raises(InputError, match=r"blank|No expressions"):
        prepared.refer_object(expressions)


def test_long_expressions_are_refused_unless_they_may_be_cut():
    text = "dog " * 100
    with pytest.raises(InputError, match="tokens"):
        refer(text)
    assert refer(text, truncate=True).found


def test_proposals_of_another_size_are_refused():
    with pytest.raises(InputError, match="height, width"):
        referrer().prepare(IMAGE[:30], proposals=PROPOSALS)
