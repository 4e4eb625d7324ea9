"""How the pictures of runs look: one font, few colours, thin lines; and how they are written."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from car.errors import MissingError
from car.export import make_folder, write_png
from car.palette import query_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, PALE, BLUE = "#6b7280", "#e5e7eb", "#2176f0"
ROW = 0.19
"""Height of a row of bars or dots, in inches."""
LONGEST_NAME = 26
FONT = "DejaVu Sans"
"""The font that comes with matplotlib."""
_DPI = 150


def check_matplotlib() -> None:
    """Raise MissingError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("matplotlib is not installed; run: pip install 'car-segmentation[plots]'")


def write_figures(folder: str | Path, names: Sequence[str], draw: "Callable[[], Iterable[Figure]]") -> list[Path]:
    """Draw figures and write them; the same figures give the same bytes with the same matplotlib.

    Args:
        folder: where to; made when absent.
        names: of the files.
        draw: gives as many figures; it is called with the look set, see `style_context`.

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
    paths = [folder / name for name in names]
    with style_context():
        for path, figure in zip(paths, list(draw()), strict=True):
            write_png(path, pixels(figure))
    return paths


@contextmanager
def style_context() -> Iterator[None]:
    """The look of the figures, whatever the user's own settings are."""
    from matplotlib import style

    look = {
        "font.family": FONT,
        "font.size": 8,
        "text.parse_math": False,
        "axes.edgecolor": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "ytick.labelsize": 7,
        "xtick.labelsize": 7,
    }
    with style.context(["default", look]):
        yield


def figure_of(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches; what is put into it never overlaps."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=_DPI, layout="constrained")


def across(figure: "Figure", count: int, *, same_height: bool = False) -> "list[Axes]":
    """Axes side by side."""
    return list(figure.subplots(1, count, squeeze=False, sharey=same_height)[0])


def add_legend(figure: "Figure", colours: Mapping[str, Any]) -> None:
    """Say below the figure what each colour stands for, where there are several."""
    from matplotlib.patches import Patch

    if len(colours) > 1:
        handles = [Patch(color=colour, label=drawable(name)) for name, colour in colours.items()]
        columns = min(len(handles), 4)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def run_colours(names: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """A colour for each run."""
    known = list(names)
    return dict(zip(known, colours_of(len(known)), strict=True))


def colours_of(count: int) -> list[tuple[float, ...]]:
    """Colours of the palette, blue first, which one run alone has."""
    red, blue, *others = query_colors(max(count, 2)) / 255
    return [tuple(colour.tolist()) for colour in (blue, red, *others)][:count]


def pixels(figure: "Figure") -> np.ndarray:
    """A figure as (H, W, 3) uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def name_rows(axes: "Axes", names: Sequence[str], rows: int) -> None:
    """One row per name from the top, as high as in a column of `rows`."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def draw_bars(axes: "Axes", values: np.ndarray, colours: Any) -> None:
    """A bar per row with its share (N,) in per cent beside it; one colour, or one for each."""
    drawn = axes.barh(range(len(values)), 100 * values, 0.72, color=colours)
    axes.bar_label(drawn, [f"{100 * value:.1f}" for value in values], padding=2, fontsize=6.5, color=GREY)


def draw_dots(axes: "Axes", values: np.ndarray) -> None:
    """A dot per run in each row, at its share (runs, N), NaN where it has none; no row is without any."""
    places = range(values.shape[1])
    low, high = (100 * ends for ends in (np.nanmin(values, axis=0), np.nanmax(values, axis=0)))
    axes.hlines(places, low, high, color=PALE, linewidth=3)
    # The first run's dots lie on top: they are what the others are compared with.
    for row, colour in reversed(list(zip(values, colours_of(len(values)), strict=True))):
        axes.scatter(100 * row, places, 16, color=colour, linewidths=0, zorder=3, clip_on=False)


def share_axis(axes: "Axes", most: int, *, room: bool, measure: str) -> None:
    """Per cent from 0 to `most`, with room for the numbers beside bars."""
    axes.set_xlim(0, 1.09 * most if room else most)
    axes.set_xticks(range(0, most + 1, 20 if most > 50 else 10))
    axes.set_xlabel(f"{measure}, per cent")


def short_name(name: str) -> str:
    """A name as it can be drawn, cut where it is very long."""
    return drawable(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}\u2026")


def drawable(text: str) -> str:
    """Characters that no font of this machine has become their code: never an empty box."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    return "".join(char if ord(char) in known else char.encode("ascii", "backslashreplace").decode() for char in text)
