import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from car.canvas import PAPER, Canvas
from car.pills import Lines, Pill

RED = (230, 57, 70)
WORDS = st.lists(st.text("abc xyz", min_size=1, max_size=60), min_size=1, max_size=40)


def red(canvas: Canvas) -> np.ndarray:
    return (canvas.pixels() == np.array(RED, np.uint8)).all(2)


def test_a_pill_is_as_large_as_it_says():
    for pill in (Pill("cat", "", RED), Pill("cat", "0.90", RED)):
        canvas = Canvas(200, 60)
        pill.draw(canvas, 10, 20, 20)
        rows, columns = np.nonzero((canvas.pixels() != np.array(PAPER, np.uint8)).any(2))
        assert (columns.min(), rows.min()) == (10, 20)
        assert (columns.max() - 9, rows.max() - 19) == pill.size(20)


@given(st.text("abc xyz", min_size=1, max_size=60), st.integers(90, 400))
def test_a_shortened_pill_fits_and_keeps_its_note(text, room):
    pill = Pill(text, "0.90", RED)
    fitted = pill.fitted(16, room)
    assert fitted.size(16)[0] <= max(room, Pill("…", "0.90", RED).size(16)[0])
    assert fitted.note == "0.90"
    assert fitted == pill or pill.size(16)[0] > room


@given(WORDS, st.integers(200, 500), st.integers(1, 4))
def test_lines_hold_what_fits_and_count_the_rest(words, room, lines):
    made = Lines.of([Pill(word, "", RED) for word in words], 14, room, lines)
    assert 1 <= len(made.placed) <= len(words)
    assert made.more == (f"+ {len(words) - len(made.placed)} more" if len(made.placed) < len(words) else "")
    assert [line for _, _, line in made.placed] == sorted(line for _, _, line in made.placed)
    assert made.placed[-1][2] < lines
    canvas = Canvas(room + 60, round(made.height) + 20)
    made.draw(canvas, 0, 0)
    drawn = np.argwhere((canvas.pixels() != np.array(PAPER, np.uint8)).any(2))
    assert drawn[:, 1].max() < room + 1
    assert drawn[:, 0].max() < made.height


def test_lines_are_drawn_at_their_corner():
    canvas = Canvas(300, 200)
    Lines.of([Pill("cat", "", RED), Pill("dog", "", RED)], 14, 200, 2).draw(canvas, 50, 60)
    rows, columns = np.nonzero(red(canvas))
    assert columns.min() == 50
    assert 60 <= rows.min() < rows.max() < 60 + 2.2 * 14
