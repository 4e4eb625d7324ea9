"""What the pages about a result have in common: their size and colours, thumbnails, bars, the sum of a step."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from car.canvas import INK, SOFT, Box, Canvas, Color, shorten

if TYPE_CHECKING:
    from car.result import Step

KEPT: Color = (22, 142, 78)
DROPPED: Color = (208, 48, 48)
WASH: Color = (243, 244, 247)

PAGE = 1320
MARGIN = 44
TITLE, TEXT, SMALL = 34, 18, 15
_SHORTEST_BAR = 4


def heat(
    image: np.ndarray, proposal: np.ndarray, eta: float | None, color: Color, thumb: tuple[int, int]
) -> np.ndarray:
    """The proposal over the image in grey, outlined where it exceeds eta, in the middle of a thumb as `fit` makes."""
    size = fitted_size(image.shape, thumb)
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    soft = cv2.resize(proposal, size, interpolation=cv2.INTER_AREA)
    glow = cv2.applyColorMap(np.rint(soft.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    weight = (0.1 + 0.55 * soft.clip(0, 1))[:, :, None]
    mixed = np.rint(glow * weight + (0.75 * gray[:, :, None]) * (1 - weight)).astype(np.uint8)
    if eta is not None:
        outlines, _ = cv2.findContours((soft > eta).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mixed, outlines, -1, color, 2, cv2.LINE_AA)
    return fit(mixed, thumb)


def fitted_size(shape: Sequence[int], room: tuple[int, int]) -> tuple[int, int]:
    """Width and height of an (H, W, ...) picture scaled into a room of so much width and height; at least 4 each."""
    scale = min(room[0] / shape[1], room[1] / shape[0])
    return max(round(scale * shape[1]), 4), max(round(scale * shape[0]), 4)


def fit(pixels: np.ndarray, thumb: tuple[int, int]) -> np.ndarray:
    """A picture scaled into the middle of a thumb of so much width and height, (h, w, 3) uint8."""
    across, down = thumb
    width, height = fitted_size(pixels.shape, thumb)
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    framed = np.full((down, across, 3), WASH, np.uint8)
    top, left = (down - height) // 2, (across - width) // 2
    framed[top : top + height, left : left + width] = scaled
    return framed


def bar(canvas: Canvas, box: Box, score: float, tone: Color) -> None:
    """A score as a bar in [0, 1] that fills its box from the left."""
    left, top, right, bottom = box
    radius = (bottom - top) / 2
    canvas.box(box, WASH, radius=radius)
    shown = min(max(score, 0.0), 1.0) if math.isfinite(score) else 0.0
    canvas.box((left, top, left + max(shown * (right - left), _SHORTEST_BAR), bottom), tone, radius=radius)


def score_text(score: float) -> str:
    """A score as pages write it."""
    return f"{score:.2f}" if math.isfinite(score) else "none"


def sum_up(canvas: Canvas, step: "Step", x: float, middle: float) -> None:
    """One line from x to the margin: how many queries entered a step, how many stayed, which were dropped."""
    dropped = step.pruned
    x = canvas.text(f"{count(len(step.queries))} in, ", x, middle, TEXT, SOFT)
    x = canvas.text(f"{len(step.queries) - len(dropped)} kept", x, middle, TEXT, KEPT, bold=True)
    if dropped:
        x = canvas.text(", ", x, middle, TEXT, SOFT)
        x = canvas.text(f"{len(dropped)} dropped: ", x, middle, TEXT, DROPPED, bold=True)
        canvas.text(shorten(", ".join(dropped), TEXT, PAGE - MARGIN - x), x, middle, TEXT, INK)
    else:
        canvas.text(", none dropped", x, middle, TEXT, SOFT)


def count(n: int) -> str:
    """Number and noun."""
    return f"{n:,} {'query' if n == 1 else 'queries'}"
