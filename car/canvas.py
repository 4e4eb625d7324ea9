"""A page to draw on: text in any script, smooth boxes and pictures, on top of Pillow."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from car import fonts

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]

INK: Color = (28, 30, 36)
SOFT: Color = (110, 116, 128)
FAINT: Color = (226, 229, 234)
PAPER: Color = (255, 255, 255)
_SMOOTHING = 4
_EMOJI_HEIGHT = 1.15


class Canvas:
    """An RGB page of a given size; positions and lengths are in pixels, from the top left corner."""

    def __init__(self, width: int, height: int, color: Color = PAPER) -> None:
        self.page = Image.new("RGB", (width, height), color)
        self._draw = ImageDraw.Draw(self.page)

    @classmethod
    def over(cls, pixels: np.ndarray) -> "Canvas":
        """A page that starts as a picture, (H, W, 3) uint8."""
        canvas = cls(1, 1)
        canvas.page = Image.fromarray(pixels)
        canvas._draw = ImageDraw.Draw(canvas.page)
        return canvas

    def pixels(self) -> np.ndarray:
        """The page as (H, W, 3) uint8 RGB."""
        return np.array(self.page)

    def picture(self, pixels: np.ndarray, x: int, y: int) -> None:
        """Put a picture (h, w, 3) uint8 with its top left corner at (x, y)."""
        self.page.paste(Image.fromarray(pixels), (x, y))

    def box(self, box: Box, color: Color, *, radius: float = 0) -> None:
        """A filled box with smooth round corners, (left, top, right, bottom) with exclusive ends."""
        left, top, right, bottom = (round(value) for value in box)
        if right <= left or bottom <= top:
            return
        stencil = _rounded(right - left, bottom - top, min(radius, (right - left) / 2, (bottom - top) / 2))
        self.page.paste(color, (left, top), stencil)

    def text(self, text: str, x: float, middle: float, size: int, color: Color, *, bold: bool = False) -> float:
        """One line of text from x rightwards, its capitals centred on the height `middle`; returns its end."""
        baseline = round(middle + 0.36 * size)
        for run in fonts.runs(text, bold=bold):
            if fonts.is_emoji(run.font):
                x = self._emoji(run, round(x), baseline, size)
            else:
                font = fonts.load(run.font, size)
                self._draw.text((x, baseline), run.text, fill=color, font=font, anchor="ls")
                x += font.getlength(run.text)
        return x

    def _emoji(self, run: fonts.Run, x: int, baseline: int, size: int) -> float:
        glyphs = _emoji_picture(run, size)
        self.page.paste(glyphs, (x, baseline - round(0.82 * glyphs.height)), glyphs)
        return x + glyphs.width


def width(text: str, size: int, *, bold: bool = False) -> float:
    """Width in pixels of one line of text."""
    return sum(
        _emoji_picture(run, size).width if fonts.is_emoji(run.font) else fonts.load(run.font, size).getlength(run.text)
        for run in fonts.runs(text, bold=bold)
    )


def shorten(text: str, size: int, room: float, *, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits into `room` pixels and "…"."""
    if width(text, size, bold=bold) <= room:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if width(f"{text[:middle]}…", size, bold=bold) <= room:
            fits = middle
        else:
            too_long = middle
    return f"{text[:fits].rstrip()}…"


def wrap(text: str, size: int, room: float, *, lines: int, bold: bool = False) -> list[str]:
    """Break a text at spaces into at most `lines` lines no wider than `room`; the last is shortened if need be."""
    words = text.split(" ")
    broken: list[str] = []
    while words and len(broken) < lines - 1:
        taken = 1
        while taken < len(words) and width(" ".join(words[: taken + 1]), size, bold=bold) <= room:
            taken += 1
        broken.append(shorten(" ".join(words[:taken]), size, room, bold=bold))
        words = words[taken:]
    if words:
        broken.append(shorten(" ".join(words), size, room, bold=bold))
    return broken


def as_color(values: np.ndarray) -> Color:
    """A row of a palette, (3,) uint8, as a colour."""
    red, green, blue = values.tolist()
    return red, green, blue


def readable_on(color: Color) -> Color:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = color
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else PAPER


@lru_cache(maxsize=256)
def _rounded(columns: int, rows: int, radius: float) -> Image.Image:
    if radius <= 0:
        return Image.new("L", (columns, rows), 255)
    large = Image.new("L", (columns * _SMOOTHING, rows * _SMOOTHING), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), radius * _SMOOTHING, fill=255)
    return large.resize((columns, rows), Image.Resampling.BOX)


@lru_cache(maxsize=256)
def _emoji_picture(run: fonts.Run, size: int) -> Image.Image:
    """Coloured glyphs drawn at the size their font has, scaled to the text around them."""
    font = fonts.load(run.font, size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(run.text))
    large = Image.new("RGBA", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(large).text((-left, -top), run.text, font=font, embedded_color=True, fill=INK)
    scale = _EMOJI_HEIGHT * size / large.height
    return large.resize((max(round(large.width * scale), 1), max(round(_EMOJI_HEIGHT * size), 1)))
