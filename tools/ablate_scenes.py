"""What each part of the pipeline is worth on scenes: the embedded model, all settings fixed beforehand.

Main tables, one per proposer, rows `car.scenes.TEST`, 20 queries per scene, most of them absent:
- all kept (T = 1): the proposals of all queries, nothing pruned, each pixel to its best one or to the background;
- filtered once: the same proposals, of the queries that the first step keeps, not proposed again;
- recurrent: the whole loop; + CRF: its masks after the dense CRF; + regions by IoM: merged with regions of the image;
- told: proposals of the queries that are there, nothing judged; + CRF: after the dense CRF.

mIoU: the mean IoU over the concepts that a scene shows or a pixel of it is given to (so one that is wrongly kept counts
as 0), then the mean over scenes. All objects of one concept are one mask; masks are compared at the scene's 224 x 224
pixels. In brackets its 95 % interval, by bootstrap over scenes with a fixed seed. Precision and recall of the queries
that the recurrent run keeps are over all scenes together.

Then: what proposing again adds to filtering once, scene by scene; every proposer on `car.scenes.TUNING`; for the best
of them there one setting changed at a time around the defaults, the share of unknown words it keeps, and pictures.

    python tools/ablate_scenes.py --out runs/ablate --jobs 2
    python tools/ablate_scenes.py --out runs/ablate --tables main --proposer caa --scenes 40
    python tools/ablate_scenes.py --out runs/ablate --tables none --pictures docs/scenes --contact 30

A stopped run goes on where it was, and more scenes or tables are added to what is there; after a change of the code,
name another folder. Run inside the repository, or with the package installed.
"""

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import ablate_tables as tables
import click
import cv2
import torch
from ablate_measure import Bench, measure
from ablate_pictures import draw_pictures
from ablate_records import Records, Task
from ablate_settings import PROPOSERS, SWEEPS, settings_around, shown
from rich.console import Console
from rich.progress import track

from car.errors import CarError
from car.scenes import TEST, TUNING, Split
from car.scenes.splits import OBJECTS, QUERIES
from car.vlm.registry import MINI

PARTS = ("main", "proposers", "sweeps", "unknown")
SHOWN = TEST[1]
"""The row that unknown words are asked of and pictures are taken from: 2-4 objects, seen artwork."""
worker: Bench


class Ablation:
    """One run: what there is to measure, and what it comes to.

    Args:
        bench: the models.
        records: what has been measured.
        proposers: those of the main tables.
        tuning: the split that settings are compared on.
        scenes: scenes per row.
        jobs: processes.
    """

    def __init__(
        self, bench: Bench, records: Records, proposers: Sequence[str], tuning: Split, scenes: int, jobs: int
    ) -> None:
        self.bench, self.records = bench, records
        self.proposers, self.tuning = proposers, tuning
        self.scenes, self.jobs = scenes, jobs

    def tasks(self, table: str, splits: Sequence[Split], settings: dict[str, dict[str, Any]]) -> list[Task]:
        """Every scene of some splits under every setting."""
        every = itertools.product(splits, range(self.scenes), settings.items())
        return [Task(table, split.name, i, name, tuple(changes.items())) for split, i, (name, changes) in every]

    def run(self, tasks: Sequence[Task]) -> None:
        """Measure what has no record yet, scene by scene."""
        missing = self.records.missing(tasks)
        groups = [list(group) for _, group in itertools.groupby(missing, key=lambda task: (task.row, task.index))]
        if not groups:
            return
        made = results(self.bench, groups, self.jobs)
        for found in track(made, "scenes", total=len(groups), console=Console(stderr=True), transient=True):
            self.records.add(found)

    def report(self, parts: Sequence[str], *, choose: bool) -> tuple[list[str], str]:
        """The tables of these parts, and the main proposer (the first one where nothing needs it chosen)."""
        each = {name: {"proposer": name} for name in self.proposers}
        sections = [self.about()]
        if "main" in parts:
            self.run(self.tasks("main", TEST, each))
            sections += self.main_sections()
        chosen = self.proposers[0]
        if "proposers" in parts or (len(self.proposers) > 1 and (choose or {"sweeps", "unknown"} & set(parts))):
            self.run(self.tasks("main", [self.tuning], each))
            chosen = tables.best_proposer(self.records, self.tuning, self.proposers, self.scenes)
            compared = tables.proposer_table(self.records, self.tuning, self.proposers, self.scenes)
            sections.append(f"## Proposers: {seeded(self.tuning, self.scenes)}\n\nThe best: {chosen}.\n\n{compared}")
        if "sweeps" in parts:
            changed = settings_around(chosen, self.bench.base.config)
            self.run(self.tasks("tuning", [self.tuning], changed))
            swept = tables.sweep_table(self.records, self.tuning, chosen, self.bench.base.config, self.scenes)
            sections.append(f"## One setting at a time, {chosen}: {seeded(self.tuning, self.scenes)}\n\n{swept}")
        if "unknown" in parts:
            self.run(self.tasks("unknown", [SHOWN], {chosen: each[chosen]}))
            asked = tables.unknown_table(self.records, SHOWN, chosen, self.scenes)
            sections.append(f"## Unknown words kept (per cent), {chosen}: {seeded(SHOWN, self.scenes)}\n\n{asked}")
        return sections, chosen

    def about(self) -> str:
        """What was measured on what."""
        config, settings = self.bench.base.config, self.bench.settings
        defaults = ", ".join(f"{field} {shown(getattr(config, field))}" for field in SWEEPS)
        return (
            f"# What each part is worth\n\nCheckpoint {settings['checkpoint'][:12]}, {settings['dtype']}; "
            f"scenes version {settings['scenes']}, {self.scenes} per row, {QUERIES} queries each; {defaults}. "
            "mIoU in per cent."
        )

    def main_sections(self) -> list[str]:
        """The main tables and what follows from them."""
        seeds = "; ".join(seeded(split, self.scenes) for split in TEST)
        return [
            f"Scenes: {seeds}.",
            *(f"## {name}\n\n{tables.main_table(self.records, TEST, name, self.scenes)}" for name in self.proposers),
            "## Does proposing again help beyond filtering?\n\n"
            + tables.recompute_table(self.records, TEST, self.proposers, self.scenes),
        ]


def seeded(split: Split, scenes: int) -> str:
    return f"{split.name} (seeds {split.first} to {split.first + scenes - 1})"


def results(bench: Bench, groups: Sequence[Sequence[Task]], jobs: int) -> Iterator[list[dict[str, Any]]]:
    """Records of each group in turn."""
    if jobs == 1:
        yield from (measure(bench, group) for group in groups)
        return
    context = multiprocessing.get_context("spawn")
    # numpy's products read it when a worker imports it.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, context, start_worker, bench.arguments) as pool:
        yield from pool.map(measure_in_worker, groups)


def start_worker(checkpoint: Path, device: str, dtype: str) -> None:
    global worker
    single_thread()
    worker = Bench(checkpoint, device, dtype)


def measure_in_worker(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    return measure(worker, tasks)


def single_thread() -> None:
    """Steps this small only wait for each other on several threads; more cores are for more jobs."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def parts_of(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """The parts of a comma-separated list; "none" is none of them."""
    parts = [] if value == "none" else value.split(",")
    for part in parts:
        if part not in PARTS:
            raise click.BadParameter(f"no table {part!r}; there are {', '.join(PARTS)}, or none.")
    return parts


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the records.")
@click.option("--scenes", type=click.IntRange(min=1, max=10_000), default=200, show_default=True, help="Per row.")
@click.option(
    "--tables", "parts", default=",".join(PARTS), show_default=True, callback=parts_of, metavar="LIST", help="Or none."
)
@click.option(
    "--proposer", "proposers", type=click.Choice(PROPOSERS), multiple=True, help="One or several; all by default."
)
@click.option("--tuning", type=click.Choice(list(OBJECTS)), default="2-4 objects", show_default=True)
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=MINI,
    help="The embedded one by default.",
)
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="auto", show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--pictures", type=click.Path(file_okay=False, path_type=Path), help="Folder for the scenes drawn.")
@click.option("--contact", type=click.IntRange(min=0), default=0, help="How many scenes on a contact sheet.")
def main(
    out: Path,
    scenes: int,
    parts: list[str],
    proposers: tuple[str, ...],
    tuning: str,
    checkpoint: Path,
    device: str,
    dtype: str,
    jobs: int,
    pictures: Path | None,
    contact: int,
) -> None:
    single_thread()
    try:
        bench = Bench(checkpoint, device, dtype)
        records = Records(out, bench.settings)
        split = TUNING[list(OBJECTS).index(tuning)]
        ablation = Ablation(bench, records, proposers or PROPOSERS, split, scenes, jobs)
        sections, chosen = ablation.report(parts, choose=pictures is not None)
        if pictures is not None:
            ablation.run(ablation.tasks("main", [SHOWN], {chosen: {"proposer": chosen}}))
            lines = draw_pictures(bench, records, SHOWN, chosen, scenes, pictures, contact)
            sections.append("## Pictures\n\n" + "\n".join(f"- {line}" for line in lines))
    except CarError as error:
        raise click.ClickException(str(error)) from None
    text = "\n\n".join(sections) + "\n"
    (out / "tables.md").write_text(text, encoding="utf-8")
    click.echo(text)
    if "main" in parts:
        click.echo(tables.time_table(records, TEST, ablation.proposers, scenes))


if __name__ == "__main__":
    main()
