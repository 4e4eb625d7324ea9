"""`car eval report`: what runs came to, one alone or several side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from car.cli.run import refuse_existing
from car.errors import InputError

if TYPE_CHECKING:
    from car.evaluate.run_directory import RunDirectory
    from car.evaluate.statistics import Statistics


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this folder as well.")
@click.option("--plots", is_flag=True, help="Draw the runs there, too (needs matplotlib).")
@click.option("--overwrite", is_flag=True, help="Replace what is in that folder already.")
@click.option("--quiet", is_flag=True, help="Say nothing but the report and errors.")
def report(runs: tuple[Path, ...], out: Path | None, plots: bool, overwrite: bool, quiet: bool) -> int:
    """Print the report of a run; of several, compare them with the first.

    It is counted from the runs' records, also of runs that are not finished, and leaves the runs as they are. If some
    image has no result, the report says so, and the exit status is 1. With --out, one run gives report.md,
    report.json, timing.json and, of classes, classes.csv; several give comparison.md and comparison.csv. With --plots,
    they are drawn: IoU by class, steps and confusion; P@X at every X of referring benchmarks; J&F by film of films.

    Only runs of the same benchmark can be compared, with expressions also of the same split and protocol. Differences
    are given between runs over the same images; with expressions, over the images or films that two runs share.

    \b
    Examples:
      car eval report runs/voc21
      car eval report runs/voc21 runs/theta-0.5 runs/no-crf --out compared --plots
      car eval report runs/refcoco-car runs/refcoco-hybridgl --out compared --plots
    """
    from car.evaluate.kinds import check_comparable, comparison_of, report_of, write_plots
    from car.evaluate.plot_style import check_matplotlib

    if plots and out is None:
        raise InputError("`--plots` needs a folder to draw to: add `--out`.")
    if plots:
        check_matplotlib()
    names = labels(runs)
    found = [opened(run) for run in runs]
    if len(found) > 1:
        check_comparable({name: run.plan for name, run in zip(names, found, strict=True)})
    written = [] if out is None else outputs(out, found[0], names, plots=plots)
    if not overwrite:
        refuse_existing([path for path in written if path.exists()])
    counted = dict(zip(names, count(found, quiet=quiet), strict=True))
    told = comparison_of(counted) if len(counted) > 1 else report_of(*counted.values())
    if out is not None:
        told.write(out)
    click.echo(told.page, nl=False)
    if plots and out is not None:
        write_plots(out, counted)
    if out is not None and not quiet:
        click.echo(f"Written to {out}: {', '.join(path.name for path in written)}.", err=True)
    return conclude(counted)


def labels(runs: Sequence[Path]) -> list[str]:
    """What to call the runs: their folders' names, with as many folders before them as tells them apart.

    Raises:
        InputError: two are the same folder.

    >>> labels([Path("a/voc"), Path("b/voc/"), Path("b/ade")])
    ['a/voc', 'b/voc', 'ade']
    """
    full = [Path(os.path.abspath(run)).parts for run in runs]
    for number, parts in enumerate(full):
        if parts in full[:number]:
            raise InputError(f"The run {str(runs[number])!r} is given twice.")
    names = []
    for parts in full:
        size = 1
        while sum(other[-size:] == parts[-size:] for other in full) > 1:
            size += 1
        names.append(Path(*parts[-size:]).as_posix())
    return names


def outputs(out: Path, first: "RunDirectory", names: Sequence[str], *, plots: bool) -> list[Path]:
    """What is written to the folder, the pages first."""
    from car.evaluate.compare_runs import FILES
    from car.evaluate.kinds import plot_files, report_files

    texts = FILES if len(names) > 1 else report_files(first.plan)
    return [out / name for name in (*reversed(texts), *(plot_files(first.plan, names) if plots else ()))]


def opened(folder: Path) -> "RunDirectory":
    """The run in a folder; InputError where there is none."""
    from car.evaluate.run_directory import RunDirectory

    return RunDirectory(folder)


def count(runs: Sequence["RunDirectory"], *, quiet: bool) -> list["Statistics"]:
    """The statistics of runs, with a progress bar."""
    from car.cli.progress import progress
    from car.evaluate.kinds import statistics_of

    counted = []
    with progress(sum(map(len, runs)), quiet=quiet, unit=runs[0].plan.unit) as advance:
        for run in runs:
            statistics = statistics_of(run.plan, run.own_keys)
            for record in run.records():
                statistics.add(record)
                advance()
            counted.append(statistics)
    return counted


def conclude(counted: dict[str, "Statistics"]) -> int:
    """Say which runs lack results; the exit status."""
    unfinished = [name for name, statistics in counted.items() if not statistics.complete]
    for name in unfinished:
        statistics = counted[name]
        lacking = {"failed": len(statistics.failures), "not evaluated yet": len(statistics.missing)}
        told = ", ".join(f"{number} {what}" for what, number in lacking.items() if number)
        there = f"{len(statistics.evaluated)} of {len(statistics.keys)} {statistics.plan.unit}"
        click.echo(f"{name}: {there} have a result; {told}.", err=True)
    return 1 if unfinished else 0
