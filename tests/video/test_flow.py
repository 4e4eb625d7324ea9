import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from car.video.flow import FLOW_SIDE, carried, flow, shrunk
from car.video.identity import overlaps


def blob(side: int = 64, row: int = 32, column: int = 32) -> np.ndarray:
    """A textured square on a textured ground, (side, side, 3) uint8, and nothing random."""
    rows, columns = np.mgrid[:side, :side]
    ground = 90 + 30 * np.sin(rows / 3) * np.cos(columns / 4)
    thing = 180 + 60 * np.sin((rows - row) / 2) * np.sin((columns - column) / 2)
    inside = square(side, row, column)
    return np.where(inside, thing, ground).astype(np.uint8)[:, :, None].repeat(3, 2)


def square(side: int, row: int, column: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return (abs(rows - row) < 10) & (abs(columns - column) < 10)


def test_flow_brings_a_mask_along():
    before, now = blob(), blob(row=36, column=27)
    mask = square(64, 32, 32)[None]
    moved = carried(mask, flow(now, before))[0] > 0.5
    truth = square(64, 36, 27)
    assert overlaps(moved[None], truth[None])[0, 0] > 0.85 > overlaps(mask, truth[None])[0, 0] + 0.3


def test_flow_of_a_smaller_picture_carries_a_larger_mask():
    before, now = blob(), blob(row=36, column=27)
    mask = square(64, 32, 32).repeat(3, 0).repeat(3, 1)
    moved = carried(mask[None], flow(now, before))[0] > 0.5
    assert overlaps(moved[None], square(64, 36, 27).repeat(3, 0).repeat(3, 1)[None])[0, 0] > 0.85


@given(arrays.arrays(bool, (3, 4, 5)))
def test_what_stands_still_stays_as_it_is(masks):
    assert np.array_equal(carried(masks, np.zeros((2, 2, 2), np.float32)), masks.astype(np.float32))


def test_nothing_comes_in_from_outside_the_picture():
    moved = carried(np.ones((1, 4, 6), bool), np.full((4, 6, 2), 3, np.float32))[0]
    assert moved[:1, :3].all()
    assert not moved[1:].any()
    assert not moved[:, 3:].any()


@pytest.mark.parametrize("size", [(1, 1), (9, 40), (15, 15)])
def test_the_smallest_pictures_stand_still(size):
    pictures = np.random.default_rng(0).integers(0, 255, (2, *size, 3), np.uint8)
    assert not flow(*pictures).any()


def test_a_picture_is_shrunk_to_a_bounded_side_and_never_enlarged():
    assert shrunk(np.zeros((1000, 500, 3), np.uint8)).shape == (FLOW_SIDE, FLOW_SIDE // 2, 3)
    assert shrunk(np.zeros((1, 5000, 3), np.uint8)).shape == (1, FLOW_SIDE, 3)
    small = np.zeros((20, 30, 3), np.uint8)
    assert shrunk(small) is small
