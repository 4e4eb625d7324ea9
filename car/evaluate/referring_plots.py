"""Picture of referring runs over pictures: P@X at every X. It needs matplotlib.

precision.png        a curve per run
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from car.evaluate.markdown import per_cent
from car.evaluate.plot_style import add_legend, figure_of, run_colours, write_figures
from car.evaluate.referring_page import of_categories, protocol_of
from car.evaluate.referring_statistics import ReferringStatistics, iou

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("precision.png",)


def write_plots(folder: str | Path, runs: Mapping[str, ReferringStatistics]) -> list[Path]:
    """Draw runs of one benchmark and protocol; arguments, result and errors are those of `car.evaluate.plots`."""
    return write_figures(folder, FILES, lambda: [precision_figure(runs)])


def files(names: Sequence[str]) -> list[str]:
    """What `write_plots` writes for runs of these names."""
    return list(FILES)


def precision_figure(runs: Mapping[str, ReferringStatistics]) -> "Figure":
    """P@X of every run for X in [0, 1]; the area below a curve is the mean IoU."""
    plan = next(iter(runs.values())).plan
    figure = figure_of(5.6, 4.2)
    axes = figure.subplots()
    # The first run's curve lies on top: it is what the others are compared with.
    for run, colour in reversed(list(zip(runs.values(), run_colours(runs).values(), strict=True))):
        thresholds, shares = precision(run)
        axes.step(thresholds, 100 * shares, where="pre", color=colour, linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 100)
    axes.set_xticks(np.linspace(0, 1, 11))
    axes.set_yticks(range(0, 101, 10))
    axes.grid()
    axes.set_xlabel("X")
    axes.set_ylabel(f"{'answers with a target' if plan.generalized else 'answers'} with IoU of at least X, per cent")
    means = ", ".join(per_cent(float(ious.mean()) if ious.size else None) for ious in map(ious_of, runs.values()))
    asked = f"{of_categories({'categories': plan.categories})},\n" if plan.categories else ", "
    title = f"{plan.benchmark} {plan.split}{asked}{protocol_of({'protocol': plan.protocol})}: P@X (mean IoU {means})"
    figure.suptitle(title, fontsize=11)
    add_legend(figure, run_colours(runs))
    return figure


def precision(run: ReferringStatistics) -> tuple[np.ndarray, np.ndarray]:
    """The IoU that occur, from 0 to 1, and the share of answers that reach each; float64, empty without answers."""
    ious = ious_of(run)
    thresholds = np.unique([0, *ious, 1]) if ious.size else ious
    return thresholds, 1 - np.searchsorted(ious, thresholds) / max(ious.size, 1)


def ious_of(run: ReferringStatistics) -> np.ndarray:
    """IoU of all answers, ascending float64; of gRefCOCO those with a target, 0 where it is told to have none."""
    plan = run.plan
    return np.sort([iou(each, plan) for each in run.overlaps() if not (plan.generalized and each.no_target)])
