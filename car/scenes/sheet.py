"""A contact sheet: each scene beside its masks, its caption and some of its expressions written under it."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from car.canvas import FAINT, INK, PAPER, SOFT, Canvas, Color, as_color, readable_on, width, wrap
from car.palette import query_colors
from car.scenes.expressions import Expression
from car.scenes.scene import Scene

_THUMB, _TALLEST = 300, 400
_PAD, _GAP = 20, 24
_TITLE, _TEXT, _SMALL = 17, 16, 13
_LINE = 23
_CHIP = 22
_ROOM = 2 * _THUMB + _PAD
_EXPRESSIONS, _CHIPS = 6, 6
_CAPTION_LINES, _EXPRESSION_LINES = 6, 3
_WASH: Color = (234, 236, 241)
_NONE: Color = (214, 218, 226)


class Card(NamedTuple):
    """One scene on a sheet, with the expressions to choose from."""

    title: str
    scene: Scene
    expressions: Sequence[Expression]


def contact_sheet(cards: Sequence[Card], columns: int = 3) -> np.ndarray:
    """A page of cards, row by row.

    A card shows the picture; the picture with every object tinted, outlined and numbered; the caption; and up to six
    expressions of as many kinds as there are, each behind the numbers of the objects it means.

    Args:
        cards: at least one.
        columns: cards in a row, at least 1.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    pages = [_card(card) for card in cards]
    columns = min(columns, len(pages))
    rows = [pages[i : i + columns] for i in range(0, len(pages), columns)]
    heights = [max(page.shape[0] for page in row) for row in rows]
    across = pages[0].shape[1]
    sheet = Canvas(columns * (across + _GAP) + _GAP, sum(heights) + _GAP * (len(rows) + 1), _WASH)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for i, page in enumerate(row):
            left = _GAP + i * (across + _GAP)
            sheet.box((left, top, left + across, top + height), PAPER)
            sheet.picture(page, left, top)
        top += height + _GAP
    return sheet.pixels()


def choose(expressed: Sequence[Expression], most: int = _EXPRESSIONS) -> list[Expression]:
    """The first of each kind, then the second of each, and so on, until there are `most`; in the order given."""
    seen: dict[str, int] = {}
    turns = []
    for each in expressed:
        seen[each.kind] = seen.get(each.kind, 0) + 1
        turns.append(seen[each.kind])
    chosen = sorted(range(len(turns)), key=lambda i: turns[i])[:most]
    return [expressed[i] for i in sorted(chosen)]


def _card(card: Card) -> np.ndarray:
    made = card.scene
    colors = [as_color(color) for color in query_colors(len(made.names))]
    caption = wrap(made.caption, _TEXT, _ROOM, lines=_CAPTION_LINES)
    rows = [_Row.of(each, colors) for each in choose(card.expressions)]
    picture, marked = _pictures(made, colors)
    top = _PAD + picture.shape[0]
    lines = 1 + len(caption) + sum(len(row.lines) for row in rows)
    canvas = Canvas(_ROOM + 2 * _PAD, top + _PAD + lines * _LINE + 4 * len(rows) + _PAD)
    spare = (_THUMB - picture.shape[1]) // 2
    for pixels, left in ((picture, _PAD + spare), (marked, _PAD + _THUMB + _PAD + spare)):
        canvas.box((left - 1, _PAD - 1, left + pixels.shape[1] + 1, _PAD + pixels.shape[0] + 1), FAINT)
        canvas.picture(pixels, left, _PAD)
    y = top + _PAD + _LINE / 2
    canvas.text(card.title, _PAD, y, _TITLE, INK, bold=True)
    for line in caption:
        y += _LINE
        canvas.text(line, _PAD, y, _TEXT, INK)
    for row in rows:
        y = row.draw(canvas, y + _LINE + 4)
    return canvas.pixels()


class _Row(NamedTuple):
    """An expression laid out: the chips of the objects it means, its kind, its text in lines beside them."""

    chips: list[tuple[str, Color]]
    lines: list[str]
    kind: str

    @classmethod
    def of(cls, expression: Expression, colors: Sequence[Color]) -> "_Row":
        meant = expression.objects
        chips = [(str(i + 1), colors[i]) for i in meant[:_CHIPS]] or [("none", _NONE)]
        if len(meant) > _CHIPS:
            chips.append((f"+{len(meant) - _CHIPS}", _NONE))
        kind = f"{expression.kind}, ambiguous" if expression.ambiguous else expression.kind
        room = _ROOM - sum(_chip_width(text) + 4 for text, _ in chips) - 6 - width(kind, _SMALL) - 16
        return cls(chips, wrap(expression.text, _TEXT, room, lines=_EXPRESSION_LINES), kind)

    def draw(self, canvas: Canvas, y: float) -> float:
        """Draw the row, its first line centred on the height `y`; returns the height of its last line."""
        x: float = _PAD
        for text, color in self.chips:
            _chip(canvas, text, color, x, y)
            x += _chip_width(text) + 4
        canvas.text(self.kind, _PAD + _ROOM - width(self.kind, _SMALL), y, _SMALL, SOFT)
        for i, line in enumerate(self.lines):
            canvas.text(line, x + 6, y + i * _LINE, _TEXT, INK)
        return y + (len(self.lines) - 1) * _LINE


def _chip_width(text: str) -> float:
    return max(_CHIP, width(text, _SMALL, bold=True) + 12)


def _chip(canvas: Canvas, text: str, color: Color, left: float, middle: float) -> None:
    across = _chip_width(text)
    canvas.box((left, middle - _CHIP / 2, left + across, middle + _CHIP / 2), color, radius=_CHIP / 2)
    start = left + (across - width(text, _SMALL, bold=True)) / 2
    canvas.text(text, start, middle, _SMALL, readable_on(color), bold=True)


def _pictures(made: Scene, colors: Sequence[Color]) -> tuple[np.ndarray, np.ndarray]:
    """The picture, and the same with its objects tinted, outlined and numbered, (h, w, 3) uint8."""
    height, across = made.image.shape[:2]
    scale = min(_THUMB / across, _TALLEST / height)
    size = (max(1, round(scale * across)), max(1, round(scale * height)))
    picture = cv2.resize(made.image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    masks = [cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5 for mask in made.masks]
    marked = picture.copy()
    for mask, color in zip(masks, colors, strict=True):
        marked[mask] = cv2.addWeighted(picture, 0.6, np.full_like(picture, color), 0.4, 0)[mask]
    for mask, color in zip(masks, colors, strict=True):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(marked, outlines, -1, color, 2, cv2.LINE_AA)
    canvas = Canvas.over(marked)
    for i, (mask, color) in enumerate(zip(masks, colors, strict=True)):
        depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        _chip(canvas, str(i + 1), color, int(x) - 1 - _chip_width(str(i + 1)) / 2, int(y) - 1)
    return picture, canvas.pixels()
