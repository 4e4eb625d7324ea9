import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from car.errors import InputError
from car.evaluate.plot_style import pixels, style_context
from car.evaluate.plots import (
    EXTREMES,
    PAIRS,
    class_figure,
    confusion_figure,
    files,
    steps_figure,
    write_plots,
)
from car.evaluate.statistics import Statistics
from tests.evaluate.made_runs import NAMES, in_two_passes, plan_of, random_run, record_of

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def look():
    with style_context():
        yield


def counted(seed, count=6, **how):
    return Statistics.of(*random_run(seed, count, **how))


def perfect(classes, **how):
    """A run over one picture in which every class occurs and class i has a share of hits that grows with i."""
    names = [f"class {number}" for number in range(classes)]
    plan = plan_of(["a"], names=names, **how)
    truth = np.repeat(np.arange(classes + 1)[:, None], classes, axis=1)
    predicted = np.where(np.arange(classes) < np.arange(classes + 1)[:, None], truth, 0)
    return Statistics.of(plan, ["a"], [record_of(plan, "a", truth, predicted)])


def rows_of(figure):
    """Names and widths of the bars of all columns, from the top."""
    rows = []
    for axes in figure.axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        rows += zip(names, [bar.get_width() for bar in axes.patches], strict=True)
    return rows


@pytest.mark.parametrize(("classes", "columns"), [(20, 1), (59, 2), (80, 2), (150, 3)])
def test_every_class_has_a_bar_as_long_as_its_iou(classes, columns):
    run = perfect(classes)
    figure = class_figure({"run": run})
    assert len(figure.axes) == columns
    rows = rows_of(figure)
    ious = dict(zip(["background", *run.plan.names], 100 * run.scores()["mIoU"].class_iou, strict=True))
    assert {name: pytest.approx(width) for name, width in rows} == ious
    widths = [width for _, width in rows]
    assert widths == sorted(widths, reverse=True)


def test_of_very_many_classes_the_best_and_the_worst_have_bars():
    run = perfect(847)
    rows = rows_of(class_figure({"run": run}))
    assert [name for name, _ in rows[:2]] == ["class 846", "class 845"]
    assert len(rows) == 2 * EXTREMES
    ious = sorted(100 * run.scores()["mIoU"].class_iou, reverse=True)
    assert [width for _, width in rows] == pytest.approx([*ious[:EXTREMES], *ious[-EXTREMES:]])


def test_classes_that_do_not_occur_have_no_bar():
    plan = plan_of(["a"])
    labels = np.array([[1, 2]]), np.array([[1, 4]])
    run = Statistics.of(plan, ["a"], [record_of(plan, "a", *labels)])
    assert rows_of(class_figure({"run": run})) == [("cat", 100), ("dog", 0)]


def test_several_runs_have_a_row_of_dots_per_class():
    runs = {"one": counted(1), "other": counted(1, skill=0.9), "third": counted(1, skill=0.1)}
    (axes,) = class_figure(runs).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(["background", *NAMES])
    order = [["background", *NAMES].index(name) for name in names]
    drawn = [each.get_offsets() for each in axes.collections[1:]]
    expected = [100 * run.scores()["mIoU"].class_iou[order] for run in reversed(runs.values())]
    np.testing.assert_allclose([dots[:, 0] for dots in drawn], expected)


def test_steps_are_shares_of_the_images_by_pass():
    plan = in_two_passes(plan_of(["a", "b", "c", "d"]))
    labels = np.array([[0, 1]])
    two, three = ((2, 3), (2,)), ((0, 1), (0, 1), (0,))
    records = [record_of(plan, key, labels, labels, two, three if key == "a" else (three[0],)) for key in "abcd"]
    stuff, thing = steps_figure({"run": Statistics.of(plan, list("abcd"), records)}).axes
    assert [bar.get_height() for bar in stuff.patches] == [0, 100, 0]
    assert [bar.get_height() for bar in thing.patches] == [75, 0, 25]
    assert (stuff.get_title(loc="left"), thing.get_title(loc="left")) == (
        "stuff classes, mean 2.00",
        "thing classes, mean 1.50",
    )


def test_steps_of_runs_with_other_passes():
    plan, keys, records = random_run(1, 4)
    two = in_two_passes(plan)
    labels = np.array([[0, 1]])
    runs = {
        "one": Statistics.of(plan, keys, records),
        "two": Statistics.of(two, keys, [record_of(two, key, labels, labels) for key in keys]),
    }
    together, stuff, thing = steps_figure(runs).axes
    assert [len(axes.patches) for axes in (together, stuff, thing)] == [3, 3, 3]
    assert [bar.get_height() for bar in stuff.patches] == [100, 0, 0]


@pytest.mark.parametrize("background", [True, False])
def test_the_matrix_shows_where_each_class_went(background):
    plan = plan_of(["a"], background=background)
    truth, predicted = np.array([[0, 1, 1, 1, 1, 2]]), np.array([[0, 1, 1, 3, 0, 2]])
    figure = confusion_figure(Statistics.of(plan, ["a"], [record_of(plan, "a", truth, predicted)]))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["background", "cat", "dog", "sky"]
    rows = {
        label.get_text(): row.tolist()
        for label, row in zip(axes.get_yticklabels(), axes.images[0].get_array(), strict=True)
    }
    expected = {"cat": [25, 50, 0, 25], "dog": [0, 0, 100, 0]}
    assert rows == ({"background": [100, 0, 0, 0]} if background else {}) | expected


def test_of_very_many_classes_the_most_frequent_confusions_are_shown():
    run = perfect(150, background=False)
    figure = confusion_figure(run)
    rows = rows_of(figure)
    assert len(rows) == PAIRS
    # Class i hits i + 1 of 150 pixels and leaves the others to background.
    assert rows[0] == ("class 0 \u2192 background", pytest.approx(100 * 149 / 150**2))
    assert figure.axes[0].texts[0].get_text() == "99 % of class 0"


@pytest.mark.parametrize("classes", [20, 59, 150, 847])
def test_names_lie_apart_and_within_the_picture(classes):
    for figure in (class_figure({"run": perfect(classes)}), confusion_figure(perfect(classes))):
        height, width = pixels(figure).shape[:2]
        assert max(height, width) < 2600
        for axes in figure.axes:
            boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
            assert all(box.x0 >= 0 for box in boxes)
            tops = sorted((box.y0, box.y1) for box in boxes)
            assert all(upper[0] >= lower[1] - 1 for lower, upper in pairwise(tops))


def test_names_are_drawn_as_they_are(tmp_path):
    names = ("$x_1$ and $y$", "a" * 60, "\u732b", "caf\u00e9")
    run = counted(1, names=names)
    found = {name for name, _ in rows_of(class_figure({"run": run}))}
    assert found == {"background", names[0], "a" * 25 + "\u2026", "\\u732b", "caf\u00e9"}
    write_plots(tmp_path, {"$run$ \u732b": run, "other": run})


def test_a_run_without_results_can_be_drawn(tmp_path):
    plan = plan_of(["a"])
    run = Statistics.of(plan, ["a"], [])
    for runs in ({"one": run}, {"one": run, "other": run}, {"one": run, "other": counted(1)}):
        for path in write_plots(tmp_path, runs):
            with Image.open(path) as drawn:
                assert min(drawn.size) > 100


def test_the_same_runs_give_the_same_bytes(tmp_path):
    runs = {"one": counted(1), "other run": counted(2)}
    for folder in ("a", "b"):
        paths = write_plots(tmp_path / folder, runs)
        assert [path.name for path in paths] == files(list(runs))
    assert files(list(runs)) == ["iou.png", "steps.png", "confusion.one.png", "confusion.other-run.png"]
    for name in files(list(runs)):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(files(list(runs)))


def test_the_users_own_look_is_left_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_plots(tmp_path, {"one": counted(1)})
    assert dict(matplotlib.rcParams) == before
    code = "import sys\nfrom car.evaluate.plots import write_plots\nfrom car.evaluate.statistics import Statistics\n"
    code += "from tests.evaluate.made_runs import random_run\n"
    code += f"write_plots({str(tmp_path)!r}, {{'one': Statistics.of(*random_run(1, 2))}})\n"
    code += "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot make the folder"):
        write_plots(tmp_path / "file", {"one": counted(1)})


def test_without_matplotlib_one_line_names_the_command():
    code = "import sys\nsys.modules['matplotlib'] = None\n"
    code += "from car import MissingError\nfrom car.evaluate.plot_style import check_matplotlib\n"
    code += "try:\n    check_matplotlib()\nexcept MissingError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "matplotlib is not installed; run: pip install 'car-segmentation[plots]'\n"
