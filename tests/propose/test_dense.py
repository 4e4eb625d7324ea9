import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import car
from car.config import Config
from car.errors import InputError
from car.propose.dense import Dense, output_embeddings, value_embeddings
from car.propose.proposals import min_max
from car.propose.proposer import CAA, EMBEDDINGS, PROPOSERS, make_proposer, shortlist, tap
from car.scenes.demo import DEMO_PRESENT, DEMO_QUERIES, demo_masks
from car.vlm.model import CLIP
from car.vlm.vit import VisionTransformer
from tests.golden import golden, golden_path
from tests.models import random_vit, unit

SCALE = 14.29


def whole_block(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Every patch's embedding, from the encoder run from end to end."""
    x, _ = visual.embed(images)
    return visual.project(visual.transformer(x))[0, 1:]


def self_attention_only(visual: VisionTransformer, images: Tensor) -> Tensor:
    """The value path: the last block's attention with everything but a token itself masked out."""
    x, _ = visual.embed(images)
    *before, last = visual.blocks
    for block in before:
        x = block(x)
    mask = torch.full((x.shape[1],) * 2, -math.inf).fill_diagonal_(0)
    return visual.project(last.attn(last.ln_1(x), mask))[0, 1:]


REFERENCES = {"dense": whole_block, "maskclip": self_attention_only}


def softmax_of_all(patches: Tensor, queries: Tensor, background: Tensor, kept: list[int]) -> Tensor:
    """The definition: (n + M, P) probabilities of the kept queries and every background query."""
    cosines = torch.cat([queries[kept], background]) @ (patches / patches.norm(dim=-1, keepdim=True)).T
    return (SCALE * cosines).softmax(0)


def proposer_of(name: str, clip: CLIP, n: int, m: int, size: tuple[int, int] = (48, 64)) -> tuple:
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(n * 31 + m))
    queries, background = unit(n, clip.embed_dim, seed=n), unit(m, clip.embed_dim, seed=100 + m)
    taps = tap(name, clip.visual, images)
    made = make_proposer(name, clip.visual, taps, queries, background, logit_scale=SCALE, lam=0.4)
    return made, images, queries, background


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("n_background", [0, 1, 5])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3], [2, 0]])
def test_every_subset_is_the_softmax_taken_afresh(name, n_background, kept):
    clip = random_vit()
    dense, images, queries, background = proposer_of(name, clip, 4, n_background)
    patches = REFERENCES[name](clip.visual, images)
    expected = softmax_of_all(patches, queries, background, kept)
    maps = dense.maps(kept)
    torch.testing.assert_close(maps, expected[: len(kept)].view(-1, 6, 8), atol=1e-5, rtol=1e-4)
    # The one pseudo-logit of the background holds what all its texts hold together.
    torch.testing.assert_close(1 - maps.sum(0), expected[len(kept) :].sum(0).view(6, 8), atol=1e-5, rtol=1e-4)


def test_a_lone_query_competes_with_the_background():
    clip = random_vit()
    dense, images, queries, background = proposer_of("dense", clip, 3, 2)
    expected = softmax_of_all(whole_block(clip.visual, images), queries, background, [1])
    torch.testing.assert_close(dense.maps([1])[0], expected[0].view(6, 8), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_lone_query_without_background_has_the_map_of_its_logit(name):
    clip = random_vit()
    dense, images, queries, _ = proposer_of(name, clip, 2, 0)
    patches = REFERENCES[name](clip.visual, images)
    logit = SCALE * F.cosine_similarity(patches, queries[1], dim=-1)
    torch.testing.assert_close(dense.maps([1]), min_max(logit.view(1, 6, 8), 1e-15), atol=1e-4, rtol=1e-4)


@given(st.sampled_from(sorted(REFERENCES)), st.integers(2, 6), st.integers(0, 4), st.data())
def test_maps_are_probabilities_and_follow_the_order_of_the_queries(name, n, m, data):
    dense, *_ = proposer_of(name, random_vit(), n, m)
    order = data.draw(st.permutations(range(n)))
    maps = dense.maps(order)
    assert maps.shape == (n, 6, 8)
    assert maps.min() >= 0
    assert maps.sum(0).max() <= 1 + 1e-5
    torch.testing.assert_close(maps, dense.maps(range(n))[list(order)])


@given(st.integers(2, 6), st.integers(0, 4), st.data())
def test_dropping_a_query_never_lowers_another(n, m, data):
    dense, *_ = proposer_of("maskclip", random_vit(), n, m)
    kept = data.draw(st.lists(st.integers(0, n - 1), min_size=2, unique=True))
    before, after = dense.maps(range(n))[kept], dense.maps(kept)
    assert (after >= before - 1e-6).all()


def test_what_rivals_beat_at_every_patch_is_low_everywhere():
    patches = unit(12, 24)
    absent = -F.normalize(patches.sum(0, keepdim=True), dim=-1)
    dense = Dense(patches, torch.cat([patches[:1], absent]), patches[1:], logit_scale=100, grid=(3, 4))
    maps = dense.maps([0, 1])
    assert maps[0].argmax() == 0
    assert maps[0].max() > 0.99
    assert maps[1].max() < 0.01


def test_one_patch_is_enough():
    for name in REFERENCES:
        dense, *_ = proposer_of(name, random_vit(), 2, 1, size=(8, 8))
        assert dense.maps([0, 1]).shape == (2, 1, 1)


def test_half_precision_gives_float32_maps_close_to_the_full_ones():
    for name in REFERENCES:
        full, *_ = proposer_of(name, random_vit(), 3, 2)
        half, *_ = proposer_of(name, random_vit().cast(torch.bfloat16), 3, 2)
        assert half.maps([0, 2]).dtype == torch.float32
        torch.testing.assert_close(half.maps([0, 2]), full.maps([0, 2]), atol=0.05, rtol=0)


def test_patch_embeddings_match_the_reference():
    z = golden("gem")
    state = torch.load(golden_path("tiny_vit.pt"), weights_only=True)
    # That reference resizes the position table in its own way; given as the native one, it is left alone.
    state["visual.positional_embedding"] = torch.from_numpy(z["pos_embed_resampled"])
    visual = CLIP.from_state_dict(state).visual
    taps = visual.taps(torch.from_numpy(z["image"]), attention_blocks=0)
    patches = output_embeddings(visual, taps.tokens[0])
    np.testing.assert_allclose(patches, z["features_original_path"][1:], atol=1e-4)
    cosines = F.normalize(patches, dim=-1) @ torch.from_numpy(z["text_features"]).T
    heat = min_max(F.interpolate(cosines.T.view(1, 2, 9, 9), size=(144, 144), mode="bilinear")[0], 1e-15)
    np.testing.assert_allclose(heat, z["heat_original_path"], atol=1e-4)


def test_only_the_affinity_pays_for_attention_maps():
    visual, images = random_vit().visual, torch.randn(1, 3, 48, 64)
    with_maps = tap("caa", visual, images)
    assert with_maps.attention.shape == (1, 48, 48)
    for name in ("gradcam", *EMBEDDINGS):
        taps = tap(name, visual, images)
        assert taps.attention is None
        torch.testing.assert_close(taps.tokens, with_maps.tokens, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PROPOSERS)
def test_every_proposer_answers_for_subsets(name):
    made, *_ = proposer_of(name, random_vit(), 4, 2)
    assert isinstance(made, CAA) == (name == "caa")
    for kept in ([0, 1, 2, 3], [3, 1], [2]):
        maps = made.maps(kept, eps=1e-15)
        assert maps.shape == (len(kept), 6, 8)
        assert maps.dtype == torch.float32
        assert 0 <= maps.min() <= maps.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", PROPOSERS)
@pytest.mark.parametrize("n_background", [0, 3])
def test_apart_every_query_is_as_if_it_were_alone(name, n_background):
    made, *_ = proposer_of(name, random_vit(), 4, n_background)
    alone = torch.cat([made.maps([query], eps=1e-15) for query in (2, 0, 3)])
    torch.testing.assert_close(made.maps([2, 0, 3], eps=1e-15, together=False), alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", PROPOSERS)
def test_presence_is_the_best_patch_s_probability(name):
    clip = random_vit()
    made, images, queries, background = proposer_of(name, clip, 4, 3)
    patches = REFERENCES.get(name, whole_block)(clip.visual, images)
    expected = softmax_of_all(patches, queries, background, [0, 1, 2, 3])[:4].amax(dim=1)
    torch.testing.assert_close(made.presence(), expected, atol=1e-5, rtol=1e-4)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(1, 14), st.integers(0, 21))
def test_a_shortlist_has_the_best_and_all_above_the_floor(levels, most, floor):
    presence = torch.tensor(levels) / 20
    chosen = shortlist(presence, most, floor / 20)
    assert chosen == sorted(set(chosen))
    left = [level for i, level in enumerate(levels) if i not in chosen]
    assert len(chosen) >= min(most, len(levels))
    assert all(level < floor for level in left)
    assert max(left, default=0) <= min(levels[i] for i in chosen)
    assert len(chosen) <= most or all(levels[i] >= floor for i in chosen)


def test_an_unknown_proposer_lists_the_choices():
    taps = random_vit().visual.taps(torch.randn(1, 3, 8, 8))
    message = "one of caa, gradcam, dense, maskclip, but got 'gem'"
    with pytest.raises(InputError, match=message):
        Config(proposer="gem")
    with pytest.raises(InputError, match=message):
        make_proposer("gem", random_vit().visual, taps, unit(1, 24), unit(1, 24), logit_scale=1, lam=0.4)


def test_the_value_path_leaves_the_class_token_out():
    visual = random_vit().visual
    tokens = visual.taps(torch.randn(1, 3, 16, 16)).tokens[0]
    moved = torch.cat([torch.randn_like(tokens[:1]), tokens[1:]])
    torch.testing.assert_close(value_embeddings(visual, moved), value_embeddings(visual, tokens))
    assert not torch.allclose(output_embeddings(visual, moved), output_embeddings(visual, tokens), atol=1e-3)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_the_demo_is_found_patch_by_patch(name):
    result = car.load("mini", dtype="fp32", device="cpu", proposer=name).segment(car.demo_image(), DEMO_QUERIES)
    assert result.config["proposer"] == name
    assert set(result.found) == set(DEMO_PRESENT)
    pairs = [(result.mask(query), truth) for query, truth in demo_masks().items()]
    assert np.mean([(mask & truth).sum() / (mask | truth).sum() for mask, truth in pairs]) > 0.5
    # Maps are not stretched to the unit interval, so what is absent may have no mask at all.
    empty = [not (proposal > result.config["eta"]).any() for proposal in result.steps[0].proposals]
    assert {query for query, none in zip(DEMO_QUERIES, empty, strict=True) if none} - set(DEMO_PRESENT)
    assert not any(none for query, none in zip(DEMO_QUERIES, empty, strict=True) if query in DEMO_PRESENT)
