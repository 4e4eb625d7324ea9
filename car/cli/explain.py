"""`car explain`: why a query stayed or went."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import MODEL, OUTPUT, QUERIES, SETTINGS, with_options
from car.cli.run import Batch, summary

if TYPE_CHECKING:
    from car.result import Segmentation


@click.command("explain")
@click.argument("sources", nargs=-1, required=True)
@with_options(QUERIES, MODEL, SETTINGS, OUTPUT)
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Draw every step of the loop: proposals, prompted images, scores, who was dropped.

    Writes one picture of it all, NAME.explain.png, and a closer one of each step: NAME.step1.explain.png, ...

    \b
    Examples:
      car explain photo.jpg -q cat -q dog -q unicorn
      car explain photo.jpg --preset voc21 --model openai --out why/
    """
    out: Path = options["out"] or Path("out")
    batch = Batch.from_options(sources, options, out=out, outputs=existing_pictures)

    def work(path: Path, stem: str, result: "Segmentation") -> str:
        written = write_pictures(result, out, stem)
        return f"{summary(result)} -> {written[0]} ... {written[-1].name}"

    return batch.run(work)


def existing_pictures(out: Path, stem: str) -> list[Path]:
    """Pictures of an earlier explanation of the same name."""
    names = re.compile(rf"{re.escape(stem)}(\.step\d+)?\.explain\.png")
    return sorted(path for path in out.glob("*.explain.png") if names.fullmatch(path.name))


def write_pictures(result: "Segmentation", out: Path, stem: str) -> list[Path]:
    """One picture of everything, then one per step; those of an earlier, longer explanation are removed."""
    from car.explain import explain_step
    from car.export import write_png
    from car.overview import overview

    for old in existing_pictures(out, stem):
        old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{stem}.explain.png"]
    write_png(paths[0], overview(result))
    for index in range(len(result.steps)):
        paths.append(out / f"{stem}.step{index + 1}.explain.png")
        write_png(paths[-1], explain_step(result, index))
    return paths
