"""`car segment`: masks for text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import MODEL, OUTPUT, QUERIES, SETTINGS, with_options
from car.cli.run import Batch, summary

if TYPE_CHECKING:
    from car.result import Segmentation


@click.command("segment")
@click.argument("sources", nargs=-1, required=True)
@with_options(QUERIES, MODEL, SETTINGS, OUTPUT)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on stdout; files only with --out.")
def command(sources: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Segment images by text: SOURCES are files, folders or globs.

    For each image the results are an overlay, a palette label map, one mask per query that is there, and a JSON
    file with COCO RLE masks, scores and the history of every step.

    \b
    Examples:
      car segment photo.jpg -q cat -q dog -q unicorn --out out/
      car segment photos/ 'more/*.png' --queries-file words.txt
      car segment photo.jpg --preset voc21 --model openai
      car segment photo.jpg -q cat --json | jq '.annotations[].score'
    """
    from car.export import dumps, existing_outputs, to_json

    out: Path | None = options["out"] or (None if as_json else Path("out"))
    batch = Batch.from_options(sources, options, out=out, outputs=existing_outputs)

    def work(path: Path, stem: str, result: "Segmentation") -> str:
        line = summary(result)
        if as_json:
            click.echo(dumps(to_json(result, str(path)), indent=None))
        if out is not None:
            written = result.save(out, stem, image_path=str(path), overwrite=options["overwrite"])
            line += f" -> {written['overlay']}"
        return line

    return batch.run(work)
