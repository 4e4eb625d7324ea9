import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from car import rle
from car.errors import InputError, MissingError
from car.export import dumps
from car.prepared import Clock
from car.referring.global_local import GlobalLocal, GlobalLocalSettings
from car.referring.mask_features import distinct, local_images, make_encoder, mask_features, network_images
from car.referring.preprocess import soft_masks
from car.referring.proposals import MaskProposals, ProposalSource
from car.referring.texts import ensemble
from car.scenes.scene import scene
from car.vlm.model import CLIP
from car.vlm.registry import load_clip
from tests.golden import golden, golden_path
from tests.models import random_resnet, random_vit

BUILDERS = pytest.mark.parametrize("build", [random_vit, random_resnet])
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASKS = np.zeros((4, 40, 60), bool)
MASKS[0, 5:30, 8:40] = MASKS[1, 20:, 30:] = MASKS[2] = MASKS[3, 0, 0] = True
PROPOSALS = MaskProposals(MASKS)
EXPRESSION = "the red dog left of the tree"


@dataclass(frozen=True)
class Halves:
    """A parse whose noun phrase is the first three words."""

    target: str
    parser: str = "first words"


def first_words(text: str) -> Halves:
    return Halves(" ".join(text.split()[:3]))


def tiny(name: str) -> CLIP:
    return CLIP.from_state_dict(torch.load(golden_path(f"tiny_{name}.pt"), weights_only=True))


def nothing(image: np.ndarray) -> np.ndarray:
    return np.zeros((0, *image.shape[:2]), bool)


def referrer(clip: CLIP, **options) -> GlobalLocal:
    return GlobalLocal(
        clip, proposals=ProposalSource(nothing), settings=GlobalLocalSettings(**options), parse=first_words
    )


def features(clip: CLIP, proposals: MaskProposals, *, batch_size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    encoder = make_encoder(clip, 2)
    return mask_features(encoder, IMAGE, proposals, antialias=False, batch_size=batch_size, clock=Clock())


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("name", ["vit", "rn"])
def test_features_and_scores_match_the_reference(name, antialias):
    z, clip = golden("global_local"), tiny(name)
    ending = "_antialias" if antialias else ""
    encoder, proposals = make_encoder(clip, 3), MaskProposals(z["masks"] > 0)
    whole, alone = mask_features(encoder, z["image"], proposals, antialias=antialias, batch_size=64, clock=Clock())
    small = soft_masks(torch.from_numpy(proposals.masks), encoder.grid, antialias=antialias)
    np.testing.assert_allclose(small, z[f"{name}_masks_small{ending}"], atol=1e-6)
    np.testing.assert_allclose(whole, z[f"{name}_mask_features{ending}"], atol=1e-5)
    np.testing.assert_allclose(alone, z[f"{name}_crop_features{ending}"], atol=1e-5)
    texts = encoder.texts(clip.encode_text(torch.from_numpy(z["text_tokens"])))
    np.testing.assert_allclose(texts, z[f"{name}_text_features"], atol=1e-5)
    meant = ensemble(texts[0], texts[1], 0.5)
    np.testing.assert_allclose(meant[None], z[f"{name}_text_ensemble"], atol=1e-5)
    for alpha in (0.95, 0.85):
        scores = encoder.scores(alpha * whole + (1 - alpha) * alone, meant)
        np.testing.assert_allclose(scores, z[f"{name}_score_v{alpha * 100:.0f}{ending}"], atol=1e-4)


@pytest.mark.parametrize("name", ["vit", "rn"])
def test_pictures_match_the_reference(name):
    z = golden("global_local")
    side = z[f"{name}_input"].shape[-1]
    square, original = network_images(z["image"], side, torch.device("cpu"), antialias=False)
    np.testing.assert_allclose(square, z[f"{name}_input"], atol=1e-6)
    np.testing.assert_allclose(original[0], z["orig_norm"], atol=1e-6)
    crops = local_images(original, MaskProposals(z["masks"] > 0), range(3), side, antialias=False)
    np.testing.assert_allclose(crops, z[f"{name}_crops"], atol=1e-6)


@pytest.mark.parametrize("masked_blocks", [1, 2, 4, 6])
def test_any_number_of_masked_blocks_matches_the_reference(masked_blocks):
    z, encoder = golden("global_local"), make_encoder(tiny("vit"), masked_blocks)
    start = encoder.start(torch.from_numpy(z["vit_input"]))
    whole = encoder.masked(start, torch.from_numpy(z["vit_masks_small"]))
    np.testing.assert_allclose(whole, z[f"vit_mask_features_k{masked_blocks}"], atol=1e-5)


@pytest.mark.parametrize("masked_blocks", [1, 2, 3])
def test_sharing_the_unmasked_blocks_changes_nothing(masked_blocks):
    clip = random_vit()
    encoder, image, masks = make_encoder(clip, masked_blocks), torch.randn(1, 3, 48, 48), torch.rand(5, 6, 6)
    shared = encoder.masked(encoder.start(image), masks)
    repeated = clip.visual(image.expand(5, -1, -1, -1), token_mask=masks.flatten(1), mask_from=3 - masked_blocks)
    torch.testing.assert_close(shared, repeated, atol=1e-5, rtol=1e-5)


def test_the_unmasked_blocks_see_the_image_once(monkeypatch):
    clip = random_vit()
    first, seen = clip.visual.blocks[0], []
    monkeypatch.setattr(
        first, "forward", lambda x, mask=None, run=first.forward: (seen.append(len(x)), run(x, mask))[1]
    )
    features(clip, PROPOSALS)
    assert seen == [1, 4]


def test_masked_pooling_of_a_full_mask_is_the_encoder_with_its_map_normalised():
    clip = random_resnet()
    encoder, image = make_encoder(clip, 3), torch.randn(1, 3, 64, 64)
    unit = torch.nn.functional.normalize(clip.visual.features(image), dim=1)
    full, none = encoder.masked(encoder.start(image), torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]))
    torch.testing.assert_close(full, clip.visual.attnpool(unit)[0])
    assert not torch.allclose(full, none, atol=1e-3)


@BUILDERS
@given(order=st.permutations(range(len(MASKS))), batch_size=st.integers(1, 5))
@settings(max_examples=8)
def test_neither_order_nor_batches_of_masks_matter(build, order, batch_size):
    clip = build()
    for together, other in zip(
        features(clip, PROPOSALS), features(clip, MaskProposals(MASKS[order]), batch_size=batch_size), strict=True
    ):
        torch.testing.assert_close(other, together[order], atol=1e-4, rtol=1e-4)


@BUILDERS
def test_equal_masks_have_equal_scores_and_keep_their_order(build):
    twice = MaskProposals(np.concatenate([MASKS, MASKS]))
    found = referrer(build(), masked_blocks=2, batch_size=3).prepare(IMAGE, proposals=twice).refer(EXPRESSION)
    scores = {one.index: one.score for one in found.ranking}
    assert [scores[i] for i in range(4)] == [scores[i + 4] for i in range(4)]
    order = [one.index for one in found.ranking]
    assert order[1::2] == [index + 4 for index in order[::2]]


def test_distinct_masks():
    assert distinct(MASKS[[1, 0, 1, 1, 2]]) == ([0, 1, 4], [0, 1, 0, 0, 2])
    assert distinct(MASKS[:0]) == ([], [])


@BUILDERS
def test_a_referral(build):
    found = referrer(build(), masked_blocks=2).prepare(IMAGE, proposals=PROPOSALS).refer("  The red dog\nISN'T left")
    assert found.method == "global-local"
    assert found.expression == "The red dog ISN'T left"
    assert [one.index for one in found.ranking] == sorted(range(4), key=lambda i: -dict(by_index(found))[i])
    np.testing.assert_array_equal(found.mask, MASKS[found.ranking[0].index])
    assert found.score == found.ranking[0].score
    assert found.why["sentence"] == "the red dog is n't left"
    assert (found.why["noun_phrase"], found.why["parser"]) == ("the red dog", "first words")
    assert found.why["word_splitter"] in ("spacy", "rules")
    assert found.why["proposals"] == "given"
    assert set(found.seconds) == {"proposals", "global", "local", "text"}


def by_index(found) -> list[tuple[int, float]]:
    return sorted((one.index, one.score) for one in found.ranking)


@BUILDERS
def test_the_ends_of_alpha_are_the_parts_that_are_reported(build):
    clip = build()
    found = {
        alpha: referrer(clip, alpha=alpha, masked_blocks=2).prepare(IMAGE, proposals=PROPOSALS).refer(EXPRESSION)
        for alpha in (0.0, 0.5, 1.0)
    }
    for alpha, part in ((1.0, "global"), (0.0, "local")):
        np.testing.assert_allclose([score for _, score in by_index(found[alpha])], found[0.5].why[part], rtol=1e-5)
    if build is random_resnet:
        mean = np.mean([found[0.5].why["global"], found[0.5].why["local"]], axis=0)
        np.testing.assert_allclose([score for _, score in by_index(found[0.5])], mean, rtol=1e-4)


def test_beta_weighs_sentence_and_noun_phrase():
    clip = random_vit()

    def scores(expression: str, beta: float) -> list[float]:
        prepared = referrer(clip, beta=beta, masked_blocks=2).prepare(IMAGE, proposals=PROPOSALS)
        return [score for _, score in by_index(prepared.refer(expression))]

    np.testing.assert_allclose(scores(EXPRESSION, 0), scores("the red dog", 1), rtol=1e-6)
    assert not np.allclose(scores(EXPRESSION, 0), scores(EXPRESSION, 1), rtol=1e-3)


def test_an_object_is_scored_by_the_mean_over_its_expressions():
    prepared = referrer(random_vit(), masked_blocks=2).prepare(IMAGE, proposals=PROPOSALS)
    texts = ["the red dog", "a cup", EXPRESSION]
    found = prepared.refer_object(texts)
    single = [prepared.refer(text) for text in texts]
    mean = np.mean([[score for _, score in by_index(one)] for one in single], axis=0)
    np.testing.assert_allclose([score for _, score in by_index(found)], mean)
    assert found.expression == f"the red dog / a cup / {EXPRESSION}"
    assert found.why["rule"] == "mean"
    assert [part["noun_phrase"] for part in found.why["expressions"]] == ["the red dog", "a cup", "the red dog"]
    alone = prepared.refer_object(["a cup"])
    assert (by_index(alone), alone.why) == (by_index(single[1]), single[1].why)
    with pytest.raises(InputError, match="No expressions"):
        prepared.refer_object([])


@BUILDERS
@pytest.mark.parametrize("ask", [lambda p: p.refer("a dog"), lambda p: p.refer_object(["a dog", "a cat"])])
def test_without_proposals_nothing_is_found(build, ask):
    found = ask(referrer(build(), masked_blocks=2).prepare(IMAGE))
    assert not found.found
    assert found.mask.shape == (40, 60)
    assert math.isnan(found.score)
    assert found.ranking == ()


def test_image_stages_are_timed_once():
    prepared = referrer(random_vit(), masked_blocks=2).prepare(IMAGE, proposals=PROPOSALS)
    assert "global" in prepared.refer("a dog").seconds
    assert set(prepared.refer("a dog").seconds) == {"text"}


def test_images_come_from_files_whose_masks_are_in_a_folder(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "photo.json").write_text(dumps([rle.encode(mask) for mask in MASKS]))
    method = GlobalLocal(random_vit(), proposals=ProposalSource(masks), parse=first_words)
    assert len(method.refer(tmp_path / "photo.png", "a dog").ranking) == 4
    Image.fromarray(IMAGE).save(tmp_path / "other.png")
    with pytest.raises(MissingError, match=r"other\.json"):
        method.prepare(tmp_path / "other.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"`alpha` to be in \[0, 1\], but got 1.5"),
        ({"beta": -0.1}, r"`beta` to be in \[0, 1\]"),
        ({"masked_blocks": 0}, "`masked_blocks` to be at least 1"),
        ({"batch_size": 0}, "`batch_size` to be at least 1"),
        ({"masked_blocks": 4}, "at most 3, the number of the model's blocks, but got 4"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        referrer(random_vit(), **options)


def test_bad_expressions_and_proposals():
    method = referrer(random_vit(), masked_blocks=2)
    prepared = method.prepare(IMAGE)
    with pytest.raises(InputError, match="blank"):
        prepared.refer(" ")
    with pytest.raises(InputError, match="tokens the model reads"):
        prepared.refer("dog " * 90)
    with pytest.raises(InputError, match="but the image is"):
        method.prepare(IMAGE[1:], proposals=PROPOSALS)
    assert referrer(random_vit(), truncate=True).prepare(IMAGE, proposals=PROPOSALS).refer("dog " * 90).found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@BUILDERS
def test_half_precision_stays_close(build, dtype):
    exact = torch.cat(features(build(), PROPOSALS))
    half = torch.cat(features(build().cast(dtype), PROPOSALS))
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(exact, half).min() > 0.98


def test_mini_tells_clear_things_apart_given_their_masks():
    method = GlobalLocal(load_clip("mini"), proposals=ProposalSource(nothing))
    right = []
    for seed in range(4):
        made = scene(seed, among=["cat", "car", "tree"], objects=(3, 3), repeats=0, camera=0)
        prepared = method.prepare(made.image, proposals=MaskProposals(made.masks))
        for i, name in enumerate(made.names):
            found = prepared.refer(f"the {name}")
            assert found.why["noun_phrase"] == f"the {name}"
            right.append(found.ranking[0].index == i)
    assert np.mean(right) >= 0.75
