"""Polygons, pixel by pixel as COCO's own tools fill them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from car.data.prepare.polygons import fill_polygon
from car.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def reference(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    return coco.decode(coco.frPyObjects([polygon.tolist()], height, width))[:, :, 0].astype(bool)


@st.composite
def cases(draw):
    """A polygon and its picture: corners inside or outside, on borders and halves of pixels, repeated, crossing."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    step = draw(st.sampled_from([0.01, 0.1, 0.2, 0.5, 1]))
    out = draw(st.sampled_from([0, 1]))
    corner = st.tuples(
        *(st.integers(int(-out * side / step), int((1 + out) * side / step)) for side in (width, height))
    )
    corners = draw(st.lists(corner, min_size=3, max_size=12))
    points = (np.array(corners, float) * step).clip((-width, -height), (2 * width, 2 * height))
    return points.ravel(), height, width


@settings(max_examples=400)
@given(cases())
def test_polygons_are_filled_as_coco_fills_them(case):
    assert np.array_equal(fill_polygon(*case), reference(*case))


def test_many_random_polygons_are_filled_as_coco_fills_them():
    rng = np.random.default_rng(7)
    for _ in range(1500):
        height, width = map(int, rng.integers(1, 90, 2))
        polygon = (rng.random((int(rng.integers(3, 30)), 2)) * (width, height)).round(int(rng.integers(0, 4))).ravel()
        assert np.array_equal(fill_polygon(polygon, height, width), reference(polygon, height, width))


def test_a_whole_picture_and_a_large_outline():
    whole = np.array([0.0, 0, 64, 0, 64, 48, 0, 48])
    assert fill_polygon(whole, 48, 64).all()
    angles = np.linspace(0, 2 * np.pi, 300)
    star = np.stack([320 + 300 * np.cos(3 * angles), 240 + 200 * np.sin(2 * angles)], 1).ravel()
    filled = fill_polygon(star, 480, 640)
    assert np.array_equal(filled, reference(star, 480, 640))
    assert filled.any()


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([], "at least three corners"),
        ([1, 1, 5, 5], "got 4 numbers"),
        ([1, 1, 5, 5, 3], "got 5 numbers"),
        ([1, 1, 5, 5, 3, np.nan], "far outside"),
        ([1, 1, 5, 5, 3, np.inf], "far outside"),
        ([1, 1, 5, 5, 3, 1e300], "far outside"),
        ([-9, 1, 5, 5, 3, 3], "far outside"),
        ([0, 0, 8, 8] * 400_000, "too long an outline"),
    ],
    ids=["empty", "two corners", "half a corner", "nan", "infinite", "huge", "left", "long"],
)
def test_what_is_no_polygon_is_refused(polygon, message):
    with pytest.raises(InputError, match=message):
        fill_polygon(np.array(polygon, float), 8, 8)
