"""A film: things that move, cross, leave the picture and come back, with exact masks and identities, from one seed."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from car.errors import InputError
from car.scenes.camera import Camera, draw_camera
from car.scenes.objects import Look, best_mip, colour_matrix, textured, turned
from car.scenes.paths import EVENTS, draw_paths
from car.scenes.scene import (
    VERSION,
    Scene,
    check,
    describe,
    draw_background,
    draw_looks,
    drawable,
    over,
    paint_background,
    size_range,
)
from car.scenes.sprites import mips

FILM = 0xF11
"""Goes into every seed, so that a film shares no chance with the scene of its seed."""
ZOOM = 0.75
"""Factor of an actor's size to that of an object of a scene: it needs room to move."""


@dataclass(frozen=True)
class Actor:
    """One thing of a film: how it looks, and its longer side in pixels, about; it changes as the actor moves."""

    look: Look
    extent: float

    def picture(self) -> np.ndarray:
        """Its drawing, coloured and textured, premultiplied uint8 RGBA."""
        sprite = best_mip(mips(self.look.concept, self.look.drawing), self.extent)
        sprite = cv2.transform(sprite, colour_matrix(self.look))
        return sprite if self.look.texture is None else textured(sprite, self.look.texture, max(sprite.shape))


@dataclass(frozen=True)
class Shot:
    """What the film shows from one cut to the next.

    first: its first frame.
    background: one kind of stuff, or two (above, below).
    scenery: seed of the background.
    cast: the actors that take part, back to front; all of them may be outside the picture for a while.
    paths: their poses by frame of the shot, as in `car.scenes.paths`.
    camera: its defects, the same all over the shot; the noise differs from frame to frame. None where it has none.
    """

    first: int
    background: tuple[str, ...]
    scenery: int
    cast: tuple[int, ...]
    paths: PchipInterpolator
    camera: Camera | None


@dataclass(frozen=True)
class Film:
    """A film. Frames are painted when they are asked for, so that a film of any length takes little memory.

    frames: how many.
    size: (H, W) in pixels.
    actors: the N things of the whole film; actor i keeps its index, and its look, from the first frame to the last.
    takes: the shots, in order.
    """

    frames: int
    size: tuple[int, int]
    actors: tuple[Actor, ...]
    takes: tuple[Shot, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The concept of each actor; a concept can be there more than once."""
        return tuple(actor.look.concept for actor in self.actors)

    @property
    def colours(self) -> tuple[str | None, ...]:
        """The colour each actor was recoloured to, or None for its own colours."""
        return tuple(actor.look.colour for actor in self.actors)

    @property
    def textures(self) -> tuple[str | None, ...]:
        """What is painted over each actor ("striped", "dotted", "checked"), or None."""
        return tuple(actor.look.texture for actor in self.actors)

    @cached_property
    def shots(self) -> tuple[int, ...]:
        """First frame of each shot; 0 is the first, and every other is a scene cut."""
        return tuple(shot.first for shot in self.takes)

    @property
    def backgrounds(self) -> tuple[tuple[str, ...], ...]:
        """The background of each shot: one kind of stuff, or two (above, below)."""
        return tuple(shot.background for shot in self.takes)

    def frame(self, time: int) -> "FilmFrame":
        """Frame number `time` from 0, the same bytes whenever it is asked for; InputError where there is none."""
        shot = self.shot(time)
        image = backdrop(shot.scenery, shot.background, self.size)[0].copy()
        labels = np.zeros(self.size, np.uint8)
        for index, pose in zip(shot.cast, shot.paths(time - shot.first), strict=True):
            paint_actor(self.actors[index], pose, index + 1, image, labels)
        if shot.camera is not None:
            image = at_time(shot.camera, time).take(image)
        sizes = np.bincount(labels.ravel(), minlength=len(self.actors) + 1)
        return FilmFrame(self, time, image, labels, tuple(i for i in shot.cast if sizes[i + 1]))

    def shot(self, time: int) -> Shot:
        """The shot that a frame belongs to."""
        if not 0 <= time < self.frames:
            raise InputError(f"Expected a frame within [0, {self.frames - 1}], but got {time}.")
        return self.takes[bisect_right(self.shots, time) - 1]

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator["FilmFrame"]:
        return (self.frame(time) for time in range(self.frames))


@dataclass(frozen=True)
class FilmFrame:
    """One picture of a film with everything that is known about it.

    film: where it is from.
    time: its number from 0.
    image: uint8 RGB (H, W, 3).
    labels: uint8 (H, W), 0 is background, i + 1 the visible pixels of actor i of the film.
    present: the actors that are to be seen, back to front; may be none.
    """

    film: Film = field(repr=False)
    time: int
    image: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    present: tuple[int, ...]

    def mask(self, actors: Sequence[int]) -> np.ndarray:
        """The visible pixels of some actors together, bool (H, W); nothing where none of them is to be seen."""
        return np.isin(self.labels, np.array(actors, np.int64) + 1)

    def scene(self) -> Scene:
        """The frame as a scene of its own: object i of the scene is actor `present[i]` of the film."""
        masks = self.labels[None] == (np.array(self.present, np.uint8) + 1)[:, None, None]
        names = tuple(self.film.names[i] for i in self.present)
        colours = tuple(self.film.colours[i] for i in self.present)
        textures = tuple(self.film.textures[i] for i in self.present)
        shot = self.film.shot(self.time)
        caption = describe(names, colours, textures, shot.background)
        horizon = backdrop(shot.scenery, shot.background, self.film.size)[1]
        return Scene(self.image, masks, names, colours, textures, shot.background, caption, horizon)


def film(
    seed: int,
    *,
    frames: int = 48,
    size: tuple[int, int] = (144, 192),
    objects: tuple[int, int] = (2, 4),
    cuts: int = 1,
    artwork: str = "train",
    textured: float = 0.0,
    repeats: float = 0.3,
    camera: float = 0.5,
) -> Film:
    """Direct a film. The same arguments give the same film, byte for byte.

    Actors wander, change places (the one in front covers the other), go out of the picture and come back; about one of
    these happens every ten frames. At a cut background, places and depth change; at least one actor goes on from each
    shot to the next, and where there are more than two, some may be in one shot only.

    Args:
        seed: not negative.
        frames: length, at least 1. Crossings need about 15 frames in a shot, and a leave and return about 20.
        size: (H, W) in pixels.
        objects: least and most number of actors in the whole film.
        cuts: number of scene cuts, less than `frames`; the shots are about equally long.
        artwork: "train" or "held", as in `scene`.
        textured: chance that an actor is striped, dotted or checked, in [0, 1].
        repeats: chance that an actor is one more of a concept already there, in [0, 1].
        camera: chance per shot that it has uneven light, soft focus, noise or JPEG artefacts, in [0, 1].

    Raises:
        InputError: an empty range or size, a chance outside [0, 1], a negative seed, no frames, or more cuts than fit.

    Examples:
        >>> f = film(3, frames=20, objects=(2, 2), cuts=1)
        >>> len(f), len(f.names), f.shots[0], f.frame(19).image.shape
        (20, 2, 0, (144, 192, 3))
    """
    check(seed, size, objects, None, "usual", {"repeats": repeats, "textured": textured, "camera": camera})
    if frames < 1:
        raise InputError(f"Expected argument `frames` to be at least 1, but got {frames}.")
    if not 0 <= cuts < frames:
        raise InputError(f"Expected argument `cuts` to be within [0, {frames - 1}], but got {cuts}.")
    rng = np.random.default_rng([VERSION, seed, FILM])
    count = int(rng.integers(objects[0], objects[1] + 1))
    looks = draw_looks(rng, drawable(None, artwork), count, artwork, repeats, textured)
    low, high = (bound * ZOOM * min(size) for bound in size_range(len(looks)))
    actors = tuple(Actor(look, rng.uniform(low, high)) for look in looks)
    lengths = draw_lengths(rng, frames, cuts)
    casts = draw_casts(rng, len(actors), len(lengths))
    event = int(rng.integers(len(EVENTS)))
    firsts = accumulate(lengths[:-1], initial=0)
    takes: list[Shot] = []
    for i, (first, length, cast) in enumerate(zip(firsts, lengths, casts, strict=True)):
        previous = takes[-1].background if takes else ()
        background = next(b for b in iter(lambda: draw_background(rng), None) if b != previous)
        extents = np.array([actors[actor].extent for actor in cast])
        paths = draw_paths(rng, extents, length, size, EVENTS[(event + i) % len(EVENTS)])
        lens = draw_camera(rng) if rng.random() < camera else None
        takes.append(Shot(first, background, int(rng.integers(2**63)), cast, paths, lens))
    return Film(frames, (size[0], size[1]), actors, tuple(takes))


def draw_lengths(rng: np.random.Generator, frames: int, cuts: int) -> list[int]:
    """Frames of each shot, none shorter than half of the mean."""
    shots = cuts + 1
    least = max(1, frames // (2 * shots))
    spare = rng.multinomial(frames - shots * least, [1 / shots] * shots)
    return [least + int(n) for n in spare]


def draw_casts(rng: np.random.Generator, actors: int, shots: int) -> list[tuple[int, ...]]:
    """The actors of each shot, back to front: at least two where there are two, one of them from the shot before."""
    casts: list[list[int]] = []
    for _ in range(shots):
        others = [int(i) for i in rng.permutation(actors)[: rng.integers(min(2, actors), actors + 1)]]
        staying = {int(rng.choice(casts[-1]))} if actors and casts else set()
        casts.append([int(i) for i in rng.permutation([*({*others} | staying)])])
    for missing in set(range(actors)) - {actor for cast in casts for actor in cast}:
        cast = casts[rng.integers(shots)]
        cast.insert(int(rng.integers(len(cast) + 1)), missing)
    return [tuple(cast) for cast in casts]


@lru_cache(maxsize=2)
def backdrop(seed: int, stuff: tuple[str, ...], size: tuple[int, int]) -> tuple[np.ndarray, int | None]:
    """The picture behind a shot, uint8 RGB (H, W, 3), and its horizon; every frame of the shot starts from it."""
    return paint_background(stuff, np.random.default_rng([VERSION, seed, FILM]), *size)


def at_time(camera: Camera, time: int) -> Camera:
    """The same camera with the noise of one frame."""
    if camera.noise is None:
        return camera
    seed, deviation = camera.noise
    return replace(camera, noise=(int(np.random.default_rng([seed, time]).integers(2**31)), deviation))


def paint_actor(actor: Actor, pose: np.ndarray, label: int, image: np.ndarray, labels: np.ndarray) -> None:
    """Lay an actor over a picture and its label map, in place; its centre is not rounded to whole pixels."""
    row, column, extent, turn = (float(n) for n in pose)
    sprite = actor.picture()
    height, width = sprite.shape[:2]
    matrix = turned(replace(actor.look, angle=actor.look.angle + turn), np.exp(extent) / max(height, width))
    half_width, half_height = np.abs(matrix) @ np.array([width, height]) / 2
    rows, columns = span(row, half_height, labels.shape[0]), span(column, half_width, labels.shape[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    centre, source = np.array([column - columns.start, row - rows.start]), np.array([width - 1, height - 1]) / 2
    affine = np.column_stack([matrix, centre - matrix @ source])
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    patch = cv2.warpAffine(sprite, affine, shape, flags=cv2.INTER_LINEAR)
    image[rows, columns] = over(patch, image[rows, columns])
    labels[rows, columns][patch[..., 3] >= 128] = label


def span(middle: float, half: float, side: int) -> slice:
    """The pixels of a side that something reaches, with its soft edge."""
    return slice(max(0, int(np.floor(middle - half))), min(side, int(np.ceil(middle + half)) + 1))
