"""`car data prepare`: label maps of a benchmark from what its authors distribute."""

from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from car.data.prepare import Outcome, Preparation, Report
    from car.data.prepare.running import State

_SHOWN = 10
_STATES: "dict[State, str]" = {
    "written": "written",
    "kept": "there already",
    "repaired": "damaged ones written anew",
    "replaced": "replaced",
    "differs": "left as they are",
    "failed": "failed",
}


@click.command("prepare")
@click.argument("name")
@click.option(
    "--data-root", type=click.Path(path_type=Path), required=True, help="Where the sources are and the results go."
)
@click.option("--split", help="val or, of some, train.  [default: val]")
@click.option("--jobs", type=click.IntRange(min=1), help="Pictures to work on at once.  [default: 1]")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already and differ.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def prepare(name: str, data_root: Path, split: str | None, jobs: int | None, overwrite: bool, quiet: bool) -> int:
    """Make what a benchmark is read from out of what its authors distribute.

    NAME is context (that is context60 and context59), coco-object, ade847 or pc459; the others are read as they are
    distributed. If a source is missing, its name is said and where it comes from.

    The same command goes on where it was stopped, checks what is there, and mends what is damaged. Files that somebody
    else prepared are kept; those that differ are counted, and replaced only with `--overwrite`. Pictures that cannot be
    converted are listed, and the exit status is then 1.

    \b
    Examples:
      # VOCdevkit/VOC2010/trainval_merged.json -> SegmentationClassContext/, ImageSets/SegmentationContext/val.txt
      car data prepare context --data-root data/
      # coco/annotations/val2017/KEY.png (COCO-Stuff's pixel maps), else coco/annotations/instances_val2017.json
      #   -> coco/annotations/val2017/KEY_instanceTrainIds.png
      car data prepare coco-object --data-root data/
      # ADE20K_2021_17_01/images/ADE/ -> images_detectron2/, annotations_detectron2/
      car data prepare ade847 --data-root data/ --jobs 4
      car data prepare ade847 --data-root data/ --split train
      # VOCdevkit/VOC2010/trainval/KEY.mat, pascalcontext_val.txt -> annotations_detectron2/pc459_val/
      car data prepare pc459 --data-root data/
    """
    import cv2

    from car.cli.progress import progress
    from car.data.prepare import open_preparation
    from car.data.prepare import prepare as run

    # Pictures are worked on side by side; each needs no threads of its own.
    cv2.setNumThreads(1)
    preparation = open_preparation(name, data_root, split)
    told = Counter[str]()
    began = perf_counter()
    with progress(len(preparation.keys), quiet=quiet) as advance:

        def done(outcome: "Outcome") -> None:
            told[outcome.state] += 1
            tell = outcome.state == "failed" or (outcome.state == "differs" and told["differs"] <= _SHOWN)
            advance(f"{outcome.key}: {outcome.reason}" if tell else None, failed=tell)

        given = {} if jobs is None else {"jobs": jobs}
        report = run(preparation, overwrite=overwrite, done=done, **given)
    seconds = perf_counter() - began
    for line in [*([] if quiet else _summary(preparation, report, seconds)), *_left(report, len(preparation.keys))]:
        click.echo(line, err=True)
    return int(not report.complete)


def _summary(preparation: "Preparation", report: "Report", seconds: float) -> list[str]:
    """What was done, and what is odd although nothing failed."""
    benchmark, total = preparation.benchmark, len(preparation.keys)
    states = ", ".join(f"{report.states[state]:,} {text}" for state, text in _STATES.items() if report.states[state])
    lines = [
        f"{benchmark.name}, split {preparation.split}, from {preparation.source}: {total:,} pictures.",
        f"Label maps in {preparation.folder}: {states}; {total / seconds:,.0f} images/s.",
        *preparation.rules,
    ]
    never = [entry.query for entry in preparation.classes if entry.id not in report.seen]
    if never:
        more = f" and {len(never) - _SHOWN} more" if len(never) > _SHOWN else ""
        lines.append(
            f"Classes never seen, {len(never)} of {len(preparation.classes)}: {'; '.join(never[:_SHOWN])}{more}"
        )
    else:
        lines.append(f"All {len(preparation.classes)} classes occur.")
    published = benchmark.val_images if preparation.split == "val" else ()
    if published and total not in published:
        lines.append(f"The split is published with {' or '.join(map(str, published))} pictures.")
    if report.unpictured:
        where = " or ".join(map(str, preparation.images()))
        lines.append(f"Still to be put into {where}: {report.unpictured:,} of the pictures themselves.")
    return lines


def _left(report: "Report", total: int) -> list[str]:
    """What is not as it should be."""
    lines = list(report.lists)
    if failed := report.states["failed"]:
        lines.append(f"{failed:,} of {total:,} pictures could not be converted.")
    if differing := report.states["differs"]:
        lines.append(f"{differing:,} of {total:,} pictures were left as they are, which is not what would be written.")
    return [*lines, *(["`--overwrite` replaces what differs."] if differing or report.lists else [])]
