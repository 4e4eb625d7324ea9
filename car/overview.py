"""The whole pipeline in one picture: what was asked, every step of the loop, the masks that came of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from car.canvas import FAINT, INK, PAPER, SOFT, Canvas, Color, as_color, shorten, width
from car.draw import overlay
from car.palette import query_colors
from car.pieces import (
    DROPPED,
    KEPT,
    MARGIN,
    PAGE,
    SMALL,
    TEXT,
    TITLE,
    WASH,
    bar,
    count,
    fit,
    fitted_size,
    heat,
    score_text,
    sum_up,
)
from car.pills import Lines, Pill

if TYPE_CHECKING:
    from car.result import Segmentation, Step

_MAX_TILES, _MAX_CUTOUTS, _MAX_STEPS = 24, 12, 8
_LEFT = MARGIN + 52
_ROOM = PAGE - MARGIN - _LEFT
_BESIDE = 40
_HEADING, _HEADING_SIZE, _BELOW = 56, 22, 34
_DOT, _RAIL = 30, 2
_ASKED, _OUTCOME = (380, 290), (640, 560)
_ASKED_PILL, _ASKED_LINES = 19, 4
_HOW, _HOW_LINE, _HOW_WORDS = 16, 28, 92
_NARROWEST, _WIDEST, _LOWEST = 110, 340, 70
_WORTH_A_ROW = 1.15
_ACROSS, _DOWN = 20, 22
_OVER, _UNDER = 34, 44
_NAME, _FRAME, _BAR = 16, 3, 6
_BAND_HEIGHTS = (380, 560, 740)
_FADED = 0.5


def overview(result: "Segmentation") -> np.ndarray:
    """One page that shows, from the top down, how a segmentation came about.

    First the image and the queries; then every step of the loop, with a tile per query: its proposal as a heat map,
    outlined where it exceeds eta, and its score against theta. A query keeps its place from step to step, and the
    places of those dropped stay empty; those that lasted longest come first. Last the masks, together and one by one.
    Of more than 24 queries or 8 steps the rest is counted.

    Returns:
        (H', 1320, 3) uint8 RGB.
    """
    lasted = _lasted(result)
    order = sorted(range(len(result.queries)), key=lambda i: -lasted[i])[:_MAX_TILES]
    sheet = _Sheet.of(len(order), result.image.shape, (_ROOM, _BAND_HEIGHTS[(len(order) - 1) // 8]))
    last = len(result.steps) - 1
    bands = [_band(result, index, order, sheet) for index in (*range(min(last, _MAX_STEPS - 1)), last)]
    if last >= _MAX_STEPS:
        bands.insert(-1, _omitted(result))
    return np.concatenate([_title(result), _asked(result), *bands, _outcome(result)])


def _lasted(result: "Segmentation") -> list[int]:
    """How long each query stayed: one for each step that it entered, and one for each that it survived."""
    lasted = [0] * len(result.queries)
    for step in result.steps:
        for i, kept in zip(step.indices, step.kept, strict=True):
            lasted[i] += 1 + bool(kept)
    return lasted


class _Sheet(NamedTuple):
    """Tiles in rows: how many stand beside each other, and width and height of the picture in each."""

    columns: int
    thumb: tuple[int, int]

    @classmethod
    def of(cls, tiles: int, shape: Sequence[int], room: tuple[int, int]) -> "_Sheet":
        """The largest tiles for pictures of a shape that fit into a room; past its end if they get too small.

        A further row has to be worth it.
        """
        most = max((room[0] + _ACROSS) // (_NARROWEST + _ACROSS), 1)
        aspect = shape[1] / shape[0]

        def size(rows: int) -> tuple[float, float]:
            columns = math.ceil(tiles / rows)
            return (room[0] + _ACROSS) / columns - _ACROSS, room[1] / rows - _OVER - _UNDER - _DOWN

        def gain(rows: int) -> float:
            widest, highest = size(rows)
            return min(widest, highest * aspect) / _WORTH_A_ROW**rows

        rows = max(range(math.ceil(tiles / most), tiles + 1), key=gain)
        widest, highest = size(rows)
        across = max(min(widest, highest * aspect, _WIDEST), _NARROWEST)
        down = max(min(highest, across / aspect), _LOWEST)
        return cls(math.ceil(tiles / rows), (round(across), round(down)))

    @property
    def line(self) -> int:
        """Height of a row of tiles, with the space below it."""
        return _OVER + self.thumb[1] + _UNDER + _DOWN

    def rows(self, tiles: int) -> int:
        return math.ceil(tiles / self.columns)

    def place(self, index: int, left: int, top: int) -> tuple[int, int]:
        """Top left corner of a tile, where the first one's is (left, top)."""
        row, column = divmod(index, self.columns)
        return left + column * (self.thumb[0] + _ACROSS), top + row * self.line


def _title(result: "Segmentation") -> np.ndarray:
    canvas = Canvas(PAGE, 108)
    steps = len(result.steps)
    found = f"{len(result.found)} of {count(len(result.queries))} found in {steps} {'step' if steps == 1 else 'steps'}"
    canvas.text(found, MARGIN, 56, TITLE, INK, bold=True)
    model = f"model {result.model}"
    canvas.text(model, PAGE - MARGIN - width(model, SMALL), 56, SMALL, SOFT)
    return canvas.pixels()


def _section(height: int, heading: str, mark: str, *, first: bool = False, last: bool = False) -> tuple[Canvas, float]:
    """A section with its mark on the line that runs down the page, and where its heading ends."""
    canvas = Canvas(PAGE, _HEADING + height + (_DOWN if last else _BELOW))
    middle, x = _HEADING // 2, MARGIN + _DOT // 2
    ends = middle if first else 0, middle if last else canvas.page.height
    canvas.box((x - _RAIL // 2, ends[0], x + _RAIL // 2, ends[1]), FAINT)
    canvas.box((MARGIN, middle - _DOT // 2, MARGIN + _DOT, middle + _DOT // 2), INK, radius=_DOT / 2)
    canvas.text(mark, x - width(mark, SMALL, bold=True) / 2, middle, SMALL, PAPER, bold=True)
    return canvas, canvas.text(heading, _LEFT, middle, _HEADING_SIZE, INK, bold=True) + 14


def _asked(result: "Segmentation") -> np.ndarray:
    """The image, the queries, and in words what happens to them."""
    across, down = fitted_size(result.image.shape, _ASKED)
    left = _LEFT + across + _BESIDE
    colors = _colors(result)
    pills = [Pill(query, "", color) for query, color in zip(result.queries, colors, strict=True)]
    lines = Lines.of(pills, _ASKED_PILL, PAGE - MARGIN - left, _ASKED_LINES)
    how = _how(result.config)
    start = round(lines.height) + 18
    height = max(down, start + _HOW_LINE * len(how))
    canvas, x = _section(height, "Asked", "?", first=True)
    canvas.text(f"one image, {count(len(result.queries))}", x, _HEADING / 2, TEXT, SOFT)
    canvas.picture(fit(result.image, (across, down)), _LEFT, _HEADING)
    lines.draw(canvas, left, _HEADING - 5)
    for i, (word, text) in enumerate(how.items()):
        middle = _HEADING + start + _HOW_LINE * (i + 0.5)
        canvas.text(word, left, middle, _HOW, INK, bold=True)
        canvas.text(text, left + _HOW_WORDS, middle, _HOW, SOFT)
    return canvas.pixels()


def _how(config: Mapping[str, Any]) -> dict[str, str]:
    """What happens in a step, by the names of its parts."""
    limit = config.get("max_steps")
    end = "" if limit is None else f", for at most {limit} {'step' if limit == 1 else 'steps'}"
    return {
        "propose": f"bright where CLIP sees the query, outlined above eta {config['eta']:g}",
        "prompt": f"the outlined part is marked in the image: {', '.join(config['prompts'])}",
        "classify": f"CLIP scores what is marked; below theta {config['theta']:g}, the tick, a query is dropped",
        "repeat": f"with the queries that were kept, until none is dropped{end}",
    }


def _band(result: "Segmentation", index: int, order: Sequence[int], sheet: _Sheet) -> np.ndarray:
    """One step: tiles for those that entered it, empty places for those that left before."""
    step = result.steps[index]
    entered = {i: row for row, i in enumerate(step.indices)}
    shown = [i for i in order if i in entered]
    rows = sheet.rows(len(shown))
    hidden = [row for i, row in entered.items() if i not in order]
    height = rows * sheet.line + (14 if hidden else -_DOWN)
    canvas, x = _section(height, f"Step {index + 1}", f"{index + 1}")
    sum_up(canvas, step, x, _HEADING / 2)
    colors, theta = _colors(result), result.config["theta"]
    for slot, i in enumerate(order[: rows * sheet.columns]):
        corner = sheet.place(slot, _LEFT, _HEADING)
        if i in entered:
            _tile(canvas, corner, sheet, Pill(result.queries[i], "", colors[i]), step, entered[i], theta)
        else:
            _gap(canvas, corner, sheet, result, i)
    if hidden:
        kept = sum(bool(step.kept[row]) for row in hidden)
        note = f"+ {len(hidden):,} more: {kept:,} kept, {len(hidden) - kept:,} dropped"
        canvas.text(note, _LEFT, _HEADING + height - 10, TEXT, SOFT)
    return canvas.pixels()


def _tile(
    canvas: Canvas, corner: tuple[int, int], sheet: _Sheet, name: Pill, step: "Step", row: int, theta: float
) -> None:
    """What a query proposed in a step, and how it was judged."""
    kept, score = bool(step.kept[row]), float(step.scores[row])
    pixels = heat(step.image, step.proposal(row), step.eta, name.color, sheet.thumb)
    tone, verdict = (KEPT, "kept") if kept else (DROPPED, "dropped")
    _named(canvas, corner, name, pixels if kept else _fade(pixels), tone)
    left, top = corner[0], corner[1] + _OVER + sheet.thumb[1] + 12
    right = left + sheet.thumb[0]
    bar(canvas, (left, top, right, top + _BAR), score, tone)
    line = left + theta * (right - left)
    canvas.box((line - 1, top - 3, line + 1, top + _BAR + 3), INK)
    middle, number = top + _BAR + 16, score_text(score)
    canvas.text(verdict, left, middle, SMALL, tone, bold=True)
    canvas.text(number, right - width(number, SMALL), middle, SMALL, tone)


def _named(canvas: Canvas, corner: tuple[int, int], name: Pill, pixels: np.ndarray, tone: Color) -> None:
    """A framed picture under its name."""
    x, y = corner
    name.fitted(_NAME, pixels.shape[1]).draw(canvas, x, y, _NAME)
    y += _OVER
    canvas.box((x - _FRAME, y - _FRAME, x + pixels.shape[1] + _FRAME, y + pixels.shape[0] + _FRAME), tone, radius=4)
    canvas.picture(pixels, x, y)


def _gap(canvas: Canvas, corner: tuple[int, int], sheet: _Sheet, result: "Segmentation", i: int) -> None:
    """The place of a query that is no longer there."""
    (x, y), (across, down) = corner, sheet.thumb
    canvas.box((x, y + _OVER, x + across, y + _OVER + down), WASH, radius=4)
    name = shorten(result.queries[i], _NAME, across)
    canvas.text(name, x, y + 14, _NAME, SOFT)
    step = sum(i in step.indices for step in result.steps)
    for line, text in enumerate(("dropped", f"in step {step}")):
        canvas.text(text, x + (across - width(text, SMALL)) / 2, y + _OVER + down / 2 + 20 * line - 10, SMALL, SOFT)


def _omitted(result: "Segmentation") -> np.ndarray:
    """In place of the steps that there is no room for."""
    omitted = result.steps[_MAX_STEPS - 1 : -1]
    first, last = _MAX_STEPS, len(result.steps) - 1
    canvas, x = _section(0, f"Step {first}" if first == last else f"Steps {first} to {last}", "…")
    canvas.text(f"{sum(len(step.pruned) for step in omitted):,} dropped", x, _HEADING / 2, TEXT, DROPPED, bold=True)
    return canvas.pixels()


def _outcome(result: "Segmentation") -> np.ndarray:
    """The masks in one picture, and each one alone."""
    size = fitted_size(result.image.shape, _OUTCOME)
    scaled = dataclasses.replace(
        result,
        image=cv2.resize(result.image, size, interpolation=cv2.INTER_AREA),
        labels=cv2.resize(result.labels, size, interpolation=cv2.INTER_NEAREST),
    )
    picture = overlay(scaled)
    left = _LEFT + picture.shape[1] + _BESIDE
    present = np.flatnonzero(result.present).tolist()
    shown, colors = present[:_MAX_CUTOUTS], _colors(result)
    room = PAGE - MARGIN - left, max(picture.shape[0], 340)
    sheet = _Sheet.of(max(len(shown), 1), result.image.shape, room)
    foot = sheet.rows(len(shown)) * sheet.line
    height = max(picture.shape[0], foot)
    canvas, x = _section(height, "Result", "=", last=True)
    _sum_up_result(canvas, result, x)
    canvas.picture(picture, _LEFT, _HEADING)
    for slot, i in enumerate(shown):
        _cutout(canvas, sheet.place(slot, left, _HEADING), sheet, scaled, i, colors[i])
    if len(present) > len(shown):
        canvas.text(f"+ {len(present) - len(shown):,} more", left, _HEADING + foot - 8, TEXT, SOFT)
    return canvas.pixels()


def _sum_up_result(canvas: Canvas, result: "Segmentation", x: float) -> None:
    middle = _HEADING / 2
    x = canvas.text(f"{len(result.found):,} present", x, middle, TEXT, KEPT, bold=True)
    x = canvas.text(", ", x, middle, TEXT, SOFT)
    if result.absent:
        x = canvas.text(f"{len(result.absent):,} absent", x, middle, TEXT, DROPPED, bold=True)
    else:
        x = canvas.text("none absent", x, middle, TEXT, SOFT)
    refined = []
    if result.config.get("crf", "none") != "none":
        refined.append("sharpened by a dense CRF")
    if result.config.get("sam") is not None:
        refined.append("merged with mask proposals")
    if result.found and refined:
        canvas.text(f"; the last proposals, {' and '.join(refined)}", x, middle, TEXT, SOFT)


def _cutout(
    canvas: Canvas, corner: tuple[int, int], sheet: _Sheet, result: "Segmentation", i: int, color: Color
) -> None:
    """What the mask of one query cuts out of the image, and how much that is."""
    mask = result.labels == i + 1
    cut = fit(np.where(mask[:, :, None], result.image, np.array(WASH, np.uint8)), sheet.thumb)
    _named(canvas, corner, Pill(result.queries[i], "", color), cut, color)
    share = f"covers {mask.mean():.1%}" if mask.any() else "covers nothing"
    canvas.text(share, corner[0], corner[1] + _OVER + sheet.thumb[1] + 20, SMALL, SOFT)


def _colors(result: "Segmentation") -> list[Color]:
    return [as_color(color) for color in query_colors(len(result.queries))]


def _fade(pixels: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(pixels, 1 - _FADED, np.full_like(pixels, 255), _FADED, 0)
