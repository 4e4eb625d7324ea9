"""The ablations of the CaR paper, Tables 2 to 6, and mask proposals, on any benchmark: one whole run of it per row.

    python tools/make_benchmarks.py bench
    python tools/ablate.py voc21 --data-root bench/voc --classes bench/voc/classes.txt --config bench/mini.yaml \
        --out runs/ablate-voc21 --jobs 2
    python tools/ablate.py voc21 --data-root ~/VOCdevkit --model openai --table prompts --out runs/prompts

Each row is a run of `car eval` in a folder of its own below --out; rows of the same settings share one. A stopped run
goes on where it was. The tables are written to OUT/tables.md and printed: mIoU in per cent with its 95 % interval over
pictures, the difference to the run's own settings with the interval of paired rounds, what the loop kept and lost, and
the paper's figure on Pascal VOC where it is known.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from ablate_paper import Row, Table, tables
from rich.console import Console
from rich.progress import track

from car.cli.options import MODEL, SETTINGS, settings, with_options
from car.errors import CarError
from car.evaluate.bootstrap import interval
from car.evaluate.job import Job
from car.evaluate.markdown import per_cent, within
from car.evaluate.markdown import table as markdown_table
from car.evaluate.run_directory import RunDirectory
from car.evaluate.runner import run
from car.evaluate.statistics import Statistics

OWN = Row(("own settings",))


class Ablation:
    """Runs of one benchmark under many settings.

    Args:
        job: the run's own settings.
        out: folder of the runs.
    """

    def __init__(self, job: Job, out: Path) -> None:
        self.job, self.out = job, out
        self._results: dict[Path, Statistics] = {}

    def job_of(self, row: Row) -> Job:
        """What a row runs."""
        asked = {**self.job.options, **row.options}
        options = {name: value for name, value in asked.items() if value is not None}
        if row.models is None:
            return replace(self.job, options=options)
        return replace(self.job, model=row.models[0], classifier=row.models[1], options=options)

    def folder(self, row: Row) -> Path:
        """Where a row's run is: rows of the same settings share it."""
        job = self.job_of(row)
        settings = json.dumps([job.model, job.classifier, job.options], sort_keys=True, default=str)
        return self.out / "runs" / hashlib.sha256(settings.encode()).hexdigest()[:12]

    def run(self, rows: Sequence[Row], jobs: int) -> None:
        """Do what is missing, `jobs` runs at a time."""
        todo = {self.folder(row): self.job_of(row) for row in rows}
        # numpy's products read it when a worker imports it.
        os.environ["OMP_NUM_THREADS"] = str(self.job.threads)
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            started = [pool.submit(run, job, folder) for folder, job in todo.items()]
            console = Console(stderr=True)
            try:
                for each in track(as_completed(started), "runs", len(started), console=console, transient=True):
                    each.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def result(self, row: Row) -> Statistics:
        """What a row's run came to."""
        folder = self.folder(row)
        if folder not in self._results:
            there = RunDirectory(folder)
            self._results[folder] = Statistics.of(there.plan, there.own_keys, there.records())
        return self._results[folder]

    def markdown(self, table: Table) -> str:
        """A table with its figures."""
        header = (*table.header, "mIoU", "difference", "absent kept", "present dropped", "paper, VOC")
        return f"## {table.title}\n\n" + markdown_table(header, [self._cells(row) for row in table.rows])

    def about(self) -> str:
        """What was measured on what."""
        own = self.result(OWN)
        plan = own.plan
        file = [] if self.job.config_file is None else [Path(self.job.config_file).name]
        changed = [f"{key} {value}" for key, value in sorted(self.job.options.items())]
        return (
            f"# The paper's ablations on {plan.benchmark}, {plan.split}\n\n"
            f"{len(own.evaluated)} of {plan.images} pictures, model {plan.model} ({plan.dtype}); settings: "
            f"{', '.join([f'preset {plan.preset}', *file, *changed])}. With these alone: {self._miou(own)} mIoU; a "
            "difference is to that."
        )

    def _cells(self, row: Row) -> tuple[str, ...]:
        result, own = self.result(row), self.result(OWN)
        gain = result.scores()["mIoU"].miou - own.scores()["mIoU"].miou
        paired = interval(result.rounds() - own.rounds())
        asked = result.passes
        return (
            *row.label,
            self._miou(result),
            "own" if result is own else f"{per_cent(gain, '+')} {within(paired, '+')}",
            " / ".join(per_cent(loop.absent_kept) for loop in asked),
            " / ".join(per_cent(loop.present_dropped) for loop in asked),
            "" if row.published is None else f"{row.published:.1f}",
        )

    def _miou(self, result: Statistics) -> str:
        return f"{per_cent(result.scores()['mIoU'].miou)} {within(result.interval())}"


def pairs_of(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs written PROPOSER+CLASSIFIER."""
    pairs = [tuple(pair.split("+")) for pair in value]
    if any(len(pair) != 2 for pair in pairs):
        raise click.BadParameter("write a pair as PROPOSER+CLASSIFIER, for instance ViT-B/16+ViT-L/14.")
    return pairs  # type: ignore[return-value]


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("benchmark")
@click.option("--data-root", required=True, type=click.Path(path_type=Path), help="As of `car eval`.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the runs.")
@click.option("--table", "chosen", multiple=True, help="One or several by name; all by default.")
@click.option("--pair", "pairs", multiple=True, callback=pairs_of, help="PROPOSER+CLASSIFIER, a row of `backbones`.")
@click.option("--classes", type=click.Path(path_type=Path), help="As of `car eval`.")
@click.option("--split", help="As of `car eval`.")
@click.option("--limit", type=click.IntRange(min=1), help="As of `car eval`.")
@click.option("--seed", type=int, default=0, show_default=True, help="As of `car eval`.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of each run.")
@with_options(MODEL, SETTINGS)
def main(
    benchmark: str,
    out: Path,
    chosen: tuple[str, ...],
    pairs: list[tuple[str, str]],
    jobs: int,
    **options: Any,
) -> None:
    try:
        given = settings(options)
        job = Job(benchmark=benchmark, options=given, **{k: v for k, v in options.items() if v is not None})
        known = tables(pairs)
        for name in chosen:
            if name not in known:
                raise click.BadParameter(f"no table {name!r}; there are {', '.join(known)}.", param_hint="--table")
        wanted = [known[name] for name in chosen or known]
        ablation = Ablation(job, out)
        ablation.run([OWN, *(row for table in wanted for row in table.rows)], jobs)
        text = "\n\n".join([ablation.about(), *map(ablation.markdown, wanted)]) + "\n"
    except CarError as error:
        raise click.ClickException(str(error)) from None
    (out / "tables.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
