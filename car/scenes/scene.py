"""A scene: drawings of things on painted stuff, with exact masks and a caption, all from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from car.errors import InputError
from car.scenes.backgrounds import ABOVE, BELOW, STUFF, paint
from car.scenes.camera import draw_camera
from car.scenes.objects import Look, draw_look, paint_object
from car.scenes.sprites import concepts
from car.scenes.words import NUMBERS, plural, with_article

VERSION = 2
"""Goes into every seed; raised whenever the same seed would give another picture."""
REPEATS_TINTED = 0.6
"""Share of recoloured objects among those whose concept the scene shows already: colour then tells them apart."""
LARGEST = 0.95
"""Greatest extent of an object as a share of the short side: more would hardly fit."""
TRIES = 8


@dataclass(frozen=True)
class Layout:
    """How objects share the picture.

    zoom: factor of their size.
    visible: an object is only laid over others that keep at least this share of their pixels.
    inside: least share of an object's pixels that lies within the picture.
    """

    zoom: float
    visible: float
    inside: float


LAYOUTS = {
    "sparse": Layout(0.7, 1.0, 1.0),
    "usual": Layout(1.0, 0.4, 0.75),
    "crowded": Layout(1.35, 0.3, 0.6),
}


@dataclass(frozen=True)
class Scene:
    """A picture with everything that is known about it.

    image: uint8 RGB (H, W, 3).
    masks: bool (N, H, W), the visible pixels of each object; disjoint, none empty.
    names: the N objects' concepts, back to front; a concept can be there more than once.
    colours: the colour each object was recoloured to, or None for its own colours.
    textures: what is painted over each object ("striped", "dotted", "checked"), or None.
    background: what lies behind the objects: one kind of stuff, or two (above and below a horizon).
    caption: one sentence naming every object, its texture and colour where it was given one, and the background.
    horizon: the first row of the lower of two kinds of stuff; None where there is one kind.
    """

    image: np.ndarray
    masks: np.ndarray
    names: tuple[str, ...]
    colours: tuple[str | None, ...]
    textures: tuple[str | None, ...]
    background: tuple[str, ...]
    caption: str
    horizon: int | None = None

    @property
    def labels(self) -> np.ndarray:
        """Label map of the objects, uint8 (H, W): 0 is background, i + 1 is object i."""
        order = np.arange(1, len(self.masks) + 1, dtype=np.uint8)
        return (self.masks * order[:, None, None]).sum(axis=0, dtype=np.uint8)

    @property
    def concepts(self) -> dict[str, np.ndarray]:
        """The visible pixels of each concept that is there, bool (H, W), in the order of `names`."""
        names = np.array(self.names)
        return {name: self.masks[names == name].any(axis=0) for name in dict.fromkeys(self.names)}


def scene(
    seed: int,
    *,
    size: tuple[int, int] = (112, 112),
    objects: tuple[int, int] = (1, 4),
    among: Sequence[str] | None = None,
    background: Sequence[str] | None = None,
    artwork: str = "train",
    layout: str = "usual",
    repeats: float = 0.2,
    textured: float = 0.0,
    camera: float = 0.5,
) -> Scene:
    """Compose a scene. The same arguments give the same scene, byte for byte.

    Args:
        seed: not negative. Seeds from 2**40 on are what the embedded model was trained on.
        size: (H, W) in pixels.
        objects: least and most number of objects. Fewer are shown where they would cover each other.
        among: concepts to draw from, names as in `concepts()`; all by default.
        background: one or two kinds of stuff (above, below), names as in `STUFF`; drawn at random by default.
        artwork: "train" draws things as the embedded model saw them; "held" shows only concepts that have a drawing
            kept from its training, and that drawing.
        layout: "sparse" (small, apart, whole), "usual", or "crowded" (large, covering each other, cut by the border).
        repeats: chance that an object is one more of a concept already there, in [0, 1].
        textured: chance that an object is striped, dotted or checked, in [0, 1].
        camera: chance that the picture has uneven light, soft focus, noise or JPEG artefacts, in [0, 1].

    Raises:
        InputError: an unknown name, an empty range or size, a chance outside [0, 1], or a negative seed.

    Examples:
        >>> s = scene(7, among=["cat", "dog"], objects=(2, 2), background=["grass"], repeats=0)
        >>> s.image.shape, s.masks.shape, sorted(s.names)
        ((112, 112, 3), (2, 112, 112), ['cat', 'dog'])
    """
    height, width = size
    check(seed, size, objects, background, layout, {"repeats": repeats, "textured": textured, "camera": camera})
    names = drawable(among, artwork)
    rng = np.random.default_rng([VERSION, seed])
    stuff = tuple(background) if background is not None else draw_background(rng)
    image, horizon = paint_background(stuff, rng, height, width)
    labels = np.zeros((height, width), np.uint8)
    looks = draw_looks(rng, names, int(rng.integers(objects[0], objects[1] + 1)), artwork, repeats, textured)
    low, high = (min(LARGEST, bound * LAYOUTS[layout].zoom) * min(size) for bound in size_range(len(looks)))
    shown: list[Look] = []
    sizes = np.zeros(len(looks) + 1, np.int64)
    for look in looks:
        patch = paint_object(look, rng.uniform(low, high))
        if place(patch, image, labels, sizes, len(shown) + 1, LAYOUTS[layout], rng):
            shown.append(look)
    if rng.random() < camera:
        image = draw_camera(rng).take(image)
    masks = labels[None] == np.arange(1, len(shown) + 1, dtype=np.uint8)[:, None, None]
    things = tuple(look.concept for look in shown)
    colours, textures = tuple(look.colour for look in shown), tuple(look.texture for look in shown)
    return Scene(image, masks, things, colours, textures, stuff, describe(things, colours, textures, stuff), horizon)


def check(
    seed: int,
    size: tuple[int, int],
    objects: tuple[int, int],
    background: Sequence[str] | None,
    layout: str,
    chances: dict[str, float],
) -> None:
    """Refuse arguments of `scene` that mean nothing."""
    if seed < 0:
        raise InputError(f"Expected argument `seed` to be at least 0, but got {seed}.")
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"Expected argument `size` to be (height, width), each at least 1, but got {size}.")
    if not 0 <= objects[0] <= objects[1] <= 200:
        raise InputError(f"Expected argument `objects` to be (least, most) within [0, 200], but got {objects}.")
    if background is not None and (not 1 <= len(background) <= 2 or not set(background) <= set(STUFF)):
        raise InputError(f"Expected argument `background` to be one or two of {', '.join(STUFF)}; got {background}.")
    if layout not in LAYOUTS:
        raise InputError(f"Expected argument `layout` to be one of {', '.join(LAYOUTS)}, but got {layout!r}.")
    for name, chance in chances.items():
        if not 0 <= chance <= 1:
            raise InputError(f"Expected argument `{name}` to be within [0, 1], but got {chance}.")


def drawable(among: Sequence[str] | None, artwork: str) -> list[str]:
    """The concepts that a scene may show."""
    if artwork not in ("train", "held"):
        raise InputError(f"Expected argument `artwork` to be 'train' or 'held', but got {artwork!r}.")
    names = list(concepts()) if among is None else list(dict.fromkeys(among))
    if unknown := [name for name in names if name not in concepts()]:
        raise InputError(f"No drawing of {unknown[0]!r}; `car.scenes.concepts()` lists what there is.")
    if artwork == "train":
        return names
    if held := [name for name in names if concepts()[name].held is not None]:
        return held
    raise InputError(f"No drawing of {', '.join(names)} was kept from training.")


def size_range(count: int) -> tuple[float, float]:
    """Least and most extent of an object as a share of the short side, by number of objects."""
    return ((0.4, 0.9), (0.4, 0.9), (0.4, 0.7), (0.28, 0.5), (0.28, 0.5), (0.24, 0.42))[min(count, 5)]


def draw_looks(
    rng: np.random.Generator, names: Sequence[str], count: int, artwork: str, repeats: float, textured: float
) -> list[Look]:
    """What is to be shown: up to `count` objects, fewer where the concepts run out."""
    fresh = iter(rng.permutation(len(names)))
    looks: list[Look] = []
    for _ in range(count):
        again = bool(looks) and rng.random() < repeats
        name = looks[rng.integers(len(looks))].concept if again else next((names[i] for i in fresh), None)
        if name is None:
            break
        tinted = {"tinted": REPEATS_TINTED} if again else {}
        looks.append(draw_look(rng, name, artwork, textured=textured, **tinted))
    return looks


def draw_background(rng: np.random.Generator) -> tuple[str, ...]:
    """One kind of stuff, or one above another."""
    if rng.random() < 0.6:
        return (tuple(STUFF)[rng.integers(len(STUFF))],)
    return ABOVE[rng.integers(len(ABOVE))], BELOW[rng.integers(len(BELOW))]


def paint_background(
    stuff: tuple[str, ...], rng: np.random.Generator, height: int, width: int
) -> tuple[np.ndarray, int | None]:
    """The picture of one kind of stuff, or of two that meet at a horizon, uint8 RGB; and the horizon, if any."""
    if len(stuff) == 1 or height < 2:
        return paint(stuff[0], rng, height, width), None
    horizon = min(height - 1, max(1, round(height * rng.uniform(0.3, 0.65))))
    above, below = paint(stuff[0], rng, horizon, width), paint(stuff[1], rng, height - horizon, width)
    return np.concatenate([above, below]), horizon


def place(
    patch: np.ndarray,
    image: np.ndarray,
    labels: np.ndarray,
    sizes: np.ndarray,
    label: int,
    layout: Layout,
    rng: np.random.Generator,
) -> bool:
    """Lay a patch over the image where the layout allows; False, with nothing drawn, where no such place was found.

    `sizes` has the visible pixels of each label, and is kept up to date.
    """
    solid = patch[..., 3] >= 128
    if not (area := np.count_nonzero(solid)):
        return False
    slacks = [0 if layout.inside == 1 else length // 8 for length in solid.shape]
    for _ in range(TRIES):
        top, left = (draw_start(rng, *n) for n in zip(labels.shape, solid.shape, slacks, strict=True))
        cut, inner = overlap(labels.shape, solid.shape, top, left)
        own = solid[inner]
        covered = np.count_nonzero(own)
        if not covered or (covered < layout.inside * area and min(labels.shape) > 8):
            continue
        hidden = np.bincount(labels[cut][own], minlength=len(sizes))
        if np.all((sizes - hidden)[1:] >= layout.visible * sizes[1:]):
            np.copyto(labels[cut], label, where=own)
            image[cut] = over(patch[inner], image[cut])
            sizes -= hidden
            sizes[label] += covered
            return True
    return False


def draw_start(rng: np.random.Generator, side: int, length: int, slack: int) -> int:
    """Where a patch of this length starts along one side; as much as `slack` of it may lie outside."""
    return int(rng.integers(min(-slack, side - length + slack), max(side - length + slack, -slack) + 1))


def overlap(
    canvas: tuple[int, ...], patch: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch laid at (top, left) meets the canvas: the part of the canvas, and that of the patch."""
    spans = [
        (max(0, start), max(0, min(side, start + length)), max(0, -start))
        for side, length, start in zip(canvas, patch, (top, left), strict=True)
    ]
    outer = [slice(start, stop) for start, stop, _ in spans]
    inner = [slice(skip, skip + max(0, stop - start)) for start, stop, skip in spans]
    return (outer[0], outer[1]), (inner[0], inner[1])


def over(patch: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA over RGB, uint8."""
    keep = cv2.bitwise_not(patch[..., 3])
    return cv2.add(patch[..., :3], cv2.multiply(image, cv2.merge([keep] * 3), scale=1 / 255))


def describe(
    names: Sequence[str], colours: Sequence[str | None], textures: Sequence[str | None], background: Sequence[str]
) -> str:
    """The caption: "a red cat and two dogs on grass under a brick wall"."""
    worded = [
        (" ".join(word for word in (texture, colour) if word), name)
        for name, colour, texture in zip(names, colours, textures, strict=True)
    ]
    things = []
    for looks, name in dict.fromkeys(worded):
        count = worded.count((looks, name))
        words = with_article(f"{looks} {name}".strip()) if count == 1 else f"{counted(count)} {looks} {plural(name)}"
        things.append(" ".join(words.split()))
    listed = " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things) or "nothing"
    place = f"{STUFF[background[-1]].place} {background[-1]}"
    return f"{listed} {place}" + (f" under {background[0]}" if len(background) > 1 else "")


def counted(count: int) -> str:
    """A number in words, or "many"."""
    return NUMBERS[count] if count < len(NUMBERS) else "many"
