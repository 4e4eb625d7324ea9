"""Whose objects are whose, on masks drawn by hand: a column of squares, and looks that are unit vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car.video.claims import ALIKE, FITS, MEET, NOBODY, PATIENCE, SPECK, Claims
from car.video.identity import overlaps

SIZE = (12, 60)
STILL = np.zeros((*SIZE, 2), np.float32)
LOOKS = np.eye(4, dtype=np.float32)


def square(left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[1 : 1 + side, left : left + side] = True
    return mask


def look(own: int, other: int, likeness: float) -> np.ndarray:
    """A look that has this cosine with one and the rest of its length along another."""
    return likeness * LOOKS[own] + np.sqrt(1 - likeness**2) * LOOKS[other]


def wide(left: int, right: int) -> np.ndarray:
    """As high as a square, from one column up to another."""
    mask = np.zeros(SIZE, bool)
    mask[1:11, left:right] = True
    return mask


def heard(
    claims: Claims, shown: dict[int, np.ndarray], looks: dict[int, np.ndarray] | None = None, alike: bool = False
) -> Claims:
    """The claims after a frame with masks by query; each looks as the query does, or as told. All ask for the same, or
    for nothing that another asks for."""
    seen = [(looks or {}).get(query, LOOKS[query]) for query in shown]
    masks = np.array([*shown.values()], bool).reshape(-1, *SIZE)
    scores, seen = np.linspace(0.9, 0.5, len(shown)), np.array(seen).reshape(-1, len(LOOKS))
    return claims.after([*shown], masks, scores, seen, np.full((4, 4), True) if alike else None)


def watched(*frames: dict[int, np.ndarray], queries: int = 4) -> Claims:
    """The claims after frames in which nothing moves."""
    claims = Claims.none(queries, SIZE)
    for shown in frames:
        claims = heard(claims.moved(STILL), shown)
    return claims


def taken(claims: Claims) -> dict[int, int]:
    return {query: int(other) for query, other in enumerate(claims.taken_from) if other != NOBODY}


TWO = {0: square(0), 1: square(30)}


def test_who_stays_is_not_marked():
    claims = watched(TWO, TWO, {0: square(1), 1: square(31)})
    assert not claims.doubtful.any()
    assert claims.owners.tolist() == claims.known.tolist() == [0, 1]


def test_two_that_change_places_are_both_marked_and_as_long_as_they_do():
    claims = watched(TWO)
    for _ in range(PATIENCE):
        claims = heard(claims.moved(STILL), {0: square(30), 1: square(0)})
        assert taken(claims) == {0: 1, 1: 0}
    assert not heard(claims.moved(STILL), TWO).doubtful.any()


def test_who_is_on_what_another_lost_is_marked_until_it_is_back_on_its_own():
    claims = watched(TWO, {1: square(30)}, {1: square(0)})
    assert taken(claims) == {1: 0}
    claims = heard(claims.moved(STILL), {1: square(0)})
    assert taken(claims) == {1: 0}
    back = heard(claims.moved(STILL), TWO)
    assert not back.doubtful.any()


def test_a_newcomer_on_what_another_has_is_marked_however_long_both_stay():
    claims = watched(TWO)
    for _ in range(2 * PATIENCE):
        claims = heard(claims.moved(STILL), {**TWO, 2: square(31)})
        assert taken(claims) == {2: 1}
    # The one who had it goes: nothing of what the other gains is silent.
    assert taken(heard(claims.moved(STILL), {0: square(0), 2: square(31)})) == {}
    claims = watched(TWO, {**TWO, 2: square(31)}, {0: square(0), 2: square(31)})
    assert taken(claims) == {2: 1}


def test_of_two_that_begin_on_one_object_the_better_score_has_it():
    assert taken(watched({3: square(0), 2: square(1)})) == {2: 3}


def test_what_nobody_claims_for_long_enough_is_ones_own_and_then_who_comes_back_is_marked():
    frames = [{1: square(0)}] * (PATIENCE + 1)
    claims = watched(TWO, *frames[:-1])
    assert taken(claims) == {1: 0}
    claims = heard(claims.moved(STILL), frames[-1])
    assert not claims.doubtful.any()
    assert claims.owners.tolist() == [1]
    assert taken(heard(claims.moved(STILL), {0: square(0), 1: square(0)})) == {0: 1}


def test_places_move_with_the_flow_while_their_queries_are_away():
    claims = watched(TWO)
    shift = STILL.copy()
    shift[..., 0] = -5  # what is here was 5 pixels to the left
    for left in (5, 10, 15):
        claims = heard(claims.moved(shift), {1: square(30 + left)})
    np.testing.assert_array_equal(claims.places[0], square(15))
    assert taken(heard(claims.moved(STILL), {1: square(45), 2: square(15)})) == {2: 0}
    assert not heard(claims.moved(STILL), {1: square(45), 0: square(15)}).doubtful.any()


def test_a_place_that_has_left_the_picture_is_forgotten_and_the_look_is_not():
    shift = STILL.copy()
    shift[..., 0] = 15
    claims = watched(TWO).moved(shift)
    assert claims.owners.tolist() == [1]
    assert claims.known.tolist() == [0, 1]


@pytest.mark.parametrize(("likeness", "marked"), [(ALIKE + 0.05, True), (ALIKE - 0.05, False)])
def test_who_comes_from_nowhere_and_looks_like_one_who_is_away_is_marked(likeness, marked):
    claims = watched(TWO, {1: square(30)})
    seen = {2: look(0, 3, likeness)}
    assert taken(heard(claims.moved(STILL), {1: square(30), 2: square(15)}, seen)) == ({2: 0} if marked else {})
    assert taken(heard(claims.cut(SIZE), {1: square(0), 2: square(15)}, seen)) == ({2: 0} if marked else {})
    # With query 0 there on something of its own, it is nobody's double.
    assert taken(heard(claims.cut(SIZE), {0: square(30), 2: square(15)}, seen)) == {}


@pytest.mark.parametrize(("likeness", "marked"), [(0.8, False), (0.6, True)])
def test_who_comes_back_is_compared_with_its_own_look(likeness, marked):
    claims = watched(TWO, {1: square(30)}).cut(SIZE)
    assert taken(heard(claims, {1: square(0)}, {1: look(1, 0, likeness)})) == ({1: 0} if marked else {})


def test_a_double_stays_marked_until_the_other_shows_up_elsewhere():
    claims = watched(TWO).cut(SIZE)
    claims = heard(claims, {1: square(0)}, {1: LOOKS[0]})
    claims = heard(claims.moved(STILL), {1: square(0)}, {1: LOOKS[0]})
    assert taken(claims) == {1: 0}
    claims = heard(claims.moved(STILL), {1: square(0), 0: square(40)}, {1: LOOKS[0]})
    assert taken(claims) == {}


@pytest.mark.parametrize(("likeness", "marked"), [(FITS + 0.05, False), (FITS - 0.05, True)])
def test_who_leaves_its_place_is_marked_unless_it_looks_as_before(likeness, marked):
    claims = heard(watched(TWO).moved(STILL), {0: square(15), 1: square(30)}, {0: look(0, 3, likeness)})
    assert claims.strayed.tolist() == [marked, False, False, False]
    assert taken(claims) == {}


@pytest.mark.parametrize("side", [7, 8])
def test_a_mask_that_comes_to_show_what_another_lost_as_well_as_its_own_is_marked_until_the_other_is_back(side):
    claims = watched(pair := {0: square(0), 1: square(14, side)})
    for _ in range(PATIENCE):
        claims = heard(claims.moved(STILL), {0: pair[0] | pair[1]})
        assert taken(claims) == {0: 1}
        np.testing.assert_array_equal(claims.places, [*pair.values()])
    assert not heard(claims.moved(STILL), pair).doubtful.any()


def test_what_is_left_of_a_place_is_not_an_object():
    claims = watched(pair := {0: square(0), 1: square(14, 4)})
    assert pair[1].sum() < SPECK * (pair[0] | pair[1]).sum()
    assert not heard(claims.moved(STILL), {0: pair[0] | pair[1]}).doubtful.any()


def test_a_mask_inside_what_another_lost_is_marked_however_far_that_had_spilled():
    claims = watched({0: wide(0, 40), 1: square(45)})
    assert overlaps(square(10)[None], wide(0, 40)[None]) < MEET
    assert taken(heard(claims.moved(STILL), {1: square(10)})) == {1: 0}
    # While the other is on all of it, it has not lost it.
    assert not heard(claims.moved(STILL), {0: wide(0, 40), 1: square(10)}).doubtful.any()


def test_who_takes_most_of_what_another_has_the_rest_of_is_marked():
    claims = heard(watched({1: wide(30, 40)}).moved(STILL), {1: wide(30, 33), 2: wide(33, 50)})
    assert taken(claims) == {2: 1}


def test_a_part_and_its_whole_are_not_marked_when_one_goes():
    both = {0: wide(0, 40), 1: square(10)}
    for gone in both:
        stays = {query: mask for query, mask in both.items() if query != gone}
        claims = watched(both, stays, both)
        assert not claims.doubtful.any()
        assert not heard(claims.moved(STILL), stays).doubtful.any()


def test_two_that_ask_for_the_same_are_not_marked_for_staying_where_they_are():
    same, claims = {0: square(0), 1: square(0)}, watched({})
    moved = {0: square(40), 1: square(40)}
    for shown in (same, same, {1: square(0)}, same, {0: square(0)}, same, moved, moved):
        claims = heard(claims.moved(STILL), shown, alike=True)
        assert not claims.doubtful.any()
    assert taken(heard(claims.moved(STILL), moved)) == {0: 1, 1: 0}


@pytest.mark.parametrize("shown", [{0: square(0), 1: square(1)}, {1: square(0)}, {0: square(30), 1: square(0)}])
def test_who_leaves_its_object_for_that_of_one_who_asks_for_the_same_is_marked(shown):
    assert taken(heard(watched(TWO).moved(STILL), shown, alike=True))[1] == 0


def test_a_query_alone_is_never_on_anothers_object():
    claims = watched({0: square(0)}, {}, {0: square(40)}, {0: square(20)}, queries=1)
    assert not claims.doubtful.any()


def test_an_empty_mask_is_no_mask():
    claims = watched(TWO, {0: np.zeros(SIZE, bool), 1: square(30)})
    assert claims.present.tolist() == [False, True, False, False]
    assert claims.owners.tolist() == [0, 1]


MASKS = arrays.arrays(bool, (3, 4, 6))
FRAMES = st.lists(st.tuples(MASKS, st.sets(st.integers(0, 2))), min_size=1, max_size=6)


def follow(frames, order=(0, 1, 2)) -> list[Claims]:
    """Claims frame by frame, the queries named by their places in the order."""
    looks, field = np.eye(3, dtype=np.float32), np.zeros((4, 6, 2), np.float32)
    claims, found = Claims.none(3, (4, 6)), []
    for masks, there in frames:
        queries = sorted(order.index(query) for query in there)
        rows = [order[query] for query in queries]
        claims = claims.moved(field).after(queries, masks[rows], np.array([0.9, 0.6, 0.3])[rows], looks[rows])
        found.append(claims)
    return found


@given(FRAMES)
def test_marks_are_of_who_is_there_and_name_somebody_else(frames):
    for (masks, there), claims in zip(frames, follow(frames), strict=True):
        shown = {query for query in there if masks[query].any()}
        assert set(np.flatnonzero(claims.present).tolist()) == shown
        assert set(np.flatnonzero(claims.doubtful).tolist()) <= shown
        assert all(other != query for query, other in taken(claims).items())
        assert ((claims.held > 0) == claims.doubtful).all()
        assert not (claims.strayed & (claims.taken_from != NOBODY)).any()
        assert len(claims.owners) <= 3 >= len(claims.known)
        assert claims.places.any(axis=(1, 2)).all()


@given(FRAMES, st.permutations(range(3)))
def test_marks_go_with_the_query_whatever_the_order(frames, order):
    for one, other in zip(follow(frames), follow(frames, tuple(order)), strict=True):
        assert other.doubtful.tolist() == one.doubtful[order].tolist()
        assert taken(other) == {order.index(query): order.index(rival) for query, rival in taken(one).items()}


@given(MASKS, st.permutations(range(3)))
def test_no_exchange_of_masks_apart_from_each_other_is_silent(masks, order):
    owner = np.argmax(masks, axis=0)
    apart = np.array([(owner == query) & masks.any(axis=0) for query in range(3)])
    there = {query for query in range(3) if apart[query].any()}
    if len(there) < 3:
        return
    claims = follow([(apart, there), (apart[order], there)])[-1]
    assert taken(claims) == {query: order[query] for query in range(3) if order[query] != query}
