"""How well the parsers read referring expressions, on the hand-checked set and on expressions of scenes.

Per set: share of expressions with the right target noun phrase and head, F1 of the other noun phrases (over all of the
set's expressions together), share with the right relation and direction of HybridGL's rule, and CPU milliseconds per
expression. On scenes: share of the expressions whose head is the concept they were worded from.

    python tools/parse_eval.py
    python tools/parse_eval.py --parser built-in --parser spacy:en_core_web_sm --misses dev
    python tools/parse_eval.py --facts expressions.md --scenes 200

--facts takes a Markdown table of expressions and target noun phrases.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import click
from rich.console import Console
from rich.table import Table

from car.errors import CarError, InputError
from car.referring.language import Parse, load_parser, parse

EXPRESSIONS = Path(__file__).parent.parent / "tests" / "referring" / "expressions.tsv"
FIELDS = ("target", "head", "others", "relation", "direction")


@dataclass(frozen=True)
class Checked:
    """An expression and how it is to be read; None where that is not told.

    relation, direction: their kinds, "-" for none.
    """

    set: str
    expression: str
    target: str
    head: str | None = None
    others: tuple[str, ...] | None = None
    relation: str | None = None
    direction: str | None = None


@dataclass(frozen=True)
class Scores:
    """Shares in [0, 1], by field; `others` is an F1. Fields that no expression tells are missing."""

    shares: dict[str, float]
    expressions: int
    milliseconds: float


def read_checked(path: Path = EXPRESSIONS) -> list[Checked]:
    """The hand-checked set.

    Raises:
        InputError: the file cannot be read, or a line has another number of fields.
    """
    found = []
    for line in lines(path)[1:]:
        fields = line.split("\t")
        if len(fields) != 8:
            raise InputError(f"{str(path)!r}: expected 8 fields, but got {line!r}.")
        name, _, expression, target, head, others, relation, direction = fields
        named = () if others == "-" else tuple(others.split("; "))
        found.append(Checked(name, expression, target, head, named, relation, direction))
    return found


def read_facts(path: Path) -> list[Checked]:
    """Rows "| expression | target noun phrase |" of a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines(path) if line.startswith("|")]
    return [Checked("facts", *row) for row in rows[2:] if len(row) == 2]


def lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def got(parsed: Parse) -> dict[str, object]:
    """What a parse says, as `Checked` puts it."""
    return {
        "target": parsed.target,
        "head": parsed.head,
        "others": parsed.others,
        "relation": parsed.relation.kind if parsed.relation else "-",
        "direction": parsed.direction.kind if parsed.direction else "-",
    }


def score(checked: Sequence[Checked], parser: str) -> Scores:
    """How a parser reads expressions."""
    load_parser(parser)
    start = process_time()
    found = [got(parse(each.expression, parser=parser)) for each in checked]
    seconds = process_time() - start
    shares = {}
    for name in FIELDS:
        told = [(getattr(each, name), said[name]) for each, said in zip(checked, found, strict=True)]
        told = [(right, said) for right, said in told if right is not None]
        if told:
            shares[name] = f1(told) if name == "others" else sum(right == said for right, said in told) / len(told)
    return Scores(shares, len(checked), 1000 * seconds / len(checked))


def f1(told: Iterable[tuple]) -> float:
    """F1 of noun phrases, by how many of them are right over all expressions."""
    pairs = [(Counter(right), Counter(said)) for right, said in told]
    common = sum((right & said).total() for right, said in pairs)
    return 2 * common / max(sum(right.total() + said.total() for right, said in pairs), 1)


def misses(checked: Iterable[Checked], parser: str) -> Iterable[str]:
    """One line per expression that is misread: what was right, and what the parser says."""
    for each in checked:
        said = got(parse(each.expression, parser=parser))
        wrong = [name for name in FIELDS if getattr(each, name) not in (None, said[name])]
        if wrong:
            yield f"{each.expression}: " + "; ".join(f"{n} {getattr(each, n)!r}, got {said[n]!r}" for n in wrong)


@dataclass(frozen=True)
class Worded:
    """An expression of a scene and the head nouns it may have."""

    text: str
    kind: str
    heads: frozenset[str]


def of_scenes(count: int) -> list[Worded]:
    """Expressions of so many scenes that are worded from a single description."""
    from random import Random

    from car.scenes.describing import Sense
    from car.scenes.expressions import ANY, fitting, wording
    from car.scenes.scene import scene
    from car.scenes.words import plural

    found = {}
    for seed in range(count):
        rng = Random(seed)
        for description in fitting(Sense(scene(seed)), rng):
            nouns = [description.noun] if description.noun else ANY
            heads = {head(name) for noun in nouns for name in (noun, plural(noun))}
            text = wording(description, rng)
            found[text] = Worded(text, description.kind, frozenset(heads))
    return list(found.values())


def head(name: str) -> str:
    """The head noun of a concept's name: "glass" of "glass of wine"."""
    return name.split(" of ")[0].split(" with ")[0].split()[-1]


def print_scenes(console: Console, count: int, parsers: Sequence[str], show: bool) -> None:
    worded = of_scenes(count)
    table = Table(title=f"heads of {len(worded)} expressions of {count} scenes")
    kinds = sorted({each.kind for each in worded})
    for column in ("parser", "all", *kinds):
        table.add_column(column)
    wrong: list[str] = []
    for parser in parsers:
        right: dict[str, list[bool]] = {}
        for each in worded:
            found = parse(each.text, parser=parser).head
            right.setdefault(each.kind, []).append(found in each.heads)
            if show and found not in each.heads:
                wrong.append(f"{parser}: {each.text}: {found!r}")
        total = [hit for hits in right.values() for hit in hits]
        table.add_row(parser, share(total), *(share(right[kind]) for kind in kinds))
    console.print(table)
    for line in wrong:
        console.print(line, markup=False, soft_wrap=True)


def share(hits: Sequence[bool]) -> str:
    return f"{100 * sum(hits) / len(hits):.1f}"


@click.command(help=__doc__.replace("\n\n    ", "\n\n\b\n    "))
@click.option("--parser", "parsers", multiple=True, help="Parser, as car.referring.language.load_parser takes it.")
@click.option("--facts", type=click.Path(path_type=Path), help="Markdown table of expressions and noun phrases.")
@click.option("--scenes", default=50, show_default=True, help="Scenes to take expressions of; 0 for none.")
@click.option("--misses", "shown", multiple=True, help="Show what is misread in a set: dev, held, facts, scenes.")
def main(parsers: tuple[str, ...], facts: Path | None, scenes: int, shown: tuple[str, ...]) -> None:
    console = Console()
    parsers = parsers or ("auto",)
    try:
        checked = read_checked() + (read_facts(facts) if facts else [])
        table = Table(title="percent right")
        for column in ("set", "parser", "expressions", *FIELDS, "ms"):
            table.add_column(column)
        for name in dict.fromkeys(each.set for each in checked):
            rows = [each for each in checked if each.set == name]
            for parser in parsers:
                found = score(rows, parser)
                shares = (f"{100 * found.shares[f]:.1f}" if f in found.shares else "-" for f in FIELDS)
                named = load_parser(parser).name
                table.add_row(name, named, str(found.expressions), *shares, f"{found.milliseconds:.2f}")
        console.print(table)
        for parser in parsers:
            for line in misses([each for each in checked if each.set in shown], parser):
                console.print(f"{load_parser(parser).name}: {line}", markup=False, soft_wrap=True)
        if scenes:
            print_scenes(console, scenes, parsers, "scenes" in shown)
    except CarError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
