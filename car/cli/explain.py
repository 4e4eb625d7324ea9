"""`car explain`: why a query stayed or went."""

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

    Writes one picture per step, NAME.step1.explain.png, NAME.step2.explain.png, ...

    \b
    Examples:
      car explain photo.jpg -q cat -q dog -q unicorn
      car explain photo.jpg --preset voc21 --model openai --out why/
    """
    out: Path = options["out"] or Path("out")
    batch = Batch.from_options(sources, options, out=out, outputs=existing_pictures)

    def work(path: Path, stem: str, result: "Segmentation") -> str:
        written = write_pictures(result, out, stem)
        return f"{summary(result)} -> {written[0]}" + (f" ... {written[-1].name}" if len(written) > 1 else "")

    return batch.run(work)


def existing_pictures(out: Path, stem: str) -> list[Path]:
    """Pictures of an earlier explanation of the same name."""
    from glob import escape

    return sorted(out.glob(f"{escape(stem)}.step*.explain.png"))


def write_pictures(result: "Segmentation", out: Path, stem: str) -> list[Path]:
    """One picture per step; those of an earlier, longer explanation are removed."""
    from car.explain import explain_step
    from car.export import write_png

    for old in existing_pictures(out, stem):
        old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(len(result.steps)):
        paths.append(out / f"{stem}.step{index + 1}.explain.png")
        write_png(paths[-1], explain_step(result, index))
    return paths
