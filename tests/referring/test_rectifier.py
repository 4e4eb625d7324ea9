import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.referring.language import parse
from car.referring.rectifier import QUADRANTS, Parted, centres, part, region
from tests.golden import golden

TL, BL, TR, BR = range(4)


def told(text: str, *, as_released: bool = False) -> tuple[int, ...]:
    return region(parse(text, parser="built-in"), as_released=as_released)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("left dog", (TL, BL)),
        ("leftmost dog", (TL, BL)),
        ("the left dog", (TL, BL)),
        ("dog on the right", (TR, BR)),
        ("the dog on the right side", (TR, BR)),
        ("top left dog", (TL,)),
        ("dog in the bottom right corner", (BR,)),
        ("the lowest dog", (BL, BR)),
        ("the dog at the bottom", (BL, BR)),
        ("the dog to the left of the dog", (TL, BL)),
        ("the giraffe standing to the right of another giraffe", (TR, BR)),
        ("the dog to the left of the cat", ()),
        ("the dog next to the cat on the left", ()),
        ("the laptop", ()),
        ("the dog in the middle", ()),
        ("biggest dog", ()),
        ("a red dog", ()),
    ],
)
def test_what_an_expression_leaves(text: str, left: tuple[int, ...]) -> None:
    assert told(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("left dog", (TL, BL)),
        ("leftmost dog", ()),  # no relation word: "leftmost" counts as another thing
        ("the left dog", ()),  # and so does "the"
        ("top left dog", (TL,)),
        ("bottom left dog", (TL, BL)),  # nothing is at the bottom
        ("dog on the right", (TR, BR)),  # a relation to "the right"
        ("right laptop", (TR,)),  # "top" is in "laptop"
        ("left beast", (TL, BL)),  # "east" is in "beast", but the left goes first
        ("dog in the middle", ()),
        ("red dog", ()),
    ],
)
def test_what_the_released_code_leaves(text: str, left: tuple[int, ...]) -> None:
    assert told(text, as_released=True) == left


@given(
    st.sampled_from(["left", "right", "top", "bottom", "middle", "upper"]), st.sampled_from(["dog", "cat", "laptop"])
)
def test_left_is_never_right(where: str, noun: str) -> None:
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "upper": "bottom"}
    assert not any(opposite.get(where) in QUADRANTS[i] for i in told(f"{where} {noun}"))


def test_quadrants_are_those_of_the_reference() -> None:
    reference = golden("tas")
    parted = part(reference["quad_centres_rc"], reference["quad_weights"])
    np.testing.assert_array_equal(parted.best, reference["quad_best_index"])
    np.testing.assert_array_equal(parted.weights, reference["quad_best_weight"])


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=12)


def parted_of(points: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, Parted]:
    where, weights = np.array(points)[:, :2], np.array([weight for *_, weight in points], np.float64) / 20 + 0.1
    return where, weights, part(where, weights)


@given(POINTS)
def test_every_mask_is_in_the_quadrant_of_its_centre(points: list[tuple[int, int, int]]) -> None:
    where, _, parted = parted_of(points)
    for centre, quadrant in zip(where, parted.quadrants, strict=True):
        row, column = (("top", "bottom"), ("left", "right"))
        above, before = centre < np.median(where, axis=0)
        assert QUADRANTS[quadrant] == (row[0 if above else 1], column[0 if before else 1])


@given(POINTS, st.sampled_from([(TL,), (BR,), (TL, BL), (TR, BR), (TL, TR), (BL, BR)]))
def test_the_winner_is_the_best_of_what_is_left(points: list[tuple[int, int, int]], left: tuple[int, ...]) -> None:
    _, weights, parted = parted_of(points)
    inside = np.isin(parted.quadrants, left)
    winner = parted.winner(left)
    if inside.any():
        assert inside[winner]
        assert weights[winner] == weights[inside].max()
    else:
        assert winner == weights.argmax()


def test_an_empty_quadrant_stands_back() -> None:
    parted = part(np.array([[0, 0], [9, 9]]), np.array([0.2, 0.8], np.float32))
    assert parted.quadrants.tolist() == [TL, BR]
    assert parted.best.tolist() == [0, 1, 1, 1]
    np.testing.assert_array_equal(parted.weights, np.array([0.2, 0, 0, 0.8], np.float32))
    assert parted.winner((TL, BL)) == 0
    assert parted.winner((BL, TL)) == 0
    assert parted.winner((TR,)) == 1


def test_equal_weights_go_to_the_later_quadrant_and_no_number_to_the_first_mask() -> None:
    where = np.array([[0, 0], [9, 0], [0, 1], [9, 9]])
    assert part(where, np.full(4, 0.25)).winner((TL, BL)) == 1
    assert part(where, np.full(4, np.nan)).winner((TL, BL)) == 1
    assert part(where, np.full(4, np.nan)).best.tolist() == [0, 1, 2, 3]


def test_centres_are_cut_to_whole_pixels() -> None:
    masks = np.zeros((2, 8, 10), bool)
    masks[0, 2:4, 5:8] = masks[1, 7, 0] = True
    assert centres(masks).tolist() == [[2, 6], [7, 0]]
    assert centres(masks[:0]).shape == (0, 2)
