"""One page per step of the loop: what each query proposed, what the classifier saw, and how it was judged."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from car.canvas import FAINT, INK, SOFT, Canvas, Color, as_color, width, wrap
from car.palette import query_colors
from car.pieces import (
    DROPPED,
    KEPT,
    MARGIN,
    PAGE,
    SMALL,
    TEXT,
    TITLE,
    bar,
    count,
    fit,
    heat,
    score_text,
    sum_up,
)

if TYPE_CHECKING:
    from car.result import Segmentation, Step

_QUERY_WIDTH = 236
_GAP = 30
_THUMB_HEIGHT, _LOW_THUMB_HEIGHT, _FEW_ROWS = 200, 120, 10
_THUMB_WIDTHS, _LOWEST_THUMB = (120, 310), 96
_ROW_SPACE = 28
_NAME = 20
_BAR, _NUMBER_GAP = 18, 22
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
        proposal = MARGIN + _QUERY_WIDTH + _GAP
        prompted = proposal + across + _GAP
        score = prompted + across + _GAP + 10
        return cls((across, down), proposal, prompted, score, PAGE - MARGIN - score - 106)


def _header(result: "Segmentation", step_index: int, grid: _Grid) -> np.ndarray:
    """Title, what happened in this step, and the headings of the columns."""
    step = result.steps[step_index]
    canvas = Canvas(PAGE, 186)
    canvas.text(f"Step {step_index + 1} of {len(result.steps)}", MARGIN, 58, TITLE, INK, bold=True)
    model = f"model {result.model}"
    canvas.text(model, PAGE - MARGIN - width(model, SMALL), 58, SMALL, SOFT)
    sum_up(canvas, step, MARGIN, 104)
    headings = ((MARGIN, "query"), (grid.proposal, "proposal"), (grid.prompted, "prompted image"))
    for x, heading in (*headings, (grid.score + grid.bar + _NUMBER_GAP, "score")):
        canvas.text(heading, x, 160, SMALL, SOFT)
    theta = _theta(result.config)
    if theta is not None:
        label = f"theta {theta:g}"
        across = width(label, SMALL, bold=True)
        left = min(grid.score + theta * grid.bar - across / 2, grid.score + grid.bar - across)
        canvas.text(label, max(left, grid.score), 160, SMALL, INK, bold=True)
    return canvas.pixels()


def _row(step: "Step", i: int, color: Color, config: Mapping[str, Any], grid: _Grid) -> np.ndarray:
    height = grid.thumb[1] + _ROW_SPACE
    canvas = Canvas(PAGE, height)
    canvas.box((MARGIN, 0, PAGE - MARGIN, 1), FAINT)
    middle, top = height / 2, _ROW_SPACE // 2
    verdict, tone = ("kept", KEPT) if step.kept[i] else ("dropped", DROPPED)
    lines = wrap(step.queries[i], _NAME, _QUERY_WIDTH - 30, lines=3, bold=True)
    y = middle - (len(lines) * 26 - 26 + 26) / 2
    canvas.box((MARGIN, y - 8, MARGIN + 16, y + 8), color, radius=4)
    for line in lines:
        canvas.text(line, MARGIN + 30, y, _NAME, INK, bold=True)
        y += 26
    canvas.text(verdict, MARGIN + 30, y, TEXT, tone)
    canvas.picture(heat(step.image, step.proposal(i), config.get("eta"), color, grid.thumb), grid.proposal, top)
    canvas.picture(fit(step.prompted(i), grid.thumb), grid.prompted, top)
    _judge(canvas, float(step.scores[i]), tone, _theta(config), middle, grid)
    return canvas.pixels()


def _judge(canvas: Canvas, score: float, tone: Color, theta: float | None, middle: float, grid: _Grid) -> None:
    """The score as a bar in [0, 1], over the line of the threshold that runs down the page."""
    left, top = grid.score, middle - _BAR / 2
    bar(canvas, (left, top, left + grid.bar, top + _BAR), score, tone)
    if theta is not None:
        x = left + theta * grid.bar
        canvas.box((x - 1, 0, x + 1, canvas.page.height), INK)
    canvas.text(score_text(score), left + grid.bar + _NUMBER_GAP, middle, TITLE - 8, tone, bold=True)


def _footer(step: "Step", hidden: Sequence[int], config: Mapping[str, Any]) -> np.ndarray:
    notes = []
    if hidden:
        kept = sum(bool(step.kept[i]) for i in hidden)
        notes.append(f"Not shown: {count(len(hidden))} ({kept} kept, {len(hidden) - kept} dropped).")
    eta = config.get("eta")
    if eta is not None:
        notes.append(f"Proposal: bright where likely; the outline is the mask, where it exceeds eta {eta:g}.")
    canvas = Canvas(PAGE, 44 + 28 * len(notes))
    canvas.box((MARGIN, 0, PAGE - MARGIN, 1), FAINT)
    for line, note in enumerate(notes):
        canvas.text(note, MARGIN, 34 + 28 * line, SMALL, SOFT)
    return canvas.pixels()


def _theta(config: Mapping[str, Any]) -> float | None:
    theta = config.get("theta")
    return None if theta is None else float(theta)
