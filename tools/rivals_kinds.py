"""CaR and its rivals on scenes, by what an expression is about: a name, an attribute, a place, ...

    python tools/rivals_kinds.py --out runs/kinds
    python tools/rivals_kinds.py --out runs/unseen --categories coco-unseen --trained runs/seen/best.safetensors

Scenes like those that Prompt-RIS is trained on, but others; of each scene one expression of each kind that it has,
drawn at random, the same for all methods, with the embedded CLIP (and SAM, for mask proposals). The table is written to
OUT/table.md and printed: mIoU in per cent, with its 95 % interval by bootstrap over scenes, and over all kinds, its
difference to that of the first row, paired. A stopped run goes on where it was. On one core a scene takes all methods
some ten seconds together. With --categories no scene shows another concept.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from ablate_records import Records, Task
from rich.console import Console
from rich.progress import track
from rivals_runs import METHODS, TRAINED, Method

from car.data import read_categories
from car.device import DTYPES
from car.errors import CarError
from car.evaluate.bootstrap import MeanBootstrap
from car.evaluate.markdown import per_cent, table, within
from car.export import write_atomically
from car.metrics.referring import overlap
from car.prompt_ris.checkpoint import MINI_WEIGHTS
from car.prompt_ris.pictures import ScenePictures, all_but
from car.referring.load import load_referrer
from car.scenes import Expression, Scene

PICTURES = ScenePictures(seed=2, count=10_000, split="val")
"""The trainer validates on those of seed 0, the ablations are evaluated on those of seed 1."""
KINDS = ("name", "attribute", "relation", "position", "ordinal", "plural")
COMPARED = tuple(method for method in reversed(METHODS) if method.preset is None)
MODEL = "mini"


def pictures(categories: str | None) -> ScenePictures:
    """Scenes of all concepts, or of some categories, named as of `car train`."""
    return PICTURES if categories is None else replace(PICTURES, without=all_but(read_categories(categories)))


def asked(among: ScenePictures, index: int) -> tuple[Scene, dict[str, Expression]]:
    """A scene, and an expression of each kind that it has."""
    made, said = among.drawn(index)
    rng = np.random.default_rng(index)
    kinds = {kind: [each for each in said if each.kind == kind] for kind in KINDS}
    return made, {kind: alike[rng.integers(len(alike))] for kind, alike in kinds.items() if alike}


def keys(trained: str) -> dict[str, Method]:
    """The methods by what their records go by; another trained model has records of its own."""
    file = MINI_WEIGHTS if trained == MODEL else Path(trained)
    learned = f"{TRAINED} {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    return {learned if method.name == TRAINED else method.title: method for method in COMPARED}


def measure(
    records: Records, key: str, method: Method, among: ScenePictures, scenes: int, trained: str, dtype: str
) -> None:
    """Ask a method what it has not been asked."""
    left = records.missing(Task("kinds", "val", index, key, ()) for index in range(scenes))
    if not left:
        return
    model = trained if method.name == TRAINED else MODEL
    referrer = load_referrer(method.name, model, dtype=dtype, **method.options)
    for task in track(left, method.title, console=Console(stderr=True), transient=True):
        made, expressions = asked(among, task.index)
        image = referrer.prepare(made.image)
        ious = {kind: overlap(image.refer(each.text).mask, each.mask(made)).iou() for kind, each in expressions.items()}
        told = {"table": task.table, "row": task.row, "name": task.name, "index": task.index}
        records.add([told | {"iou": ious}])


def rows(records: Records, methods: dict[str, Method], scenes: int) -> Iterator[tuple[str, ...]]:
    """How many expressions there are, then a row for each method."""
    found = {key: records.of("kinds", "val", key, scenes) for key in methods}
    first = next(iter(found))
    counted = [sum(kind in each["iou"] for each in found[first]) for kind in KINDS]
    yield ("expressions", *map(str, counted), str(sum(counted)), "")
    for key, method in methods.items():
        of_kinds = [means_of(found[key], (kind,)) for kind in KINDS]
        means = means_of(found[key], KINDS)
        gain, ends = means.difference(means_of(found[first], KINDS))
        more = "" if key == first else f"{per_cent(gain, '+')} {within(ends, '+')}"
        yield (method.title, *map(cell, [*of_kinds, means]), more)


def means_of(found: list[dict[str, Any]], kinds: tuple[str, ...]) -> MeanBootstrap:
    """IoU of the expressions of some kinds, by scene."""
    means = MeanBootstrap()
    for each in found:
        means.add(str(each["index"]), [each["iou"][kind] for kind in kinds if kind in each["iou"]])
    return means


def cell(means: MeanBootstrap) -> str:
    """A mean and its interval."""
    return f"{per_cent(means.mean(means.scores))} {within(means.interval())}"


@click.command(help=__doc__.replace("    python", "\b\n    python", 1))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the records.")
@click.option("--scenes", type=click.IntRange(min=2), default=60, show_default=True, help="How many.")
@click.option("--categories", help="Concepts: coco-seen, coco-unseen, or a file of names.  [default: all]")
@click.option("--trained", default=MODEL, show_default=True, help="Model of prompt-ris.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the CPU.")
@click.option("--dtype", type=click.Choice(("auto", *DTYPES)), default="auto", show_default=True)
def main(out: Path, scenes: int, categories: str | None, trained: str, threads: int, dtype: str) -> None:
    torch.set_num_threads(threads)
    try:
        among = pictures(categories)
        records = Records(out, {"dtype": dtype, "choice of concepts": among.without})
        methods = keys(trained)
        for key, method in methods.items():
            measure(records, key, method, among, scenes, trained, dtype)
    except (CarError, OSError) as error:
        raise click.ClickException(str(error)) from None
    page = table(("mIoU", *KINDS, "all", "less the first row"), list(rows(records, methods, scenes))) + "\n"
    write_atomically(out / "table.md", page.encode())
    click.echo(page, nl=False)


if __name__ == "__main__":
    main()
