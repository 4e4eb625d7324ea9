"""Benchmarks on disk, opened by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from car.data.benchmark import CLASS_FILE, Benchmark
from car.data.catalogue import find_benchmark
from car.data.dataset import SemanticDataset, Truth
from car.data.labels import Coding, decode, map_values, open_map
from car.data.layout import choose_split, find_pictures, find_place
from car.errors import InputError
from car.io import read_image
from car.wordlists import ClassEntry, read_classes, read_lines

BACKGROUND = "background"
"""The line of a class file that is no class: what the value 0 is scored as."""

_TURNED = 5
"""From this orientation in EXIF on, rows and columns change places."""


@dataclass(frozen=True)
class DiskDataset:
    """A `SemanticDataset` that reads files; pictures are turned as EXIF says, and label maps must be of that size.

    images, truths: the folders of pictures and label maps.
    pictures: names of the files in `images`, by key.
    truth_suffix: what follows the key in the name of a label map.
    coding: how label maps are read.
    """

    name: str
    split: str
    root: Path
    classes: tuple[ClassEntry, ...]
    background: bool
    keys: tuple[str, ...]
    images: Path
    truths: Path
    pictures: Mapping[str, str]
    truth_suffix: str
    coding: Coding

    def read(self, key: str) -> Truth:
        """One picture and its labels.

        Raises:
            InputError: no such key; a file is missing, damaged, of another size than its picture, or has labels out of
                range; one line that names the file.
        """
        if key not in self.pictures:
            raise InputError(f"{self.name} has no picture {key!r} in its split {self.split!r}.")
        picture, truth = self.images / self.pictures[key], self.truths / f"{key}{self.truth_suffix}"
        image = read_image(picture)
        with open_map(truth) as label_map:
            if label_map.size != image.shape[1::-1]:
                raise InputError(_sizes(picture, image.shape[1::-1], label_map.size))
            values = map_values(label_map)
            labels = decode(values, self.coding, len(self.classes), background=self.background)
        return Truth(image, labels)


def open_dataset(name: str, root: str | Path, *, split: str | None = None) -> SemanticDataset:
    """Open a benchmark, once every file of the split is known to be there; none of them is opened.

    Args:
        name: one of `list_benchmarks()`.
        root: the data root; where in it the files may lie, `car data check` shows.
        split: "val" by default. For "folder" the name of a list, or by default everything that is labelled.

    Raises:
        InputError: no such benchmark or split; a list, a folder or the class file cannot be read or makes no sense.
        MissingError: files are missing; one line that says which, where they come from and what to run.
    """
    benchmark, root = find_benchmark(name), Path(root)
    split = choose_split(benchmark, split)
    place = find_place(benchmark, root, split)
    classes, background = _classes(benchmark, place.base / CLASS_FILE)
    pictures = find_pictures(benchmark, root, split, place)
    return DiskDataset(
        name=name,
        split=split,
        root=place.base,
        classes=classes,
        background=background,
        keys=tuple(pictures),
        images=place.images,
        truths=place.truths,
        pictures=pictures,
        truth_suffix=benchmark.layout.truth_suffix,
        coding=benchmark.coding,
    )


def _classes(benchmark: Benchmark, path: Path) -> tuple[tuple[ClassEntry, ...], bool]:
    """The classes by id, and whether background is scored."""
    if benchmark.classes is not None:
        return tuple(sorted(read_classes(benchmark.classes))), bool(benchmark.background)
    lines = read_lines(path)
    if lines and lines[0].casefold() == BACKGROUND and "\t" in "".join(lines):
        raise InputError(f"{str(path)!r}: among lines with ids, the first is to be 0<TAB>stuff<TAB>{BACKGROUND}.")
    entries = read_classes(path)
    background = bool(entries) and _is_background(entries[0])
    if background:
        entries = [entry._replace(id=entry.id - 1) for entry in entries[1:]]
    if any(map(_is_background, entries)):
        raise InputError(f"{str(path)!r}: `{BACKGROUND}` is what the value 0 is, so it can only be the first line.")
    if not entries:
        raise InputError(f"{str(path)!r} names no class.")
    if sorted(entry.id for entry in entries) != list(range(len(entries))):
        first = int(background)
        raise InputError(f"{str(path)!r}: expected the ids {first} to {first + len(entries) - 1}, each once.")
    return tuple(sorted(entries)), background


def _is_background(entry: ClassEntry) -> bool:
    return entry.query.casefold() == BACKGROUND


def _sizes(picture: Path, size: tuple[int, int], truth_size: tuple[int, int]) -> str:
    sizes = "is {} x {} pixels, but its picture {!r} is {} x {}".format(*truth_size, str(picture), *size)
    if truth_size == size[::-1] and _orientation(picture) >= _TURNED:
        return f"{sizes} as its EXIF orientation turns it; turn the label map as well, or remove the orientation."
    return f"{sizes}."


def _orientation(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
