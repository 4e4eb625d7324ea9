"""Benchmarks from what their authors distribute: the conversions that are needed before they can be read.

    preparation = open_preparation("context59", "data/")
    report = prepare(preparation)

`open_preparation` finds the sources, `prepare` makes the files, goes on where an earlier call stopped, and says what
became of each picture.
"""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from car.data.benchmark import Benchmark
from car.data.catalogue import DATASETS, find_benchmark
from car.data.layout import choose_split
from car.data.prepare.ade847 import ADE847
from car.data.prepare.coco_object import open_coco_object
from car.data.prepare.context import Context
from car.data.prepare.pc459 import PC459
from car.data.prepare.preparation import Preparation
from car.data.prepare.running import Outcome, Report, prepare
from car.errors import InputError

__all__ = ["NAMES", "Outcome", "Preparation", "Report", "open_preparation", "prepare"]

_OPENERS: dict[str, Callable[[Benchmark, Path, str], Preparation]] = {
    "context60": Context,
    "context59": Context,
    "coco-object": open_coco_object,
    "ade847": ADE847,
    "pc459": PC459,
}
_ALIASES = {"context": "context59"}

NAMES = (*_ALIASES, *_OPENERS)
"""What `open_preparation` can open; "context" is both context60 and context59, whose files are the same."""


def open_preparation(name: str, root: str | Path, split: str | None = None) -> Preparation:
    """Find the sources of a benchmark.

    Args:
        name: one of `NAMES`.
        root: the data root, as `car.data` takes it.
        split: "val" or, of some, "train"; "val" by default.

    Raises:
        InputError: nothing of this name is to be prepared, there is no such split, or a source is damaged.
        MissingError: a source is missing; which, and where it comes from.
    """
    name = _ALIASES.get(name, name)
    if name not in _OPENERS:
        if name in DATASETS:
            raise InputError(f"{name} needs no preparation: it is read as it is distributed.")
        close = get_close_matches(name, NAMES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"Nothing to prepare for {name!r}.{hint} Available: {', '.join(NAMES)}.")
    benchmark = find_benchmark(name)
    return _OPENERS[name](benchmark, Path(root), choose_split(benchmark, split))
