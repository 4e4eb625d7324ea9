import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from car.referring.fusion import (
    BLUR,
    FUSIONS,
    class_row_mask,
    fused,
    global_pictures,
    hybrid_features,
    local_pictures,
)
from car.referring.preprocess import blurred, soft_masks
from car.vlm.model import CLIP
from tests.golden import golden, golden_path
from tests.models import random_vit

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASKS = np.zeros((4, 40, 60), bool)
MASKS[0, 5:30, 8:40] = MASKS[1, 20:, 30:] = MASKS[2] = MASKS[3, 0, 0] = True
EACH = pytest.mark.parametrize("fusion", FUSIONS)


def tiny() -> CLIP:
    return CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))


def test_pictures_and_masks_match_the_reference():
    z = golden("hybridgl")
    image, masks = z["image"], z["masks"] > 0
    np.testing.assert_allclose(local_pictures(image, masks, 96), z["local_imgs"], atol=1e-5)
    np.testing.assert_allclose(global_pictures(image, masks, 96, blurred(image, BLUR)), z["global_imgs"], atol=1e-5)
    for ending in ("", "_antialias"):
        soft = soft_masks(torch.from_numpy(masks), (6, 6), antialias=bool(ending))
        np.testing.assert_allclose(soft, z[f"masks_small{ending}"], atol=1e-6)
    soft = torch.from_numpy(z["masks_small"]).flatten(1)
    np.testing.assert_array_equal(class_row_mask(soft)[:, 0].isinf(), z["attn_mask_first_head"])


@EACH
@pytest.mark.parametrize(("ending", "fused_blocks"), [("_block6", 6), ("", 3), ("_block11", 1)])
def test_features_match_the_reference(fusion, ending, fused_blocks):
    z, visual = golden("hybridgl"), tiny().visual
    features = hybrid_features(visual, z["image"], z["masks"] > 0, fusion=fusion, fused_blocks=fused_blocks)
    np.testing.assert_allclose(features, z[f"feat_{fusion}{ending}"], atol=1e-5)


@EACH
def test_antialiased_masks_match_the_reference(fusion):
    z, visual = golden("hybridgl"), tiny().visual
    features = hybrid_features(visual, z["image"], z["masks"] > 0, fusion=fusion, antialias=True)
    np.testing.assert_allclose(features, z[f"feat_{fusion}_antialias"], atol=1e-5)


@EACH
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_features_do_not_depend_on_the_batch_size(fusion, batch_size):
    visual = random_vit().visual
    whole = hybrid_features(visual, IMAGE, MASKS, fusion=fusion, fused_blocks=2)
    parts = hybrid_features(visual, IMAGE, MASKS, fusion=fusion, fused_blocks=2, batch_size=batch_size)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("fusion", "passes"), [("g2l", [8, 4, 4, 4]), ("l2g", [8, 4, 4, 4]), ("both", [8] + 6 * [4])])
def test_both_pictures_share_the_first_blocks_and_no_block_runs_for_nothing(monkeypatch, fusion, passes):
    visual, seen = random_vit().visual, []
    for block in visual.blocks:
        monkeypatch.setattr(
            block, "forward", lambda x, mask=None, run=block.forward: (seen.append(len(x)), run(x, mask))[1]
        )
    hybrid_features(visual, IMAGE, MASKS, fusion=fusion, fused_blocks=2)
    assert seen == passes


def test_equal_masks_are_encoded_once_and_no_masks_never(monkeypatch):
    visual, seen = random_vit().visual, []
    embed = visual.embed
    monkeypatch.setattr(visual, "embed", lambda x: (seen.append(len(x)), embed(x))[1])
    features = hybrid_features(visual, IMAGE, MASKS[[0, 1, 0]], fused_blocks=2)
    assert torch.equal(features[0], features[2])
    assert hybrid_features(visual, IMAGE, MASKS[:0]).shape == (0, 24)
    assert seen == [4]


def test_both_is_the_sum_of_the_two_fusions():
    visual = random_vit().visual
    one, other, both = (hybrid_features(visual, IMAGE, MASKS, fusion=fusion, fused_blocks=2) for fusion in FUSIONS)
    torch.testing.assert_close(one + other, both, atol=1e-5, rtol=1e-5)


def test_without_global_tokens_the_local_picture_alone_counts():
    visual, pictures = random_vit().visual, torch.randn(6, 3, 48, 48)
    plain = visual(pictures[:3])
    features = fused(visual, pictures, torch.rand(3, 36), fusion="g2l", fused_blocks=2, beta=0.0)
    torch.testing.assert_close(features, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(fused(visual, pictures, torch.rand(3, 36), fusion="g2l", fused_blocks=2, beta=2.0), plain)


def test_a_vanished_mask_leaves_the_class_token_with_itself():
    hidden = class_row_mask(torch.tensor([[0.0, 0.0], [0.2, 0.0]]))
    assert hidden[0, 0, 0].tolist() == [0, -torch.inf, -torch.inf]
    assert hidden[1, 0, 0].tolist() == [0, 0, -torch.inf]
    assert not hidden[:, :, 1:].any()
    features = hybrid_features(
        random_vit().visual,
        np.repeat(IMAGE, 9, 0),
        np.repeat(MASKS[3:], 9, 1) & (np.arange(360) < 1)[None, :, None],
        fused_blocks=2,
    )
    assert features.isfinite().all()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_pictures_show_the_image_in_the_mask_and_nothing_of_it_elsewhere(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((1, 24, 24)) > 0.5
    image, other = (rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(2))
    mixed = np.where(masks[0, ..., None], image, other)
    assert torch.equal(local_pictures(image, masks, 24), local_pictures(mixed, masks, 24))
    inside = torch.from_numpy(masks[0])
    around = global_pictures(image, masks, 24, other)[0], global_pictures(other, ~masks, 24, image)[0]
    assert torch.equal(*around)
    assert not torch.equal(around[0][:, ~inside], global_pictures(image, masks, 24, image)[0][:, ~inside])
