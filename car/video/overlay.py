"""Pictures of a segmented film: every frame under its masks, with names, over a list of all queries."""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np

from car.canvas import FAINT, PAPER, Box, Canvas, as_color, shorten
from car.palette import query_colors
from car.pills import Lines, Pill

ALPHA = 0.45
"""Strength of the tint."""
SMALL_SIDE = 480
"""Films whose longer side is under this are enlarged by a whole factor."""
TEXT_SHARE, MIN_TEXT = 0.032, 13
LIST_LINES = 2
NARROWEST = 240
NOTE_SHARE = 0.3
"""Of the width, for the name of another query in doubt."""
NOTHING: Mapping[int, int | None] = MappingProxyType({})


class FrameDrawer:
    """Draws the frames of one film, all of the same size.

    Args:
        queries: the names of the N queries.
        size: (H, W) of the frames.
    """

    def __init__(self, queries: Sequence[str], size: tuple[int, int]) -> None:
        self.queries, self.colors = list(queries), query_colors(len(queries))
        self.factor = max(1, math.ceil(SMALL_SIDE / max(size)), math.ceil(NARROWEST / size[1]))
        height, width = (side * self.factor for side in size)
        self.text = max(MIN_TEXT, round(TEXT_SHARE * math.sqrt(height * width)))
        self.strip = round(Lines.of(self._pills(()), *self._room(width)).height + self.text)
        # Codecs halve the colours in both directions.
        self.size = (height + self.strip + height % 2 + self.strip % 2, width + width % 2)

    def draw(
        self, image: np.ndarray, masks: Mapping[int, np.ndarray], doubts: Mapping[int, int | None] = NOTHING
    ) -> np.ndarray:
        """One frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            masks: (H, W) bool of each query that is there; where they overlap, all of them show. The other queries are
                grey in the list.
            doubts: queries whose names get a question mark, and, where they seem to have taken over another query's
                object, which one's: it is named there.

        Returns:
            `size` x 3 uint8 RGB, both sides even.
        """
        picture, shown = self._enlarged(image), []
        for i, mask in masks.items():
            if mask.any():
                large = self._enlarged(mask.astype(np.uint8))
                picture, outline = self._tint(picture, large, i)
                shown.append((i, large, outline))
        for i, _, outline in shown:
            picture[outline] = self.colors[i]
        page = Canvas(self.size[1], self.size[0], FAINT)
        page.picture(picture, 0, 0)
        taken: list[Box] = []
        for i, large, _ in shown:
            self._name(page, large, i, self._note(i, doubts), taken)
        self._list(page, len(picture), masks)
        return page.pixels()

    def _enlarged(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(self.factor, 0).repeat(self.factor, 1)

    def _tint(self, image: np.ndarray, mask: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture with one mask tinted, and the pixels of its outline, bool."""
        line = max(2, self.text // 6)
        window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line - 1, 2 * line - 1))
        # The border of the picture is no edge.
        outline = (mask > 0) & (cv2.erode(mask, window, borderType=cv2.BORDER_CONSTANT, borderValue=1) == 0)
        colour = np.broadcast_to(self.colors[i], image.shape)
        blended = cv2.addWeighted(np.ascontiguousarray(colour), ALPHA, image, 1 - ALPHA, 0)
        return np.where(mask[:, :, None] > 0, blended, image), outline

    def _name(self, page: Canvas, mask: np.ndarray, i: int, note: str, taken: list[Box]) -> None:
        """Write a query's name above its mask, or below or on it where there is room; otherwise the list has it."""
        height, width = mask.shape
        pill = Pill(self.queries[i], note, as_color(self.colors[i])).fitted(self.text, 0.9 * width)
        across, down = pill.size(self.text)
        left, top, columns, rows = cv2.boundingRect(mask)
        x = min(max(left + (columns - across) / 2, 0.0), max(0.0, width - across))
        for y in (top - down - 3, top + rows + 3, top + (rows - down) / 2):
            box = (x, y, x + across, y + down)
            if 0 <= y <= height - down and not any(meet(box, other) for other in taken):
                pill.draw(page, x, y, self.text)
                taken.append(box)
                return

    def _note(self, i: int, doubts: Mapping[int, int | None]) -> str:
        """What stands beside the name of a query that is there."""
        if i not in doubts:
            return ""
        other = doubts[i]
        room = NOTE_SHARE * self.size[1]
        return "?" if other is None else f"{shorten(self.queries[other], self.text, room)}'s?"

    def _list(self, page: Canvas, top: int, present: Collection[int]) -> None:
        """All queries below the picture, always in the same places."""
        size, room, lines = self._room(page.page.width)
        page.box((0, top, page.page.width, page.page.height), PAPER)
        Lines.of(self._pills(present), size, room, lines).draw(page, size, top + size / 2)

    def _room(self, width: int) -> tuple[int, float, int]:
        return self.text, width - 2 * self.text, LIST_LINES

    def _pills(self, present: Collection[int]) -> list[Pill]:
        """All queries, those that are not there in grey."""
        return [
            Pill(query, "", as_color(self.colors[i]) if i in present else FAINT) for i, query in enumerate(self.queries)
        ]


def meet(a: Box, b: Box) -> bool:
    """Whether two boxes overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
