"""Scenes of several seeds that are drawn alike: what a folder or a sheet of scenes holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from car import __version__
from car.errors import InputError
from car.scenes.scene import VERSION, Scene, scene
from car.scenes.splits import TEST, TUNING, Split

SPLITS = {split.name: split for split in (*TEST, *TUNING)}
VERSIONS = {"car": __version__, "version": VERSION}
LONGEST_SPLIT = 10**4
"""Seeds between the starts of two splits."""


@dataclass(frozen=True)
class Series:
    """Scenes drawn with the same arguments, or those of a split.

    drawing: keyword arguments of `car.scenes.scene`; empty for a split, which fixes its own.
    split: the split the scenes are from, or None.
    """

    drawing: Mapping[str, Any] = field(default_factory=dict)
    split: Split | None = None

    @classmethod
    def of_split(cls, name: str) -> "Series":
        """The split of that name, of `TEST` or `TUNING`.

        Raises:
            InputError: there is no such split.
        """
        if name not in SPLITS:
            raise InputError(f"No split {name!r}. Available: {'; '.join(SPLITS)}.")
        return cls(split=SPLITS[name])

    @property
    def first(self) -> int:
        """The first seed: that of the split, or 0."""
        return 0 if self.split is None else self.split.first

    def scene(self, seed: int) -> Scene:
        """The scene of a seed.

        Raises:
            InputError: arguments that `car.scenes.scene` refuses, or a seed outside the split.
        """
        return scene(seed, **self.drawing) if self.split is None else self.split.scene(self._index(self.split, seed))

    def queries(self, seed: int) -> list[str]:
        """What the split asks of the scene, present and absent concepts; nothing where there is no split."""
        return [] if self.split is None else self.split.queries(self._index(self.split, seed))

    @property
    def settings(self) -> dict[str, Any]:
        """All that the scenes depend on but their seeds, as plain data: versions, and the split or every argument."""
        if self.split is not None:
            return {**VERSIONS, "split": self.split.name}
        return {**VERSIONS, **arguments(scene, self.drawing)}

    @staticmethod
    def _index(split: Split, seed: int) -> int:
        last = split.first + LONGEST_SPLIT - 1
        if not split.first <= seed <= last:
            raise InputError(f"The seeds of the split {split.name!r} are {split.first} to {last}, not {seed}.")
        return seed - split.first


def arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call, with the defaults of those that are not given, as plain data."""
    parameters = signature(function).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in {**defaults, **given}.items()}
