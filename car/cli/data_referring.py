"""`car data` for the referring benchmarks."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from car.data.check import ReferringTally, VideoTally
    from car.data.referring_layout import Chosen

_MOST_CATEGORIES = 10


def list_referring() -> None:
    """List the referring benchmarks."""
    from car.cli.table import print_table
    from car.data import REFERRING

    rows = []
    for name, each in REFERRING.items():
        variants = [f"{variant}: {', '.join(found.splits)}" for variant, found in each.variants.items()]
        option = f"--{each.variant_option.replace('_', '-')} " if each.variant_option else ""
        splits = f"{option}{'; '.join(variants)}".removeprefix(": ")
        rows.append((name, each.title, each.unit, splits, each.preset or "-"))
    print_table(("referring benchmark", "what it is", "of", "splits, the default way first", "preset"), rows)


def check_referring(
    name: str, data_root: Path, split: str | None, split_by: str | None, annotations: str | None
) -> int:
    """Read every picture or sequence of a referring benchmark; the exit status."""
    from car.cli.progress import progress
    from car.data import MissingDataError, open_referring, open_video
    from car.data.check import ReferringTally, VideoTally
    from car.data.explain import referring_tree
    from car.data.referring_readers import choose_referring
    from car.errors import MissingError

    chosen = choose_referring(name, data_root, split=split, split_by=split_by, annotations=annotations)
    tally: ReferringTally | VideoTally
    try:
        if chosen.benchmark.unit == "pictures":
            tally = ReferringTally(open_referring(name, data_root, split=split, split_by=split_by))
        else:
            tally = VideoTally(open_video(name, data_root, split=split, annotations=annotations))
    except MissingDataError as error:
        click.echo(referring_tree(chosen))
        raise MissingError(error.what) from None
    keys = tally.dataset.keys
    with progress(len(keys), quiet=False, unit=chosen.benchmark.unit) as advance:
        for key in keys:
            problem = tally.look(key)
            advance(problem, failed=problem is not None)
    _report(chosen, tally)
    return int(bool(tally.problems))


def _report(chosen: "Chosen", tally: "ReferringTally | VideoTally") -> None:
    from car.data.check import ReferringTally

    total, unit = len(tally.dataset.keys), chosen.benchmark.unit
    click.echo(
        f"{chosen.benchmark.name}, {chosen.described}, in {chosen.root}: {total} {unit}, {len(tally.problems)} bad."
    )
    published = chosen.benchmark.variants[chosen.variant].splits[chosen.split]
    if published not in (None, total):
        click.echo(f"The split is published with {published} {unit}.")
    if not tally.good:
        return
    for line in _pictures(tally) if isinstance(tally, ReferringTally) else _sequences(tally):
        click.echo(line)


def _pictures(tally: "ReferringTally") -> list[str]:
    lines = [
        f"Targets: {tally.targets:,}, of them {tally.no_targets:,} with nothing to find. "
        f"Expressions: {tally.expressions:,}. A mask has {tally.pixels / tally.picture_pixels:.2%} of its picture."
    ]
    if tally.categories:
        most = ", ".join(f"{name} {count:,}" for name, count in tally.categories.most_common(_MOST_CATEGORIES))
        lines.append(f"Categories: {len(tally.categories)}, most of them {most}.")
    for ids, what in ((tally.empty, "have no pixel"), (tally.blank, "have an expression without a letter or digit")):
        if ids:
            lines.append(f"{len(ids)} targets {what} ({ids[0]!r} first).")
    return lines


def _sequences(tally: "VideoTally") -> list[str]:
    said = ", ".join(f"{name} {count:,}" for name, count in tally.expressions.items())
    lines = [f"Frames: {tally.frames:,}. Objects: {tally.objects:,}. Expressions: {said}."]
    for found, what in (
        (tally.unworded, "times an object has no expression"),
        (tally.absent, "expressions are of an object that is in no frame"),
    ):
        if found:
            key, number, annotator = found[0]
            lines.append(f"{len(found)} {what} ({key!r}, object {number}, {annotator} first).")
    return lines
