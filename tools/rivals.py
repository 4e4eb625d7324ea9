"""CaR and its rivals on the referring benchmarks: one table, the same pictures and mask proposals for all.

    python tools/make_benchmarks.py bench
    python tools/rivals.py bench --out runs/rivals --limit 12 --dtype bf16 --sheets docs/rivals
    python tools/rivals.py refer --out runs/photos --benchmarks refcoco,refcocog --model openai --proposals sam_vit_h
    python tools/rivals.py bench --out runs/rivals --benchmarks refcoco,refcoco+ --categories coco-unseen

A row is a run of `car eval` in a folder of its own below --out; a stopped comparison goes on where it was. "any" is a
proposal at random, "best" the one that fits the truth best: no choice among these proposals can do better. With the
true masks as proposals, all that is left to a method is to choose. CaR needs no proposals; "no preset" is CaR as
`car refer` has it, with settings that let it say that there is no such thing.

Scores are in per cent with their 95 % interval by bootstrap over pictures; the rounds of two rows of one benchmark are
pairs, and so the differences below the table have intervals of their own. Seconds per expression are wall time of the
stages that a run's records hold, but for the reading of the data, all together over the number of expressions; what
depends on the picture alone is in it, and no run finds anything kept by another. The table is written to OUT/table.md
and printed; for more scores, such as InstAcc and ImgAcc, give `car eval report` the runs.

With --categories, as of `car eval`, only targets of some categories count, of the RefCOCO family, so that seen and
unseen concepts can be compared; runs and table then have the list's name: OUT/runs-coco-unseen, table-coco-unseen.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import click
import rivals_bounds as bounds
from rich.console import Console
from rich.progress import track
from rivals_runs import METHODS, TRAINED, TRUE, Entry, Method, Rivals
from rivals_scores import Score, candidates, difference, scores, seconds_per_expression
from rivals_sheets import choose, write_sheet

from car.cli.options import MODEL, with_options
from car.data import REFERRING
from car.errors import CarError
from car.evaluate import ReferringJob, RunDirectory
from car.evaluate.markdown import count, number, per_cent, table, within
from car.evaluate.referring_evaluator import ReferringEvaluator
from car.export import make_folder, write_atomically
from car.prompt_ris.family import FAMILY
from car.referring.defaults import PROPOSALS_HELP, default_proposals
from car.slug import slug

BENCHMARKS = tuple(name for name, each in REFERRING.items() if each.unit == "pictures")
COLUMNS = (("mIoU", "gIoU"), ("oIoU", "cIoU"), ("P@0.5",), ("N-acc",), ("T-acc",))
"""What stands in the columns of scores: of each column, the one that a benchmark has."""
SHOWN = 12
MINI = "mini"


@dataclass(frozen=True)
class Row:
    """A row of the table: whose it is, and its figures; seconds are NaN where nothing was timed."""

    benchmark: str
    method: str
    proposals: str | None
    candidates: float | None
    scores: dict[str, Score]
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        masks = "" if self.candidates is None else f"{self.proposals} ({number(self.candidates, 1)})"
        shown = [next((told(self.scores[name]) for name in names if name in self.scores), "") for names in COLUMNS]
        time = "" if self.seconds != self.seconds else number(self.seconds, 3)
        return (self.benchmark, masks, self.method, *shown, time)


def told(score: Score) -> str:
    """A score with its interval."""
    return f"{per_cent(score.value)} {within(score.ends)}"


class Comparison:
    """Runs what is missing, and puts the results in tables.

    Args:
        rivals: the runs.
        benchmarks, methods: which of them.
    """

    def __init__(self, rivals: Rivals, benchmarks: Sequence[str], methods: Sequence[Method]) -> None:
        self.rivals, self.benchmarks, self.methods = rivals, benchmarks, methods

    def run(self) -> None:
        """Do all runs."""
        entries = [entry for name in self.benchmarks for entry in self.rivals.entries(name, self.methods)]
        for entry in track(entries, "runs", console=Console(stderr=True), transient=True):
            self.rivals.do(entry)

    def page(self) -> str:
        """All of it as Markdown."""
        by_benchmark = {name: list(self.rows(name)) for name in self.benchmarks}
        header = ("benchmark", "mask proposals (per picture)", "method", *map(" / ".join, COLUMNS), "s / expression")
        cells = [row.cells() for rows in by_benchmark.values() for row in rows]
        parts = [*map(self.about, self.benchmarks), "", table(header, cells)]
        if any(method.name == "car" for method in self.methods):
            parts += ["", self.differences(by_benchmark)]
        return "\n".join(parts) + "\n"

    def about(self, benchmark: str) -> str:
        """What was measured on what."""
        runs = [self.rivals.result(entry) for entry in self.rivals.entries(benchmark, self.methods)]
        plan, records = runs[0].plan, list(runs[0].records())
        asked = sum(len(target.answers) for record in records for target in record.targets)
        failed = sum(len(each.failed) for each in runs)
        some = f", categories of {plan.categories['source']}" if plan.categories else ""
        return (
            f"- {benchmark} {plan.split}{some}: {count(plan.images)} pictures, {count(asked)} expressions; "
            f"model {plan.model}, {plan.dtype} on {plan.device}, threads: {plan.threads}"
            + (f"; {count(failed)} results are missing, for pictures that could not be read" if failed else "")
        )

    def rows(self, benchmark: str) -> Iterator[Row]:
        """The rows of a benchmark: among proposals, what chance would do first, the best choice last."""
        entries = self.rivals.entries(benchmark, self.methods)
        for kind in dict.fromkeys(entry.proposals for entry in entries):
            of_kind = [entry for entry in entries if entry.proposals == kind]
            rules = {None: {}, TRUE: {"any": bounds.any_one}}.get(kind, {"any": bounds.any_one, "best": bounds.best})
            known = [self.bound(of_kind[0], title, rule) for title, rule in rules.items()]
            yield from known[:1]
            yield from map(self.row, of_kind)
            yield from known[1:]

    def row(self, entry: Entry) -> Row:
        """What a run came to."""
        there = self.rivals.result(entry)
        records = list(there.records())
        found = scores(there.plan, records)
        seconds = seconds_per_expression(records)
        return Row(entry.benchmark, entry.method.title, entry.proposals, candidates(records), found, seconds)

    def bound(self, entry: Entry, title: str, rule: bounds.Rule) -> Row:
        """What a rule comes to that knows the truth, or nothing, on the pictures and proposals of a run."""
        there = self.rivals.result(entry)
        keys = [record.key for record in there.records() if record.error is None]
        with self.rivals.cache_of(entry):
            evaluator = ReferringEvaluator(self.rivals.job_of(entry))
            records = list(bounds.records_of(rule, evaluator.dataset, keys, evaluator.referrer.proposals))
        self.check_same(records, there)
        return Row(entry.benchmark, title, entry.proposals, candidates(records), scores(there.plan, records), nan)

    @staticmethod
    def check_same(records: Sequence[Any], there: RunDirectory) -> None:
        """Refuse to compare choices among other proposals."""
        numbers = {record.key: record.proposals for record in there.records()}
        if other := [each.key for each in records if each.proposals != numbers[each.key]]:
            raise CarError(f"{str(there.folder)!r} had other mask proposals for {other[0]}; name another folder.")

    def differences(self, by_benchmark: dict[str, list[Row]]) -> str:
        """The main score of each method less car's, both with their usual proposals."""
        titles = [method.title for method in self.methods if method.title != "car"]
        rows = []
        for benchmark, found in by_benchmark.items():
            usual = {row.method: row.scores for row in found if row.proposals != TRUE}
            main = next(iter(usual["car"]))
            cells = [signed(difference(usual[title], usual["car"], main)) if title in usual else "" for title in titles]
            rows.append((benchmark, main, *cells))
        return table(("less car's, paired", "score", *titles), rows)


def signed(found: tuple[float, tuple[float, float]]) -> str:
    """A difference with its interval."""
    return f"{per_cent(found[0], '+')} {within(found[1], '+')}"


def sheets(rivals: Rivals, benchmarks: Sequence[str], methods: Sequence[Method], folder: Path) -> None:
    """A contact sheet for each method as it is published, on the usual proposals."""
    asked = choose(rivals, benchmarks, SHOWN)
    for method in track(methods, "sheets", console=Console(stderr=True), transient=True):
        if method.options or method.preset:
            continue
        entries = [each for name in benchmarks for each in rivals.entries(name, [method]) if each.proposals != TRUE]
        write_sheet(rivals, entries, asked, folder / f"{slug(method.title)}.jpg")


def among(known: Sequence[str], separator: str) -> Any:
    """Reads names, all of them by default."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
        asked = list(known) if value is None else [name.strip() for name in value.split(separator)]
        if unknown := [name for name in asked if name not in known]:
            raise click.BadParameter(f"no {unknown[0]!r}; there are {f'{separator} '.join(known)}.")
        return [name for name in known if name in asked]

    return read


OWN = (
    click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the runs."),
    click.option("--benchmarks", callback=among(BENCHMARKS, ","), help="Names joined by commas.  [default: all]"),
    click.option(
        "--methods",
        callback=among([method.title for method in METHODS], ";"),
        help="Rows by their titles, joined by semicolons.  [default: all]",
    ),
    click.option("--proposals", help=PROPOSALS_HELP),
    click.option("--trained", help="Model of prompt-ris; with other models than mini, needed for its row."),
    click.option("--split", help="As of `car eval`; every benchmark's own by default."),
    click.option("--categories", type=str, help="Targets of these alone, as of `car eval`: coco-seen, coco-unseen."),
    click.option("--limit", type=click.IntRange(min=1), help="Evaluate so many pictures of each split."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which ones."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="As of `car eval`."),
    click.option(
        "--sheets", "pictures", type=click.Path(path_type=Path), help="Write a contact sheet per method there."
    ),
)


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("data", type=click.Path(file_okay=False, path_type=Path))
@with_options(OWN, MODEL)
def main(
    data: Path,
    out: Path,
    benchmarks: list[str],
    methods: list[str],
    proposals: str | None,
    trained: str | None,
    pictures: Path | None,
    **options: Any,
) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    if trained is None and given.get("model", MINI) == MINI:
        trained = MINI
    if "categories" in given and (other := [name for name in benchmarks if name not in FAMILY]):
        raise click.BadParameter(
            f"{other[0]} has no categories; name others with --benchmarks: {', '.join(FAMILY)}.",
            param_hint="--categories",
        )
    chosen = [each for each in METHODS if each.title in methods and (trained or each.name != TRAINED)]
    try:
        job = ReferringJob(benchmark="", data_root=data, **given)
        rivals = Rivals(data, out, job, proposals or default_proposals(job.model), trained or MINI)
        compared = Comparison(rivals, benchmarks, chosen)
        compared.run()
        page = compared.page()
        make_folder(out)
        write_atomically(out / f"table{rivals.of}.md", page.encode())
        click.echo(page)
        if pictures is not None:
            sheets(rivals, benchmarks, chosen, pictures)
    except CarError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
