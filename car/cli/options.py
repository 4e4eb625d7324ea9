"""Options that several subcommands share. Each defaults to None: what the user leaves out, the library decides."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click

from car.errors import InputError

SHORTCUTS = ("eta", "theta", "lam", "prompts", "proposer", "view", "crf", "sam", "max_side", "keep_best")
"""Fields of `Config` with a flag of their own; `--set` reaches all of them."""

QUERIES = (
    click.option("-q", "--query", "queries", multiple=True, metavar="TEXT", help="What to look for; repeat for more."),
    click.option(
        "--queries-file",
        type=click.Path(path_type=Path),
        help="A text file with one query per line (lines that start with # are left out).",
    ),
)
MODEL = (
    click.option("--model", help="Model set, checkpoint name or path; see `car models`.  [default: mini]"),
    click.option("--classifier", help="Checkpoint that judges, where it is not the model set's own."),
    click.option("--weights-dir", type=click.Path(path_type=Path), help="Where checkpoints are kept."),
    click.option("--device", help="auto, cpu, cuda, cuda:1, mps.  [default: auto]"),
    click.option("--dtype", help="auto, fp32, bf16, fp16.  [default: auto]"),
)
SETTINGS = (
    click.option("--preset", help="Named configuration, or a YAML file; see `car presets`."),
    click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings."),
    click.option("--eta", type=float, help="A proposal is a mask where it exceeds eta, in [0, 1]."),
    click.option("--theta", type=float, help="A query stays if its score reaches theta, in [0, 1]."),
    click.option("--lam", type=float, help="Threshold of the boxes the affinity works within, in [0, 1]."),
    click.option("--prompt", "prompts", help="Visual prompts, joined by +: circle+blur."),
    click.option("--proposer", help="caa (gradCAM + attention affinity), gradcam, dense or maskclip."),
    click.option("--view", help="How the classifier sees a prompted image: squash, crop or pad."),
    click.option("--crf", help="lattice, pydensecrf or none."),
    click.option("--sam", help="Merge mask proposals: mini (the embedded SAM), sam_vit_b|l|h, regions, or a file."),
    click.option("--max-side", type=int, help="Longest side in pixels that is worked on."),
    click.option("--keep-best/--allow-empty", default=None, help="Whether the best query stays when all would go."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any other setting, in YAML."),
)
OUTPUT = (
    click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: out]"),
    click.option("--overwrite", is_flag=True, help="Replace results that are there already."),
    click.option("--recursive", is_flag=True, help="Look into the folders of a folder, too."),
    click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse images with more pixels than this."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
)


def with_options(*groups: tuple[Callable, ...]) -> Callable[[Callable], Callable]:
    """A decorator that adds groups of options, in the order given."""
    options = [option for group in groups for option in group]
    return lambda command: reduce(lambda f, option: option(f), reversed(options), command)


def read_queries(queries: tuple[str, ...], file: Path | None) -> list[str]:
    """Queries of the command line, then those of the file."""
    if file is None:
        return list(queries)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"Cannot read the queries file {str(file)!r}: {reason}.") from None
    return [*queries, *(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))]


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """Pop the settings out of a command's options: only those the user gave."""
    import yaml

    given = {name: options.pop(name) for name in SHORTCUTS}
    for assignment in options.pop("assignments"):
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InputError(f"Expected `--set KEY=VALUE`, but got {assignment!r}.")
        try:
            given[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"The value of `--set {assignment}` is not YAML.") from None
    return {key: value for key, value in given.items() if value is not None}
