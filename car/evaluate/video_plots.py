"""Picture of runs over films: J&F by film. It needs matplotlib.

films.png        a bar per film for one run, a row of dots per film for several
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from car.evaluate.markdown import per_cent
from car.evaluate.plot_style import (
    BLUE,
    ROW,
    add_legend,
    draw_bars,
    draw_dots,
    figure_of,
    name_rows,
    run_colours,
    share_axis,
    short_name,
    write_figures,
)
from car.evaluate.video_statistics import MAIN, VideoStatistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("films.png",)


def write_plots(folder: str | Path, runs: Mapping[str, VideoStatistics]) -> list[Path]:
    """Draw runs of one benchmark; arguments, result and errors are those of `car.evaluate.plots`."""
    return write_figures(folder, FILES, lambda: [films_figure(runs)])


def files(names: Sequence[str]) -> list[str]:
    """What `write_plots` writes for runs of these names."""
    return list(FILES)


def films_figure(runs: Mapping[str, VideoStatistics]) -> "Figure":
    """J&F by the main rule of every film with a result, the first run's best on top."""
    plan = next(iter(runs.values())).plan
    keys = sorted({key for run in runs.values() for key in run.films})
    values = np.array([[_score(run, key) for key in keys] for run in runs.values()]).reshape(len(runs), len(keys))
    order = np.argsort(-values[0], kind="stable")
    figure = figure_of(5.5, 1.5 + ROW * max(len(keys), 4))
    axes = figure.subplots()
    name_rows(axes, [short_name(keys[i]) for i in order], max(len(keys), 1))
    if len(runs) == 1:
        draw_bars(axes, values[0, order], BLUE)
    else:
        draw_dots(axes, values[:, order])
    most = 10 * ceil(10 * max(0.1, np.nanmax(values, initial=0)))
    share_axis(axes, most, room=len(runs) == 1, measure="J&F")
    means = ", ".join(per_cent(run.scores(MAIN).j_and_f) for run in runs.values())
    figure.suptitle(f"{plan.benchmark} {plan.split}: J&F by film ({MAIN}, mean {means})", fontsize=11)
    add_legend(figure, run_colours(runs))
    return figure


def _score(run: VideoStatistics, key: str) -> float:
    return run.scores(MAIN, key=key).j_and_f if key in run.films else np.nan
