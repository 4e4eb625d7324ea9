"""Where the files of a benchmark are below a data root: all of them found by listing folders, none of them opened."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from car.data.benchmark import ALL, CLASS_FILE, Benchmark, Part
from car.data.explain import either, missing_data
from car.errors import InputError
from car.io import IMAGE_SUFFIXES
from car.wordlists import read_lines


@dataclass(frozen=True)
class Place:
    """Where a split may be.

    base: the folder that all paths are below.
    images, truths: the folders of pictures and label maps.
    keys: the list of the split; None where the label maps are the list.
    missing: what is not there, by part.
    """

    base: Path
    images: Path
    truths: Path
    keys: Path | None
    missing: Mapping[Part, Path]


def choose_split(benchmark: Benchmark, split: str | None) -> str:
    """The split that is meant, the default one where none is named.

    Raises:
        InputError: the benchmark has none of this name, or it cannot be the name of a list.
    """
    if split is None:
        return benchmark.default_split
    if benchmark.splits and split not in benchmark.splits:
        raise InputError(f"{benchmark.name} has no split {split!r}. Available: {', '.join(benchmark.splits)}.")
    if not benchmark.splits and (split in ("", ".", "..") or Path(split).name != split or "\0" in split):
        raise InputError(f"Expected the split to be the name of a list (val for val.txt), but got {split!r}.")
    return split


def find_place(benchmark: Benchmark, root: Path, split: str) -> Place:
    """Where the split is, with all folders and lists.

    Raises:
        MissingDataError: some are nowhere; what is missing in the most complete place is said.
    """
    if not root.is_dir():
        state = "is no folder" if root.exists() else "does not exist"
        raise missing_data(benchmark, root, split, f"{str(root)!r} {state}", {"images", "truths", "keys"})
    candidates = [_place(benchmark, root / base, split) for base in benchmark.layout.bases]
    best = min(candidates, key=lambda place: len(place.missing))
    if best.missing:
        names = either([repr(path.relative_to(best.base).as_posix()) for path in best.missing.values()])
        equal = either([repr(str(place.base)) for place in candidates if len(place.missing) == len(best.missing)])
        raise missing_data(benchmark, root, split, f"there is no {names} in {equal}", set(best.missing))
    return best


def find_pictures(benchmark: Benchmark, root: Path, split: str, place: Place) -> dict[str, str]:
    """The pictures of a split, sorted by key: names of files in the folder of pictures.

    Raises:
        InputError: a list or a folder cannot be read, or two pictures have the same key.
        MissingDataError: the split is empty, or pictures or label maps of it are missing.
    """
    suffix = benchmark.layout.truth_suffix
    images, truths = listing(place.images), listing(place.truths)
    if place.keys is None:
        keys = sorted(name.removesuffix(suffix) for name in truths if name.endswith(suffix) and name[0] != ".")
        if not keys:
            raise missing_data(benchmark, root, split, f"there is no '*{suffix}' in {str(place.truths)!r}", {"truths"})
    else:
        keys = sorted(set(_listed(benchmark, place.keys)))
        if not keys:
            raise missing_data(benchmark, root, split, f"{str(place.keys)!r} names no picture", {"keys"})
    pictures = _pictures(benchmark, place.images, images, keys)
    ending = benchmark.layout.image_suffix or ".*"
    lost: dict[Part, list[str]] = {
        "images": [str(place.images / f"{key}{ending}") for key in keys if key not in pictures],
        "truths": [str(place.truths / f"{key}{suffix}") for key in keys if f"{key}{suffix}" not in truths],
    }
    kinds = {"images": "pictures", "truths": "label maps"}
    texts = [f"{len(paths)} of {len(keys)} {kinds[part]} ({paths[0]!r} first)" for part, paths in lost.items() if paths]
    if texts:
        parts = {part for part, paths in lost.items() if paths}
        raise missing_data(benchmark, root, split, f"{' and '.join(texts)} are missing", parts)
    return pictures


def without_truth(place: Place, keys: Iterable[str]) -> list[str]:
    """Names of the pictures in the folder that have none of these keys, sorted."""
    known = set(keys)
    return sorted(name for name in listing(place.images) if _is_image(name) and Path(name).stem not in known)


def _place(benchmark: Benchmark, base: Path, split: str) -> Place:
    layout, on_disk = benchmark.layout, benchmark.splits.get(split, split)
    folders = [base / each.format(split=on_disk) for each in layout.images]
    images = next((each for each in folders if each.is_dir()), folders[0])
    truths = base / layout.truths.format(split=on_disk)
    keys = base / layout.keys.format(split=on_disk) if layout.keys is not None and split != ALL else None
    missing: dict[Part, Path] = {}
    if not images.is_dir():
        missing["images"] = images
    if not truths.is_dir():
        missing["truths"] = truths
    if keys is not None and not keys.is_file():
        missing["keys"] = keys
    if benchmark.classes is None and not (base / CLASS_FILE).is_file():
        missing["classes"] = base / CLASS_FILE
    return Place(base, images, truths, keys, missing)


def listing(folder: Path) -> set[str]:
    """Names of what is in a folder.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise InputError(f"Cannot read the folder {str(folder)!r}: {error.strerror}.") from None


def _listed(benchmark: Benchmark, path: Path) -> list[str]:
    """The keys that a list names; a published one may have further columns, people's own keys may have spaces."""
    lines = read_lines(path)
    return [line.split()[0] for line in lines] if benchmark.splits else lines


def _pictures(benchmark: Benchmark, folder: Path, images: set[str], keys: Iterable[str]) -> dict[str, str]:
    suffix = benchmark.layout.image_suffix
    if suffix is not None:
        return {key: f"{key}{suffix}" for key in keys if f"{key}{suffix}" in images}
    by_key: dict[str, list[str]] = {}
    for name in sorted(filter(_is_image, images)):
        by_key.setdefault(Path(name).stem, []).append(name)
    found = {key: by_key[key] for key in keys if key in by_key}
    for key, names in found.items():
        if len(names) > 1:
            both = " and ".join(map(repr, names))
            raise InputError(f"{str(folder)!r} has {len(names)} pictures of {key!r}: {both}; keep one of them.")
    return {key: name for key, (name,) in found.items()}


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
