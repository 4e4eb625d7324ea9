"""The pictures of a benchmark: scenes whose things and stuff are its classes, most of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
from benchmarks_words import Wording

from car.errors import InputError
from car.scenes import STUFF, Scene, concepts, scene
from car.scenes.backgrounds import ABOVE, BELOW

Item = TypeVar("Item")
SEEDS = (10**8, 2**40)
"""Seeds of scenes are within these: none that tables are measured on, none that the embedded model was trained on."""
OTHERS = 0.2
"""Share of objects that are of no class, where all concepts were equally many."""
OBJECTS = (1, 5)
REPEATS = 0.3
CROWDED = 0.3
"""Share of pictures whose objects are large, cover each other and are cut by the border."""
TWO_KINDS = 0.4
"""Share of pictures with two kinds of stuff."""
SPLITS = ("val", "train", "test", "testA", "testB", "miniv")
TRIES = 500
"""Draws for one picture, before it is given up."""


@dataclass(frozen=True)
class Region:
    """What one object, or one kind of stuff, covers.

    mask: bool (H, W), not empty.
    id: its class, or None where it is of none.
    thing: whether it is an object.
    """

    mask: np.ndarray
    id: int | None
    thing: bool


@dataclass(frozen=True)
class Picture:
    """A scene as a picture of a benchmark.

    scene: what it shows.
    ids: the class of each word of scenes that is one.
    rng: for what a layout still has to draw.
    """

    scene: Scene
    ids: dict[str, int]
    rng: np.random.Generator

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The objects, back to front, then the stuff; every pixel is in one of them."""
        things = zip(self.scene.names, self.scene.masks, strict=True)
        found = [Region(mask, self.ids.get(name), True) for name, mask in things]
        found += [Region(mask, self.ids.get(name), False) for name, mask in self._stuff()]
        return tuple(found)

    @cached_property
    def labels(self) -> np.ndarray:
        """uint16 (H, W): i + 1 is class i, 0 is none."""
        labels = np.zeros(self.scene.image.shape[:2], np.uint16)
        for region in self.regions:
            if region.id is not None:
                labels[region.mask] = region.id + 1
        return labels

    @cached_property
    def instances(self) -> np.ndarray:
        """uint8 (H, W): i + 1 is object i, 0 is stuff."""
        return self.scene.labels

    def _stuff(self) -> Iterator[tuple[str, np.ndarray]]:
        """The visible pixels of each kind of stuff that is to be seen."""
        horizon = self.scene.horizon or 0
        free = self.instances == 0
        above = (np.arange(len(free)) < horizon)[:, None]
        sides = (free,) if len(self.scene.background) == 1 else (free & above, free & ~above)
        return ((name, mask) for name, mask in zip(self.scene.background, sides, strict=True) if mask.any())


@dataclass(frozen=True)
class Drawing:
    """How the pictures of a benchmark are drawn.

    wording: its classes.
    seed: of all of them; another one gives others.
    sizes: (height, width) in pixels, equally many of each.
    """

    objects: ClassVar[tuple[int, int]] = OBJECTS
    repeats: ClassVar[float] = REPEATS
    sized: ClassVar[bool] = True
    """Whether `sizes` make a difference."""

    wording: Wording
    seed: int
    sizes: Sequence[tuple[int, int]]

    def picture(self, split: str, index: int) -> Picture:
        """Picture `index` of a split; the same arguments give the same picture, byte for byte."""
        return self._draw(self.chance(split, index), split)

    def chance(self, split: str, index: int) -> np.random.Generator:
        """The source of all chance of a picture."""
        return np.random.default_rng([self.seed, SPLITS.index(split), index, *self.wording.name.encode()])

    def _draw(self, rng: np.random.Generator, split: str) -> Picture:
        made = scene(
            int(rng.integers(*SEEDS)),
            size=self.sizes[int(rng.integers(len(self.sizes)))],
            objects=self.objects,
            among=self._among(rng, split),
            background=self._background(rng),
            layout="crowded" if rng.random() < CROWDED else "usual",
            repeats=self.repeats,
        )
        return Picture(made, self.wording.ids, rng)

    def _among(self, rng: np.random.Generator, split: str) -> list[str]:
        """The concepts that are classes, and some that are not."""
        labelled = [word for word in self.wording.ids if word in concepts()]
        others = [word for word in self.wording.others if word in concepts()]
        few = min(len(others), round(len(labelled) * OTHERS / (1 - OTHERS)))
        return [*labelled, *(others[i] for i in rng.choice(len(others), few, replace=False))]

    def _background(self, rng: np.random.Generator) -> tuple[str, ...]:
        """One kind of stuff, or two, of those that would not be mislabelled."""
        shown = {*self.wording.ids, *self.wording.others}
        kinds = (ABOVE, BELOW) if rng.random() < TWO_KINDS else (tuple(STUFF),)
        allowed = ([word for word in words if word in shown] for words in kinds)
        return tuple(words[rng.integers(len(words))] for words in allowed)


def until(draw: Callable[[], Item | None]) -> Item:
    """The first draw that is not None; InputError where none of many is anything."""
    for _ in range(TRIES):
        if (item := draw()) is not None:
            return item
    raise InputError("Nothing can be said of pictures of this size; choose a larger one.")
