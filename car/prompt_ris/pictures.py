"""Where training and validation pictures come from: procedural scenes, or a benchmark; each is found by its number."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from car.data.referring import ReferringDataset, ReferringTruth, Target
from car.errors import InputError
from car.scenes import LAYOUTS, Expression, Scene, concepts, expressions, scene

FIRST_SEEDS = {"train": 2**64, "val": 2**65}
"""Scenes of each split have their seeds in the 2**63 from here on, beyond those that figures are measured on and those
that the embedded models were trained on."""
MOST = {"seed": 2**24, "count": 2**32, "sides": 4096, "objects": 200}
"""Bounds of arguments. By those of seed and count, no two pictures of a split share a scene's seed."""
ROUNDING = 1e-9
ATTEMPTS = 2**7
"""Scenes that are tried for one picture, before it is given up."""
WITHIN = 3
"""Keeps the draws of a picture's size apart from those of what its scene shows."""
REPEATS = 0.5
"""Chance that an object is one more of a kind already there: names alone then do not tell objects apart."""
TEXTURED = 0.15


class Pictures(Protocol):
    """Pictures by number, with what is said of them. Holds no pixels, and can be pickled."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> ReferringTruth:
        """Picture `index`, in [0, len).

        Raises:
            InputError: it is damaged; one line that names the file.
        """


@dataclass(frozen=True)
class OfDataset:
    """A split of a benchmark as `Pictures`: all its targets with all their expressions, in the order of its keys."""

    dataset: ReferringDataset

    def __len__(self) -> int:
        return len(self.dataset.keys)

    def read(self, index: int) -> ReferringTruth:
        """The picture of the split's key `index`; errors as of `ReferringDataset.read`."""
        return self.dataset.read(self.dataset.keys[index])


@dataclass(frozen=True)
class Some:
    """A few of many pictures, spread evenly over their order: what a run validates on as it goes.

    pictures: all.
    count: how many are taken, at least 1; all where there are not so many.

    Raises:
        InputError: a count below 1.

    >>> scenes = ScenePictures(seed=0, count=10)
    >>> [Some(scenes, 4).number(i) for i in range(4)], len(Some(scenes, 99))
    ([0, 2, 5, 7], 10)
    """

    pictures: Pictures
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"Expected argument `count` to be at least 1, but got {self.count}.")

    def __len__(self) -> int:
        return min(self.count, len(self.pictures))

    def number(self, index: int) -> int:
        """Which of all picture `index` is."""
        return index * len(self.pictures) // len(self)

    def read(self, index: int) -> ReferringTruth:
        """Picture `index`; errors as of `pictures`."""
        return self.pictures.read(self.number(index))


@dataclass(frozen=True)
class ScenePictures:
    """Scenes with the expressions that hold for sure; picture i is composed from these arguments and i alone.

    Args:
        seed: in [0, 2**24); another one gives other scenes.
        count: how many there are, in [1, 2**32].
        split: "train" or "val"; no scene is in both, nor in `car.scenes.TEST` or `TUNING`.
        sides: least and most height and width in pixels, drawn apart.
        objects: ranges (least, most) of the number of objects; there are fewer where they would hide each other.
        shares: how often each of these ranges is drawn; they add up to 1.
        layouts: as of `car.scenes.scene`, drawn equally often; one that is named twice, twice as often.
        without: concepts that no scene shows, and no expression is about; names as in `car.scenes.concepts()`.

    Raises:
        InputError: an argument that means nothing.

    >>> pictures = ScenePictures(seed=0, count=10, objects=((2, 2),), shares=(1.0,), without=("cat",))
    >>> truth = pictures.read(3)
    >>> truth.image.shape == (*truth.targets[0].mask.shape, 3), len(pictures)
    (True, 10)
    """

    seed: int
    count: int
    split: str = "train"
    sides: tuple[int, int] = (160, 224)
    objects: tuple[tuple[int, int], ...] = ((2, 3), (4, 6))
    shares: tuple[float, ...] = (0.4, 0.6)
    layouts: tuple[str, ...] = ("sparse", "usual", "crowded", "crowded")
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> ReferringTruth:
        """Picture `index`: expressions that mean the same objects are one target, of a category where these objects are
        of one concept.

        Raises:
            IndexError: there is no such picture.
            InputError: none of many scenes has an object that could be referred to.
        """
        made, said = self.drawn(index)
        return ReferringTruth(made.image, tuple(_targets(made, said)))

    def drawn(self, index: int) -> tuple[Scene, tuple[Expression, ...]]:
        """The scene of a picture, and those of its expressions that refer to something, and clearly; errors as of
        `read`."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        for attempt in range(ATTEMPTS):
            made = self._scene(FIRST_SEEDS[self.split] + (self.seed * MOST["count"] + index) * ATTEMPTS + attempt)
            said = tuple(each for each in expressions(made) if each.objects and not each.ambiguous)
            if said:
                return made, said
        raise InputError(f"None of {ATTEMPTS} scenes has an object to refer to; draw from more concepts, or larger.")

    @cached_property
    def _among(self) -> tuple[str, ...]:
        return tuple(name for name in concepts() if name not in self.without)

    def _scene(self, seed: int) -> Scene:
        rng = np.random.default_rng([WITHIN, seed])
        height, width = (int(rng.integers(self.sides[0], self.sides[1] + 1)) for _ in range(2))
        return scene(
            seed,
            size=(height, width),
            objects=self.objects[rng.choice(len(self.objects), p=self.shares)],
            among=self._among,
            layout=self.layouts[rng.integers(len(self.layouts))],
            repeats=REPEATS,
            textured=TEXTURED,
        )


def all_but(categories: Collection[str]) -> tuple[str, ...]:
    """The concepts of scenes that are none of these: what `ScenePictures` leaves out to show these alone."""
    return tuple(sorted(set(concepts()) - set(categories)))


def _targets(made: Scene, said: tuple[Expression, ...]) -> Iterator[Target]:
    """A target for each set of objects, in the order in which they are first referred to."""
    for objects in dict.fromkeys(each.objects for each in said):
        alike = [each for each in said if each.objects == objects]
        names = {made.names[i] for i in objects}
        yield Target(
            id="+".join(map(str, objects)),
            expressions=tuple(each.text for each in alike),
            mask=alike[0].mask(made),
            no_target=False,
            category=names.pop() if len(names) == 1 else None,
        )


def _check(given: ScenePictures) -> None:
    if given.split not in FIRST_SEEDS:
        raise InputError(f"Expected argument `split` to be {' or '.join(FIRST_SEEDS)}, but got {given.split!r}.")
    if not 0 <= given.seed < MOST["seed"]:
        raise InputError(f"Expected argument `seed` to be within [0, {MOST['seed'] - 1}], but got {given.seed}.")
    if not 1 <= given.count <= MOST["count"]:
        raise InputError(f"Expected argument `count` to be within [1, {MOST['count']}], but got {given.count}.")
    ranges = [("sides", given.sides, MOST["sides"]), *(("objects", each, MOST["objects"]) for each in given.objects)]
    for option, (least, most), bound in ranges:
        if not 1 <= least <= most <= bound:
            raise InputError(
                f"Expected argument `{option}` to be (least, most) within [1, {bound}], but got {(least, most)}."
            )
    fitting = 0 < len(given.shares) == len(given.objects) and all(share >= 0 for share in given.shares)
    if not fitting or abs(sum(given.shares) - 1) > ROUNDING:
        raise InputError(
            f"Expected arguments `objects` and `shares` to be ranges and as many shares that add up to 1, "
            f"but got {given.objects} and {given.shares}."
        )
    if not given.layouts or not set(given.layouts) <= set(LAYOUTS):
        raise InputError(f"Expected argument `layouts` to be some of {', '.join(LAYOUTS)}, but got {given.layouts}.")
    if unknown := [name for name in given.without if name not in concepts()]:
        raise InputError(f"No drawing of {unknown[0]!r}; `car.scenes.concepts()` lists what there is.")
    if len(set(given.without)) == len(concepts()):
        raise InputError("Expected argument `without` to leave a concept, but it names all.")
