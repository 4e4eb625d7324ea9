"""`car eval`: the semantic and the referring benchmarks, a subcommand each; shards joined, runs compared."""

import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import MODEL, SETTINGS, settings, with_options
from car.evaluate.markdown import count, per_cent

if TYPE_CHECKING:
    from car.evaluate import Progress
    from car.evaluate.kinds import AnyJob

SECONDS_BETWEEN_LINES = 60
MOST_NAMES = 10
OTHERS = ("merge", "report")
HOW = ("quiet", "out", "shard", "engine", "workers", "address", "predictions", "overwrite")
"""Options that say how a job is done, not what it is."""
DATA = (
    click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where the data are."),
    click.option(
        "--split", help="train, val, ...; of `folder` the name of a list.  [default: val, or all of `folder`]"
    ),
    click.option("--classes", help="A class list in place of the benchmark's words: synonyms joined by commas."),
    click.option("--limit", type=click.IntRange(min=1), help="Evaluate so many pictures of the split."),
    click.option("--seed", type=click.IntRange(min=0), help="Which ones.  [default: 0]"),
)
PRESET = click.option(
    "--preset", help="Named configuration, a YAML file, or none; see `car presets`.  [default: the benchmark's own]"
)
RUN = (
    click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME-MODEL]"),
    click.option("--shard", metavar="I/N", help="Do part I of N, in a folder of its own inside that of the run."),
    click.option("--engine", help="local, or ray: on as many workers as fit.  [default: local]"),
    click.option("--workers", type=click.IntRange(min=1), help="How many, with `--engine ray`."),
    click.option("--ray-address", "address", help="A running Ray cluster to join, with `--engine ray`."),
    click.option("--threads", type=click.IntRange(min=1), help="Threads on a CPU; results depend on it by rounding."),
    click.option("--predictions", is_flag=True, help="Keep the predicted label maps, too."),
    click.option("--overwrite", is_flag=True, help="Begin anew, whatever run is there."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
)


class Benchmarks(click.Group):
    """A subcommand per benchmark of the catalogue, and those that handle runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from car.data import list_benchmarks

        return [*list_benchmarks(), *referring_names("pictures"), *referring_names("sequences"), *OTHERS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands:
            return self.commands[name]
        if name == "report":
            from car.cli.eval_report import report

            return report
        if name in referring_names("pictures"):
            from car.cli.eval_referring import referring_command

            return referring_command(name)
        if name in referring_names("sequences"):
            from car.cli.eval_video import video_command

            return video_command(name)
        return benchmark_command(name) if name in self.list_commands(ctx) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        from difflib import get_close_matches

        names = self.list_commands(ctx)
        if args[0] not in names:
            close = get_close_matches(args[0], names, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Available: {', '.join(names)}."
            ctx.fail(f"No benchmark {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from car.data import list_benchmarks

        parts = (
            ("Benchmarks", list_benchmarks()),
            ("Referring benchmarks", referring_names("pictures")),
            ("Referring benchmarks of films", referring_names("sequences")),
            ("Runs", OTHERS),
        )
        for title, part in parts:
            found = [(name, self.get_command(ctx, name)) for name in part]
            with formatter.section(title):
                formatter.write_dl([(name, each.get_short_help_str(80)) for name, each in found if each])


@click.command("eval", cls=Benchmarks, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure models and settings on a benchmark, in the layout it is distributed in.

    A run is a folder with a record per picture. Whatever stopped it, the same command goes on where it was, and ends in
    the same report. A picture that cannot be read is reported and counted, and the exit status is then 1.

    \b
    Examples:
      car eval voc21 --data-root VOCdevkit                            # the embedded model, the paper's settings
      car eval voc21 --data-root VOCdevkit --model openai --predictions
      car eval ade150 --data-root ADEChallengeData2016 --limit 100 --set eta=0.5 --out runs/eta
      car eval folder --data-root mine                                # your own pictures and label maps
      car eval coco-object --data-root coco --shard 3/16              # on one machine of 16; in the end:
      car eval merge runs/coco-object-mini
      car eval refcoco --data-root refer --split testA --method hybridgl
      car eval refcoco --data-root refer --categories coco-unseen     # only objects of these categories
      car eval ref-davis17 --data-root DAVIS --mode per-frame
      car eval report runs/voc21-mini
    """


def referring_names(unit: str) -> list[str]:
    """The referring benchmarks of "pictures", or of "sequences"."""
    from car.data import REFERRING

    return [name for name, each in REFERRING.items() if each.unit == unit]


def benchmark_command(name: str) -> click.Command:
    """The subcommand of one benchmark."""
    from car.data import find_benchmark

    title = find_benchmark(name).title

    help_text = f"""Evaluate on {name}: {title}.

    The run's folder holds the plan with every setting (run.json), a record per picture (records.jsonl), and the report
    (report.md, report.json, classes.csv, timing.json). If a run of the same plan is there already, it goes on; pictures
    that failed are tried again. The summary goes to stdout, with the published figure where there is one.

    \b
    Examples:
      car eval {name} --data-root DATA
      car eval {name} --data-root DATA --model openai --out runs/{name} --predictions
      car eval {name} --data-root DATA --limit 50 --preset none --set theta=0.5
      car eval {name} --data-root DATA --shard 1/4
    """

    @click.command(name, help=help_text, short_help=title)
    @with_options(DATA, MODEL, (PRESET, *SETTINGS[1:]), RUN)
    def evaluate(**options: Any) -> int:
        return start(name, options)

    return evaluate


def start(name: str, options: dict[str, Any]) -> int:
    """Run a benchmark; the exit status."""
    from car.evaluate import Job
    from car.slug import slug

    how = {key: options.pop(key) for key in HOW}
    given = settings(options)
    job = Job(benchmark=name, options=given, **{key: value for key, value in options.items() if value is not None})
    return carry_out(job, Path("runs") / f"{name}-{slug(job.model)}", how)


def carry_out(job: "AnyJob", default: Path, how: dict[str, Any]) -> int:
    """Run a job as the options of `RUN` say, by default in this folder; the exit status."""
    from car.evaluate import Shard, run

    quiet, out, part, engine = (how.pop(key) for key in ("quiet", "out", "shard", "engine"))
    if engine is not None:
        how["engine"] = engine
    folder = out or default
    shard = None if part is None else Shard.parse(part)
    with ExitStack() as stack:
        watch = Watch(stack, quiet)
        try:
            report = run(job, folder, shard=shard, on_progress=watch, **how)
        except KeyboardInterrupt:
            raise click.Abort(watch.how_to_go_on(how["overwrite"])) from None
    return conclude(report, folder if shard is None else folder / shard.folder, quiet)


class Watch:
    """Shows how a run goes: a bar on a terminal, a line a minute elsewhere, and each picture that fails.

    Args:
        stack: ends the bar.
        quiet: show only what fails.
    """

    def __init__(self, stack: ExitStack, quiet: bool) -> None:
        self._stack, self._quiet = stack, quiet
        self._latest: Progress | None = None

    def __call__(self, progress: "Progress") -> None:
        if self._latest is None:
            self._begin(progress)
        record = progress.record
        if record is not None:
            line = None if record.error is None else f"{record.key}: error: {record.error}"
            self._advance(line, failed=line is not None, note=self._note(progress))
            self._say_now_and_then(progress)

    def how_to_go_on(self, overwrite: bool) -> str:
        """What to tell a user who interrupted the run."""
        if self._latest is None:
            return ""
        latest = self._latest
        there = f"{count(latest.done)} of {count(latest.total)} {latest.unit} are in {str(latest.folder)!r}"
        return f"{there}; the same command{' without `--overwrite`' if overwrite else ''} goes on from there."

    def _begin(self, progress: "Progress") -> None:
        from car.cli.progress import progress as bar

        self._latest, self._began = progress, perf_counter()
        self._spoke = self._began
        if progress.there and not self._quiet:
            there = f"{count(progress.there)} of {count(progress.total)} {progress.unit}"
            click.echo(f"{there} were there already.", err=True)
        self._advance = self._stack.enter_context(
            bar(progress.total, quiet=self._quiet, done=progress.there, unit=progress.unit)
        )

    def _say_now_and_then(self, progress: "Progress") -> None:
        now = perf_counter()
        if self._quiet or sys.stderr.isatty() or now - self._spoke < SECONDS_BETWEEN_LINES:
            return
        self._spoke = now
        rate = (progress.done - progress.there) / (now - self._began)
        click.echo(
            f"{count(progress.done)} of {count(progress.total)} {progress.unit}, {self._note(progress)}, "
            f"{rate:.3g} {progress.unit}/s",
            err=True,
        )

    @staticmethod
    def _note(progress: "Progress") -> str:
        return f"{progress.measure} {per_cent(progress.miou)} so far"


@command.command("merge", short_help="Join shards, or any parts of a run, into one.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to merge to.  [default: RUN, if there is one]")
@click.option("--overwrite", is_flag=True, help="Replace the run that is at `--out`, instead of joining it.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def merge_them(folders: tuple[Path, ...], out: Path | None, overwrite: bool, quiet: bool) -> int:
    """Join shards, or any parts of a run, into one run with the report it would have had in one piece.

    RUN is the folder of a run, or one with a folder for each shard in it. Runs of different plans are refused, and so
    are different results of the same picture; of equal ones the first counts. If pictures are missing from all runs,
    they are named, what is there is merged nevertheless, and the exit status is 1: merge again when the other shards
    are there, or let `car eval` do what is missing.

    \b
    Examples:
      car eval merge runs/voc21-mini                       # its shards, into itself
      car eval merge runs/voc21-mini --out runs/joined
      car eval merge from-one/ from-another/ --out runs/joined
    """
    from car.evaluate import merge

    merged = merge(folders, out, overwrite=overwrite)
    if missing := merged.missing:
        more = f" and {count(len(missing) - MOST_NAMES)} more" if len(missing) > MOST_NAMES else ""
        names = ", ".join(missing[:MOST_NAMES])
        unit = merged.report.unit
        total = count(merged.report.figures[unit]["all"])
        click.echo(f"{count(len(missing))} of {total} {unit} are in none of the runs: {names}{more}.", err=True)
    return conclude(merged.report, merged.folder, quiet)


def conclude(report: Any, folder: Path, quiet: bool) -> int:
    """Say what came out; the exit status."""
    if not quiet:
        click.echo(report.summary)
        click.echo(f"The report is {folder / 'report.md'}.", err=True)
    return 0 if report.complete else 1
