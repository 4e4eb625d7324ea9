"""What a cascade costs and saves: who is listed, kept recall, mIoU and seconds against the number of queries it lists.

Scenes are asked for 500 queries each: all concepts, and absent concepts in all sorts of colours ("red ..."), so that
none of the added ones is there. First the proposer alone, on scenes of few and of many objects: the share of the
concepts that are there which `Config.cascade` = K would list. K is chosen from it on the tuning splits: the smallest
that lists 99 % of what is there, however many objects there are. Then the whole way, without a cascade and with each K:

- entered: queries that the classifier is shown in the first step, those above `cascade_floor` included;
- kept recall: the share of what is there and kept without a cascade that is kept with it, too;
- recall, precision: of the queries kept in the end;
- mIoU: after the dense CRF, over the concepts that are there or were given a pixel, then over scenes, and what it is
  more than without a cascade; 95 % intervals by bootstrap over scenes;
- seconds: from propose to CRF, median per scene, features of the texts at hand.

A stopped run goes on where it was.

    python tools/cascade.py --out runs/cascade --picture docs/cascade.png
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from ablate_measure import Bench, scene_miou
from ablate_records import Records, Task
from ablate_tables import per_cent as with_interval
from rich.console import Console
from rich.progress import track

from car.evaluate.markdown import number, per_cent, table
from car.export import write_png
from car.scenes import COLOURS, TEST, TUNING, Scene, Split, concepts
from car.vlm.registry import MINI

QUERIES = 500
SIZES = (5, 10, 20, 30, 40, 60, 100, 200)
NONE = "none"
ROWS = (TUNING[1], TEST[1])
"""Splits to ask the whole way."""
RANKED = (*TUNING, *TEST[:3])
"""Splits to ask the proposer alone, those to choose on first; all of seen artwork."""
STAGES = ("propose", "prompt", "classify", "crf")
LISTED = 0.99


def queries_of(scene: Scene, seed: int) -> list[str]:
    """QUERIES different queries, in random order: all concepts, and colours of concepts that are not there."""
    absent = [name for name in concepts() if name not in scene.concepts]
    coloured = [f"{colour} {name}" for name in absent for colour in COLOURS]
    rng = np.random.default_rng([seed, QUERIES])
    added = rng.choice(len(coloured), QUERIES - len(concepts()), replace=False)
    return rng.permutation([*concepts(), *(coloured[i] for i in added)]).tolist()


@torch.inference_mode()
def rank(bench: Bench, row: Split, index: int) -> dict[str, Any]:
    """A record of where the concepts that are there come in the proposer's order, from 0."""
    scene = row.scene(index)
    names = queries_of(scene, row.first + index)
    presence = bench.base.prepare(scene.image).ask(names).proposer.presence()
    order = presence.argsort(descending=True, stable=True).tolist()
    ranks = [order.index(names.index(name)) for name in scene.concepts]
    return {"table": "rank", "row": row.name, "name": "", "index": index, "ranks": ranks}


@torch.inference_mode()
def measure(bench: Bench, row: Split, index: int, sizes: Sequence[str]) -> list[dict[str, Any]]:
    """A record for each size of the cascade; the first one is `NONE`."""
    scene = row.scene(index)
    names = queries_of(scene, row.first + index)
    there = {names.index(name) for name in scene.concepts}
    truth = np.zeros(scene.image.shape[:2], int)
    for name, mask in scene.concepts.items():
        truth[mask] = names.index(name) + 1
    records: list[dict[str, Any]] = []
    for size in sizes:
        segmenter = bench.under(cascade=None if size == NONE else int(size))
        result = segmenter.segment(scene.image, names)
        kept = set(np.flatnonzero(result.present).tolist())
        listed = set(result.steps[0].indices) if result.steps else set()
        records.append(
            {
                "table": "cascade",
                "row": row.name,
                "name": size,
                "index": index,
                "entered": len(listed),
                "there": len(there),
                "kept": len(kept),
                "right": sorted(there & kept),
                "miou": scene_miou(result.labels, truth, len(names)),
                "seconds": sum(float(np.sum(result.seconds.get(stage, 0.0))) for stage in STAGES),
            }
        )
    return records


class Curve:
    """One split's records, as arrays over scenes.

    Args:
        records: by size of the cascade, of the same scenes in the same order.
    """

    def __init__(self, records: dict[str, list[dict[str, Any]]]) -> None:
        self.records = records
        self.full = records[NONE]
        self.scenes = len(self.full)

    def share(self, size: str, part: str, of: str) -> float:
        """A sum over the scenes as a share of another."""
        return self.total(size, part) / self.total(size, of)

    def total(self, size: str, field: str) -> int:
        """Sum over the scenes of a number, or of the length of a list."""
        values = (each[field] for each in self.records[size])
        return sum(len(value) if isinstance(value, list) else value for value in values)

    def kept_recall(self, size: str) -> float:
        """The share of the right queries without a cascade that are kept with it."""
        pairs = [
            (set(each["right"]), set(full["right"])) for each, full in zip(self.records[size], self.full, strict=True)
        ]
        return sum(len(right & before) for right, before in pairs) / sum(len(before) for _, before in pairs)

    def values(self, size: str, field: str) -> np.ndarray:
        """One number per scene."""
        return np.array([each[field] for each in self.records[size]], float)

    def gain(self, size: str) -> np.ndarray:
        """mIoU more than without a cascade, per scene."""
        return self.values(size, "miou") - self.values(NONE, "miou")

    def table(self) -> str:
        """All sizes as Markdown."""
        header = ("K", "entered", "kept recall", "recall", "precision", "mIoU", "more than all", "s / scene")
        return table(header, map(self.row, self.records))

    def row(self, size: str) -> tuple[str, ...]:
        """One size as text."""
        miou, gain = self.values(size, "miou"), self.gain(size)
        return (
            size,
            number(self.values(size, "entered").mean(), 1),
            per_cent(self.kept_recall(size)),
            per_cent(self.share(size, "right", "there")),
            per_cent(self.share(size, "right", "kept")),
            with_interval(miou),
            with_interval(gain, "+"),
            number(float(np.median(self.values(size, "seconds"))), 2),
        )


class Ranks:
    """Where what is there comes in the proposer's order, by split."""

    def __init__(self, records: Records, scenes: int) -> None:
        self.of = {
            row.name: np.concatenate([each["ranks"] for each in records.of("rank", row.name, "", scenes)])
            for row in RANKED
        }

    def listed(self, row: Split, size: int) -> float:
        """The share of what is there that a cascade of this size lists."""
        return float((self.of[row.name] < size).mean())

    def chosen(self) -> int:
        """The smallest size that lists LISTED of every tuning split."""
        return 1 + max(int(np.quantile(self.of[row.name], LISTED, method="inverted_cdf")) for row in TUNING)

    def table(self) -> str:
        """The share listed by size and split."""
        rows = [(row.name, *(per_cent(self.listed(row, int(size))) for size in SIZES)) for row in RANKED]
        return table(("listed, % of what is there", *(f"K = {size}" for size in SIZES)), rows)


def draw(ranks: Ranks, curve: Curve, file: Path) -> None:
    """What is listed, the whole way's quality, and seconds, against K."""
    from car.evaluate.plot_style import across, colours_of, figure_of, pixels, style_context

    places, names = [*SIZES, QUERIES], [*map(str, SIZES), NONE]
    with style_context():
        figure = figure_of(9.6, 2.8)
        listed, quality, time = across(figure, 3)
        for row, colour in zip(RANKED[len(TUNING) :], colours_of(3), strict=True):
            shares = [100 * ranks.listed(row, size) for size in places]
            listed.plot(places, shares, color=colour, marker="o", markersize=3, linewidth=1, label=row.name)
        for title, values, colour in (
            ("kept recall", [100 * curve.kept_recall(size) for size in names], colours_of(3)[0]),
            ("precision", [100 * curve.share(size, "right", "kept") for size in names], colours_of(3)[1]),
            ("mIoU", [100 * curve.values(size, "miou").mean() for size in names], colours_of(3)[2]),
        ):
            quality.plot(places, values, color=colour, marker="o", markersize=3, linewidth=1, label=title)
        seconds = [np.median(curve.values(size, "seconds")) for size in names]
        time.plot(places, seconds, color=colours_of(1)[0], marker="o", markersize=3, linewidth=1)
        for axes, title in ((listed, "listed, %"), (quality, "the whole way, %"), (time, "seconds per scene")):
            axes.set_xscale("log")
            axes.set_xticks(places, [str(size) for size in places])
            axes.minorticks_off()
            axes.set_xlabel(f"K of {QUERIES} queries")
            axes.set_title(title, loc="left")
            axes.grid(axis="y")
            axes.axvline(ranks.chosen(), color="0.6", linewidth=0.8, linestyle="--")
        listed.set_ylim(80, 101)
        quality.set_ylim(0, 105)
        time.set_ylim(bottom=0)
        listed.legend(loc="lower right", frameon=False)
        quality.legend(loc="lower right", frameon=False)
        write_png(file, pixels(figure))


@click.command(help=__doc__.split("\n")[0], epilog="Tables go to OUT/tables.md and to the screen.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the records.")
@click.option("--scenes", type=click.IntRange(min=2), default=40, show_default=True, help="Scenes asked the whole way.")
@click.option("--ranked", type=click.IntRange(min=2), default=200, show_default=True, help="Scenes asked for ranks.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the test splits' curves (PNG).")
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="auto", show_default=True)
def main(out: Path, scenes: int, ranked: int, picture: Path | None, device: str, dtype: str) -> None:
    bench = Bench(MINI, device, dtype)
    records = Records(out, bench.settings | {"queries": QUERIES})
    for row in RANKED:
        for index in bar(range(ranked), f"ranks: {row.name}"):
            if records.missing([Task("rank", row.name, index, "", ())]):
                records.add([rank(bench, row, index)])
    sizes = [NONE, *map(str, SIZES)]
    for row in ROWS:
        for index in bar(range(scenes), row.name):
            if records.missing([Task("cascade", row.name, index, size, ()) for size in sizes]):
                records.add(measure(bench, row, index, sizes))
    ranks = Ranks(records, ranked)
    order = [*map(str, SIZES), NONE]
    curves = {row.name: Curve({size: records.of("cascade", row.name, size, scenes) for size in order}) for row in ROWS}
    parts = [
        f"{ranked} scenes of a row, {QUERIES} queries each:",
        ranks.table(),
        f"Chosen on the tuning splits: K = {ranks.chosen()}.",
        *(f"{name}, {scenes} scenes, {QUERIES} queries each:\n\n{curve.table()}" for name, curve in curves.items()),
    ]
    page = "\n\n".join(parts) + "\n"
    (out / "tables.md").write_text(page, encoding="utf-8")
    print(page, end="")
    if picture is not None:
        draw(ranks, curves[TEST[1].name], picture)


def bar(indices: Sequence[int], title: str) -> Iterable[int]:
    """A progress bar on stderr."""
    return track(indices, title, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    main()
