"""The files that are made: what each holds, and what is in its place already."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageFile

from car.data.labels import Coding, decode, map_values
from car.errors import InputError
from car.export import reported

_MAPS = {".png": ("PNG", None), ".tif": ("TIFF", "tiff_adobe_deflate")}
_CLOSE = 8.0
"""JPEG pictures of the same scene, saved by other programs, differ less than this on average, in grey levels."""


class There(Enum):
    """What is in the place of an output."""

    NOTHING = "nothing"
    SAME = "the same"
    DAMAGED = "a file that cannot be read"
    UNSOUND = "a file of another size or with values out of range"
    OTHER = "a sound file that says something else"


class Output(Protocol):
    """A file to be made."""

    @property
    def path(self) -> Path: ...

    @property
    def content(self) -> bytes: ...

    def there(self) -> There:
        """What is in its place; CarError where that cannot be found out."""


@dataclass(frozen=True)
class LabelMap:
    """A label map: grey PNG of 8 bits, or TIFF of 16 bits, by the path's suffix.

    values: (H, W) uint8 or uint16, as they go into the file.
    classes: how many there are; coding: how values name them.
    """

    path: Path
    values: np.ndarray
    classes: int
    coding: Coding

    @property
    def content(self) -> bytes:
        image_format, compression = _MAPS[self.path.suffix]
        buffer = io.BytesIO()
        options = {} if compression is None else {"compression": compression}
        Image.fromarray(self.values).save(buffer, image_format, **options)
        return buffer.getvalue()

    @cached_property
    def seen(self) -> list[int]:
        """Ids of the classes that are in it, ascending."""
        ids = np.unique(self.values).astype(int) - self.coding.first
        return [int(i) for i in ids if 0 <= i < self.classes]

    def there(self) -> There:
        found = _found(self.path, ("PNG", "TIFF"), self._values)
        if isinstance(found, There):
            return found
        if found.shape != self.values.shape:
            return There.UNSOUND
        return There.SAME if np.array_equal(found, self.values) else There.OTHER

    def _values(self, image: ImageFile.ImageFile) -> np.ndarray:
        values = map_values(image)
        decode(values, self.coding, self.classes, background=True)
        return values


@dataclass(frozen=True)
class Picture:
    """A picture as JPEG; another program's JPEG of the same pixels is as good.

    pixels: (H, W, 3) uint8 RGB.
    """

    path: Path
    pixels: np.ndarray
    content: bytes

    def there(self) -> There:
        found = _found(self.path, ("JPEG",), lambda image: np.asarray(image.convert("RGB"), np.int16))
        if isinstance(found, There):
            return found
        if found.shape != self.pixels.shape:
            return There.UNSOUND
        return There.SAME if np.abs(found - self.pixels).mean() <= _CLOSE else There.OTHER


@dataclass(frozen=True)
class KeyList:
    """The list of a split: a key a line."""

    path: Path
    keys: tuple[str, ...]

    @property
    def content(self) -> bytes:
        return "".join(f"{key}\n" for key in self.keys).encode()

    def there(self) -> There:
        content = _read(self.path)
        if content is None:
            return There.NOTHING
        return There.SAME if content.split() == self.content.split() else There.OTHER


def write(output: Output) -> None:
    """Write an output, whole or not at all; CarError where that fails.

    What a kill leaves has a name of its own for each output, so that the next attempt replaces it.
    """
    unfinished = output.path.with_name(f".{output.path.name}.tmp")
    with reported(output.path):
        try:
            unfinished.write_bytes(output.content)
            os.replace(unfinished, output.path)
        finally:
            unfinished.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    with reported(path):
        return path.read_bytes() if os.path.lexists(path) else None


def _found(
    path: Path, formats: tuple[str, ...], pixels: Callable[[ImageFile.ImageFile], np.ndarray]
) -> np.ndarray | There:
    """Pixels of the file in an output's place."""
    content = _read(path)
    if content is None:
        return There.NOTHING
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            return pixels(image)
    except InputError:
        return There.UNSOUND
    except Exception:  # Pillow's readers raise nearly anything on a damaged file
        return There.DAMAGED
