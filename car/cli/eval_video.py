"""`car eval` for the referring benchmarks of films."""

from pathlib import Path
from typing import Any

import click

from car.cli.eval import HOW, PRESET, RUN, carry_out
from car.cli.eval_referring import METHOD
from car.cli.options import MODEL, SETTINGS, settings, with_options

DATA = (
    click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where the data are."),
    click.option("--split", help="train or val.  [default: val]"),
    click.option("--annotations", help="Of DAVIS: unsupervised, semi-supervised.  [default: unsupervised]"),
    click.option("--limit", type=click.IntRange(min=1), help="Evaluate so many films of the split."),
    click.option("--seed", type=click.IntRange(min=0), help="Which ones.  [default: 0]"),
)
FILM = (
    click.option("--mode", help="Of car: carried, or per-frame: every frame alone.  [default: carried]"),
    click.option("--check-every", type=int, metavar="N", help="Of car: ask all at least every N frames.  [default: 8]"),
)


def video_command(name: str) -> click.Command:
    """The subcommand of one benchmark."""
    from car.data import find_referring

    title = find_referring(name).title

    help_text = f"""Evaluate on {name}: {title}.

    Every film is segmented for each annotator, with the expressions of that annotator as queries: by CaR as `car video
    --referring` does it, by the other methods frame by frame, among the mask proposals of each frame. Of their masks a
    label map is made per frame, the highest score in front, and J and F are taken by three rules: object ids as worded
    (fixed-ids, what stands first), and both tasks of DAVIS, unsupervised (masks assigned to objects as suits best) and
    semi-supervised (without the first and the last frame). Scores are means over objects and over the annotators.

    The run's folder holds the plan with every setting (run.json), a record per film (records.jsonl), and the report
    (report.md, report.json, timing.json). If a run of the same plan is there already, it goes on; films that failed are
    tried again. In a folder of mask proposals the files are called SEQUENCE-FRAME.json. The summary goes to stdout.

    \b
    Examples:
      car eval {name} --data-root DAVIS
      car eval {name} --data-root DAVIS --mode per-frame --model openai-b16
      car eval {name} --data-root DAVIS --method hybridgl --limit 5
      car eval {name} --data-root DAVIS --shard 1/4
    """

    @click.command(name, help=help_text, short_help=title)
    @with_options(DATA, METHOD, FILM, MODEL, (PRESET, *SETTINGS[1:]), RUN)
    def evaluate(**options: Any) -> int:
        return start(name, options)

    return evaluate


def start(name: str, options: dict[str, Any]) -> int:
    """Run a benchmark; the exit status."""
    from car.evaluate import VideoJob
    from car.slug import slug

    how = {key: options.pop(key) for key in HOW}
    given = settings(options)
    job = VideoJob(benchmark=name, options=given, **{key: value for key, value in options.items() if value is not None})
    parts = (name, job.method, job.mode, job.model)
    return carry_out(job, Path("runs") / "-".join(slug(part) for part in parts if part), how)
