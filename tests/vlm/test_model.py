import numpy as np
import pytest
import torch

from car.errors import CheckpointError, InputError
from car.vlm import vit
from car.vlm.model import CLIP
from tests.golden import golden, golden_path
from tests.models import random_resnet, random_vit


def tiny(name: str) -> CLIP:
    return CLIP.from_state_dict(torch.load(golden_path(f"tiny_{name}.pt"), weights_only=True))


def test_image_features_match_the_reference_with_and_without_the_last_block():
    z, clip = golden("car"), tiny("vit")
    images = torch.from_numpy(z["images"])
    np.testing.assert_allclose(clip.encode_image(images), z["features_full"], atol=1e-5)
    skipped = clip.encode_image(images, skip_last=True)
    np.testing.assert_allclose(skipped, z["features_without_last_block"], atol=1e-5)


def test_text_features_match_the_reference():
    z, clip = golden("clip_es_cam"), tiny("vit")
    for kind in ("fg", "bg"):
        features = clip.encode_text(torch.from_numpy(z[f"{kind}_tokens"]))
        features = features / features.norm(dim=-1, keepdim=True)
        np.testing.assert_allclose(features, z[f"{kind}_text_features"], atol=1e-5)


def test_taps_match_the_reference():
    z, clip = golden("clip_es_cam"), tiny("vit")
    taps = clip.visual.taps(torch.from_numpy(z["image"]))
    assert taps.grid == (10, 7)
    np.testing.assert_array_equal(clip.visual.positions(taps.grid), z["pos_embed_interp"])
    np.testing.assert_allclose(taps.tokens[0], z["tokens_before_last_block"], atol=1e-4)
    np.testing.assert_allclose(taps.attention[0], z["attn_mean_last8"], atol=1e-6)


def test_resnet_features_match_the_reference():
    z, clip = golden("global_local"), tiny("rn")
    features = clip.visual.features(torch.from_numpy(z["rn_input"]))
    np.testing.assert_allclose(features, z["rn_feature_map"], atol=1e-5, rtol=1e-3)
    crops = clip.encode_image(torch.from_numpy(z["rn_crops"]))
    np.testing.assert_allclose(crops / crops.norm(dim=-1, keepdim=True), z["rn_crop_features"], atol=1e-4)
    texts = clip.encode_text(torch.from_numpy(z["text_tokens"]))
    np.testing.assert_allclose(texts / texts.norm(dim=-1, keepdim=True), z["rn_text_features"], atol=1e-4)


@pytest.mark.parametrize(("key", "masked"), [("k1", 1), ("k2", 2), ("", 3), ("k4", 4), ("k6", 6)])
def test_token_masked_features_match_the_reference(key, masked):
    z, clip = golden("global_local"), tiny("vit")
    images = torch.from_numpy(z["vit_input"]).expand(3, -1, -1, -1)
    small = torch.from_numpy(z["vit_masks_small"]).flatten(1)
    features = clip.visual(images, token_mask=small, mask_from=12 - masked)
    reference = z["vit_mask_features" + (f"_{key}" if key else "")]
    np.testing.assert_allclose(features, reference, atol=1e-4)


def test_attention_map_path_equals_the_fused_path(monkeypatch):
    block = random_vit().visual.blocks[0]
    x = torch.randn(2, 17, 128)
    mask = torch.randn(2, 1, 17, 17)
    fused = block(x, mask)
    whole, attention = block.with_map(x, mask)
    torch.testing.assert_close(whole, fused, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 17))
    monkeypatch.setattr(vit, "CACHED_ELEMENTS", 1)
    by_head, same_attention = block.with_map(x, mask)
    torch.testing.assert_close(by_head, whole)
    torch.testing.assert_close(same_attention, attention)


def test_a_token_mask_of_ones_changes_nothing_and_of_zeros_does():
    visual = random_vit().visual
    images = torch.randn(2, 3, 48, 48)
    plain = visual(images)
    torch.testing.assert_close(visual(images, token_mask=torch.ones(2, 36), mask_from=1), plain)
    assert not torch.allclose(visual(images, token_mask=torch.zeros(2, 36), mask_from=2), plain, atol=1e-3)


def test_an_attention_mask_hides_patches_from_the_masked_blocks():
    visual = random_vit().visual
    images = torch.randn(1, 3, 48, 48)
    hidden = torch.zeros(1, 37, 37)
    hidden[:, 0, 1:] = -torch.inf
    masked = visual(images, attention_mask=hidden, mask_from=2)
    x, _ = visual.embed(images)
    for block in visual.blocks[:2]:
        x = block(x)
    alone = visual.blocks[2](x[:, :1])
    torch.testing.assert_close(masked, visual.project(alone[:, 0]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (8, 96), (40, 24), (56, 56)])
def test_any_grid_size_works(size):
    taps = random_vit().visual.taps(torch.randn(1, 3, *size))
    patches = size[0] * size[1] // 64
    assert taps.tokens.shape == (1, 1 + patches, 128)
    assert taps.attention.shape == (1, patches, patches)


@pytest.mark.parametrize("build", [random_vit, random_resnet])
def test_results_do_not_depend_on_the_batch_size(build):
    clip = build()
    images = torch.randn(3, 3, clip.input_resolution, clip.input_resolution)
    tokens = torch.randint(1, 49000, (3, 9))
    tokens[torch.arange(3), [3, 8, 5]] = 49407
    whole_images, whole_texts = clip.encode_image(images), clip.encode_text(tokens)
    for i in range(3):
        torch.testing.assert_close(clip.encode_image(images[i : i + 1])[0], whole_images[i], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(clip.encode_text(tokens[i : i + 1])[0], whole_texts[i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", [random_vit, random_resnet])
def test_half_precision_stays_close_to_float32(build, dtype):
    clip = build()
    images = torch.randn(2, 3, clip.input_resolution, clip.input_resolution)
    tokens = torch.tensor([[49406, 320, 49407]])
    full = torch.cat([clip.encode_image(images), clip.encode_text(tokens)])
    clip.cast(dtype)
    half = torch.cat([clip.encode_image(images), clip.encode_text(tokens)])
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).min() > 0.99


@pytest.mark.parametrize("build", [random_vit, random_resnet])
def test_a_state_dict_rebuilds_the_model(build):
    clip = build()
    state = clip.state_dict() | {k: torch.tensor(1) for k in ("input_resolution", "context_length", "vocab_size")}
    again = CLIP.from_state_dict(state, text_heads=1, vision_heads=4 if build is random_resnet else None)
    images = torch.randn(1, 3, clip.input_resolution, clip.input_resolution)
    torch.testing.assert_close(again.encode_image(images), clip.encode_image(images))
    tokens = torch.tensor([[49406, 320, 2368, 49407, 0]])
    torch.testing.assert_close(again.encode_text(tokens), clip.encode_text(tokens))


def test_a_reduced_vocabulary_equals_the_whole_one_and_shares_its_unknown():
    clip = random_vit()
    ids = torch.tensor([-1, 320, 2368, 49406, 49407])
    state = clip.state_dict()
    small = state | {"token_ids": ids, "token_embedding.weight": state["token_embedding.weight"][ids]}
    reduced = CLIP.from_state_dict(small)
    tokens = torch.tensor([[49406, 320, 2368, 49407]])
    torch.testing.assert_close(reduced.encode_text(tokens), clip.encode_text(tokens))
    one, other = torch.tensor([[49406, 111, 49407]]), torch.tensor([[49406, 222, 49407]])
    torch.testing.assert_close(reduced.encode_text(one), reduced.encode_text(other))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {},
        lambda s: {"weights": torch.zeros(3)},
        lambda s: {k: v for k, v in s.items() if k != "visual.ln_post.weight"},
        lambda s: s | {"visual.proj": torch.zeros(7, 7)},
        lambda s: s | {"more": torch.zeros(1)},
    ],
    ids=["empty", "foreign", "key missing", "wrong shape", "key too many"],
)
def test_other_layouts_are_refused(spoil):
    with pytest.raises(CheckpointError, match="Not a CLIP checkpoint"):
        CLIP.from_state_dict(spoil(random_vit().state_dict()))


def test_a_resnet_has_no_last_block_to_skip():
    with pytest.raises(InputError, match="needs a ViT"):
        random_resnet().encode_image(torch.randn(1, 3, 64, 64), skip_last=True)
