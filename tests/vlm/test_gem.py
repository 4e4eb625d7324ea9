import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from car.vlm.gem import DEPTH, gem_positions, gem_tokens, heat_maps, min_max, self_self_attention
from car.vlm.model import CLIP
from tests.golden import golden, golden_path
from tests.models import random_vit, unit


def tiny() -> CLIP:
    return CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))


def test_both_streams_match_the_reference():
    z, clip = golden("gem"), tiny()
    tokens = gem_tokens(clip.visual, torch.from_numpy(z["image"]))
    assert tokens.grid == (9, 9)
    assert min(DEPTH - 1, len(clip.visual.blocks)) == z["n_replaced_blocks"]
    positions = gem_positions(clip.visual.positional_embedding, tokens.grid)
    np.testing.assert_allclose(positions, z["pos_embed_resampled"], atol=1e-6)
    np.testing.assert_allclose(tokens.gem[0], z["features_gem"], atol=1e-5)
    np.testing.assert_allclose(tokens.ordinary[0], z["features_original_path"], atol=1e-5)


def test_heat_maps_match_the_reference():
    z, clip = golden("gem"), tiny()
    image = torch.from_numpy(z["image"])
    texts = clip.encode_text(torch.from_numpy(z["text_tokens"]))
    np.testing.assert_allclose(F.normalize(texts, dim=-1), z["text_features"], atol=1e-5)
    tokens = gem_tokens(clip.visual, image)
    raw = heat_maps(tokens.gem[0], tokens.grid, texts, (144, 144))
    np.testing.assert_allclose(raw, z["heat_raw"], atol=1e-5)
    np.testing.assert_allclose(min_max(raw), z["heat"], atol=1e-5)
    ordinary = heat_maps(tokens.ordinary[0], tokens.grid, texts, (144, 144))
    np.testing.assert_allclose(min_max(ordinary), z["heat_original_path"], atol=1e-5)
    shallow = gem_tokens(clip.visual, image, depth=3).gem[0]
    np.testing.assert_allclose(min_max(heat_maps(shallow, tokens.grid, texts, (144, 144))), z["heat_depth3"], atol=1e-5)


def test_without_replaced_blocks_both_streams_are_one():
    visual, images = random_vit().visual, torch.randn(2, 3, 48, 48)
    tokens = gem_tokens(visual, images, depth=1)
    assert torch.equal(tokens.gem, tokens.ordinary)
    torch.testing.assert_close(tokens.ordinary[:, 0], visual(images), atol=1e-5, rtol=1e-4)


def test_more_depth_than_blocks_replaces_them_all():
    visual, images = random_vit().visual, torch.randn(1, 3, 64, 48)
    whole, deeper = (gem_tokens(visual, images, depth=depth) for depth in (4, 12))
    assert whole.grid == (8, 6)
    assert torch.equal(whole.gem, deeper.gem)
    assert not torch.allclose(whole.gem, gem_tokens(visual, images, depth=3).gem, atol=1e-3)


def test_an_image_is_not_affected_by_its_batch():
    visual = random_vit().visual
    images = torch.randn(3, 3, 48, 48) * torch.tensor([0.1, 1, 5]).view(3, 1, 1, 1)
    whole = gem_tokens(visual, images).gem
    for i in range(3):
        torch.testing.assert_close(gem_tokens(visual, images[i : i + 1]).gem[0], whole[i], atol=1e-4, rtol=1e-4)


def test_equal_tokens_read_the_value_they_share():
    block = random_vit().visual.blocks[1]
    x = torch.randn(1, 1, 128).expand(1, 9, 128)
    torch.testing.assert_close(self_self_attention(block.attn, x), block.attn.own_values(x), atol=1e-5, rtol=1e-4)


def test_the_order_of_tokens_does_not_matter():
    attention, x, order = random_vit().visual.blocks[0].attn, torch.randn(1, 7, 128), torch.randperm(7)
    expected = self_self_attention(attention, x)[:, order]
    torch.testing.assert_close(self_self_attention(attention, x[:, order]), expected, atol=1e-5, rtol=1e-4)


def test_the_native_position_table_is_returned_as_it_is():
    table = torch.randn(37, 8)
    assert gem_positions(table, (6, 6)) is table
    assert torch.equal(gem_positions(table, (3, 9))[0], table[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close_to_float32(dtype):
    clip, images = random_vit(), torch.randn(1, 3, 48, 48)
    full = gem_tokens(clip.visual, images).gem
    half = gem_tokens(clip.cast(dtype).visual, images).gem
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half, dim=-1).min() > 0.99


@given(st.integers(0, 100), st.floats(0.1, 50))
def test_heat_is_a_cosine_whatever_the_lengths(seed, length):
    tokens, texts = unit(13, 6, seed=seed), unit(2, 6, seed=seed + 1)
    heat = heat_maps(tokens, (3, 4), texts, (9, 16))
    assert heat.shape == (2, 9, 16)
    assert heat.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(heat_maps(tokens * length, (3, 4), texts / length, (9, 16)), heat, atol=1e-5, rtol=1e-4)


def test_min_max_fills_the_unit_range_and_tells_nothing_of_a_flat_map():
    maps = torch.stack([torch.randn(4, 5), torch.full((4, 5), 3.0)])
    scaled = min_max(maps)
    assert (scaled[0].min(), scaled[0].max()) == (0, 1)
    assert torch.equal(scaled[1], torch.ones(4, 5))
