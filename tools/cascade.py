"""What a cascade costs and saves: kept recall, mIoU and seconds against the number of queries that it lists.

Scenes are asked for 500 queries each: all concepts, and absent concepts in all sorts of colours ("a red ..."), so that
none of the added ones is there. Each scene is asked without a cascade, and with `Config.cascade` set to each K:

- entered: queries that the classifier is shown in the first step, those above `cascade_floor` included;
- listed: the share of the concepts that are there which are among them;
- kept recall: the share of what is there and kept without a cascade that is kept with it, too;
- recall, precision: of the queries kept in the end;
- mIoU: after the dense CRF, over the concepts that are there or were given a pixel, then over scenes, and what it is
  more than without a cascade; 95 % intervals by bootstrap over scenes;
- seconds: from propose to CRF, per scene, features of the texts at hand; the first scene is asked once more before.

K is chosen on the tuning split: the smallest with a kept recall of at least 99 % that loses less than half a per cent
of mIoU. The test split says what that comes to. A stopped run goes on where it was.

    python tools/cascade.py --out runs/cascade --picture docs/cascade.png
"""

from collections.abc import Sequence
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
"""The split to choose on, and the one to report."""
STAGES = ("propose", "prompt", "classify", "crf")
LEAST_RECALL, MOST_LOST = 0.99, 0.005


def queries_of(scene: Scene, seed: int) -> list[str]:
    """QUERIES different queries, in random order: all concepts, and colours of concepts that are not there."""
    absent = [name for name in concepts() if name not in scene.concepts]
    coloured = [f"{colour} {name}" for name in absent for colour in COLOURS]
    rng = np.random.default_rng([seed, QUERIES])
    added = rng.choice(len(coloured), QUERIES - len(concepts()), replace=False)
    return rng.permutation([*concepts(), *(coloured[i] for i in added)]).tolist()


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
                "listed": len(there & listed),
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

    def chosen(self) -> str:
        """The smallest size that loses next to nothing."""
        for size in self.records:
            if self.kept_recall(size) >= LEAST_RECALL and self.gain(size).mean() > -MOST_LOST:
                return size
        return NONE

    def table(self) -> str:
        """All sizes as Markdown."""
        header = ("K", "entered", "listed", "kept recall", "recall", "precision", "mIoU", "more than all", "s / scene")
        return table(header, map(self.row, self.records))

    def row(self, size: str) -> tuple[str, ...]:
        """One size as text."""
        miou, gain = self.values(size, "miou"), self.gain(size)
        return (
            size,
            number(self.values(size, "entered").mean(), 1),
            per_cent(self.share(size, "listed", "there")),
            per_cent(self.kept_recall(size)),
            per_cent(self.share(size, "right", "there")),
            per_cent(self.share(size, "right", "kept")),
            with_interval(miou),
            with_interval(gain, "+"),
            number(float(np.median(self.values(size, "seconds"))), 2),
        )


def draw(curve: Curve, chosen: str, file: Path) -> None:
    """Kept recall and mIoU, and seconds, against K."""
    from car.evaluate.plot_style import across, figure_of, pixels, style_context

    sizes = [size for size in curve.records if size != NONE]
    places = [*map(int, sizes), QUERIES]
    names = [*sizes, NONE]
    with style_context():
        figure = figure_of(7.2, 2.8)
        quality, time = across(figure, 2)
        for title, values, marker in (
            ("listed", [100 * curve.share(size, "listed", "there") for size in names], "s"),
            ("kept recall", [100 * curve.kept_recall(size) for size in names], "o"),
            ("mIoU", [100 * curve.values(size, "miou").mean() for size in names], "^"),
        ):
            quality.plot(places, values, marker=marker, markersize=3, linewidth=1, label=title)
        time.plot(
            places, [np.median(curve.values(size, "seconds")) for size in names], marker="o", markersize=3, linewidth=1
        )
        for axes, title in ((quality, "per cent"), (time, "seconds per scene, propose to CRF")):
            axes.set_xscale("log")
            axes.set_xticks(places, names)
            axes.minorticks_off()
            axes.set_xlabel(f"K, queries listed of {QUERIES}")
            axes.set_title(title, loc="left")
            axes.grid(axis="y")
            axes.set_ylim(bottom=0)
            if chosen != NONE:
                axes.axvline(int(chosen), color="0.6", linewidth=0.8, linestyle="--")
        quality.legend(loc="lower right", frameon=False)
        write_png(file, pixels(figure))


@click.command(help=__doc__.split("\n")[0], epilog="Tables go to OUT/tables.md and to the screen.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the records.")
@click.option("--scenes", type=click.IntRange(min=2), default=60, show_default=True, help="Scenes per split.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the test split's curve (PNG).")
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="auto", show_default=True)
def main(out: Path, scenes: int, picture: Path | None, device: str, dtype: str) -> None:
    bench = Bench(MINI, device, dtype)
    records = Records(out, bench.settings | {"queries": QUERIES})
    sizes = [NONE, *map(str, SIZES)]
    measured = False
    for row in ROWS:
        for index in track(range(scenes), row.name, console=Console(stderr=True), transient=True):
            tasks = [Task("cascade", row.name, index, size, ()) for size in sizes]
            if records.missing(tasks):
                if not measured:
                    measure(bench, row, index, sizes)
                    measured = True
                records.add(measure(bench, row, index, sizes))
    order = [*map(str, SIZES), NONE]
    tuning, test = (Curve({size: records.of("cascade", row.name, size, scenes) for size in order}) for row in ROWS)
    chosen = tuning.chosen()
    parts = [
        f"{row.name}, {scenes} scenes, {QUERIES} queries each\n\n{curve.table()}"
        for row, curve in zip(ROWS, (tuning, test), strict=True)
    ]
    page = "\n\n".join([*parts, f"Chosen on the tuning split: K = {chosen}."]) + "\n"
    (out / "tables.md").write_text(page, encoding="utf-8")
    print(page, end="")
    if picture is not None:
        draw(test, chosen, picture)


if __name__ == "__main__":
    main()
