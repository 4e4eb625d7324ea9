"""`car bench` with a column for the published way: one loop, two ways, the same masks, in one process.

The published way (published_way.py) encodes the image anew in each step, takes a backward pass per query, draws and
encodes prompted images one by one, and has pydensecrf for its CRF, in float32 on a CPU and float16 on a GPU. With more
than 40 queries it works 40 of each step and is estimated from them in proportion, which the table marks by ~.

    python tools/bench.py                                          # mini and ViT-B/16 + ViT-L/14, 20 queries
    python tools/bench.py --models mini --queries 171 --full       # all 171, nothing estimated
    python tools/bench.py --size 500 375 --size 1920 1080 --queries 1 --queries 20 --queries 171 --queries 847
    python tools/bench.py --dtype fp32                             # both in float32
    python tools/bench.py --queries 847 --cascade 40               # ours with a cascade
    python tools/bench.py --referring --models ViT-B/16+ViT-B/16
"""

import sys
from typing import Any

import click
from published_way import Published

from car.cli.bench import OPTIONS, run
from car.cli.options import with_options
from car.errors import CarError

PART = 40
"""Queries of each step that the published way works, where there are more."""


@click.command(
    help=__doc__.replace("\n\n    ", "\n\n\b\n    "), context_settings={"help_option_names": ["-h", "--help"]}
)
@with_options(OPTIONS)
@click.option("--full", is_flag=True, help="Have the published way work all queries, however long it takes.")
@click.option(
    "--published-dtype",
    type=click.Choice(["fp32", "fp16"]),
    help="What the published way runs in.  [default: as released, fp32 on a CPU, fp16 on a GPU]",
)
def main(full: bool, published_dtype: str | None, **options: Any) -> None:
    try:
        run(options, Published(None if full else PART, published_dtype))
    except CarError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
