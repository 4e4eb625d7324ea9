"""The scenes that figures are measured on: fixed by number of objects, artwork and seed, and never trained on."""

from dataclasses import dataclass

import numpy as np

from car.scenes.scene import Scene, scene
from car.scenes.sprites import concepts

SIDE = 224
QUERIES = 20


@dataclass(frozen=True)
class Split:
    """A row of the benchmark of scenes.

    name: what tables call it.
    first: seed of its first scene; the others follow.
    objects: least and most number of objects.
    artwork: "train" or "held", as in `car.scenes.scene`.
    """

    name: str
    first: int
    objects: tuple[int, int]
    artwork: str

    def scene(self, index: int) -> Scene:
        """Scene number `index`, SIDE x SIDE pixels."""
        return scene(self.first + index, size=(SIDE, SIDE), objects=self.objects, artwork=self.artwork)

    def queries(self, index: int) -> list[str]:
        """QUERIES queries for that scene, in random order: the concepts that are there, the rest absent ones."""
        rng = np.random.default_rng([self.first + index, QUERIES])
        present = list(self.scene(index).concepts)
        absent = [name for name in concepts() if name not in present]
        drawn = rng.choice(len(absent), QUERIES - len(present), replace=False)
        asked = [*present, *(absent[i] for i in drawn)]
        return [asked[i] for i in rng.permutation(QUERIES)]


OBJECTS = {"1-2 objects": (1, 2), "2-4 objects": (2, 4), "5-6 objects": (5, 6)}
TEST = tuple(
    Split(f"{name}, {'seen' if artwork == 'train' else 'held-out'} artwork", 10**6 + 10**4 * i, objects, artwork)
    for i, (artwork, (name, objects)) in enumerate(
        (artwork, row) for artwork in ("train", "held") for row in OBJECTS.items()
    )
)
"""What tables are made of."""
TUNING = tuple(
    Split(f"{name}, tuning", 2 * 10**6 + 10**4 * i, objects, "train")
    for i, (name, objects) in enumerate(OBJECTS.items())
)
"""What settings are chosen on."""
