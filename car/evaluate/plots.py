"""Pictures of semantic runs: IoU by class, steps of the loop, what is taken for what. They need matplotlib.

    iou.png              a bar per class for one run, a row of dots per class for several
    steps.png            how many steps the loop took
    confusion.png        what became of each class's pixels; confusion.RUN.png for several runs

Very many classes are cut down to those that say most; report.json and the CSV files have all.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from car.evaluate.markdown import number as decimal
from car.evaluate.markdown import per_cent
from car.evaluate.plot_style import (
    BLUE,
    GREY,
    ROW,
    across,
    add_legend,
    colours_of,
    draw_bars,
    draw_dots,
    figure_of,
    name_rows,
    run_colours,
    share_axis,
    short_name,
    write_figures,
)
from car.evaluate.statistics import LoopStatistics, Statistics
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
_KINDS = {"thing": BLUE, "stuff": "#0f9d76", "background": GREY}


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
    return write_figures(
        folder,
        files(list(runs)),
        lambda: [class_figure(runs), steps_figure(runs), *map(confusion_figure, runs.values())],
    )


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
    figure = figure_of(1.2 + 4.3 * len(columns), 1.5 + ROW * max(rows, 4))
    for axes, (title, ids) in zip(across(figure, len(columns)), columns.items(), strict=True):
        if title.strip():
            axes.set_title(title, loc="left", fontsize=8, color=GREY)
        name_rows(axes, [_name(first, i) for i in ids], rows)
        if len(runs) == 1:
            draw_bars(axes, values[0, ids], [_KINDS[_kind(first, i)] for i in ids])
        else:
            draw_dots(axes, values[:, ids])
        share_axis(axes, most, room=len(runs) == 1, measure="IoU")
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
    figure = figure_of(8.2, 1.5 + ROW * max(len(found), 4))
    axes = figure.subplots()
    name_rows(axes, [f"{_name(run, row)} \u2192 {_name(run, column)}" for row, column in found], max(len(found), 1))
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
    """Name of a row of the confusion matrix."""
    return short_name(" ".join(run.plan.names[index - 1].split()) if index else "background")


def _kind(run: Statistics, index: int) -> str:
    return str(run.plan.classes[index - 1]["kind"]) if index else "background"
