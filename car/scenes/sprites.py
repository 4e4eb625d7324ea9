"""The sprite sheet: drawings of everyday things, cut from Noto Color Emoji (see LICENSE.glyphs)."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from car.errors import MissingError

ROOM = files("car.scenes")


@dataclass(frozen=True)
class Concept:
    """A thing that scenes can show.

    name: what captions call it.
    synonyms: other words for it.
    boxes: its drawings on the sheet, (x0, y0, x1, y1) pixels, exclusive end.
    """

    name: str
    synonyms: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]

    @property
    def held(self) -> int | None:
        """Index of the drawing that training never sees (the last of several); None where there is only one."""
        return len(self.boxes) - 1 if len(self.boxes) >= 2 else None

    def drawings(self, artwork: str) -> range:
        """Indices of the drawings that `artwork` ("train" or "held") may use; the only one where none is held out."""
        if self.held is None:
            return range(len(self.boxes))
        return range(self.held) if artwork == "train" else range(self.held, self.held + 1)


@cache
def concepts() -> dict[str, Concept]:
    """Every concept by name, in the order of the sheet."""
    index = json.loads(ROOM.joinpath("sprites.json").read_text(encoding="utf-8"))
    return {
        name: Concept(name, tuple(entry["synonyms"]), tuple(tuple(box) for box in entry["boxes"]))
        for name, entry in index.items()
    }


@cache
def sheet() -> np.ndarray:
    """The sheet, uint8 RGBA (H, W, 4), colours premultiplied by alpha so that they resample without fringes."""
    data = np.frombuffer(ROOM.joinpath("sprites.png").read_bytes(), np.uint8)
    bgra = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if bgra is None:
        raise MissingError("The sprite sheet of car.scenes cannot be read; install the package again.")
    alpha = bgra[..., 3:]
    colour = bgra[..., 2::-1].astype(np.uint16) * alpha
    return np.concatenate([((colour + 127) // 255).astype(np.uint8), alpha], axis=-1)


@cache
def mips(name: str, drawing: int) -> tuple[np.ndarray, ...]:
    """One drawing at its full, half and quarter size, premultiplied uint8 RGBA."""
    x0, y0, x1, y1 = concepts()[name].boxes[drawing]
    full = np.ascontiguousarray(sheet()[y0:y1, x0:x1])
    height, width = full.shape[:2]
    smaller = ((max(1, width // k), max(1, height // k)) for k in (2, 4))
    return (full, *(cv2.resize(full, size, interpolation=cv2.INTER_AREA) for size in smaller))
