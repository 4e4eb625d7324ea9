from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("matplotlib")

from car.evaluate.kinds import plot_files, write_plots
from car.evaluate.plot_style import style_context
from car.evaluate.referring_plots import ious_of, precision, precision_figure
from car.evaluate.referring_statistics import ReferringStatistics
from car.evaluate.video_plots import films_figure
from car.evaluate.video_statistics import MAIN, VideoStatistics
from car.metrics.referring import GENERALIZED_THRESHOLDS, THRESHOLDS
from tests.evaluate.made_films import made_films, video_plan
from tests.evaluate.test_referring_statistics import made, plan_of

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True, scope="module")
def look():
    with style_context():
        yield


def counted(seed, count=12, generalized=False):
    keys, records = made(seed, count, generalized)
    return ReferringStatistics.of(plan_of(keys, benchmark="grefcoco" if generalized else "refcoco"), keys, records)


def films(seed, count=5):
    keys, records = made_films(seed, count)
    return VideoStatistics.of(video_plan(keys), keys, records)


def share_at(curve, threshold):
    """The height of a curve of steps, each of which ends where it is given."""
    thresholds, shares = curve
    return shares[np.searchsorted(thresholds, threshold)]


@given(st.integers(0, 1000))
def test_the_curve_passes_through_the_scores_and_has_their_mean_below_it(seed):
    run = counted(seed)
    scores, curve = run.scores(), precision(run)
    for threshold in THRESHOLDS:
        assert share_at(curve, threshold) == pytest.approx(scores.precision[threshold])
    assert np.sum(np.diff(curve[0]) * curve[1][1:]) == pytest.approx(scores.miou)
    assert (curve[0][0], curve[1][0], curve[0][-1]) == (0, 1, 1)
    assert (np.diff(curve[1]) <= 0).all()


@given(st.integers(0, 1000))
def test_of_grefcoco_the_answers_with_a_target_are_drawn(seed):
    run = counted(seed, generalized=True)
    scores = run.generalized()
    assert ious_of(run).size == scores.expressions - scores.no_targets
    for threshold in GENERALIZED_THRESHOLDS:
        assert share_at(precision(run), threshold) == pytest.approx(scores.precision[threshold])


def test_every_run_has_a_curve_the_first_on_top():
    runs = {"one": counted(1), "other": counted(2), "third": counted(3)}
    figure = precision_figure(runs)
    (axes,) = figure.axes
    for line, run in zip(axes.lines, reversed(runs.values()), strict=True):
        thresholds, shares = precision(run)
        np.testing.assert_array_equal(line.get_xdata(), thresholds)
        np.testing.assert_array_equal(line.get_ydata(), 100 * shares)
        assert line.get_drawstyle() == "steps-pre"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)
    drawn = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    assert drawn == [line.get_color() for line in reversed(axes.lines)]


def test_every_film_has_a_bar_as_long_as_its_score():
    run = films(1)
    figure = films_figure({"run": run})
    (axes,) = figure.axes
    found = dict(
        zip(
            [label.get_text() for label in axes.get_yticklabels()],
            [bar.get_width() for bar in axes.patches],
            strict=True,
        )
    )
    assert found == {key: pytest.approx(100 * run.scores(MAIN, key=key).j_and_f) for key in run.films}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert f"mean {100 * run.scores(MAIN).j_and_f:.1f}" in figure.get_suptitle()
    assert not figure.legends


def test_several_runs_have_a_dot_per_film_where_they_have_a_score():
    keys, records = made_films(2)
    part = VideoStatistics.of(video_plan(keys), keys, records[1:])
    runs = {"part": part, "whole": films(1)}
    figure = films_figure(runs)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == keys
    assert names[-1] == keys[0], "what the first run lacks is last"
    for dots, run in zip(axes.collections[1:], reversed(runs.values()), strict=True):
        expected = [100 * run.scores(MAIN, key=key).j_and_f if key in run.films else np.nan for key in names]
        np.testing.assert_allclose(np.ma.filled(dots.get_offsets()[:, 0], np.nan), expected)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)


@pytest.mark.parametrize(("run_of", "name"), [(counted, "precision.png"), (films, "films.png")])
def test_the_same_runs_give_the_same_bytes(tmp_path, run_of, name):
    runs = {"one": run_of(1), "other $run$ \u732b": run_of(2)}
    for folder in ("a", "b"):
        assert write_plots(tmp_path / folder, runs) == [tmp_path / folder / name]
    assert plot_files(runs["one"].plan, list(runs)) == [name]
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("run_of", [counted, films])
def test_a_run_without_results_can_be_drawn(tmp_path, run_of):
    there = run_of(1)
    nothing = type(there).of(replace(there.plan), there.keys, [])
    for runs in ({"one": nothing}, {"one": nothing, "other": nothing}, {"one": nothing, "other": there}):
        for path in write_plots(tmp_path, runs):
            with Image.open(path) as drawn:
                assert min(drawn.size) > 100
