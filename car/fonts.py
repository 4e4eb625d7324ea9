"""Fonts for pictures: what the system has, which font can draw which character, and words for what none can."""

import os
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont, features

_PREFERRED = (
    ("dejavusans", "dejavusans-bold"),
    ("notosans-regular", "notosans-bold"),
    ("liberationsans-regular", "liberationsans-bold"),
    ("arial", "arialbd"),
    ("arial", "arial bold"),
    ("segoeui", "segoeuib"),
    ("ubuntu-r", "ubuntu-b"),
)
_OTHER_STYLES = "bold italic oblique mono light thin black condensed narrow lastresort adobeblank".split()  # noqa: SIM905
_MAX_FALLBACKS = 256
_EMOJI_SIZES = (109, 160, 136, 96, 64)
_EMOJI_FROM = 0x1F000
_PROBE_SIZE = 24
_UNASSIGNED = "\U0010fffe"
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
_BUILT_IN = ""


class Run(NamedTuple):
    """A piece of text that one font draws; `font` is a file, or "" for the font built into Pillow."""

    font: str
    text: str


def runs(text: str, *, bold: bool = False) -> list[Run]:
    r"""Split a text into pieces that one font each can draw.

    Line breaks and control characters become spaces. A character that no font of this machine has becomes its
    plain letter ("é" -> "e"), or else its code ("\u732b"): never an empty box.
    """
    pieces: list[Run] = []
    for char in _clean(text):
        last = pieces[-1].font if pieces else None
        if last is not None and _stays(char, last, _fonts(bold)[0]):
            font, drawn = last, char
        elif char in _JOINERS:
            continue
        else:
            font, drawn = _drawable(char, bold)
        if font == last:
            pieces[-1] = Run(font, pieces[-1].text + drawn)
        else:
            pieces.append(Run(font, drawn))
    return pieces


@cache
def load(font: str, size: int) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels; that of a bitmap emoji font is the nearest it has (see `is_emoji`)."""
    if font == _BUILT_IN:
        built_in = ImageFont.load_default(size)
        assert isinstance(built_in, ImageFont.FreeTypeFont)
        return built_in
    for candidate in (*_EMOJI_SIZES, size) if is_emoji(font) else (size,):
        try:
            return ImageFont.truetype(font, candidate)
        except OSError:
            continue
    raise OSError(f"cannot open the font {font}")


def is_emoji(font: str) -> bool:
    """Whether a font holds coloured pictures, which come in few sizes and have to be scaled."""
    name = Path(font).stem.lower()
    return "emoji" in name or name == "seguiemj"


def _clean(text: str) -> str:
    spaced = "".join(" " if char.isspace() or unicodedata.category(char) == "Cc" else char for char in text)
    return "".join(
        char
        for char in unicodedata.normalize("NFC", spaced)
        if unicodedata.category(char) != "Cf" or (char in _JOINERS and features.check("raqm"))
    )


def _stays(char: str, font: str, primary: str) -> bool:
    """Whether a character goes on in the font of the one before it: all that font has, but plain words elsewhere."""
    if is_emoji(font):
        return char in _JOINERS
    bound = char == " " or char in _JOINERS or unicodedata.category(char)[0] == "M"
    return _covers(font, char) and (font == primary or bound or not _covers(primary, char))


@cache
def _drawable(char: str, bold: bool) -> tuple[str, str]:
    """The font for a character, and what to draw in its place."""
    order = _emoji() + _fonts(bold) if ord(char) >= _EMOJI_FROM else _fonts(bold) + _emoji()
    for font in order:
        if _covers(font, char):
            return font, char
    primary = _fonts(bold)[0]
    plain = "".join(c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c)[0] != "M")
    if plain and all(_covers(primary, c) for c in plain):
        return primary, plain
    return primary, char.encode("ascii", "backslashreplace").decode()


@cache
def _covers(font: str, char: str) -> bool:
    if char == " " or unicodedata.category(char) == "Cs":
        return char == " "
    try:
        return _bits(font, char) != _bits(font, _UNASSIGNED)
    except (OSError, ValueError):
        return False


def _bits(font: str, char: str) -> tuple[tuple[int, int], bytes]:
    mask = _probe(font).getmask(char)
    return mask.size, bytes(mask)


@cache
def _probe(font: str) -> ImageFont.FreeTypeFont:
    # Without shaping, which would put a dotted circle under a mark that stands alone.
    return load(font, _PROBE_SIZE).font_variant(layout_engine=ImageFont.Layout.BASIC)


@cache
def _fonts(bold: bool) -> tuple[str, ...]:
    """The text font, then fonts to fall back on: files, best first; the built-in one at the end."""
    files = _files()
    first = [files[pair[bold]] for pair in _PREFERRED if pair[bold] in files]
    if bold and not first:
        return _fonts(False)
    others = sorted(
        (name for name in files if not is_emoji(name) and not any(style in name for style in _OTHER_STYLES)),
        key=lambda name: ("sans" not in name, "noto" not in name, name),
    )
    return (*dict.fromkeys([*first, *(files[name] for name in others[:_MAX_FALLBACKS])]), _BUILT_IN)


@cache
def _emoji() -> tuple[str, ...]:
    return tuple(path for name, path in sorted(_files().items()) if is_emoji(name))


@cache
def _files() -> dict[str, str]:
    """Font files of this machine by lower-case stem."""
    found: dict[str, str] = {}
    for folder in _folders():
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name.lower())
                if suffix in (".ttf", ".otf", ".ttc"):
                    found.setdefault(stem, os.path.join(parent, name))
    return found


def _folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        return [
            Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"),
            home / "AppData/Local/Microsoft/Windows/Fonts",
        ]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [*(Path(folder, "fonts") for folder in shared.split(":")), home / ".local/share/fonts", home / ".fonts"]
