"""`car demo`: the main job on the bundled picture."""

from pathlib import Path
from typing import Any

import click

from car.cli.options import MODEL, with_options


@click.command("demo")
@with_options(MODEL)
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
def command(out: Path, overwrite: bool, **options: Any) -> None:
    """Segment the bundled picture with the embedded model, and say where the results are.

    \b
    Examples:
      car demo
      car demo --out there/ --model openai
    """
    from car.cli.explain import existing_pictures, write_pictures
    from car.cli.run import load_segmenter, refuse_existing, summary
    from car.export import existing_outputs
    from car.scenes.demo import DEMO_QUERIES, demo_path

    if not overwrite:
        refuse_existing([*existing_outputs(out, "demo"), *existing_pictures(out, "demo")])
    segmenter = load_segmenter({"preset": None, "config_file": None, **options}, {})
    click.echo(f"picture: {demo_path()}")
    click.echo(f"queries: {', '.join(DEMO_QUERIES)}")
    result = segmenter.segment(demo_path(), DEMO_QUERIES)
    click.echo(f"found:   {summary(result)}")
    written = result.save(out, "demo", overwrite=overwrite)
    for path in [written["overlay"], written["labels"], *written["masks"], written["json"]]:
        click.echo(f"wrote    {path}")
    for path in write_pictures(result, out, "demo"):
        click.echo(f"wrote    {path}")
