"""Pictures of runs: IoU by class, steps of the loop, what is taken for what. They need matplotlib.

    iou.png              a bar per class for one run, a row of dots per class for several
    steps.png            how many steps the loop took
    confusion.png        what became of each class's pixels; confusion.RUN.png for several runs

Very many classes are cut down to those that say most; report.json and the CSV files have all.
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from car.errors import MissingError
from car.evaluate.markdown import number as decimal
from car.evaluate.markdown import per_cent
from car.evaluate.plot_style import (
    GREY,
    PALE,
    across,
    add_legend,
    colours_of,
    drawable,
    figure_of,
    pixels,
    run_colours,
    style_context,
)
from car.evaluate.statistics import LoopStatistics, Statistics
from car.export import make_folder, write_png
from car.slug import unique_slugs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 160
"""Up to so many classes, all have a bar."""
EXTREMES = 40
"""Of more, so many of the best and so many of the worst."""
MOST_CELLS = 64
"""Up to so many classes that occur, the confusion is shown as a matrix; of more, the most frequent pairs."""
PAIRS = 40
_ROW = 0.19
_LONGEST_NAME = 26
_KINDS = {"thing": "#2176f0", "stuff": "#0f9d76", "background": GREY}


def check_matplotlib() -> None:
    """Raise MissingError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("matplotlib is not installed; run: pip install 'car-segmentation[plots]'")


def write_plots(folder: str | Path, runs: Mapping[str, Statistics]) -> list[Path]:
    """Draw runs of one benchmark; the same runs give the same bytes with the same matplotlib.

    Args:
        folder: where to; made when absent. See the top of this module for the files.
        runs: what was counted, by what the legend calls the runs.

    Returns:
        The files.

    Raises:
        MissingError: matplotlib is not installed.
        InputError: the folder cannot be made.
        CarError: writing failed.
    """
    check_matplotlib()
    folder = Path(folder)
    make_folder(folder)
    paths = [folder / name for name in files(list(runs))]
    with style_context():
        figures = [class_figure(runs), steps_figure(runs), *map(confusion_figure, runs.values())]
        for path, figure in zip(paths, figures, strict=True):
            write_png(path, pixels(figure))
    return paths


def files(names: Sequence[str]) -> list[str]:
    """What `write_plots` writes for runs of these names."""
    several = [f"confusion.{slug}.png" for slug in unique_slugs(names)]
    return ["iou.png", "steps.png", *(several if len(names) > 1 else ["confusion.png"])]


def class_figure(runs: Mapping[str, Statistics]) -> "Figure":
    """IoU of every class that occurs in the first run, its best on top."""
    first, values = next(iter(runs.values())), np.stack([_ious(run) for run in runs.values()])
    order = sorted(np.flatnonzero(np.isfinite(values[0])).tolist(), key=lambda i: (-values[0, i], i))
    columns = _columns(order)
    rows = max(map(len, columns.values()))
    most = 10 * math.ceil(10 * max(0.1, np.nanmax(values[:, order], initial=0)))
    figure = figure_of(1.2 + 4.3 * len(columns), 1.5 + _ROW * max(rows, 4))
    for axes, (title, ids) in zip(across(figure, len(columns)), columns.items(), strict=True):
        if title.strip():
            axes.set_title(title, loc="left", fontsize=8, color=GREY)
        _rows(axes, [_name(first, i) for i in ids], rows)
        if len(runs) == 1:
            _bars(axes, values[0, ids], [_kind(first, i) for i in ids])
        else:
            _dots(axes, values[:, ids])
        axes.set_xlim(0, most if len(runs) > 1 else 1.09 * most)
        axes.set_xticks(range(0, most + 1, 20 if most > 50 else 10))
        axes.set_xlabel("IoU, per cent")
    mious = ", ".join(per_cent(run.scores()["mIoU"].miou) for run in runs.values())
    figure.suptitle(f"{first.plan.benchmark} {first.plan.split}: IoU by class (mIoU {mious})", fontsize=11)
    kinds = dict.fromkeys(_kind(first, i) for i in order)
    add_legend(figure, {kind: _KINDS[kind] for kind in kinds} if len(runs) == 1 else run_colours(runs))
    return figure


def steps_figure(runs: Mapping[str, Statistics]) -> "Figure":
    """Share of the pictures by the number of steps, for each pass."""
    plan = next(iter(runs.values())).plan
    kinds = list(dict.fromkeys(each.kind for run in runs.values() for each in run.plan.passes))
    most = max((step for run in runs.values() for loop in run.passes for step in loop.steps), default=1)
    figure = figure_of(1.5 + 4.5 * len(kinds), 3.6)
    panels = across(figure, len(kinds), same_height=True)
    for axes, kind in zip(panels, kinds, strict=True):
        loops = [dict(zip((each.kind for each in run.plan.passes), run.passes, strict=True)) for run in runs.values()]
        _histogram(axes, [each.get(kind) for each in loops], most)
        means = ", ".join(decimal(each[kind].mean_steps) for each in loops if kind in each)
        axes.set_title(f"{kind} classes, mean {means}", loc="left", fontsize=8, color=GREY)
        axes.set_xlabel("steps of the loop")
    panels[0].set_ylabel("images, per cent")
    figure.suptitle(f"{plan.benchmark} {plan.split}: steps per image", fontsize=11)
    add_legend(figure, run_colours(runs))
    return figure


def confusion_figure(run: Statistics) -> "Figure":
    """Where the pixels of each class went; of very many classes, the pairs that took the most pixels."""
    confusion = run.confusion.copy()
    if not run.plan.background:
        confusion[0] = 0
    occurs = np.flatnonzero(confusion.any(axis=0) | confusion.any(axis=1))
    if len(occurs) > MOST_CELLS:
        return _pairs(run, confusion)
    return _matrix(run, confusion, occurs)


def _matrix(run: Statistics, confusion: np.ndarray, occurs: np.ndarray) -> "Figure":
    rows = occurs[confusion[occurs].any(axis=1)]
    shares = 100 * confusion[np.ix_(rows, occurs)] / np.maximum(confusion[rows].sum(axis=1, keepdims=True), 1)
    cell = 0.34 if len(occurs) <= 25 else 0.17
    figure = figure_of(3.2 + cell * len(occurs), 2.6 + cell * len(rows))
    figure.suptitle(f"{run.plan.benchmark} {run.plan.split}: what each class was taken for", fontsize=11)
    if not len(rows):
        return figure
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="equal", interpolation="nearest")
    size = 7 if cell > 0.2 else 6
    axes.set_xticks(range(len(occurs)), [_name(run, i) for i in occurs], rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), [_name(run, i) for i in rows], fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if cell > 0.2:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 55 else "#374151"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, label="per cent of the true class's pixels")
    return figure


def _pairs(run: Statistics, confusion: np.ndarray) -> "Figure":
    true, whole = confusion.sum(axis=1), confusion.sum()
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    found = [
        (row, column) for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[row, column]
    ]
    shares = [100 * wrong[pair] / whole for pair in found]
    figure = figure_of(8.2, 1.5 + _ROW * max(len(found), 4))
    axes = figure.subplots()
    _rows(axes, [f"{_name(run, row)} \u2192 {_name(run, column)}" for row, column in found], max(len(found), 1))
    drawn = axes.barh(range(len(found)), shares, 0.72, color=_KINDS["thing"])
    labels = [f"{100 * wrong[row, column] / true[row]:.0f} % of {_name(run, row)}" for row, column in found]
    axes.bar_label(drawn, labels, padding=3, fontsize=6.5, color=GREY)
    axes.set_xlim(0, 1.35 * max(shares, default=1))
    axes.set_xlabel("per cent of all pixels")
    figure.suptitle(
        f"{run.plan.benchmark} {run.plan.split}: the {len(found)} most frequent confusions, true \u2192 predicted",
        fontsize=11,
    )
    return figure


def _ious(run: Statistics) -> np.ndarray:
    """IoU (K + 1,) of the classes that have true pixels, NaN for the others."""
    occurs = run.counted(next(iter(run.rules.values()))).any(axis=1)
    return np.where(occurs, run.scores()["mIoU"].class_iou, np.nan)


def _columns(order: Sequence[int]) -> dict[str, list[int]]:
    """Classes by the title of the column that shows them."""
    if len(order) > MOST_BARS:
        return {
            f"best {EXTREMES} of {len(order)}": list(order[:EXTREMES]),
            f"worst {EXTREMES}": list(order[-EXTREMES:]),
        }
    count = 1 if len(order) <= 35 else 2 if len(order) <= 90 else 3
    height = -(-len(order) // count) or 1
    parts = [list(order[start : start + height]) for start in range(0, len(order), height)] or [[]]
    return {" " * place: part for place, part in enumerate(parts)}


def _rows(axes: "Axes", names: Sequence[str], rows: int) -> None:
    """One row per name from the top, as high as in a column of `rows`."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _bars(axes: "Axes", values: np.ndarray, kinds: Sequence[str]) -> None:
    drawn = axes.barh(range(len(values)), 100 * values, 0.72, color=[_KINDS[kind] for kind in kinds])
    axes.bar_label(drawn, [f"{100 * value:.1f}" for value in values], padding=2, fontsize=6.5, color=GREY)


def _dots(axes: "Axes", values: np.ndarray) -> None:
    places = range(values.shape[1])
    low, high = (100 * ends for ends in (np.nanmin(values, axis=0), np.nanmax(values, axis=0)))
    axes.hlines(places, low, high, color=PALE, linewidth=3)
    # The first run's dots lie on top: they are what the others are compared with.
    for row, colour in reversed(list(zip(values, colours_of(len(values)), strict=True))):
        axes.scatter(100 * row, places, 16, color=colour, linewidths=0, zorder=3, clip_on=False)


def _histogram(axes: "Axes", loops: Sequence[LoopStatistics | None], most: int) -> None:
    """Bars side by side for each number of steps to `most`; a run without the pass leaves its place free."""
    width = 0.8 / len(loops)
    for place, (loop, colour) in enumerate(zip(loops, colours_of(len(loops)), strict=True)):
        if loop is not None:
            shares = [100 * loop.steps[step] / max(loop.pictures, 1) for step in range(1, most + 1)]
            drawn = axes.bar(np.arange(1, most + 1) + (place + 0.5) * width - 0.4, shares, 0.92 * width, color=colour)
            if len(loops) == 1:
                axes.bar_label(drawn, [f"{share:.0f}" if share else "" for share in shares], fontsize=7, color=GREY)
    axes.set_xticks(range(1, most + 1), [str(step) for step in range(1, most + 1)])
    axes.grid(axis="y")


def _name(run: Statistics, index: int) -> str:
    """Name of a row of the confusion matrix, cut where it is very long."""
    name = " ".join(run.plan.names[index - 1].split()) if index else "background"
    return drawable(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1].rstrip()}\u2026")


def _kind(run: Statistics, index: int) -> str:
    return str(run.plan.classes[index - 1]["kind"]) if index else "background"
