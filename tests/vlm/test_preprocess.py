import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.errors import InputError
from car.vlm.preprocess import MEAN, STD, VIEWS, classifier_views, proposer_input


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (max(1, height // 7), max(1, width // 7), 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def pixels(x: torch.Tensor) -> np.ndarray:
    """Back to [0, 255], (B, H, W, 3)."""
    return (x.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (224, 224), (101, 1000), (31, 57)])
def test_the_crop_is_clips_own_preprocessing(size):
    image = photo(*size)
    short = min(size)
    width, height = (224 * n // short for n in (size[1], size[0]))
    whole = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    expected = np.asarray(whole)[top : top + 224, left : left + 224].astype(float)
    actual = pixels(classifier_views([image], 224, "crop"))[0]
    # Pillow rounds to bytes between its two passes and picks their order by the amount of work.
    assert np.abs(actual - expected).max() <= 2.01
    assert np.abs(actual - expected).mean() <= 0.25


def test_a_long_thin_image_is_cropped_without_being_enlarged_whole():
    assert classifier_views([photo(1, 60000)], 64, "crop").shape == (1, 3, 64, 64)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(VIEWS))
def test_views_are_square_for_any_image(height, width, view):
    views = classifier_views([photo(height, width)] * 2, 32, view)
    assert views.shape == (2, 3, 32, 32)
    assert torch.isfinite(views).all()


def test_padding_keeps_the_whole_image_and_adds_nothing():
    views = classifier_views([np.full((50, 100, 3), 255, np.uint8)], 64, "pad")
    assert views[0, :, :16].abs().max() < 0.02
    assert (views[0, :, 16:48] > 1).all()
    assert views[0, :, 48:].abs().max() < 0.02


def test_an_unknown_view_is_refused():
    with pytest.raises(InputError, match="crop, pad, squash"):
        classifier_views([photo(8, 8)], 32, "zoom")


@given(st.integers(1, 100), st.integers(1, 100), st.sampled_from([8, 16]))
def test_the_proposer_sees_sides_rounded_up_to_patches(height, width, patch):
    x = proposer_input(photo(height, width), patch)
    assert x.shape[2] - height in range(patch)
    assert x.shape[3] - width in range(patch)
    assert not x.shape[2] % patch
    assert not x.shape[3] % patch


def test_an_image_that_fits_the_patches_is_left_as_it_is():
    image = photo(48, 64)
    np.testing.assert_allclose(pixels(proposer_input(image, 16))[0], image, atol=1e-3)


def test_the_proposers_side_can_be_set():
    assert proposer_input(photo(300, 400), 16, 128).shape == (1, 3, 96, 128)
    assert proposer_input(photo(30, 40), 16, 128).shape == (1, 3, 96, 128)
    assert proposer_input(photo(1, 5000), 16, 128).shape == (1, 3, 16, 128)
