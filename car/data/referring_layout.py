"""Where the files of a referring benchmark are below a data root, and which split of which variant is meant."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from car.data.benchmark import Download, Part, ReferringBenchmark
from car.data.explain import either, missing_referring
from car.data.layout import listing
from car.errors import InputError


@dataclass(frozen=True)
class Chosen:
    """What is asked for: a split of a variant of a benchmark, below a data root."""

    benchmark: ReferringBenchmark
    root: Path
    split: str
    variant: str

    @property
    def described(self) -> str:
        """The split and its variant in words: "split val of unc"."""
        joint = {"split_by": " of ", "annotations": ", "}.get(self.benchmark.variant_option, "")
        return f"split {self.split}{joint}{self.variant}"

    @property
    def downloads(self) -> tuple[Download, ...]:
        """What the variant comes from."""
        return (*self.benchmark.variants[self.variant].downloads, *self.benchmark.downloads)

    def named(self, path: str) -> str:
        """A path of the benchmark for this split and variant."""
        return path.format(split=self.split, variant=self.benchmark.variants[self.variant].on_disk)


def choose(benchmark: ReferringBenchmark, root: str | Path, split: str | None, variant: str | None) -> Chosen:
    """The split and variant that are meant, the default ones where none is named.

    Raises:
        InputError: there is none of this name, or nothing to choose.
    """
    option = benchmark.variant_option
    if variant is None:
        variant = benchmark.default_variant
    elif not option:
        raise InputError(f"{benchmark.name} is split in one way only; leave out which.")
    elif variant not in benchmark.variants:
        raise InputError(f"{benchmark.name} has no {option} {variant!r}. Available: {', '.join(benchmark.variants)}.")
    splits = benchmark.variants[variant].splits
    chosen = Chosen(benchmark, Path(root), benchmark.default_split if split is None else split, variant)
    if chosen.split not in splits:
        by = f" by {variant}" if option == "split_by" else ""
        raise InputError(f"{benchmark.name}{by} has no split {chosen.split!r}. Available: {', '.join(splits)}.")
    return chosen


def find_files(chosen: Chosen) -> Mapping[str, Path]:
    """Where everything is that the benchmark is read from, by role.

    Raises:
        MissingDataError: some of it is nowhere; what is missing in the most complete place is said.
    """
    root, sources = chosen.root, chosen.benchmark.sources
    if not root.is_dir():
        state = "is no folder" if root.exists() else "does not exist"
        parts = {source.part for source in sources.values()}
        raise missing_referring(chosen, f"{str(root)!r} {state}", parts)
    candidates = [_find(chosen, root / base) for base in chosen.benchmark.bases]
    best = max(candidates, key=len)
    if lost := [source for role, source in sources.items() if role not in best]:
        names = " and no ".join(repr(chosen.named(source.paths[0])) for source in lost)
        places = either([
            repr(str(root / base))
            for base, found in zip(chosen.benchmark.bases, candidates, strict=True)
            if len(found) == len(best)
        ])  # fmt: skip
        raise missing_referring(chosen, f"there is no {names} in {places}", {source.part for source in lost})
    return best


def check_there(chosen: Chosen, folder: Path, files: Collection[str], part: Part, what: str) -> None:
    """See that files are in a folder, by listing it.

    Raises:
        InputError: the folder cannot be read.
        MissingDataError: some are not there; how many, and the first.
    """
    there = listing(folder)
    if lost := [name for name in files if name not in there]:
        text = f"{len(lost)} of {len(files)} {what} ({str(folder / lost[0])!r} first) are missing"
        raise missing_referring(chosen, text, {part})


def _find(chosen: Chosen, base: Path) -> dict[str, Path]:
    """What there is below the base; pictures are often shared, so they may be below the root as well."""
    found = {}
    for role, source in chosen.benchmark.sources.items():
        folders = (base, chosen.root) if source.part == "images" else (base,)
        paths = [folder / chosen.named(path) for path in source.paths for folder in folders]
        there = next((path for path in paths if os.path.exists(path)), None)
        if there is not None:
            found[role] = there
    return found
