"""One page per step of the loop: what each query proposed, what the classifier saw, and how it was judged."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from car.canvas import FAINT, INK, SOFT, Canvas, Color, as_color, shorten, width, wrap
from car.palette import query_colors

if TYPE_CHECKING:
    from car.result import Segmentation, Step

KEPT: Color = (22, 142, 78)
DROPPED: Color = (208, 48, 48)
_WASH: Color = (243, 244, 247)

_PAGE = 1320
_MARGIN = 44
_QUERY_WIDTH = 236
_GAP = 30
_THUMB_HEIGHT, _LOW_THUMB_HEIGHT, _FEW_ROWS = 200, 120, 10
_THUMB_WIDTHS, _LOWEST_THUMB = (120, 310), 96
_ROW_SPACE = 28
_TITLE, _TEXT, _NAME, _SMALL = 34, 18, 20, 15
_BAR, _SHORTEST_BAR, _NUMBER_GAP = 18, 4, 22
_MAX_ROWS = 24


def explain_step(result: "Segmentation", step_index: int, *, max_rows: int = _MAX_ROWS) -> np.ndarray:
    """A page for one step: a row per query, those kept first, then by score.

    A row shows the proposal as a heat map over the image, outlined where it exceeds eta; the image with its visual
    prompt, as the classifier saw it; and the score against the threshold theta.

    Args:
        step_index: which step, from 0.
        max_rows: queries shown; how many are left out is noted at the foot.

    Returns:
        (H', 1320, 3) uint8 RGB.
    """
    step = result.steps[step_index]
    order = sorted(range(len(step.queries)), key=lambda i: (not step.kept[i], -np.nan_to_num(step.scores[i])))
    shown = order[:max_rows]
    grid = _Grid.for_image(step.image, len(shown))
    header = _header(result, step_index, grid)
    colors = query_colors(len(result.queries))
    rows = [_row(step, i, as_color(colors[step.indices[i]]), result.config, grid) for i in shown]
    return np.concatenate([header, *rows, _footer(step, order[max_rows:], result.config)])


class _Grid(NamedTuple):
    """Where the columns of a page stand, in pixels."""

    thumb: tuple[int, int]
    proposal: int
    prompted: int
    score: int
    bar: int

    @classmethod
    def for_image(cls, image: np.ndarray, rows: int) -> "_Grid":
        height, width = image.shape[:2]
        tallest = _THUMB_HEIGHT if rows <= _FEW_ROWS else _LOW_THUMB_HEIGHT
        across = min(max(round(tallest * width / height), _THUMB_WIDTHS[0]), _THUMB_WIDTHS[1])
        down = min(max(round(across * height / width), _LOWEST_THUMB), tallest)
        proposal = _MARGIN + _QUERY_WIDTH + _GAP
        prompted = proposal + across + _GAP
        score = prompted + across + _GAP + 10
        return cls((across, down), proposal, prompted, score, _PAGE - _MARGIN - score - 106)


def _header(result: "Segmentation", step_index: int, grid: _Grid) -> np.ndarray:
    """Title, what happened in this step, and the headings of the columns."""
    step = result.steps[step_index]
    dropped = [query for query, kept in zip(step.queries, step.kept, strict=True) if not kept]
    canvas = Canvas(_PAGE, 186)
    canvas.text(f"Step {step_index + 1} of {len(result.steps)}", _MARGIN, 58, _TITLE, INK, bold=True)
    model = f"model {result.model}"
    canvas.text(model, _PAGE - _MARGIN - width(model, _SMALL), 58, _SMALL, SOFT)
    x = canvas.text(f"{_count(len(step.queries))} in, ", _MARGIN, 104, _TEXT, SOFT)
    x = canvas.text(f"{len(step.queries) - len(dropped)} kept", x, 104, _TEXT, KEPT, bold=True)
    if dropped:
        x = canvas.text(", ", x, 104, _TEXT, SOFT)
        x = canvas.text(f"{len(dropped)} dropped: ", x, 104, _TEXT, DROPPED, bold=True)
        canvas.text(shorten(", ".join(dropped), _TEXT, _PAGE - _MARGIN - x), x, 104, _TEXT, INK)
    else:
        canvas.text(", none dropped", x, 104, _TEXT, SOFT)
    headings = ((_MARGIN, "query"), (grid.proposal, "proposal"), (grid.prompted, "prompted image"))
    for x, heading in (*headings, (grid.score + grid.bar + _NUMBER_GAP, "score")):
        canvas.text(heading, x, 160, _SMALL, SOFT)
    theta = _theta(result.config)
    if theta is not None:
        label = f"theta {theta:g}"
        across = width(label, _SMALL, bold=True)
        x = min(grid.score + theta * grid.bar - across / 2, grid.score + grid.bar - across)
        canvas.text(label, max(x, grid.score), 160, _SMALL, INK, bold=True)
    return canvas.pixels()


def _row(step: "Step", i: int, color: Color, config: Mapping[str, Any], grid: _Grid) -> np.ndarray:
    height = grid.thumb[1] + _ROW_SPACE
    canvas = Canvas(_PAGE, height)
    canvas.box((_MARGIN, 0, _PAGE - _MARGIN, 1), FAINT)
    middle, top = height / 2, _ROW_SPACE // 2
    verdict, tone = ("kept", KEPT) if step.kept[i] else ("dropped", DROPPED)
    lines = wrap(step.queries[i], _NAME, _QUERY_WIDTH - 30, lines=3, bold=True)
    y = middle - (len(lines) * 26 - 26 + 26) / 2
    canvas.box((_MARGIN, y - 8, _MARGIN + 16, y + 8), color, radius=4)
    for line in lines:
        canvas.text(line, _MARGIN + 30, y, _NAME, INK, bold=True)
        y += 26
    canvas.text(verdict, _MARGIN + 30, y, _TEXT, tone)
    canvas.picture(_fit(_heat(step.image, step.proposal(i), config.get("eta"), color, grid), grid), grid.proposal, top)
    canvas.picture(_fit(step.prompted(i), grid), grid.prompted, top)
    _bar(canvas, float(step.scores[i]), tone, _theta(config), middle, grid)
    return canvas.pixels()


def _bar(canvas: Canvas, score: float, tone: Color, theta: float | None, middle: float, grid: _Grid) -> None:
    """The score as a bar in [0, 1], over the line of the threshold that runs down the page."""
    left, top = grid.score, middle - _BAR / 2
    canvas.box((left, top, left + grid.bar, top + _BAR), _WASH, radius=_BAR / 2)
    shown = min(max(score, 0.0), 1.0) if math.isfinite(score) else 0.0
    canvas.box((left, top, left + max(shown * grid.bar, _SHORTEST_BAR), top + _BAR), tone, radius=_BAR / 2)
    if theta is not None:
        x = left + theta * grid.bar
        canvas.box((x - 1, 0, x + 1, canvas.page.height), INK)
    text = f"{score:.2f}" if math.isfinite(score) else "none"
    canvas.text(text, left + grid.bar + _NUMBER_GAP, middle, _TITLE - 8, tone, bold=True)


def _heat(image: np.ndarray, proposal: np.ndarray, eta: float | None, color: Color, grid: _Grid) -> np.ndarray:
    """The proposal over the image in grey, outlined where it exceeds eta; (h, w, 3) uint8 of about the thumb's size."""
    size = _fitted_size(image.shape[:2], grid)
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    soft = cv2.resize(proposal, size, interpolation=cv2.INTER_AREA)
    heat = cv2.applyColorMap(np.rint(soft.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    weight = (0.1 + 0.55 * soft.clip(0, 1))[:, :, None]
    mixed = np.rint(heat * weight + (0.75 * gray[:, :, None]) * (1 - weight)).astype(np.uint8)
    if eta is not None:
        outlines, _ = cv2.findContours((soft > eta).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mixed, outlines, -1, color, 2, cv2.LINE_AA)
    return mixed


def _fitted_size(shape: Sequence[int], grid: _Grid) -> tuple[int, int]:
    across, down = grid.thumb
    scale = min(across / shape[1], down / shape[0])
    return max(round(scale * shape[1]), 4), max(round(scale * shape[0]), 4)


def _fit(pixels: np.ndarray, grid: _Grid) -> np.ndarray:
    """A picture scaled into the middle of a thumb, (h, w, 3) uint8."""
    across, down = grid.thumb
    width, height = _fitted_size(pixels.shape, grid)
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    thumb = np.full((down, across, 3), _WASH, np.uint8)
    top, left = (down - height) // 2, (across - width) // 2
    thumb[top : top + height, left : left + width] = scaled
    return thumb


def _footer(step: "Step", hidden: Sequence[int], config: Mapping[str, Any]) -> np.ndarray:
    notes = []
    if hidden:
        kept = sum(bool(step.kept[i]) for i in hidden)
        notes.append(f"Not shown: {_count(len(hidden))} ({kept} kept, {len(hidden) - kept} dropped).")
    eta = config.get("eta")
    if eta is not None:
        notes.append(f"Proposal: bright where likely; the outline is the mask, where it exceeds eta {eta:g}.")
    canvas = Canvas(_PAGE, 44 + 28 * len(notes))
    canvas.box((_MARGIN, 0, _PAGE - _MARGIN, 1), FAINT)
    for line, note in enumerate(notes):
        canvas.text(note, _MARGIN, 34 + 28 * line, _SMALL, SOFT)
    return canvas.pixels()


def _count(n: int) -> str:
    return f"{n:,} {'query' if n == 1 else 'queries'}"


def _theta(config: Mapping[str, Any]) -> float | None:
    theta = config.get("theta")
    return None if theta is None else float(theta)
