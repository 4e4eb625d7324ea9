"""`car bench`: how long every stage takes, beside what it must take at least."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import with_options
from car.errors import InputError

if TYPE_CHECKING:
    from car.bench import Case, Rival, Row

OPTIONS = (
    click.option(
        "--models",
        multiple=True,
        help="mini, or proposer+classifier out of OpenAI's ViTs with random weights; repeat for more."
        "  [default: mini, ViT-B/16+ViT-L/14]",
    ),
    click.option(
        "--size",
        "sizes",
        type=(click.IntRange(min=1), click.IntRange(min=1)),
        multiple=True,
        metavar="WIDTH HEIGHT",
        help="Size of the image in pixels; repeat for more.  [default: 500 375]",
    ),
    click.option(
        "--queries",
        type=click.IntRange(min=1),
        multiple=True,
        metavar="N",
        help="How many queries; repeat for more.  [default: 20; 8 with --referring]",
    ),
    click.option("--repeats", type=click.IntRange(min=1), help="How often each is measured.  [default: 3]"),
    click.option("--dtype", help="auto, fp32, bf16, fp16.  [default: auto]"),
    click.option("--device", help="auto, cpu, cuda, cuda:1.  [default: auto]"),
    click.option("--referring", is_flag=True, default=None, help="Expressions that each have a mask of their own."),
    click.option("--all-kept", is_flag=True, default=None, help="Keep every query instead of about a quarter."),
    click.option(
        "--cascade",
        type=click.IntRange(min=1),
        metavar="K",
        help="Show the classifier only the K queries that the proposer finds likeliest.",
    ),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file."),
    click.option("--quiet", is_flag=True, help="Show the tables, but no progress."),
)


@click.command()
@with_options(OPTIONS)
def command(**options: Any) -> None:
    """Measure seconds and peak memory of every stage, beside its floor on this machine.

    A network's floor is its bare forward pass over the images or texts it must see; the other stages' is what they must
    read and write, at the speed of a large copy. Speed does not care what weights are, so OpenAI's architectures are
    measured with random ones. Figures are medians of several runs, after one that does not count; the spread is the
    longest run less the shortest.

    \b
    Examples:
      car bench                                     # mini and ViT-B/16 + ViT-L/14, one size, 20 queries
      car bench --models mini --queries 1 --queries 20 --size 500 375 --size 1920 1080
      car bench --models ViT-B/16+ViT-L/14 --device cuda --dtype fp16 --json speed.json
      car bench --referring --models ViT-B/16+ViT-B/16
      car bench --queries 847 --cascade 40
    """
    run(options)


def run(options: dict[str, Any], rival: "Rival | None" = None) -> None:
    """Measure what the options say, show each row when it is there, and write all figures so far."""
    from car.bench import Plan, describe, load_models, measure

    file, quiet = options.pop("json_file"), options.pop("quiet")
    plan = Plan(**{name: value for name, value in options.items() if value not in (None, ())})
    if file is not None:
        check_file(file)
    rows: list[Row] = []
    models = None
    with watched(len(plan.cases()), quiet=quiet) as (begin, tell):
        for case in plan.cases():
            begin(case)
            if models is None or models.name != case.models:
                models = load_models(case.models, device=plan.device, dtype=plan.dtype)
            rows.append(measure(models, case, repeats=plan.repeats, rival=rival, tell=tell))
            show(rows[-1])
            if file is not None:
                write(file, describe(models.proposer.device), rows)


def show(row: "Row") -> None:
    """Title, table and caption on stdout, never wrapped within the table."""
    from rich.console import Console

    from car.bench.report import caption, table, title

    console = Console(highlight=False)
    wide = console if console.is_terminal else Console(highlight=False, width=200)
    wide.print(title(row), style="bold")
    wide.print(table(row))
    wide.print(caption(row), end="\n\n")


def check_file(file: Path) -> None:
    """See that a file can be written before anything is measured; its folder is made.

    Raises:
        InputError: it cannot.
    """
    from car.export import make_folder

    if file.is_dir():
        raise InputError(f"{str(file)!r} is a folder; name a file for `--json`.")
    make_folder(file.parent)


def write(file: Path, machine: dict[str, Any], rows: list["Row"]) -> None:
    """All figures so far, in place of those before."""
    from car.export import dumps, plain, reported, write_atomically

    with reported(file):
        write_atomically(file, dumps(plain({"machine": machine, "rows": [row.to_dict() for row in rows]})).encode())


@contextmanager
def watched(cases: int, *, quiet: bool) -> Iterator[tuple[Callable[["Case"], None], Callable[[str], None]]]:
    """A bar on stderr, on a terminal. Yields what to call when a case begins, and when a part of it does."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.fields[part]}"),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=cases, completed=-1, part="")

        def begin(case: "Case") -> None:
            width, height = case.size
            name = f"{case.models}, {width} x {height}, {case.queries}"
            bar.update(task, advance=1, description=name, part="models")

        yield begin, lambda part: bar.update(task, part=part)
