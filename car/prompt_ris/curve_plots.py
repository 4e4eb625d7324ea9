"""The curves of a training as one picture. It needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from car.evaluate.plot_style import across, colours_of, figure_of, write_figures
from car.prompt_ris.curves import Curve
from car.prompt_ris.training import EPOCHS, STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "curves.png"
SCORES = ("oIoU", "mIoU", "coarse oIoU", "coarse mIoU")
POINTS = 60
"""Steps are averaged into about so many points: a curve is to be read, not its noise."""


def plot_curves(folder: Path) -> Path:
    """Draw the losses over the steps and the validation's scores over the epochs into curves.png.

    Args:
        folder: of a run.

    Raises:
        MissingError: matplotlib is not installed.
    """
    (path,) = write_figures(folder, [PICTURE], lambda: [figure(folder)])
    return path


def figure(folder: Path) -> "Figure":
    """Both as a figure."""
    drawn = figure_of(7.0, 2.8)
    losses, scores = across(drawn, 2)
    steps, epochs = Curve(folder / STEPS).rows(), Curve(folder / EPOCHS).rows()
    names = list(dict.fromkeys(name for row in steps for name in row))
    terms = [name for name in names if name not in ("step", "epoch", "loss", "seconds")]
    draw(losses, steps, terms, max(1, len(steps) // POINTS))
    losses.set(xlabel="step", ylabel="loss")
    draw(scores, epochs, [name for name in SCORES if any(name in row for row in epochs)], 1)
    scores.set(xlabel="step", ylabel="validation", ylim=(0, 1))
    return drawn


def draw(axes: "Axes", rows: list[dict[str, float]], names: list[str], every: int) -> None:
    """A line for each column over the steps, of means over so many rows."""
    for name, colour in zip(names, colours_of(len(names)), strict=False):
        there = [(row["step"], row[name]) for row in rows if name in row]
        means = [np.mean(there[i : i + every], axis=0) for i in range(0, len(there), every)]
        x, y = np.transpose(means)
        axes.plot(x, y, color=colour, label=name.replace("_", " "), linewidth=1.2)
    axes.grid(axis="y")
    if names:
        axes.legend(frameon=False, fontsize=7)
