"""Scenes as benchmarks: every semantic benchmark in the layout it is distributed in, with its own classes.

    OUT/NAME/               the files of a download, for --data-root; `car data prepare` makes the rest
    OUT/NAME/classes.txt    the class list in words that the embedded model knows, for --classes (not of folder)
    OUT/NAME/scenes.json    what was asked for, with the versions that made it
    OUT/mini.yaml           settings for the embedded model, for --config

Objects whose drawing is of a class have its label, kinds of stuff too where the benchmark has stuff; one object in five
is of no class. The same arguments write the same bytes. A benchmark appears under its name when it is whole; one that
was interrupted is made again from its beginning, one that is there is left as it is.

    python tools/make_benchmarks.py data/scenes --count 200
    car data prepare context60 --data-root data/scenes/context
    car eval voc21 --data-root data/scenes/voc --classes data/scenes/voc/classes.txt --config data/scenes/mini.yaml

Run inside the repository, or with the package installed.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import benchmarks_layouts as layouts
import click
import cv2
from benchmarks_pictures import Drawing
from benchmarks_words import Wording

from car.cli.progress import progress
from car.errors import CarError, InputError
from car.export import dumps, make_folder, reported, write_atomically
from car.scenes.series import VERSIONS

FOLDER_WORDS = (
    *("person", "dog", "cat", "horse", "bird", "fish", "flower", "tree", "apple", "pizza", "cup", "chair", "bicycle"),
    *("car", "boat", "airplane", "umbrella", "balloon", "guitar", "book", "grass", "water", "sky", "road"),
)
"""The classes of "folder", which has none of its own."""
SIZES = ("168x224", "224x168", "224x224", "187x250")
TRAIN = 5
"""A train split has one picture for as many of val."""
MINI = b"""\
description: the embedded model on benchmarks made of scenes
prompts: [blur, gray]
background: [scenes]
proposer: gradcam
proposer_side: 144
view: squash
eta: 0.4
theta: 0.6
lam: 0.4
against_background: true
keep_best: false
classifier_skip_last: false
max_side: 1024
"""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that can be made.

    layout: how it is written.
    wording: its classes.
    serves: what `car eval` calls it.
    """

    layout: type[layouts.Layout]
    wording: Callable[[], Wording]
    serves: str


BENCHMARKS = {
    "voc": Benchmark(layouts.Voc, lambda: Wording.of_list("voc20"), "voc21, voc20"),
    "context": Benchmark(layouts.Context, lambda: Wording.of_list("context59"), "context60, context59"),
    "coco-object": Benchmark(layouts.CocoObject, lambda: Wording.of_list("coco_object80"), "coco-object"),
    "ade150": Benchmark(layouts.Ade150, lambda: Wording.of_list("ade150"), "ade150"),
    "ade847": Benchmark(layouts.Ade847, lambda: Wording.of_list("ade847"), "ade847"),
    "pc459": Benchmark(layouts.Pc459, lambda: Wording.of_list("pc459"), "pc459"),
    "folder": Benchmark(layouts.Folder, lambda: Wording.of_words("folder", FOLDER_WORDS), "folder"),
}


@dataclass(frozen=True)
class Order:
    """One benchmark to be made.

    name: a key of `BENCHMARKS`.
    out: folder that its own folder is made in.
    count: pictures of the val split.
    seed, sizes: as of `Drawing`.
    """

    name: str
    out: Path
    count: int
    seed: int
    sizes: Sequence[tuple[int, int]]

    @property
    def root(self) -> Path:
        return self.out / self.name

    @property
    def drawing(self) -> Drawing:
        return Drawing(BENCHMARKS[self.name].wording(), self.seed, self.sizes)

    @property
    def counts(self) -> dict[str, int]:
        """Pictures of each split."""
        every = {"val": self.count, "train": -(-self.count // TRAIN)}
        return {split: every[split] for split in BENCHMARKS[self.name].layout.splits}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on, as plain data."""
        sizes = [list(size) for size in self.sizes]
        return {**VERSIONS, "benchmark": self.name, "count": self.count, "seed": self.seed, "sizes": sizes}

    def done(self) -> bool:
        """Whether it is there already, whole; InputError where anything else is."""
        if not os.path.lexists(self.root):
            return False
        if read_json(self.root / "scenes.json") != self.settings:
            raise InputError(f"{str(self.root)!r} exists already and is not what is asked for; name another folder.")
        return True

    def make(self, advance: Callable[[], None]) -> None:
        """Write it under another name, then give it its own."""
        unfinished = self.out / f".{self.name}.unfinished"
        drawing = self.drawing
        with reported(self.root):
            if unfinished.exists():
                shutil.rmtree(unfinished)
            make_folder(unfinished)
            layout = BENCHMARKS[self.name].layout(unfinished, drawing.wording)
            for split, count in self.counts.items():
                for index in range(count):
                    layout.write(split, index, drawing.picture(split, index))
                    advance()
            layout.finish()
            write_atomically(unfinished / "scenes.json", f"{dumps(self.settings)}\n".encode())
            os.replace(unfinished, self.root)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_settings(out: Path) -> None:
    """Write mini.yaml, unless it is there; InputError where it is there and another."""
    path = out / "mini.yaml"
    with reported(path):
        if path.exists() and path.read_bytes() != MINI:
            raise InputError(f"{str(path)!r} exists already and is not what is written here; name another folder.")
        write_atomically(path, MINI)


def table(orders: Sequence[Order]) -> str:
    """What there is, as Markdown: how many of each benchmark's classes can occur, and which stuff."""
    rows = [["benchmark", "for `car eval`", "val", "train", "classes", "can occur", "of them stuff"]]
    rows.append(["---"] * len(rows[0]))
    for order in orders:
        wording = order.drawing.wording
        stuff = [entry for entry in wording.classes if entry.kind == "stuff" and entry.id in wording.ids.values()]
        counts = [order.counts.get("val", 0), order.counts.get("train", 0)]
        cells = [order.name, BENCHMARKS[order.name].serves, *counts, len(wording.classes), len(wording.ids), len(stuff)]
        rows.append([str(cell) for cell in cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def sizes_of(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[tuple[int, int]]:
    """Sizes as (height, width)."""
    found = []
    for value in values:
        height, _, width = value.partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            raise click.BadParameter(f"expected HxW in pixels, as 168x224, not {value!r}.")
        found.append((int(height), int(width)))
    return found


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--benchmark", "names", type=click.Choice(list(BENCHMARKS)), multiple=True, help="One or several; all by default."
)
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Pictures of val.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another one, other pictures.")
@click.option(
    "--size",
    "sizes",
    metavar="HxW",
    multiple=True,
    default=SIZES,
    show_default=True,
    callback=sizes_of,
    help="Height and width in pixels; several are drawn from.",
)
def main(out: Path, names: Sequence[str], count: int, seed: int, sizes: list[tuple[int, int]]) -> None:
    cv2.setNumThreads(1)
    orders = [Order(name, out, count, seed, sizes) for name in dict.fromkeys(names or BENCHMARKS)]
    try:
        missing = [order for order in orders if not order.done()]
        make_folder(out)
        write_settings(out)
        total, start = sum(sum(order.counts.values()) for order in missing), perf_counter()
        with progress(total, quiet=False) as advance:
            for order in missing:
                order.make(advance)
    except CarError as error:
        raise click.ClickException(str(error)) from None
    if missing:
        click.echo(f"{total} pictures in {out}, {total / (perf_counter() - start):,.0f} a second.", err=True)
    for order in orders:
        if order not in missing:
            click.echo(f"{order.root} is there already.", err=True)
    click.echo(table(orders))


if __name__ == "__main__":
    main()
