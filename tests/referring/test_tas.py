import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.errors import InputError
from car.referring.captions import CaptionSource
from car.referring.mask_filter import filtered, intersections
from car.referring.preprocess import blurred, on_background
from car.referring.proposals import MaskProposals, ProposalSource
from car.referring.tas import BLUR, TAS, PreparedTAS, TASSettings, chunks, picture, shares
from car.scenes.scene import scene
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views
from car.vlm.registry import load_clip
from car.vlm.tokenizer import tokenize
from tests.golden import golden, golden_path
from tests.models import random_resnet, random_vit

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASKS = np.zeros((4, 40, 60), bool)
MASKS[0, 5:15, 8:20] = MASKS[1, 22:38, 30:58] = MASKS[2, 20:39, 2:25] = MASKS[3, 1:18, 40:59] = True
PROPOSALS = MaskProposals(MASKS)


class Said:
    """A captioner that says what it was told to."""

    name, identity = "said", None

    def __init__(self, image: str = "a dog and a tree", *masks: str) -> None:
        self.image, self.masks = image, masks
        self.seen: list[np.ndarray] = []

    def whole(self, image: np.ndarray) -> str:
        return self.image

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        self.seen += pictures
        return list(self.masks or [f"thing {i}" for i in range(len(pictures))])


class Never:
    """A thesaurus for which nothing is the same."""

    name = "never"

    def near(self, first: str, second: str) -> bool:
        return False


def tas(clip: CLIP | None = None, *, said: Said | None = None, **settings) -> TAS:
    return TAS(
        clip or random_vit(),
        proposals=ProposalSource(lambda image: np.zeros((0, *image.shape[:2]), bool)),
        captions=CaptionSource(said or Said()),
        settings=TASSettings(**{"min_area": 1} | settings),
        thesaurus="built-in",
    )


def prepared(clip: CLIP | None = None, proposals: MaskProposals = PROPOSALS, **options) -> PreparedTAS:
    return tas(clip, **options).prepare(IMAGE, proposals=proposals)


def reference() -> tuple[dict[str, np.ndarray], MaskProposals]:
    arrays = golden("tas")
    masks = np.unpackbits(arrays["masks"], axis=-1, count=int(arrays["mask_hw"][1])).astype(bool)
    return arrays, MaskProposals(masks)


def test_filter_is_that_of_the_reference() -> None:
    arrays, proposals = reference()
    kept = filtered(proposals, min_area=2000, max_overlap=0.4)
    np.testing.assert_array_equal(proposals.areas, arrays["all_areas"])
    np.testing.assert_array_equal(proposals.sam_boxes, arrays["boxes_xywh"])
    np.testing.assert_array_equal(kept.indices, arrays["kept_indices"])
    np.testing.assert_array_equal(proposals.areas[kept.indices], arrays["kept_areas"])
    assert not kept.waived


def test_pictures_are_those_of_the_reference() -> None:
    arrays, proposals = reference()
    image, soft = arrays["image"], blurred(arrays["image"], BLUR)
    crops = []
    for number, row in enumerate(arrays["crop_source_mask_index"].tolist()):
        mask = proposals.masks[row]
        crops.append(picture(image * mask[..., None], proposals, row))
        np.testing.assert_array_equal(crops[-1], arrays[f"crop_{number}"])
        np.testing.assert_array_equal(
            picture(on_background(image, mask, soft), proposals, row), arrays[f"blurcrop_{number}"]
        )
    # Pillow is given the square to resize, not the whole picture: a few values are one of 255 levels off.
    difference = np.abs(classifier_views(crops, 96, "crop").numpy() - arrays["crop_tensors"])
    assert difference.max() < 1.01 / 255 / 0.26
    assert (difference > 1e-5).sum() < 10


def test_scores_are_those_of_the_reference() -> None:
    arrays, proposals = reference()
    clip = CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))
    tokens = F.normalize(clip.encode_text(torch.from_numpy(arrays["text_tokens"])), dim=-1)
    others = [f"other {i}" for i in range(4)]
    referrer = TAS(
        clip,
        captions=CaptionSource(Said("others", "one", "two", "three")),
        settings=TASSettings(),
        noun_phrases=lambda caption: others,
        thesaurus=Never(),
    )
    # The reference gives its texts as tokens alone.
    referrer.sentences._known = {"sentence": tokens[0]}
    names = ["one", "two", "three", *(f"a photo of {other}" for other in others)]
    referrer.phrases._known = dict(zip(names, tokens[1:], strict=True))
    rows = arrays["crop_source_mask_index"]
    result = referrer.prepare(arrays["image"], proposals=MaskProposals(proposals.masks[rows])).refer("Sentence")
    for part, array in (("v", "V"), ("p", "P"), ("n", "N"), ("total", "raw")):
        np.testing.assert_allclose(result.why[part], arrays[array], atol=1e-4, err_msg=part)
    weights = np.array(result.why["weight"])
    np.testing.assert_allclose(weights, arrays["similarity"], atol=1e-5)
    np.testing.assert_allclose(np.log(weights / weights.min()), arrays["minmax"], atol=1e-4)
    assert result.ranking[0].index == int(arrays["similarity"].argmax())


BOXES = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 8), st.integers(1, 8)), max_size=8)


def boxes(corners: list[tuple[int, int, int, int]]) -> MaskProposals:
    masks = np.zeros((len(corners), 18, 18), bool)
    for mask, (y, x, height, width) in zip(masks, corners, strict=True):
        mask[y : y + height, x : x + width] = True
    return MaskProposals(masks)


@given(BOXES, st.integers(0, 20), st.sampled_from([0.0, 0.2, 0.4, 0.5, 1.0]))
def test_of_two_that_overlap_the_larger_stays(
    corners: list[tuple[int, int, int, int]], min_area: int, max_overlap: float
) -> None:
    proposals = boxes(corners)
    kept = filtered(proposals, min_area=max(1, min_area), max_overlap=max_overlap)
    masks, areas = proposals.masks, proposals.areas
    large = [i for i in range(len(masks)) if kept.waived or areas[i] >= min_area]
    assert kept.waived == (len(masks) > 0 and areas.max() < min_area)
    assert len(kept.indices) or not len(masks)

    def close(i: int, j: int) -> bool:
        return bool((masks[i] & masks[j]).sum() / min(areas[i], areas[j]) > max_overlap)

    def rank(i: int) -> tuple[int, int]:
        return (-int(areas[i]), i)

    assert kept.indices.tolist() == [i for i in large if not any(close(i, j) and rank(j) < rank(i) for j in large)]
    assert not any(close(i, j) for i in kept.indices for j in kept.indices if i < j)


def test_overlaps_are_counted_exactly() -> None:
    masks = np.random.default_rng(0).random((5, 400, 401)) < 0.5
    expected = [[(a & b).sum() for b in masks] for a in masks]
    np.testing.assert_array_equal(intersections(masks), expected)
    assert intersections(masks[:0]).shape == (0, 0)


def test_area_is_in_pixels_or_a_share_of_the_picture() -> None:
    areas = PROPOSALS.areas
    assert areas.tolist() == [120, 448, 437, 323]
    assert filtered(PROPOSALS, min_area=323, max_overlap=1).indices.tolist() == [1, 2, 3]
    assert filtered(PROPOSALS, min_area=324 / 2400, max_overlap=1).indices.tolist() == [1, 2]


def test_score_is_made_of_its_parts() -> None:
    clip = random_vit()
    said = Said("a dog and a tree", "a dog", "a cat", "a red tree", "a house")
    result = prepared(clip, said=said).refer("The dog  on the left")
    assert result.method == "tas"
    assert result.expression == "The dog on the left"
    why = result.why
    assert why["noun_phrase"] == "the dog"
    assert why["negatives"] == ["a tree"]
    assert why["mask_captions"] == list(said.masks)
    assert why["kept"] == [0, 1, 2, 3]
    assert (why["captions"], why["thesaurus"]) == ("said", "built-in")

    def direction(text: str) -> torch.Tensor:
        return F.normalize(clip.encode_text(tokenize(text)), dim=-1)[0]

    crop = picture(IMAGE * MASKS[2][..., None], PROPOSALS, 2)
    feature = F.normalize(clip.encode_image(classifier_views([crop], clip.input_resolution, "crop")), dim=-1)[0]
    scale, sentence = clip.logit_scale.exp(), direction("the dog on the left")
    assert why["v"][2] == pytest.approx(float(scale * feature @ sentence), abs=1e-4)
    assert why["p"][2] == pytest.approx(float(scale * direction("a red tree") @ sentence), abs=1e-4)
    assert why["n"][2] == pytest.approx(float(scale * feature @ direction("a photo of a tree")), abs=1e-4)
    totals = [v + 0.1 * p - 0.7 * n for v, p, n in zip(why["v"], why["p"], why["n"], strict=True)]
    assert why["total"] == pytest.approx(totals, abs=1e-4)
    assert why["weight"] == pytest.approx(shares(torch.tensor(totals)).tolist(), abs=1e-4)
    assert {"proposals", "crops", "captions", "text"} <= set(result.seconds)


def test_captioned_pictures_have_a_blurred_background() -> None:
    said = Said()
    prepared(said=said)
    expected = picture(on_background(IMAGE, MASKS[1], blurred(IMAGE, BLUR)), PROPOSALS, 1)
    np.testing.assert_array_equal(said.seen[1], expected)


def test_a_place_leaves_the_masks_there() -> None:
    ready = prepared()
    for text, inside in (("left dog", {0, 2}), ("the dog at the bottom", {1, 2}), ("top right dog", {3})):
        result = ready.refer(text)
        assert {ranked.index for ranked in result.ranking if ranked.score > 0} == inside
        best = max(inside, key=lambda i: result.why["weight"][i])
        assert result.ranking[0].index == best
        assert result.ranking[0].score == pytest.approx(result.why["weight"][best])
        assert result.why["rectified"] == (best != int(np.argmax(result.why["weight"])))
        assert result.mask is result.ranking[0].mask
    assert ready.refer("left dog").why["region"] == ["top left", "bottom left"]
    assert ready.refer("dog").why["region"] is None


def test_rectifier_can_be_left_out() -> None:
    result = prepared(rectify=False).refer("left dog")
    assert result.why["region"] is None
    assert result.why["rectified"] is False
    assert sum(ranked.score for ranked in result.ranking) == pytest.approx(1)


def test_ranking_is_sorted_and_numbered_by_proposal() -> None:
    large = np.ones((1, 40, 60), bool)
    large[:, :, 59] = False
    result = prepared(proposals=MaskProposals(np.concatenate([large, MASKS[:1], MASKS[3:]])), max_overlap=1).refer(
        "dog"
    )
    scores = [ranked.score for ranked in result.ranking]
    assert scores == sorted(scores, reverse=True)
    assert sorted(ranked.index for ranked in result.ranking) == [0, 1, 2]
    covered = prepared(proposals=MaskProposals(np.concatenate([MASKS[:1], large, MASKS[3:]]))).refer("dog")
    assert covered.why["kept"] == [1]
    assert [ranked.index for ranked in covered.ranking] == [1]
    np.testing.assert_array_equal(covered.mask, large[0])


def test_nothing_to_tell_the_target_from() -> None:
    result = prepared(said=Said("a dog and two dogs")).refer("the dog")
    assert result.why["negatives"] == []
    assert result.why["n"] is None
    assert sum(result.why["weight"]) == pytest.approx(1)
    totals = [v + 0.1 * p for v, p in zip(result.why["v"], result.why["p"], strict=True)]
    assert result.why["total"] == pytest.approx(totals, abs=1e-4)
    released = prepared(said=Said("a dog and two dogs"), as_released=True).refer("the dog")
    assert released.why["weight"] == [None] * 4
    assert released.ranking[0].index == 0
    assert math.isnan(released.score)


def test_a_single_proposal() -> None:
    one = MaskProposals(MASKS[1:2])
    result = prepared(proposals=one).refer("the dog")
    assert result.score == 1
    assert result.found
    released = prepared(proposals=one, as_released=True).refer("the dog")
    assert math.isnan(released.score)
    np.testing.assert_array_equal(released.mask, MASKS[1])


def test_as_released_is_the_same_where_nothing_goes_wrong() -> None:
    plain, released = (prepared(as_released=flag).refer("dog") for flag in (False, True))
    assert plain.why["weight"] == released.why["weight"]
    assert [ranked.index for ranked in plain.ranking] == [ranked.index for ranked in released.ranking]
    assert (plain.why["rule"], released.why["rule"]) == ("default", "released")


@pytest.mark.parametrize("as_released", [False, True])
def test_without_proposals_nothing_is_found(as_released: bool) -> None:
    said = Said()
    referrer = tas(said=said, as_released=as_released)
    for result in (
        referrer.refer(IMAGE, "left dog"),
        referrer.prepare(IMAGE).refer_object(["left dog", "the dog"]),
    ):
        assert not result.found
        assert result.mask.shape == (40, 60)
        assert result.ranking == ()
        assert math.isnan(result.score)
    assert said.seen == []


def test_where_all_proposals_are_small_size_does_not_count() -> None:
    result = prepared(min_area=2000).refer("dog")
    assert result.why["waived"] is True
    assert len(result.ranking) == 4
    assert prepared(min_area=400).refer("dog").why["kept"] == [1, 2]


def test_several_expressions_for_one_object() -> None:
    ready = prepared()
    one = ready.refer_object(["left  dog"])
    assert one.expression == "left dog"
    assert [r.index for r in one.ranking] == [r.index for r in ready.refer("left dog").ranking]
    both = ready.refer_object(["left dog", "a big house"])
    assert both.expression == "left dog / a big house"
    assert both.why["rule"] == "mean"
    assert len(both.why["expressions"]) == 2
    apart = [{r.index: r.score for r in ready.refer(text).ranking} for text in ("left dog", "a big house")]
    for ranked in both.ranking:
        assert ranked.score == pytest.approx(np.mean([scores[ranked.index] for scores in apart]))
    assert both.score == max(ranked.score for ranked in both.ranking)


@pytest.mark.parametrize("build", [random_vit, random_resnet])
def test_the_batch_size_does_not_matter(build) -> None:
    whole, apart = (prepared(build(), batch_size=size).refer("dog") for size in (64, 1))
    np.testing.assert_allclose(whole.why["total"], apart.why["total"], atol=1e-3)


def test_thin_masks_and_tiny_images() -> None:
    masks = np.zeros((3, 3, 5), bool)
    masks[0, 1, 2] = masks[1, :, 0] = masks[2, 0, 1:] = True
    image = np.full((3, 5, 3), 200, np.uint8)
    result = tas().prepare(image, proposals=MaskProposals(masks)).refer("dog")
    assert len(result.ranking) == 3
    assert np.isfinite(result.score)


def test_captions_from_a_file_go_by_the_proposals(tmp_path) -> None:
    path = tmp_path / "captions.json"
    entry = {"image": "a dog and a cup", "masks": ["zero", "one", "two", "three"]}
    path.write_text(json.dumps({"photo": entry}))
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    settings = TASSettings(min_area=400)
    reader = TAS(random_vit(), captions=CaptionSource(path), settings=settings, thesaurus="built-in")
    result = reader.prepare(tmp_path / "photo.png", proposals=PROPOSALS).refer("dog")
    assert result.why["mask_captions"] == ["one", "two"]
    assert result.why["negatives"] == ["a cup"]
    with pytest.raises(InputError, match="4 captions of masks of 'photo', but the image has 2 mask proposals"):
        reader.prepare(tmp_path / "photo.png", proposals=MaskProposals(MASKS[:2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_overlap": 1.5}, r"`max_overlap` to be in \[0, 1\], but got 1.5"),
        ({"min_area": -1}, "`min_area` to be at least 0, but got -1"),
        ({"lam": math.nan}, "`lam` to be at least 0, but got nan"),
        ({"caption_weight": -0.1}, "`caption_weight` to be at least 0"),
        ({"batch_size": 0}, "`batch_size` to be at least 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TASSettings(**settings)


def test_bad_expressions() -> None:
    ready = prepared()
    with pytest.raises(InputError, match="blank"):
        ready.refer("  ")
    with pytest.raises(InputError, match="tokens"):
        ready.refer("dog " * 90)
    with pytest.raises(InputError, match="at least one"):
        ready.refer_object([])
    assert prepared(truncate=True).refer("dog " * 90).found
    with pytest.raises(InputError, match="height, width"):
        tas().prepare(IMAGE[:20], proposals=PROPOSALS)


def test_long_captions_are_cut() -> None:
    assert prepared(said=Said("a dog and " + "a tree " * 90, *["very " * 90] * 4)).refer("dog").found


def test_noun_phrases_of_captions() -> None:
    assert chunks("Two men with a red umbrella") == ["two men", "a red umbrella"]
    assert chunks("  ") == []


def test_mini_finds_what_it_knows(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CAR_CACHE", str(tmp_path))
    made = scene(7, size=(224, 224), among=["cat", "dog"], objects=(2, 2), background=["grass"], repeats=0)
    referrer = TAS(load_clip("mini"), settings=TASSettings(min_area=0.0065))
    ready = referrer.prepare(made.image, proposals=MaskProposals(made.masks))
    for name, mask in made.concepts.items():
        result = ready.refer(f"the {name}")
        np.testing.assert_array_equal(result.mask, mask)
        assert any(name in caption for caption in result.why["mask_captions"])
    left = int(np.argmin([np.nonzero(mask)[1].mean() for mask in made.masks]))
    np.testing.assert_array_equal(ready.refer("the thing on the left").mask, made.masks[left])
