"""A scene: drawings of things on painted stuff, with exact masks and a caption, all from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from car.errors import InputError
from car.scenes.backgrounds import ABOVE, BELOW, STUFF, paint
from car.scenes.sprites import concepts, mips

VERSION = 1
"""Goes into every seed; raised whenever the same seed would give another picture."""

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
TINTED = 0.25
"""Share of objects that are recoloured; the caption then says so."""
LUMA = np.array([0.3, 0.59, 0.11])
VISIBLE = 0.4
"""An object is only laid over others that keep at least this share of their pixels."""
TRIES = 8


@dataclass(frozen=True)
class Scene:
    """A picture with everything that is known about it.

    image: uint8 RGB (H, W, 3).
    masks: bool (N, H, W), the visible pixels of each object; disjoint, none empty.
    names: the N objects' concepts, all different, back to front.
    colours: the colour each object was recoloured to, or None for its own colours.
    background: what lies behind the objects: one kind of stuff, or two (above and below a horizon).
    caption: one sentence naming every object, its colour where recoloured, and the background.
    """

    image: np.ndarray
    masks: np.ndarray
    names: tuple[str, ...]
    colours: tuple[str | None, ...]
    background: tuple[str, ...]
    caption: str

    @property
    def labels(self) -> np.ndarray:
        """Label map uint8 (H, W): 0 is background, i + 1 is object i."""
        order = np.arange(1, len(self.masks) + 1, dtype=np.uint8)
        return (self.masks * order[:, None, None]).sum(axis=0, dtype=np.uint8)


def scene(
    seed: int,
    *,
    size: tuple[int, int] = (112, 112),
    objects: tuple[int, int] = (1, 4),
    among: Sequence[str] | None = None,
    background: Sequence[str] | None = None,
    artwork: str = "train",
) -> Scene:
    """Compose a scene. The same arguments give the same scene, byte for byte.

    Args:
        seed: not negative. Seeds from 2**40 on are what the embedded model was trained on.
        size: (H, W) in pixels.
        objects: least and most number of objects. Fewer are shown where they would cover each other.
        among: concepts to draw from, names as in `concepts()`; all by default.
        background: one or two kinds of stuff (above, below), names as in `STUFF`; drawn at random by default.
        artwork: "train" draws things as the embedded model saw them, "held" uses the drawings kept from its training
            for the concepts that have one.

    Raises:
        InputError: an unknown name, an empty range or size, or a negative seed.

    Examples:
        >>> s = scene(7, among=["cat", "dog"], objects=(2, 2), background=["grass"])
        >>> s.image.shape, s.masks.shape, sorted(s.names)
        ((112, 112, 3), (2, 112, 112), ['cat', 'dog'])
    """
    height, width = size
    names = validated(seed, size, objects, among, background, artwork)
    rng = np.random.default_rng([VERSION, seed])
    stuff = tuple(background) if background is not None else draw_background(rng)
    image = paint_background(stuff, rng, height, width)
    labels = np.zeros((height, width), np.uint8)
    count = min(int(rng.integers(objects[0], objects[1] + 1)), len(names))
    chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
    low, high = size_range(count)
    shown: list[tuple[str, str | None]] = []
    for name in chosen:
        patch, colour = draw_object(name, rng, rng.uniform(low, high) * min(size), artwork)
        if place(patch, image, labels, len(shown) + 1, rng):
            shown.append((name, colour))
    masks = labels[None] == np.arange(1, len(shown) + 1, dtype=np.uint8)[:, None, None]
    things, colours = tuple(name for name, _ in shown), tuple(colour for _, colour in shown)
    return Scene(image, masks, things, colours, stuff, describe(things, colours, stuff))


def validated(
    seed: int,
    size: tuple[int, int],
    objects: tuple[int, int],
    among: Sequence[str] | None,
    background: Sequence[str] | None,
    artwork: str,
) -> list[str]:
    """The concepts to draw from, after every argument of `scene` has been checked."""
    if seed < 0:
        raise InputError(f"Expected argument `seed` to be at least 0, but got {seed}.")
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"Expected argument `size` to be (height, width), each at least 1, but got {size}.")
    if not 0 <= objects[0] <= objects[1] <= 200:
        raise InputError(f"Expected argument `objects` to be (least, most) within [0, 200], but got {objects}.")
    if artwork not in ("train", "held"):
        raise InputError(f"Expected argument `artwork` to be 'train' or 'held', but got {artwork!r}.")
    if background is not None and (not 1 <= len(background) <= 2 or not set(background) <= set(STUFF)):
        raise InputError(f"Expected argument `background` to be one or two of {', '.join(STUFF)}; got {background}.")
    names = list(concepts()) if among is None else list(dict.fromkeys(among))
    if unknown := [name for name in names if name not in concepts()]:
        raise InputError(f"No drawing of {unknown[0]!r}; `car.scenes.concepts()` lists what there is.")
    return names


def size_range(count: int) -> tuple[float, float]:
    """Least and most extent of an object as a share of the short side, by number of objects."""
    return ((0.4, 0.9), (0.4, 0.9), (0.4, 0.7), (0.28, 0.5))[min(count, 3)]


def draw_background(rng: np.random.Generator) -> tuple[str, ...]:
    """One kind of stuff, or one above another."""
    if rng.random() < 0.6:
        return (tuple(STUFF)[rng.integers(len(STUFF))],)
    return ABOVE[rng.integers(len(ABOVE))], BELOW[rng.integers(len(BELOW))]


def paint_background(stuff: tuple[str, ...], rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The picture of one kind of stuff, or of two that meet at a horizon, uint8 RGB."""
    if len(stuff) == 1 or height < 2:
        return paint(stuff[0], rng, height, width)
    horizon = min(height - 1, max(1, round(height * rng.uniform(0.3, 0.65))))
    above, below = paint(stuff[0], rng, horizon, width), paint(stuff[1], rng, height - horizon, width)
    return np.concatenate([above, below])


def draw_object(name: str, rng: np.random.Generator, extent: float, artwork: str) -> tuple[np.ndarray, str | None]:
    """One thing turned, stretched, perhaps mirrored and recoloured: premultiplied RGBA uint8 and the colour's name."""
    drawings = concepts()[name].drawings(artwork)
    sprite = best_mip(mips(name, drawings[rng.integers(len(drawings))]), extent)
    height, width = sprite.shape[:2]
    scale = extent / max(height, width)
    angle = np.deg2rad(rng.normal(0, 12))
    stretch = np.exp(rng.normal(0, 0.08))
    mirror = 1 if rng.random() < 0.5 else -1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([mirror * scale * stretch, scale / stretch])
    span = np.abs(matrix) @ np.array([width, height])
    columns, rows = (max(1, int(np.ceil(n))) for n in span)
    middle, source = np.array([columns - 1, rows - 1]) / 2, np.array([width - 1, height - 1]) / 2
    affine = np.column_stack([matrix, middle - matrix @ source])
    patch = cv2.warpAffine(sprite, affine, (columns, rows), flags=cv2.INTER_LINEAR)
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))] if rng.random() < TINTED else None
    return cv2.transform(patch, colour_matrix(colour, rng)), colour


def best_mip(levels: tuple[np.ndarray, ...], extent: float) -> np.ndarray:
    """The smallest level that is not smaller than what is drawn."""
    fitting = [level for level in levels if max(level.shape) >= extent]
    return fitting[-1] if fitting else levels[0]


def colour_matrix(colour: str | None, rng: np.random.Generator) -> np.ndarray:
    """Matrix (4, 4) on premultiplied RGBA: a small change of light, and the recolouring if there is one."""
    mix = np.eye(3)
    if colour is not None:
        mix = 0.2 * mix + np.outer(np.array(COLOURS[colour]) / 255 * 1.15, LUMA)
    out = np.eye(4)
    out[:3, :3] = mix * rng.uniform(0.9, 1.08) * rng.uniform(0.95, 1.05, (3, 1))
    return out


def place(patch: np.ndarray, image: np.ndarray, labels: np.ndarray, label: int, rng: np.random.Generator) -> bool:
    """Lay a patch over the image where it hides little; False, with nothing drawn, where no such place was found."""
    solid = patch[..., 3] >= 128
    if not (area := int(solid.sum())):
        return False
    sizes = np.bincount(labels.ravel(), minlength=label)
    for _ in range(TRIES):
        rows, columns = (draw_span(rng, n, m) for n, m in zip(labels.shape, solid.shape, strict=True))
        cut = (slice(rows[0], rows[1]), slice(columns[0], columns[1]))
        inner = (slice(rows[2], rows[2] + rows[1] - rows[0]), slice(columns[2], columns[2] + columns[1] - columns[0]))
        own = solid[inner]
        if own.sum() < 0.75 * area and min(labels.shape) > 8:
            continue
        hidden = np.bincount(labels[cut][own], minlength=label)
        if own.any() and np.all((sizes - hidden)[1:] >= VISIBLE * sizes[1:]):
            labels[cut][own] = label
            image[cut] = over(patch[inner], image[cut])
            return True
    return False


def draw_span(rng: np.random.Generator, side: int, length: int) -> tuple[int, int, int]:
    """Where a patch of this length falls along one side: start and stop in the image, start in the patch."""
    slack = length // 8
    start = int(rng.integers(min(-slack, side - length + slack), max(side - length + slack, -slack) + 1))
    return max(0, start), min(side, start + length), max(0, -start)


def over(patch: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA over RGB, uint8."""
    keep = 255 - patch[..., 3:].astype(np.uint16)
    return cv2.add(patch[..., :3], ((image * keep + 127) // 255).astype(np.uint8))


def describe(names: Sequence[str], colours: Sequence[str | None], background: Sequence[str]) -> str:
    """The caption: "a red cat and a dog on grass under a brick wall"."""
    things = [with_article(f"{c} {n}" if c else n) for n, c in zip(names, colours, strict=True)]
    listed = " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things) or "nothing"
    place = f"{STUFF[background[-1]].place} {background[-1]}"
    return f"{listed} {place}" + (f" under {background[0]}" if len(background) > 1 else "")


def with_article(words: str) -> str:
    """ "a cat", "an apple"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"
