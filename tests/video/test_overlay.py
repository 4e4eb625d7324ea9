import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from car.palette import query_colors
from car.video.overlay import ALPHA, FrameDrawer, meet

GREY = np.full((300, 500, 3), 128, np.uint8)


def square(size=(300, 500), top=100, left=200, side=80) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_masks_are_tinted_and_outlined_and_the_rest_is_the_picture():
    drawer = FrameDrawer(["cat", "dog"], (300, 500))
    drawn = drawer.draw(GREY, {1: square()})
    colour = query_colors(2)[1]
    assert drawer.factor == 1
    np.testing.assert_allclose(drawn[140, 240], ALPHA * colour + (1 - ALPHA) * 128, atol=1)
    np.testing.assert_array_equal(drawn[100, 240], colour)
    assert (drawn[200:300, 300:] == 128).all()


def test_the_name_is_above_the_mask_and_below_it_where_there_is_no_room():
    drawer = FrameDrawer(["cat"], (300, 500))
    bare = FrameDrawer(["cat"], (300, 500)).draw(GREY, {})
    for top, rows in ((100, slice(0, 100)), (0, slice(80, 300))):
        changed = (drawer.draw(GREY, {0: square(top=top)}) != bare).any(axis=2)[:300]
        outside = changed & ~square(top=top)
        assert outside[rows].sum() == outside.sum() > 100


def test_names_do_not_cover_each_other():
    drawer = FrameDrawer(["one query", "another one"], (300, 500))
    alone = [FrameDrawer(drawer.queries, (300, 500)).draw(GREY, {i: square()}) for i in (0, 1)]
    together = drawer.draw(GREY, {0: square(), 1: square()})
    first = (alone[0][:97] != 128).any(axis=2)
    np.testing.assert_array_equal(together[:97][first], alone[0][:97][first])
    assert (together[183:300] != 128).any()


def test_doubt_is_marked_and_absence_is_grey():
    drawer = FrameDrawer(["cat", "dog"], (300, 500))
    sure, doubtful = drawer.draw(GREY, {0: square()}), drawer.draw(GREY, {0: square()}, {0: None})
    assert (sure[:100] != doubtful[:100]).any()
    np.testing.assert_array_equal(sure[300:], doubtful[300:])
    strip = drawer.draw(GREY, {})[300:]
    assert not (strip == query_colors(2)[0]).all(axis=2).any()
    assert (sure[300:] == query_colors(2)[0]).all(axis=2).sum() > 100
    assert not (sure[300:] == query_colors(2)[1]).all(axis=2).any()


def test_who_has_taken_over_what_names_the_other():
    drawer = FrameDrawer(
        ["cat", "dog", "a very long expression about a horse that nobody would read to the end"], (300, 500)
    )
    notes = [drawer.draw(GREY, {0: square()}, {0: other})[:100] for other in (None, 1, 2)]
    bare = drawer.draw(GREY, {})[:100]
    across = [np.ptp(np.flatnonzero((note != bare).any(axis=(0, 2)))) for note in notes]
    assert across[0] < across[1] < across[2] < 0.9 * 500
    np.testing.assert_array_equal(drawer.draw(GREY, {0: square()}, {1: 0}), drawer.draw(GREY, {0: square()}))


def test_small_films_are_enlarged_so_that_names_can_be_read():
    drawer = FrameDrawer(["cat"], (48, 64))
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    drawn = drawer.draw(picture, {})
    assert drawer.factor == 8
    np.testing.assert_array_equal(drawn[:384:8, :512:8], picture)


@settings(max_examples=15)
@given(st.tuples(st.integers(1, 700), st.integers(1, 700)), st.integers(1, 30), st.text(max_size=40))
def test_every_frame_of_a_film_has_the_same_even_size(size, count, name):
    drawer = FrameDrawer([f"{name}{i}" for i in range(count)], size)
    full = np.ones(size, bool)
    for masks in ({}, {0: full, count - 1: full}):
        drawn = drawer.draw(np.zeros((*size, 3), np.uint8), masks, {0: count - 1})
        assert drawn.shape == (*drawer.size, 3)
        assert drawn.dtype == np.uint8
        assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0


@pytest.mark.parametrize(("other", "do"), [((1, 1, 3, 3), True), ((2, 0, 4, 2), False), ((0, 5, 2, 9), False)])
def test_boxes_meet_where_they_share_a_pixel(other, do):
    assert meet((0, 0, 2, 2), other) is do
