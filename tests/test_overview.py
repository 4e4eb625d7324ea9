import dataclasses

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from car.canvas import INK
from car.overview import _Sheet, overview
from car.palette import query_colors
from car.pieces import DROPPED, KEPT, MARGIN, WASH
from car.propose.proposals import Proposals
from car.result import Segmentation
from tests.results import segmentation, stripes

NAME_HEIGHT, TITLE_HEIGHT = 27, 108


def boxes(page: np.ndarray, color) -> np.ndarray:
    """Left, top, width and height of every patch of exactly one colour."""
    mask = (page == np.array(color, np.uint8)).all(2).astype(np.uint8)
    return cv2.connectedComponentsWithStats(mask, connectivity=4)[2][1:, :4]


def names(page: np.ndarray, color) -> list[tuple[int, int]]:
    """Corners of the names above tiles, from the top of the page down."""
    found = [(int(x), int(y)) for x, y, across, down in boxes(page, color) if down == NAME_HEIGHT and across > 20]
    return sorted(found, key=lambda corner: corner[1])


def marks(page: np.ndarray) -> int:
    """How many sections the line down the page joins."""
    dark = (page[TITLE_HEIGHT:, MARGIN + 5] == INK).all(1)
    return int((np.diff(dark.astype(int)) == 1).sum())


def shrinking(queries: int, steps: int) -> Segmentation:
    """A result in which each step but the last drops the last query."""
    result = segmentation([f"q{i}" for i in range(queries)], stripes(60, 80, [0, 1]), absent=range(1, queries))
    alive = range(queries)
    made = []
    for i in range(steps):
        staying = alive if i == steps - 1 else alive[:-1]
        step = dataclasses.replace(
            result.steps[0],
            queries=tuple(result.queries[q] for q in alive),
            indices=tuple(alive),
            scores=np.full(len(alive), 0.7, np.float32),
            kept=np.isin(alive, staying),
            soft=Proposals(torch.rand(len(alive), 3, 4, generator=torch.Generator().manual_seed(i)), (60, 80)),
        )
        made.append(step)
        alive = staying
    return dataclasses.replace(result, steps=tuple(made))


def test_a_query_keeps_its_place_until_it_is_dropped():
    queries = ["unicorn", "cat", "pizza", "dog", "umbrella"]
    page = overview(segmentation(queries, stripes(300, 400, [0, 2, 4, 5]), absent=[0, 2]))
    assert page.dtype == np.uint8
    assert page.shape[1:] == (1320, 3)
    assert marks(page) == 4
    colors = query_colors(5)
    places = [names(page, color) for color in colors]
    assert [len(corners) for corners in places] == [1, 3, 1, 3, 3], "two steps and a cut-out, or one step"
    for corners in (places[i] for i in (1, 3, 4)):
        assert corners[0][0] == corners[1][0]
    assert places[1][0][0] < places[3][0][0] < places[4][0][0] < places[0][0][0] < places[2][0][0]
    assert len({corners[0][1] for corners in places}) == 1
    second = places[1][1][1]
    gaps = [x for x, y, _, down in boxes(page, WASH) if abs(y - second) < 60 and down > 60]
    assert sorted(gaps) == [places[0][0][0], places[2][0][0]]


@pytest.mark.parametrize(("absent", "kept", "dropped"), [([], 4, 0), ([0], 2, 1), ([0, 1], 0, 2)])
def test_tiles_are_framed_by_their_verdict(absent, kept, dropped):
    page = overview(segmentation(["cat", "dog"], stripes(300, 400, [1, 2]), absent=absent))
    frames = [sum(down > 100 for _, _, _, down in boxes(page, tone)) for tone in (KEPT, DROPPED)]
    assert frames == [kept, dropped]


def test_the_tick_stands_at_theta():
    page = overview(segmentation(["cat"], stripes(300, 400, [1]), scores=[0.8], theta=0.3))
    left, top, across, down = next(box for box in boxes(page, KEPT) if box[3] > 100)
    line = page[top + down + 6, left + 3 : left + across - 3]
    tick = np.flatnonzero((line == INK).all(1))
    assert tick.mean() / (across - 6) == pytest.approx(0.3, abs=0.01)


def test_a_cutout_shows_the_image_under_the_mask_alone():
    result = segmentation(["cat", "dog"], stripes(300, 400, [1, 0, 0, 0]), absent=[1])
    page = overview(result)
    color = query_colors(2)[0]
    left, top, across, down = max(boxes(page, color).tolist(), key=lambda box: box[1] * (box[3] > 100))
    cut = page[top + 4 : top + down - 4, left + 4 : left + across - 4]
    empty = (cut == np.array(WASH, np.uint8)).all(2)
    assert empty[:, : across // 4 - 8].mean() < 0.01
    assert empty[:, across // 4 + 8 :].all()


def test_more_queries_than_there_is_room_for_are_counted():
    pages = {n: overview(segmentation([f"q{i}" for i in range(n)], stripes(60, 80, [1]))) for n in (24, 25, 800)}
    assert [len(names(pages[25], color)) for color in query_colors(25)] == [3] * 12 + [2] * 12 + [0]
    assert len(pages[24]) + 2 * 36 == len(pages[25])
    assert len(pages[800]) < len(pages[25]) + 300


def test_those_that_lasted_longest_come_first_and_their_rows_stay():
    page = overview(shrinking(20, 5))
    first, last = (names(page, color) for color in query_colors(20)[[0, 19]])
    assert (len(first), len(last)) == (6, 1)
    assert last[0][1] > first[0][1]


@pytest.mark.parametrize(("steps", "sections"), [(1, 3), (6, 8), (8, 10), (9, 11), (13, 11)])
def test_of_many_steps_those_in_the_middle_are_counted(steps, sections):
    assert marks(overview(shrinking(14, steps))) == sections


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (20, 3000), (900, 200)])
def test_any_shape(shape):
    queries = ["cat", "a rather long description of something", "unicorn"]
    page = overview(segmentation(queries, stripes(*shape, [1, 2]), absent=[2]))
    assert page.shape[1] == 1320
    assert page.shape[0] < 2600
    assert [len(names(page, color)) for color in query_colors(3)] == [3, 3, 1]


def test_scores_that_are_not_finite():
    result = segmentation(["cat", "dog"], stripes(60, 60, [1]), absent=[1], scores=[np.nan, np.inf])
    assert overview(result).dtype == np.uint8


@settings(max_examples=8)
@given(st.lists(st.text(st.characters(codec=None), min_size=1, max_size=90), min_size=1, max_size=3, unique=True))
def test_any_text(queries):
    result = segmentation(queries, stripes(90, 160, [0, *range(1, len(queries) + 1)]))
    np.testing.assert_array_equal(overview(result), overview(result))


@given(
    st.integers(1, 24),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.tuples(st.integers(110, 1200), st.integers(300, 800)),
)
def test_tiles_fit_beside_each_other_and_fill_their_rows(tiles, shape, room):
    sheet = _Sheet.of(tiles, shape, room)
    right = max(sheet.place(i, 0, 0)[0] for i in range(tiles)) + sheet.thumb[0]
    assert right <= room[0] + 1
    assert (sheet.rows(tiles) - 1) * sheet.columns < tiles <= sheet.rows(tiles) * sheet.columns
    assert min(sheet.thumb) >= 70
