import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from car.referring.preprocess import (
    IMAGENET_MEAN,
    MOST_PIXELS,
    blurred,
    filled,
    imagenet_normalised,
    mask_tokens,
    on_background,
    pad_square,
    resized,
    short_side,
    short_side_size,
    soft_masks,
    unit_range,
)
from car.referring.proposals import window
from car.vlm.preprocess import MEAN
from tests.golden import golden


def test_hybridgl_pictures_match_the_reference():
    z = golden("hybridgl")
    masks = torch.from_numpy(z["masks"] > 0)
    image = imagenet_normalised(unit_range(z["image"][None]))
    np.testing.assert_allclose(resized(filled(image, masks, MEAN), (96, 96)), z["local_imgs"], atol=1e-6)
    soft = blurred(z["image"], 15)
    pictures = unit_range(np.stack([on_background(z["image"], mask, soft) for mask in masks.numpy()]))
    np.testing.assert_allclose(imagenet_normalised(resized(pictures, (96, 96))), z["global_imgs"], atol=1e-6)
    np.testing.assert_array_equal(soft_masks(masks, (6, 6)), z["masks_small"])
    np.testing.assert_allclose(soft_masks(masks, (6, 6), antialias=True), z["masks_small_antialias"], atol=1e-6)


def test_tas_pictures_match_the_reference():
    z = golden("tas")
    image, masks = z["image"], np.unpackbits(z["masks"], axis=-1, count=240).astype(bool)
    for i, row in enumerate(z["crop_source_mask_index"]):
        x, y, width, height = z["boxes_xywh"][row].tolist()
        cut = window(x, y, x + width, y + height)
        for name, background in (("crop", np.zeros_like(image)), ("blurcrop", blurred(image, 75))):
            picture = pad_square(on_background(image, masks[row], background)[cut])
            np.testing.assert_array_equal(picture, z[f"{name}_{i}"])


@pytest.mark.parametrize("size", [(15, 20), (20, 15), (7, 7), (1, 30)])
def test_the_shorter_side_is_set(size):
    image = short_side(np.zeros((*size, 3), np.uint8), 40)
    assert min(image.shape[:2]) == 40
    assert image.shape[0] * size[1] == pytest.approx(image.shape[1] * size[0], rel=0.05)


@given(st.integers(1, 10_000), st.integers(1, 10**8))
def test_no_image_is_enlarged_beyond_the_limit(height, width):
    enlarged = short_side_size(height, width, 800)
    assert enlarged == short_side_size(width, height, 800)[::-1]
    assert enlarged[0] * enlarged[1] <= max(MOST_PIXELS, width / height, height / width)
    assert min(enlarged) == 800 or enlarged[0] * enlarged[1] > 0.9 * MOST_PIXELS or min(enlarged) < 20


def test_imagenet_mean_becomes_zero():
    image = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    assert imagenet_normalised(image).abs().max() < 1e-6
    white = imagenet_normalised(unit_range(np.full((1, 2, 2, 3), 255, np.uint8)))
    assert white[0, 0, 0, 0].item() == pytest.approx((1 - 0.485) / 0.229)


def test_filling_keeps_what_is_inside_and_blends_where_a_mask_is_soft():
    images = torch.randn(1, 3, 2, 3)
    masks = torch.tensor([[[1.0, 0.0, 0.5]] * 2])
    out = filled(images, masks, (1.0, 2.0, 3.0))
    colour = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(out[0, :, 0, 0], images[0, :, 0, 0])
    torch.testing.assert_close(out[0, :, 1, 1], colour)
    torch.testing.assert_close(out[0, :, 0, 2], (images[0, :, 0, 2] + colour) / 2)


def test_one_image_is_filled_for_many_masks():
    image, masks = torch.randn(1, 3, 4, 5), torch.rand(7, 4, 5) > 0.5
    out = filled(image, masks, IMAGENET_MEAN)
    torch.testing.assert_close(out[3], filled(image, masks[3:4], IMAGENET_MEAN)[0])


@given(st.integers(1, 12), st.integers(1, 12))
def test_padding_leaves_at_most_a_pixel_from_a_square(height, width):
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    padded = pad_square(image)
    assert abs(padded.shape[0] - padded.shape[1]) == abs(height - width) % 2
    top, left = (padded.shape[0] - height) // 2, (padded.shape[1] - width) // 2
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], image)
    assert padded.sum(dtype=int) == image.sum(dtype=int)


def test_resizing_without_antialiasing_samples_and_with_it_averages():
    stripes = torch.zeros(1, 1, 8, 64)
    stripes[..., ::8] = 1
    assert resized(stripes, (8, 8)).max() == 0
    assert resized(stripes, (8, 8), antialias=True).min() > 0.05
    assert torch.equal(soft_masks(stripes[0] > 0, (8, 8)), torch.zeros(1, 8, 8))


def test_only_patches_are_masked():
    tokens, weights = torch.randn(2, 5, 3), torch.rand(2, 4)
    out = mask_tokens(tokens, weights)
    assert torch.equal(out[:, 0], tokens[:, 0])
    torch.testing.assert_close(out[1, 3], tokens[1, 3] * weights[1, 2])
    assert mask_tokens(tokens.bfloat16(), weights).dtype == torch.bfloat16


def test_what_surrounds_a_mask_comes_from_the_other_picture():
    image = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    mask = np.eye(9, dtype=bool)
    out = on_background(image, mask, blurred(image, 5))
    np.testing.assert_array_equal(out[mask], image[mask])
    np.testing.assert_array_equal(out[~mask], blurred(image, 5)[~mask])
    assert F.mse_loss(torch.from_numpy(out).float(), torch.from_numpy(image).float()) > 100
