"""Parts of a run that several machines can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from car.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Shard:
    """One of `count` parts of a run, numbered from 1: every `count`-th picture from the `index`-th on.

    Raises:
        InputError: there is no such part.

    >>> Shard(2, 3).of(["a", "b", "c", "d", "e"]), str(Shard(2, 3)), Shard(2, 3).folder
    (['b', 'e'], '2/3', 'shard-02-of-03')
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"Expected a shard I/N with I from 1 to N, but got '{self}'.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that `str` writes, as in "3/16".

        Raises:
            InputError: it is none.
        """
        index, _, count = text.partition("/")
        if not (index.strip().isdecimal() and count.strip().isdecimal()):
            raise InputError(f"Expected a shard I/N, such as 3/16, but got {text!r}.")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """Name of the folder that holds it, inside the run's."""
        return f"shard-{self.index:02}-of-{self.count:02}"

    def of(self, keys: Sequence[T]) -> Sequence[T]:
        """Its share of a run's keys."""
        return keys[self.index - 1 :: self.count]
