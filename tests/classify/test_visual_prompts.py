from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from car.classify.visual_prompts import PROMPTS, VisualPrompter, in_order, mask_to_box
from car.errors import InputError
from tests.golden import golden

RED = (255, 0, 0)
GOLDEN = [
    "circle", "rectangle", "contour", "blur", "gray", "black",
    "circle_blur", "circle_gray_blur", "blur_gray", "contour_blur",
]  # fmt: skip


def picture(height: int = 40, width: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ring(height: int = 40, width: int = 50) -> np.ndarray:
    """A mask with a hole, an island in the hole, and a second part."""
    mask = np.zeros((height, width), bool)
    mask[5:30, 6:34] = True
    mask[10:25, 12:28] = False
    mask[15:20, 17:22] = True
    mask[33:37, 40:45] = True
    return mask


@pytest.mark.parametrize("name", GOLDEN)
def test_every_prompt_is_exactly_the_published_one(name):
    arrays = golden("visual_prompts")
    prompter = VisualPrompter(arrays["image"], name.split("_"))
    for mask, expected in zip(arrays["masks"], arrays[f"out_{name}"], strict=True):
        assert np.array_equal(prompter.render(mask.astype(bool)), expected)


def test_thickness_and_box_are_the_published_ones():
    arrays = golden("visual_prompts")
    prompter = VisualPrompter(arrays["image"], ["circle"], thickness=3)
    for i, mask in enumerate(arrays["masks"].astype(bool)):
        assert np.array_equal(prompter.render(mask), arrays["out_circle_thickness3"][i])
        assert mask_to_box(mask) == tuple(arrays["mask2chw"][i])


@given(
    st.lists(st.sampled_from(PROMPTS), unique=True).flatmap(
        lambda names: st.tuples(st.just(names), st.permutations(names))
    )
)
def test_prompts_apply_in_one_order_however_they_are_listed(lists):
    listed, permuted = lists
    image, mask = picture(), ring()
    first = VisualPrompter(image, listed).render(mask)
    assert np.array_equal(first, VisualPrompter(image, permuted).render(mask))


def test_combinations_are_one_prompt_after_the_other():
    image, mask = picture(), ring()
    for names in (pair for n in (1, 2, 3) for pair in combinations(PROMPTS, n)):
        step_by_step = image
        for name in names:
            step_by_step = apply_one(step_by_step, mask, name)
        assert np.array_equal(VisualPrompter(image, names).render(mask), step_by_step), names


def apply_one(image: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """One prompt of Algorithm B as it is printed: composites by arithmetic, holes filled before the outline."""
    inside = mask.astype(np.uint8)[:, :, None]
    if name == "blur":
        return image * inside + cv2.GaussianBlur(image, (15, 15), 0) * (1 - inside)
    if name == "gray":
        return image * inside + cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None] * (1 - inside)
    if name == "black":
        return image * inside
    if name == "contour":
        filled = ndimage.binary_fill_holes(mask).astype(np.uint8)
        outlines, _ = cv2.findContours(filled, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
        return cv2.drawContours(image.copy(), outlines, -1, RED, 1)
    return VisualPrompter(image, [name]).render(mask)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_outer_outlines_are_those_of_the_filled_mask(seed, share):
    mask = ndimage.uniform_filter(np.random.default_rng(seed).random((24, 31)), 3) > np.sqrt(share / 2)
    if mask.sum() > 1:
        image = picture(24, 31)
        assert np.array_equal(VisualPrompter(image, ["contour"]).render(mask), apply_one(image, mask, "contour"))


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 2), (40, 50)])
def test_any_size_renders_and_the_image_is_never_changed(name, size):
    image = picture(*size)
    before = image.copy()
    prompter = VisualPrompter(image, [name])
    for share in (0.0, 0.5, 1.0):
        rendered = prompter.render(np.random.default_rng(1).random(size) < share)
        assert rendered.shape == image.shape
        assert rendered.dtype == np.uint8
        rendered[:] = 7
        assert np.array_equal(image, before)


def test_a_mask_too_small_to_mark_leaves_the_image():
    image, mask = picture(), np.zeros((40, 50), bool)
    prompter = VisualPrompter(image, PROMPTS)
    assert np.array_equal(prompter.render(mask), image)
    mask[3, 4] = True
    assert np.array_equal(prompter.render(mask), image)
    mask[3, 5] = True
    assert not np.array_equal(prompter.render(mask), image)


def test_no_prompts_leave_the_image():
    assert np.array_equal(VisualPrompter(picture(), ()).render(ring()), picture())


def test_a_mask_laid_out_by_columns_renders_alike():
    prompter = VisualPrompter(picture(), ["contour", "blur"])
    assert np.array_equal(prompter.render(np.asfortranarray(ring())), prompter.render(ring()))


def test_color():
    rendered = VisualPrompter(picture(), ["rectangle"], color=(1, 2, 3)).render(ring())
    changed = (rendered != picture()).any(axis=2)
    assert changed.any()
    assert (rendered[changed] == (1, 2, 3)).all()


def test_prompts_are_put_in_order_once():
    assert in_order(["contour", "black", "blur", "blur"]) == ("blur", "black", "contour")
    assert in_order([]) == ()


@pytest.mark.parametrize(
    ("text", "hint"), [("circel+blur", "'circle'"), ("grey", "'gray'"), ("+", "Available"), ("BLUR", "'blur'")]
)
def test_unknown_prompts_name_the_closest(text, hint):
    with pytest.raises(InputError, match=hint):
        in_order(text.split("+"))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.zeros((4, 4), np.uint8), {}),
        (np.zeros((4, 4, 4), np.uint8), {}),
        (np.zeros((4, 4, 3), np.float32), {}),
        (np.zeros((0, 4, 3), np.uint8), {}),
        (np.zeros((4, 4, 3), np.uint8), {"thickness": 0}),
        (np.zeros((4, 4, 3), np.uint8), {"color": (0, 0, 256)}),
        (np.zeros((4, 4, 3), np.uint8), {"color": (0, 0)}),
    ],
)
def test_bad_arguments(image, options):
    with pytest.raises(InputError, match="Expected"):
        VisualPrompter(image, ["blur"], **options)


def test_bad_masks():
    prompter = VisualPrompter(picture(), ["blur"])
    for mask in (np.zeros((40, 50), np.uint8), np.zeros((50, 40), bool), np.zeros((40, 50, 1), bool)):
        with pytest.raises(InputError, match="mask"):
            prompter.render(mask)
