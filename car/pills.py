"""Names of queries as coloured pills, one alone or many in lines."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from car.canvas import SOFT, Canvas, Color, readable_on, shorten, width

_SIDES = 1.1
_NOTE_GAP = 0.4
_HEIGHT = 1.7
_CORNER = 0.45
_GAP, _LINE = 0.5, 2.2


class Pill(NamedTuple):
    """A query in bold on its colour, and a note such as its score beside it; sizes are those of the text in pixels."""

    query: str
    note: str
    color: Color

    def size(self, size: int) -> tuple[int, int]:
        """Width and height in pixels."""
        text = width(self.query, size, bold=True)
        note = _NOTE_GAP * size + width(self.note, size) if self.note else 0
        return math.ceil(text + note + _SIDES * size), round(_HEIGHT * size)

    def fitted(self, size: int, room: float) -> "Pill":
        """The same with the query shortened, to be at most `room` pixels wide."""
        spare = room - self._replace(query="").size(size)[0]
        return self._replace(query=shorten(self.query, size, spare, bold=True))

    def draw(self, canvas: Canvas, left: float, top: float, size: int) -> None:
        """Draw it with its top left corner at (left, top)."""
        across, down = self.size(size)
        left, top, ink = round(left), round(top), readable_on(self.color)
        canvas.box((left, top, left + across, top + down), self.color, radius=_CORNER * size)
        end = canvas.text(self.query, left + _SIDES / 2 * size, top + down / 2, size, ink, bold=True)
        canvas.text(self.note, end + _NOTE_GAP * size, top + down / 2, size, ink)


class Lines(NamedTuple):
    """Pills set in lines: those there was room for with their left edges and lines, and the words for the others."""

    placed: list[tuple[Pill, float, int]]
    more: str
    more_left: float
    size: int

    @classmethod
    def of(cls, pills: Sequence[Pill], size: int, room: float, lines: int) -> "Lines":
        """As many of the pills, which are one or more, as fit into so many lines of `room` pixels."""
        gap = _GAP * size
        more = width(f"+ {len(pills):,} more", size) + gap
        placed: list[tuple[Pill, float, int]] = []
        x, line = 0.0, 0
        for i, pill in enumerate(pills):
            last_line, last_pill = line == lines - 1, i == len(pills) - 1
            pill = pill.fitted(size, room - (0 if last_pill else more))
            across, _ = pill.size(size)
            if x > 0 and x + across > room - (more if last_line and not last_pill else 0):
                if last_line:
                    break
                x, line = 0.0, line + 1
            placed.append((pill, x, line))
            x += across + gap
        left_out = len(pills) - len(placed)
        return cls(placed, f"+ {left_out:,} more" if left_out else "", x, size)

    @property
    def height(self) -> float:
        """In pixels."""
        return (self.placed[-1][2] + 1) * _LINE * self.size

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw them with their top left corner at (left, top)."""
        line, inset = _LINE * self.size, (_LINE - _HEIGHT) / 2 * self.size
        for pill, x, index in self.placed:
            pill.draw(canvas, left + x, top + index * line + inset, self.size)
        canvas.text(self.more, left + self.more_left, top + self.height - line / 2, self.size, SOFT)
