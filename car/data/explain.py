"""What to tell people whose data are not complete: what is missing, where it comes from, how the tree should look."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from car.data.benchmark import ALL, CLASS_FILE, Benchmark, Part
from car.data.labels import described
from car.errors import MissingError
from car.wordlists import read_classes

if TYPE_CHECKING:
    from car.data.referring_layout import Chosen

_KINDS: dict[Part, str] = {"images": "pictures", "truths": "label maps", "keys": "lists"}
_WIDTH = 48


class MissingDataError(MissingError):
    """Files of a benchmark are missing.

    what: which.
    advice: where they come from, and what to run.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.what, self.advice = what, advice

    def __str__(self) -> str:
        return f"{self.what} {self.advice}"


def missing_data(benchmark: Benchmark, root: Path, split: str, what: str, parts: set[Part]) -> MissingDataError:
    """The error that says what is missing, where those parts come from, and what to run."""
    advice = []
    if sources := benchmark.sources(parts):
        advice.append(f"get {' and '.join(map(str, sources))}")
    if made := [_KINDS[part] for part in benchmark.prepared if part in parts]:
        advice.append(f"`{command('prepare', benchmark, root, split)}` makes the {' and '.join(made)}")
    advice.append(f"`{command('check', benchmark, root, split)}` shows how the files should lie")
    return _error(benchmark.name, what, advice)


def missing_referring(chosen: "Chosen", what: str, parts: set[Part]) -> MissingDataError:
    """The error that says what a referring benchmark misses, and where those parts come from."""
    sources = [str(each) for each in chosen.downloads if parts & set(each.parts)]
    advice = [f"get {' and '.join(sources)}", f"`{check_command(chosen)}` shows how the files should lie"]
    return _error(chosen.benchmark.name, what, advice)


def _error(name: str, what: str, advice: Sequence[str]) -> MissingDataError:
    text = "; ".join(advice)
    return MissingDataError(f"{name}: {what}.", f"{text[0].upper()}{text[1:]}.")


def check_command(chosen: "Chosen") -> str:
    """What a user types to check a referring benchmark."""
    benchmark = chosen.benchmark
    words = ["car", "data", "check", benchmark.name, "--data-root", str(chosen.root)]
    if chosen.split != benchmark.default_split:
        words += ["--split", chosen.split]
    if chosen.variant != benchmark.default_variant:
        words += [f"--{benchmark.variant_option.replace('_', '-')}", chosen.variant]
    return shlex.join(words)


def referring_tree(chosen: "Chosen") -> str:
    """How the files of a referring benchmark should lie below the root, and where they come from; some lines."""
    bases = either([str(chosen.root / base) for base in chosen.benchmark.bases])
    lines = [f"{chosen.benchmark.name}, {chosen.described}: in {bases}"]
    for source in chosen.benchmark.sources.values():
        first, *others = map(chosen.named, source.paths)
        lines.append(f"  {first.ljust(_WIDTH)}  {source.what}")
        lines += [f"    or {each}" for each in others]
    return "\n".join([*lines, "from", *(f"  {each}" for each in chosen.downloads)])


def command(verb: str, benchmark: Benchmark, root: Path, split: str) -> str:
    """What a user types for `car data`."""
    words = ["car", "data", verb, benchmark.name, "--data-root", str(root)]
    return shlex.join([*words, *([] if split == benchmark.default_split else ["--split", split])])


def either(names: Sequence[str]) -> str:
    """One of several, in words.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def tree(benchmark: Benchmark, root: Path, split: str) -> str:
    """How the files should lie below the root, where they come from, and what to run; some lines."""
    layout, on_disk = benchmark.layout, benchmark.splits.get(split, split)
    rows = [
        (" or ".join(f"{each}/KEY{layout.image_suffix or '.*'}" for each in layout.images), "pictures"),
        (f"{layout.truths}/KEY{layout.truth_suffix}", f"label maps: {_values(benchmark)}"),
    ]
    if layout.keys is not None and split != ALL:
        rows.append((layout.keys, "the keys of the split, one a line"))
    if benchmark.classes is None:
        rows.append((CLASS_FILE, "the classes, one a line, from id 0"))
    lines = [f"{benchmark.name}, split {split}: in {either([str(root / base) for base in layout.bases])}"]
    lines += [f"  {path.format(split=on_disk).ljust(_WIDTH)}  {what}" for path, what in rows]
    if benchmark.downloads:
        lines += ["from", *(f"  {each}" for each in benchmark.downloads)]
    if benchmark.prepared:
        lines += [f"of which `{command('prepare', benchmark, root, split)}` makes", f"  {benchmark.makes(split)}"]
    return "\n".join(lines)


def _values(benchmark: Benchmark) -> str:
    if benchmark.classes is None:
        return f"id + 1; 0 (other, or background where {CLASS_FILE} begins with that), 255 or 65535 (not counted)"
    count = len(read_classes(benchmark.classes))
    return described(benchmark.coding, count, background=bool(benchmark.background), words=benchmark.words)
