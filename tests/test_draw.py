import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from car import fonts
from car.canvas import INK, PAPER, Canvas, shorten, width, wrap
from car.draw import explain_step, overlay
from car.errors import InputError
from car.explain import DROPPED, KEPT
from car.palette import query_colors
from tests.results import segmentation, stripes

ANY_TEXT = st.text(st.characters(codec=None), min_size=1, max_size=90)


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine without any font file: what Pillow carries has to do."""
    caches = (fonts._fonts, fonts._emoji, fonts._drawable)
    monkeypatch.setattr(fonts, "_files", dict)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def count(picture: np.ndarray, color) -> int:
    return int((picture == np.array(color, np.uint8)).all(2).sum())


def test_masks_are_tinted_and_the_rest_is_the_image():
    result = segmentation(["cat", "dog"], stripes(500, 900, [0, 1, 2]))
    picture = overlay(result)
    assert picture.dtype == np.uint8
    assert picture.shape == (500, 900, 3)
    np.testing.assert_array_equal(picture[:, :250], result.image[:, :250])
    for columns, color in ((slice(320, 560), query_colors(2)[0]), (slice(640, 890), query_colors(2)[1])):
        expected = (result.image[20:100, columns].astype(float) + color) / 2
        assert np.abs(picture[20:100, columns] - expected).max() <= 1
    assert (picture[:, 300] == query_colors(2)[0]).all()
    assert (picture[:, 599] == query_colors(2)[0]).all()
    assert (picture[:, 600] == query_colors(2)[1]).all()


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_alpha(alpha):
    result = segmentation(["cat"], stripes(500, 500, [1, 0]))
    expected = alpha * query_colors(1)[0] + (1 - alpha) * result.image[20:100, 20:200]
    assert np.abs(overlay(result, alpha)[20:100, 20:200] - expected).max() <= 1


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(InputError, match=r"`alpha` to be in \[0, 1\]"):
        overlay(segmentation(["cat"], stripes(8, 8, [1])), alpha)


def test_the_absent_are_listed_below():
    labels = stripes(500, 700, [1, 0])
    found = overlay(segmentation(["cat"], labels))
    missing = overlay(segmentation(["cat", "unicorn"], labels, absent=[1]))
    assert found.shape == (500, 700, 3)
    assert missing.shape[0] > 530
    assert count(missing[500:], INK) > 20
    np.testing.assert_array_equal(missing[:500], found)


def test_names_and_scores_are_written():
    labels = stripes(500, 700, [0, 1, 0])
    pictures = [
        overlay(segmentation([query], labels, scores=[score]))
        for query, score in (("cat", 0.9), ("dog", 0.9), ("cat", 0.8))
    ]
    for other in pictures[1:]:
        changed = np.argwhere((pictures[0] != other).any(2))
        assert len(changed) > 20
        assert labels[tuple(changed.mean(0).astype(int))] == 1


def test_small_images_are_enlarged_by_a_whole_factor():
    result = segmentation(["cat"], stripes(90, 120, [0, 1]))
    picture = overlay(result)
    assert picture.shape == (360, 480, 3)
    np.testing.assert_array_equal(picture[::4, :200:4], result.image[:, :50])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (20, 3000), (481, 479)])
def test_any_shape(shape):
    queries = ["cat", "a rather long description of something", "unicorn"]
    result = segmentation(queries, stripes(*shape, [1, 2]), absent=[2])
    picture = overlay(result)
    assert picture.shape[1] >= max(shape[1], 320)
    assert picture.shape[0] > max(shape[0], 32)
    page = explain_step(result, 0)
    assert page.shape[1] == 1320
    assert count(page, KEPT) > 100


def test_no_query_is_present():
    result = segmentation(["cat", "dog"], stripes(500, 600, [0]), absent=[0, 1])
    np.testing.assert_array_equal(overlay(result)[:500], result.image)
    page = explain_step(result, 0)
    assert (count(page, KEPT) > 0, count(page, DROPPED) > 1000) == (True, True)


def test_thousands_of_queries():
    n = 3000
    labels = np.random.default_rng(0).integers(0, n + 1, (60, 80))
    result = segmentation([f"thing {i}" for i in range(n)], labels, absent=range(n // 2, n))
    assert overlay(result).shape[0] < 800
    assert explain_step(result, 0, max_rows=4).shape[0] < 1200


def test_a_present_query_whose_mask_is_empty_is_still_named():
    result = segmentation(["cat", "dog"], stripes(500, 600, [1, 0]))
    assert count(overlay(result)[500:], query_colors(2)[1]) > 100


def test_scores_that_are_not_finite():
    result = segmentation(["cat", "dog"], stripes(60, 60, [1]), absent=[1], scores=[np.nan, np.inf])
    assert overlay(result).dtype == np.uint8
    assert explain_step(result, 0).dtype == np.uint8


@settings(max_examples=15)
@given(st.lists(ANY_TEXT, min_size=1, max_size=4, unique=True))
def test_any_text(queries):
    labels = stripes(90, 160, [0, *range(1, len(queries) + 1)])
    result = segmentation(queries, labels, absent=[len(queries) - 1] if len(queries) > 1 else [])
    np.testing.assert_array_equal(overlay(result), overlay(result))
    assert explain_step(result, 0).shape[1] == 1320


def test_rows_are_sorted_kept_first_then_by_score():
    result = segmentation(
        ["a", "b", "c", "d"], stripes(60, 80, [1, 2, 3, 4]), absent=[0, 3], scores=[0.4, 0.7, 0.9, 0.45]
    )
    page = explain_step(result, 0)
    rows = [int(np.argwhere((page[186:, :70] == color).all(2))[:, 0].mean()) for color in query_colors(4)]
    assert rows[2] < rows[1] < rows[3] < rows[0]


def test_the_bar_is_as_long_as_the_score_and_the_line_stands_at_theta():
    result = segmentation(["cat"], stripes(60, 80, [1]), scores=[0.8], theta=0.3)
    page = explain_step(result, 0)
    bar = np.argwhere((page[186:, 700:] == KEPT).all(2))
    middle = page[186 + int(np.median(bar[:, 0]))]
    empty = np.flatnonzero((middle == (243, 244, 247)).all(1))
    filled = np.flatnonzero((middle == KEPT).all(1) & (np.arange(1320) < empty[0]) & (np.arange(1320) > 700))
    line = np.flatnonzero((page[-120] == INK).all(1))
    across = empty[-1] - filled[0]
    assert (filled[-1] - filled[0]) / across == pytest.approx(0.8, abs=0.02)
    assert (line.mean() - filled[0]) / across == pytest.approx(0.3, abs=0.02)


def test_queries_that_are_left_out_are_counted():
    result = segmentation([f"q{i}" for i in range(30)], stripes(60, 80, [0]), absent=range(30))
    pages = {rows: explain_step(result, 0, max_rows=rows) for rows in (5, 23, 24, 30)}
    assert pages[5].shape[0] < pages[23].shape[0] < pages[24].shape[0] < pages[30].shape[0]
    assert (pages[23][-100:] != pages[24][-100:]).any()
    assert (pages[24][-100:] != pages[30][-100:]).any()


@given(ANY_TEXT, st.booleans())
def test_every_character_is_drawn_by_a_font_that_has_it(text, bold):
    for run in fonts.runs(text, bold=bold):
        assert run.text
        assert not any(0xD800 <= ord(char) < 0xE000 or char in "\n\r\t\0" for char in run.text)
        assert all(fonts._covers(run.font, char) for char in run.text if char not in fonts._JOINERS)


def test_without_fonts_text_stays_readable(no_fonts):
    text = "caf\u00e9 \u732b\U0001f431"
    assert fonts.runs(text) == [fonts.Run("", r"cafe \u732b\U0001f431")]
    assert {run.font for run in fonts.runs(text, bold=True)} == {""}
    assert overlay(segmentation([text], stripes(90, 90, [1]))).shape[0] >= 480


def test_line_breaks_do_not_break_the_line():
    assert "".join(run.text for run in fonts.runs("a\nb\tc\0d")) == "a b c d"


@given(ANY_TEXT, st.integers(20, 400), st.booleans())
def test_shortened_text_fits(text, room, bold):
    short = shorten(text, 16, room, bold=bold)
    assert width(short, 16, bold=bold) <= room or short == "…"
    assert short == text or short.endswith("…")


@given(st.lists(st.sampled_from(["a", "cat", "photograph", "x" * 60]), min_size=1, max_size=12), st.integers(1, 4))
def test_wrapped_text(words, lines):
    broken = wrap(" ".join(words), 16, 150, lines=lines)
    assert 1 <= len(broken) <= lines
    assert all(width(line, 16) <= 150 for line in broken)
    if "…" not in "".join(broken):
        assert " ".join(broken) == " ".join(words)


def test_canvas_box_is_filled_and_round():
    canvas = Canvas(20, 20)
    canvas.box((2, 2, 18, 18), INK, radius=8)
    canvas.box((5, 5, 5, 9), (255, 0, 0))
    pixels = canvas.pixels()
    assert tuple(pixels[10, 10]) == INK
    assert tuple(pixels[2, 2]) == PAPER
    assert count(pixels, (255, 0, 0)) == 0


@given(ANY_TEXT, st.sampled_from([13, 30]), st.booleans())
def test_text_ends_where_its_width_says(text, size, bold):
    end = Canvas(400, 60).text(text, 10, 30, size, INK, bold=bold)
    assert end - 10 == pytest.approx(width(text, size, bold=bold), abs=len(text))


def test_emoji_are_drawn_in_colour():
    cat = "\U0001f431"
    if not any(fonts.is_emoji(run.font) for run in fonts.runs(cat)):
        pytest.skip("no emoji font on this machine")
    canvas = Canvas(80, 60)
    end = canvas.text(cat, 10, 30, 30, INK)
    spread = np.ptp(canvas.pixels().astype(int), axis=2)
    assert end - 10 == width(cat, 30)
    assert (spread > 60).sum() > 200
    rows, columns = np.nonzero(spread > 60)
    assert 5 <= rows.min() < rows.max() <= 55
    assert 10 <= columns.min() < columns.max() < end
