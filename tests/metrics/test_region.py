import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.metrics.region import (
    Region,
    boundary_accuracy,
    boundary_map,
    boundary_reach,
    boundary_score,
    iou,
    region_similarity,
)
from tests.golden import golden

SIZE = (11, 17)
masks = hnp.arrays(bool, SIZE)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    """Masks with clear space around, at the frame's edges or not, unlike those of independent pixels."""
    mask = np.zeros(SIZE, bool)
    for _ in range(draw(st.integers(0, 2))):
        top, bottom = sorted(draw(st.tuples(*[st.integers(0, SIZE[0])] * 2)))
        left, right = sorted(draw(st.tuples(*[st.integers(0, SIZE[1])] * 2)))
        mask[top:bottom, left:right] ^= True
    return mask


frames = masks | boxes()


def boundary_by_pixel(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            inside = [mask[at] for at in neighbours if at[0] < height and at[1] < width]
            boundary[y, x] = any(mask[y, x] != other for other in inside)
    return boundary


def f_by_pixel(predicted: np.ndarray, truth: np.ndarray, reach: int) -> float:
    found, true = (np.argwhere(boundary_by_pixel(mask)) for mask in (predicted, truth))
    if not len(found) or not len(true):
        return float(len(found) == len(true))
    near = ((found[:, None] - true[None]) ** 2).sum(axis=2) <= reach**2
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def unpacked(name: str) -> np.ndarray:
    z = golden("metrics")
    height, width = z["davis_big_hw"]
    return np.unpackbits(z[name])[: height * width].reshape(height, width).astype(bool)


def test_frames_match_the_reference():
    z = golden("metrics")
    pairs = list(zip(z["davis_pred"].astype(bool), z["davis_gt"].astype(bool), strict=True))
    np.testing.assert_allclose([region_similarity(*pair) for pair in pairs], z["davis_J"], atol=1e-6)
    np.testing.assert_allclose([boundary_accuracy(*pair) for pair in pairs], z["davis_F"], atol=1e-6)
    assert np.array_equal([boundary_map(truth) for _, truth in pairs], z["davis_gt_boundary"])
    assert boundary_reach(60, 84) == z["davis_bound_pix"]


def test_a_frame_of_davis_size_matches_the_reference():
    z = golden("metrics")
    pair = unpacked("davis_big_pred"), unpacked("davis_big_gt")
    np.testing.assert_allclose(region_similarity(*pair), z["davis_big_J"], atol=1e-6)
    np.testing.assert_allclose(boundary_accuracy(*pair), z["davis_big_F"], atol=1e-6)
    assert boundary_reach(*z["davis_big_hw"]) == z["davis_big_bound_pix"]


@given(frames)
def test_boundary_is_the_definition_pixel_by_pixel(mask):
    assert np.array_equal(boundary_map(mask), boundary_by_pixel(mask))


@given(frames, frames, st.integers(1, 6))
def test_regions_score_as_whole_frames_do(predicted, truth, reach):
    one, other = Region(predicted, reach), Region(truth, reach)
    union = (predicted | truth).sum()
    assert iou(one, other) == ((predicted & truth).sum() / union if union else 1.0)
    assert boundary_score(one, other) == pytest.approx(f_by_pixel(predicted, truth, reach), abs=1e-12)


@given(frames, frames)
def test_both_scores_are_symmetric_and_within_bounds(predicted, truth):
    for score in (region_similarity, boundary_accuracy):
        assert 0 <= score(predicted, truth) <= 1
        assert score(predicted, truth) == pytest.approx(score(truth, predicted), abs=1e-12)
        assert score(truth, truth) == 1.0


@given(frames, frames, masks)
def test_void_pixels_are_taken_out_of_both_masks(predicted, truth, void):
    for score in (region_similarity, boundary_accuracy):
        assert score(predicted, truth, void) == score(predicted & ~void, truth & ~void)
        assert score(predicted | void, truth, void) == score(predicted, truth, void)
    assert region_similarity(predicted, truth, np.ones(SIZE, bool)) == 1.0


def test_a_shift_within_reach_costs_no_boundary():
    truth = np.zeros((480, 854), bool)
    truth[100:300, 200:500] = True
    assert boundary_accuracy(np.roll(truth, 8, axis=1), truth) == 1.0
    assert boundary_accuracy(np.roll(truth, 9, axis=1), truth) < 1.0
    assert region_similarity(np.roll(truth, 8, axis=1), truth) == 292 / 308


def test_reach_is_a_disk_and_not_a_square():
    dots = [np.zeros((40, 40), bool) for _ in range(3)]
    for dot, (row, column) in zip(dots, [(20, 20), (20, 25), (24, 24)], strict=True):
        dot[row, column] = True
    middle, straight, diagonal = (Region(dot, 3) for dot in dots)
    # Each dot has a boundary of 2 x 2 pixels: at distance 3 and 4 in a row, 2 * 3^2 and more along the diagonal.
    assert straight.boundary_near(middle) == 0
    assert Region(np.roll(dots[1], -1, axis=1), 3).boundary_near(middle) == 2
    assert diagonal.boundary_near(middle) == 0
    assert Region(dots[2], 5).boundary_near(Region(dots[0], 5)) == 3


def test_masks_without_a_boundary():
    empty, full, half = np.zeros((30, 40), bool), np.ones((30, 40), bool), np.zeros((30, 40), bool)
    half[:, :20] = True
    assert boundary_accuracy(empty, full) == boundary_accuracy(full, full) == boundary_accuracy(empty, empty) == 1.0
    assert boundary_accuracy(half, full) == boundary_accuracy(empty, half) == 0.0
    assert region_similarity(empty, empty) == 1.0
    assert region_similarity(empty, full) == 0.0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (60, 84), (75, 100), (76, 100), (720, 1280), (2160, 4096)])
def test_reach_by_the_diagonal(height, width):
    reach = boundary_reach(height, width)
    assert (reach - 1) ** 2 < 0.008**2 * (height**2 + width**2) <= reach**2 * (1 + 1e-12)


@pytest.mark.parametrize("score", [region_similarity, boundary_accuracy])
@pytest.mark.parametrize(
    ("predicted", "truth", "void", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), None, "`predicted` of bool"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), None, "`predicted` of bool.*but got uint8"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), int), None, "`truth` of bool.*but got int64"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), bool), np.zeros((1, 3), bool), "`void` of bool"),
        (np.zeros((0, 3), bool), np.zeros((0, 3), bool), None, r"but got bool, \(0, 3\)"),
        (np.zeros((1, 2, 3), bool), np.zeros((1, 2, 3), bool), None, r"but got bool, \(1, 2, 3\)"),
    ],
)
def test_masks_that_cannot_be_compared(score, predicted, truth, void, message):
    with pytest.raises(InputError, match=message):
        score(predicted, truth, void)
