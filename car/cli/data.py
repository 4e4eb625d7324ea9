"""`car data`: the benchmarks, whether they are complete here, and their preparation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from car.cli.data_prepare import prepare
from car.cli.data_referring import check_referring, list_referring

if TYPE_CHECKING:
    from car.data import SemanticDataset
    from car.data.check import Tally

_MOST_NAMES = 20


@click.group("data", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The benchmarks: which there are, whether yours is complete, and preparing what needs it.

    \b
    Examples:
      car data list
      car data check voc21 --data-root VOCdevkit
      car data prepare context59 --data-root VOCdevkit
    """


command.add_command(prepare)


@command.command("list")
def list_them() -> None:
    """List the benchmarks: the semantic ones, then the referring ones.

    `folder` is for your own data: DATA_ROOT/images, label maps of the same names in DATA_ROOT/labels, where a pixel is
    the class id + 1, and DATA_ROOT/classes.txt. If that begins with the line `background`, the value 0 is scored as
    such; otherwise it is not counted.

    \b
    Examples:
      car data list
    """
    from car.cli.table import print_table
    from car.data import DATASETS
    from car.data.benchmark import CLASS_FILE
    from car.wordlists import read_classes

    scored = {True: "scored", False: "not counted", None: f"as in {CLASS_FILE}"}
    rows = []
    for name, each in DATASETS.items():
        classes = CLASS_FILE if each.classes is None else str(len(read_classes(each.classes)))
        images = " or ".join(map(str, each.val_images)) or "-"
        rows.append(
            (
                name,
                each.title,
                classes,
                scored[each.background],
                images,
                each.preset or "-",
                each.makes(each.default_split) or "-",
            )
        )
    header = ("benchmark", "what it is", "classes", "background", "val images", "preset", "`car data prepare` makes")
    print_table(header, rows)
    click.echo()
    list_referring()


@command.command("check")
@click.argument("name")
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where the data are.")
@click.option(
    "--split",
    help="train, val, testA, ...; of `folder` the name of a list.  [default: val, test of PhraseCut, all of `folder`]",
)
@click.option("--split-by", help="Who made the splits of RefCOCO (unc, google) or RefCOCOg (umd, google).")
@click.option("--annotations", help="Which of DAVIS: unsupervised or semi-supervised.  [default: unsupervised]")
def check(name: str, data_root: Path, split: str | None, split_by: str | None, annotations: str | None) -> int:
    """Read every picture of the benchmark NAME.

    What cannot be read is reported, a line per picture, and the exit status is 1; of the rest, how many pixels each
    class has, or how many targets and expressions there are. When files are missing, how they should lie and where they
    come from is shown, and the status is 3.

    \b
    Examples:
      car data check voc21 --data-root VOCdevkit
      car data check ade150 --data-root ADEChallengeData2016 --split train
      car data check folder --data-root mine
      car data check refcoco --data-root data --split testA
      car data check refcocog --data-root data --split-by google
      car data check ref-davis17 --data-root DAVIS --annotations semi-supervised
    """
    from difflib import get_close_matches

    from car.data import DATASETS, REFERRING

    if name in REFERRING:
        return check_referring(name, data_root, split, split_by, annotations)
    if name not in DATASETS and not get_close_matches(name, DATASETS, n=1) and get_close_matches(name, REFERRING, n=1):
        from car.data import find_referring

        find_referring(name)
    for option, value in (("--split-by", split_by), ("--annotations", annotations)):
        if value is not None:
            raise click.UsageError(f"{option} is for referring benchmarks.")
    return _check_semantic(name, data_root, split)


def _check_semantic(name: str, data_root: Path, split: str | None) -> int:
    from car.cli.progress import progress
    from car.data import MissingDataError, find_benchmark, open_dataset
    from car.data.check import Tally
    from car.data.explain import tree
    from car.errors import MissingError

    try:
        dataset = open_dataset(name, data_root, split=split)
    except MissingDataError as error:
        benchmark = find_benchmark(name)
        click.echo(tree(benchmark, data_root, split or benchmark.default_split))
        raise MissingError(error.what) from None
    tally = Tally(dataset)
    with progress(len(dataset.keys), quiet=False) as advance:
        for key in dataset.keys:
            problem = tally.look(key)
            advance(problem, failed=problem is not None)
    _report(dataset, tally)
    return int(bool(tally.problems))


def _report(dataset: "SemanticDataset", tally: "Tally") -> None:
    from car.cli.table import print_table

    total, bad = len(dataset.keys), len(tally.problems)
    click.echo(f"{dataset.name}, split {dataset.split}, in {dataset.root}: {total} pictures, {bad} bad.")
    for note in _notes(dataset, tally):
        click.echo(note)
    if not tally.good:
        return
    everything = int(tally.pixels.sum()) + tally.uncounted
    click.echo(f"Not counted: {tally.uncounted / everything:.2%} of the pixels. What the others are:")
    print_table(
        ("class", "pixels", "pictures"), ((name, f"{share:.2%}", str(count)) for name, share, count in tally.shares)
    )
    if never := tally.never_seen:
        more = f" and {len(never) - _MOST_NAMES} more" if len(never) > _MOST_NAMES else ""
        names = "; ".join(never[:_MOST_NAMES])
        click.echo(f"Classes never seen, {len(never)} of {len(dataset.classes)}: {names}{more}")


def _notes(dataset: "SemanticDataset", tally: "Tally") -> list[str]:
    """What is odd, though every file can be read."""
    from car.data import find_benchmark
    from car.data.benchmark import ALL
    from car.data.layout import find_place, without_truth

    notes, benchmark = [], find_benchmark(dataset.name)
    published = benchmark.val_images if dataset.split == "val" else ()
    if published and len(dataset.keys) not in published:
        notes.append(f"The split is published with {' or '.join(map(str, published))} pictures.")
    if tally.empty:
        notes.append(f"No pixel is counted in {len(tally.empty)} pictures ({tally.empty[0]!r} first).")
    if dataset.split == ALL:
        place = find_place(benchmark, dataset.root, ALL)
        if left := without_truth(place, dataset.keys):
            notes.append(f"{len(left)} pictures have no label map and are left out ({left[0]!r} first).")
    return notes
