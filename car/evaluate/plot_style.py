"""How the pictures of runs look: one font, few colours, thin lines."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from car.palette import query_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, PALE = "#6b7280", "#e5e7eb"
FONT = "DejaVu Sans"
"""The font that comes with matplotlib."""
_DPI = 150


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


def drawable(text: str) -> str:
    """Characters that no font of this machine has become their code: never an empty box."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    return "".join(char if ord(char) in known else char.encode("ascii", "backslashreplace").decode() for char in text)
