"""Scenes as benchmarks: every semantic and referring benchmark in the layout it is distributed in.

    OUT/NAME/               the files of a download, for --data-root; `car data prepare` makes the rest
    OUT/NAME/classes.txt    the class list in words that the embedded model knows, for --classes (of semantic ones)
    OUT/NAME/scenes.json    what was asked for, with the versions that made it
    OUT/mini.yaml           settings for the embedded model, for --config

Objects whose drawing is of a class have its label, kinds of stuff too where the benchmark has stuff; one object in five
is of no class. Expressions have one meaning in their picture; Ref-DAVIS is made of films, which have a size of their
own. The same arguments write the same bytes. A benchmark appears under its name when it is whole; one that was
interrupted is made again from its beginning, one that is there is left as it is.

    python tools/make_benchmarks.py data/scenes --count 200
    car data prepare context60 --data-root data/scenes/context
    car eval voc21 --data-root data/scenes/voc --classes data/scenes/voc/classes.txt --config data/scenes/mini.yaml
    car data check refcoco --data-root data/scenes/refcoco --split testA

Run inside the repository, or with the package installed.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import benchmarks_layouts as layouts
import benchmarks_referring as referring
import benchmarks_saying as saying
import click
import cv2
from benchmarks_films import FilmDrawing, RefDavis
from benchmarks_pictures import Drawing
from benchmarks_words import Wording, scene_words

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
    wording: its classes; none of films.
    serves: what `car eval` calls it.
    drawing: how its pictures are drawn.
    count: pictures that are made where no number is asked for, as of `Order`.
    """

    layout: type[layouts.Layout]
    wording: Callable[[], Wording]
    serves: str
    drawing: type[Drawing] = Drawing
    count: int = 100

    @property
    def semantic(self) -> bool:
        """Whether it has classes; expressions otherwise."""
        return issubclass(self.layout, layouts.SemanticLayout)


def coco(name: str) -> Callable[[], Wording]:
    """The classes of COCO for a benchmark of that name, which pictures depend on."""
    return lambda: replace(Wording.of_list("coco_object80"), name=name)


BENCHMARKS = {
    "voc": Benchmark(layouts.Voc, lambda: Wording.of_list("voc20"), "voc21, voc20"),
    "context": Benchmark(layouts.Context, lambda: Wording.of_list("context59"), "context60, context59"),
    "coco-object": Benchmark(layouts.CocoObject, lambda: Wording.of_list("coco_object80"), "coco-object"),
    "ade150": Benchmark(layouts.Ade150, lambda: Wording.of_list("ade150"), "ade150"),
    "ade847": Benchmark(layouts.Ade847, lambda: Wording.of_list("ade847"), "ade847"),
    "pc459": Benchmark(layouts.Pc459, lambda: Wording.of_list("pc459"), "pc459"),
    "folder": Benchmark(layouts.Folder, lambda: Wording.of_words("folder", FOLDER_WORDS), "folder"),
    "refcoco": Benchmark(referring.RefCoco, coco("refcoco"), "refcoco", saying.ReferringDrawing, 60),
    "refcoco+": Benchmark(referring.RefCoco, coco("refcoco+"), "refcoco+", saying.PlusDrawing, 60),
    "refcocog": Benchmark(referring.RefCocoG, coco("refcocog"), "refcocog", saying.LongDrawing, 60),
    "grefcoco": Benchmark(referring.GrefCoco, coco("grefcoco"), "grefcoco", saying.ManyDrawing, 60),
    "phrasecut": Benchmark(
        referring.PhraseCut,
        lambda: Wording.of_words("phrasecut", scene_words()),
        "phrasecut, phrasecut-unseen",
        saying.PhraseDrawing,
        60,
    ),
    "refdavis": Benchmark(RefDavis, lambda: Wording.of_words("refdavis", ()), "ref-davis17", FilmDrawing, 60),
}


@dataclass(frozen=True)
class Order:
    """One benchmark to be made.

    name: a key of `BENCHMARKS`.
    out: folder that its own folder is made in.
    count: pictures of the first split; `Layout.splits` says how many there are of others, or films.
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
        benchmark = BENCHMARKS[self.name]
        return benchmark.drawing(benchmark.wording(), self.seed, self.sizes)

    @property
    def counts(self) -> dict[str, int]:
        """Pictures of each split."""
        return {split: -(-self.count // share) for split, share in BENCHMARKS[self.name].layout.splits.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """All that the files depend on, as plain data."""
        sizes = {"sizes": [list(size) for size in self.sizes]} if BENCHMARKS[self.name].drawing.sized else {}
        return {**VERSIONS, "benchmark": self.name, "count": self.count, "seed": self.seed, **sizes}

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


def tables(orders: Sequence[Order]) -> str:
    """What there is, as Markdown: of semantic benchmarks how many classes can occur, and which stuff."""
    semantic = [semantic_row(order) for order in orders if BENCHMARKS[order.name].semantic]
    spoken = [referring_row(order) for order in orders if not BENCHMARKS[order.name].semantic]
    parts = []
    if semantic:
        parts.append(
            table(["benchmark", "for `car eval`", "val", "train", "classes", "can occur", "of them stuff"], semantic)
        )
    if spoken:
        parts.append(table(["referring benchmark", "for `car eval`", "pictures or films"], spoken))
    return "\n\n".join(parts)


def semantic_row(order: Order) -> list[object]:
    wording = order.drawing.wording
    stuff = [entry for entry in wording.classes if entry.kind == "stuff" and entry.id in wording.ids.values()]
    counts = [order.counts.get("val", 0), order.counts.get("train", 0)]
    return [order.name, BENCHMARKS[order.name].serves, *counts, len(wording.classes), len(wording.ids), len(stuff)]


def referring_row(order: Order) -> list[object]:
    counts = ", ".join(f"{split} {count}" for split, count in order.counts.items())
    return [order.name, BENCHMARKS[order.name].serves, counts]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


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
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="Pictures of val (of phrasecut, of test); other splits have fewer, and there is a film for every 8.  "
    "[default: 100, of referring benchmarks 60]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another one, other pictures.")
@click.option(
    "--size",
    "sizes",
    metavar="HxW",
    multiple=True,
    default=SIZES,
    show_default=True,
    callback=sizes_of,
    help="Height and width in pixels; several are drawn from. Not of films.",
)
def main(out: Path, names: Sequence[str], count: int | None, seed: int, sizes: list[tuple[int, int]]) -> None:
    cv2.setNumThreads(1)
    wanted = dict.fromkeys(names or BENCHMARKS)
    orders = [Order(name, out, count or BENCHMARKS[name].count, seed, sizes) for name in wanted]
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
    click.echo(tables(orders))


if __name__ == "__main__":
    main()
