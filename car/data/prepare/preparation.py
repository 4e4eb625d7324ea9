"""What preparations have in common: where their files lie, and what is missing to begin."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from car.data.benchmark import Benchmark
from car.data.prepare.outputs import KeyList, LabelMap, Output
from car.errors import InputError, MissingError
from car.io import MAX_PIXELS
from car.wordlists import ClassEntry, read_classes

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Preparation(ABC):
    """One split of a benchmark, to be made picture by picture. Its methods may run in several threads at once.

    Args:
        benchmark: the entry that says where files go and what their values mean.
        split: one of the benchmark's.
        base: the folder that its files lie in.
        keys: the pictures; sorted here.
        source: what the label maps are made from.
        rules: decisions that a user should know of, each a line.

    Raises:
        InputError: a key is no plain file name, or is there twice; the line begins with the source.
        MissingError: there is no picture at all.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        split: str,
        base: Path,
        keys: Iterable[str],
        *,
        source: Path,
        rules: Sequence[str] = (),
    ) -> None:
        self.benchmark, self.split, self.base, self.source, self.rules = benchmark, split, base, source, rules
        self.keys = checked_keys(keys, source)
        if not self.keys:
            raise MissingError(f"{str(source)!r} has no picture for split {split!r} of {benchmark.name}.")

    @abstractmethod
    def origin(self, key: str) -> str:
        """A digest of all that the outputs of a picture depend on; InputError where a source cannot be read."""

    @abstractmethod
    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        """The outputs of a picture in the order to write them; the last is its label map, also given alone.

        Raises:
            InputError: its sources are missing, damaged, or say what they may not.
        """

    @cached_property
    def classes(self) -> Sequence[ClassEntry]:
        """The benchmark's classes."""
        assert self.benchmark.classes is not None
        return read_classes(self.benchmark.classes)

    @property
    def folder(self) -> Path:
        """Where the label maps go."""
        return self.base / self.benchmark.layout.truths.format(split=self._on_disk)

    def truth(self, key: str) -> Path:
        """The label map of a picture."""
        return self.folder / f"{key}{self.benchmark.layout.truth_suffix}"

    def images(self) -> list[Path]:
        """The folders that may hold the pictures."""
        return [self.base / each.format(split=self._on_disk) for each in self.benchmark.layout.images]

    def image(self, key: str) -> Path | None:
        """The picture, where it is there."""
        paths = [folder / f"{key}{self.benchmark.layout.image_suffix}" for folder in self.images()]
        return next((path for path in paths if path.is_file()), None)

    def outputs(self, key: str) -> list[Path]:
        """The files of a picture."""
        return [self.truth(key)]

    def lists(self) -> list[KeyList]:
        """What is written when all pictures are done."""
        return []

    def label_map(self, key: str, values: np.ndarray) -> LabelMap:
        """The output for a picture's values; InputError where its picture is there and has another size."""
        if (image := self.image(key)) is not None and (size := picture_size(image)) != values.shape:
            texts = [f"{height} x {width}" for height, width in (values.shape, size)]
            raise InputError(f"is annotated as {texts[0]} pixels, but {str(image)!r} has {texts[1]}.")
        return LabelMap(self.truth(key), values, len(self.classes), self.benchmark.coding)

    @property
    def _on_disk(self) -> str:
        return self.benchmark.splits[self.split]


def checked_keys(keys: Iterable[str], source: Path) -> list[str]:
    """Keys in order; InputError where one could not be a file name of its own."""
    found = sorted(keys)
    for key in found:
        if not _KEY.fullmatch(key):
            raise InputError(f"{str(source)!r} calls a picture {key[:100]!r}, which is no plain file name.")
    for key, following in pairwise(found):
        if key == following:
            raise InputError(f"{str(source)!r} has two pictures called {key!r}.")
    return found


def places(benchmark: Benchmark, root: Path) -> list[Path]:
    """The folders that may hold a benchmark, in the order to look."""
    return [root / base for base in benchmark.layout.bases]


def find_base(benchmark: Benchmark, root: Path, needed: str) -> Path | None:
    """The first folder that may hold the benchmark and has the needed file or folder."""
    return next((base for base in places(benchmark, root) if (base / needed).exists()), None)


def missing(benchmark: Benchmark, looked: Sequence[Path], needed: str) -> MissingError:
    """The error for a source that is in none of the folders, with where it comes from."""
    where = " or ".join(repr(str(base)) for base in looked)
    origin = " and ".join(map(str, benchmark.sources({"truths"})))
    return MissingError(f"{benchmark.name}: no {needed} in {where}. It comes from {origin}.")


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a JPEG, of which only the header is read; InputError where that fails."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return image.height, image.width
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise unreadable(path, error) from error


def check_pixels(height: int, width: int) -> None:
    """InputError where a picture has no pixels, or too many to decode; the line begins with "has"."""
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise InputError(f"has {height} x {width} pixels; expected 1 to {MAX_PIXELS:,}.")


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a file that cannot be read, in one line; an InputError is taken as what is wrong with it."""
    if isinstance(error, InputError):
        return InputError(f"{str(path)!r} {error}")
    reason = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
    return InputError(f"Cannot read {str(path)!r}: {reason}.")
