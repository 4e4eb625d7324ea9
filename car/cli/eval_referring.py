"""`car eval` for the referring benchmarks."""

from pathlib import Path
from typing import Any

import click

from car.cli.eval import HOW, PRESET, RUN, carry_out
from car.cli.options import MODEL, SETTINGS, settings, with_options
from car.referring.defaults import PROPOSALS_HELP

DATA = (
    click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where the data are."),
    click.option("--split", help="val, testA, ...; see `car data list`."),
    click.option("--split-by", help="Who made the splits: unc, umd or google.  [default: the usual ones]"),
    click.option("--overlap", help="Pixels under two polygons of an object: union, exactly-one.  [default: union]"),
    click.option("--instances", help="Of gRefCOCO: merged, first-instance.  [default: merged]"),
    click.option("--sentence", help="Spelling in the RefCOCO family: sent, raw.  [default: sent]"),
    click.option(
        "--categories",
        metavar="LIST",
        help="Of the RefCOCO family: only targets of these: coco-seen, coco-unseen, or a file with a name a line.",
    ),
    click.option("--limit", type=click.IntRange(min=1), help="Evaluate so many pictures of the split."),
    click.option("--seed", type=click.IntRange(min=0), help="Which ones.  [default: 0]"),
)
METHOD = (
    click.option("--method", help="car, global-local, tas, hybridgl or prompt-ris.  [default: car]"),
    click.option("--proposals", help=PROPOSALS_HELP),
    click.option("--parser", help="auto, built-in, spacy or spacy:NAME.  [default: auto]"),
    click.option("--captions", help="Of tas: built-in, blip2, git, a name or a file.  [default: built-in]"),
)
"""Shared with the benchmarks of films."""
PROTOCOL = (
    click.option("--protocol", help="sentence, or object: one answer for its sentences.  [default: sentence]"),
    click.option("--skip-empty", is_flag=True, default=None, help="Do not count images without mask proposals."),
)


def referring_command(name: str) -> click.Command:
    """The subcommand of one benchmark."""
    from car.data import find_referring

    title = find_referring(name).title
    example = (
        "" if name.startswith("phrasecut") else f"\n      car eval {name} --data-root DATA --categories coco-unseen"
    )

    help_text = f"""Evaluate on {name}: {title}.

    The run's folder holds the plan with every setting (run.json), a record per picture (records.jsonl), and the report
    (report.md, report.json, timing.json). If a run of the same plan is there already, it goes on; pictures that failed
    are tried again. An image without mask proposals and an expression that cannot be asked count with IoU 0. The
    summary goes to stdout, with the published figures of the same protocol.

    \b
    Examples:
      car eval {name} --data-root DATA
      car eval {name} --data-root DATA --method hybridgl --model openai --proposals sam_vit_h
      car eval {name} --data-root DATA --method prompt-ris --model runs/ris/best.safetensors
      car eval {name} --data-root DATA --method tas --protocol object --limit 50
      car eval {name} --data-root DATA --shard 1/4{example}
    """

    @click.command(name, help=help_text, short_help=title)
    @with_options(DATA, METHOD, PROTOCOL, MODEL, (PRESET, *SETTINGS[1:]), RUN)
    def evaluate(**options: Any) -> int:
        return start(name, options)

    return evaluate


def start(name: str, options: dict[str, Any]) -> int:
    """Run a benchmark; the exit status."""
    from car.evaluate import ReferringJob
    from car.slug import slug

    how = {key: options.pop(key) for key in HOW}
    given = settings(options)
    chosen = {key: value for key, value in options.items() if value is not None}
    job = ReferringJob(benchmark=name, options=given, **chosen)
    return carry_out(job, Path("runs") / f"{slug(name)}-{job.method}-{slug(job.model)}", how)
