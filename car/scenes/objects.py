"""One object of a scene: which drawing, how it is turned, coloured and textured, and its picture at any size."""

from dataclasses import dataclass

import cv2
import numpy as np

from car.scenes.sprites import concepts, mips

COLOURS = {
    "red": (230, 35, 35),
    "orange": (250, 140, 30),
    "yellow": (250, 220, 40),
    "green": (50, 180, 60),
    "blue": (45, 95, 225),
    "purple": (150, 60, 200),
    "pink": (250, 130, 180),
    "brown": (140, 90, 50),
    "gray": (150, 150, 150),
    "white": (250, 250, 250),
    "black": (45, 45, 50),
}
TEXTURES = ("striped", "dotted", "checked")
TINTED = 0.25
"""Share of objects that are recoloured; the caption then says so."""
LUMA = np.array([0.3, 0.59, 0.11])


@dataclass(frozen=True)
class Look:
    """How one object looks, at whatever size it is drawn.

    concept: what it is, a name of `concepts()`.
    drawing: which of the concept's drawings.
    colour: the colour of `COLOURS` it is recoloured to, or None for its own.
    texture: what is painted over it, one of `TEXTURES`, or None.
    angle: radians it is turned by.
    stretch: factor of its width, and of its height inversely.
    mirror: whether left and right change places.
    light: gain of red, green and blue.
    """

    concept: str
    drawing: int
    colour: str | None
    texture: str | None
    angle: float
    stretch: float
    mirror: bool
    light: tuple[float, float, float]


def draw_look(
    rng: np.random.Generator, concept: str, artwork: str, *, tinted: float = TINTED, textured: float = 0.0
) -> Look:
    """A look at random; `tinted` and `textured` are the chances of a colour and of a texture."""
    drawings = concepts()[concept].drawings(artwork)
    drawing = drawings[rng.integers(len(drawings))]
    angle, stretch, mirror = rng.normal(0, 0.21), np.exp(rng.normal(0, 0.08)), rng.random() < 0.5
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))] if rng.random() < tinted else None
    texture = TEXTURES[rng.integers(len(TEXTURES))] if rng.random() < textured else None
    red, green, blue = rng.uniform(0.9, 1.08) * rng.uniform(0.95, 1.05, 3)
    return Look(concept, drawing, colour, texture, float(angle), float(stretch), bool(mirror), (red, green, blue))


def paint_object(look: Look, extent: float) -> np.ndarray:
    """The picture of an object whose longer side is `extent` pixels before it is turned.

    Returns:
        Premultiplied RGBA, uint8 (h, w, 4), just large enough.
    """
    sprite = best_mip(mips(look.concept, look.drawing), extent)
    height, width = sprite.shape[:2]
    matrix = turned(look, extent / max(height, width))
    span = np.abs(matrix) @ np.array([width, height])
    columns, rows = (max(1, int(np.ceil(n))) for n in span)
    middle, source = np.array([columns - 1, rows - 1]) / 2, np.array([width - 1, height - 1]) / 2
    affine = np.column_stack([matrix, middle - matrix @ source])
    patch = cv2.warpAffine(sprite, affine, (columns, rows), flags=cv2.INTER_LINEAR)
    patch = cv2.transform(patch, colour_matrix(look))
    return patch if look.texture is None else textured(patch, look.texture, extent)


def turned(look: Look, scale: float) -> np.ndarray:
    """Matrix (2, 2) from (x, y) on a drawing to the picture: its scale, stretch, mirror and angle."""
    cosine, sine = np.cos(look.angle), np.sin(look.angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn @ np.diag([(-1 if look.mirror else 1) * scale * look.stretch, scale / look.stretch])


def best_mip(levels: tuple[np.ndarray, ...], extent: float) -> np.ndarray:
    """The smallest level that is not smaller than what is drawn."""
    fitting = [level for level in levels if max(level.shape) >= extent]
    return fitting[-1] if fitting else levels[0]


def colour_matrix(look: Look) -> np.ndarray:
    """Matrix (4, 4) on premultiplied RGBA: the light on the object, and the recolouring if there is one."""
    mix = np.eye(3)
    if look.colour is not None:
        mix = 0.2 * mix + np.outer(np.array(COLOURS[look.colour]) / 255 * 1.15, LUMA)
    out = np.eye(4)
    out[:3, :3] = mix * np.array(look.light)[:, None]
    return out


def textured(patch: np.ndarray, texture: str, extent: float) -> np.ndarray:
    """A patch with dark stripes, dots or checks painted over its colours; its outline stays."""
    period = max(4.0, extent / 6)
    ys, xs = (np.arange(n) % period / period for n in patch.shape[:2])
    if texture == "striped":
        marked = np.broadcast_to((ys < 0.5)[:, None], patch.shape[:2])
    elif texture == "dotted":
        marked = np.hypot(ys[:, None] - 0.5, xs[None] - 0.5) < 0.3
    else:
        marked = (ys[:, None] < 0.5) ^ (xs[None] < 0.5)
    out = patch.copy()
    out[..., :3][marked] //= 3
    return out
