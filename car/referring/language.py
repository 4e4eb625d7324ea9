"""What a referring expression says: the thing meant, other things, relations, places in the picture, attributes."""

from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from car.errors import InputError
from car.referring import grammar
from car.referring.grammar_entities import EXTREME, Entity, entity
from car.referring.grammar_rules import (
    BETWEEN,
    DIRECTIONS,
    NO_PLACE,
    RELATIONS,
    Direction,
    Relation,
    directions,
    others,
    relations,
    target,
)
from car.referring.grammar_tree import Chunk, Tree

BUILT_IN = "built-in"
PLACES = frozenset().union(*RELATIONS.values(), *DIRECTIONS.values(), EXTREME)


@dataclass(frozen=True)
class Parse:
    """A parsed expression. Noun phrases have their determiner and attributes, and nothing that follows their head.

    text: the expression, in lower case.
    sentence: its words and signs joined by single spaces: what Global-Local CLIP and HybridGL read. They parse it once
        more: `parse(parse(text).sentence)`; TAS does not.
    target: noun phrase of the thing meant; the whole expression where the rule finds none.
    head: its head noun.
    others: noun phrases of other things, in order.
    other_heads: their head nouns.
    relations: words that relate things, in order.
    directions: words that say where in the picture, in order.
    superlatives: words that single out by an extreme ("leftmost", "biggest"), as TAS finds them.
    attributes: attributes of the target, in order: colours, looks, but no places.
    entity: the thing with its relations and superlatives as TAS reads them; None where there is none.
    entity_as_released: the same as TAS's published code reads it.
    parser: "built-in" or "spacy:" with the pipeline's name.
    """

    text: str
    sentence: str
    target: str
    head: str
    others: tuple[str, ...]
    other_heads: tuple[str, ...]
    relations: tuple[Relation, ...]
    directions: tuple[Direction, ...]
    superlatives: tuple[str, ...]
    attributes: tuple[str, ...]
    entity: Entity | None = field(repr=False)
    entity_as_released: Entity | None = field(repr=False)
    parser: str

    @property
    def relation(self) -> Relation | None:
        """The relation of HybridGL: the one whose word depends on the earliest word; none where another noun phrase is
        but a part of the picture ("on the left side"). "Between" is no relation there.

        >>> parse("the cup left of the plate", parser="built-in").relation
        Relation(word='left', kind='left', other='the plate', rank=1)
        """
        return self._first(BETWEEN)

    @property
    def relation_as_released(self) -> Relation | None:
        """The same in HybridGL's published code, for which "right" is never a relation."""
        return self._first(BETWEEN, "right")

    @property
    def direction(self) -> Direction | None:
        """The direction of HybridGL: the one whose word depends on the earliest word.

        >>> parse("top left pizza", parser="built-in").direction.kind
        'up'
        """
        return min(self.directions, key=lambda direction: direction.rank, default=None)

    def _first(self, *left_out: str) -> Relation | None:
        if not NO_PLACE.isdisjoint(self.other_heads):
            return None
        counted = (relation for relation in self.relations if relation.kind not in left_out)
        return min(counted, key=lambda relation: relation.rank, default=None)


class Parser(Protocol):
    """Parses expressions; `name` is what its parses are marked with."""

    name: str

    def tree(self, text: str) -> Tree:
        """The tree of a text in lower case that is not blank."""


class BuiltIn:
    """The parser of this package: rules and a short lexicon, no dependencies."""

    name = BUILT_IN

    def tree(self, text: str) -> Tree:
        return grammar.tree(text)


def parse(text: str, *, parser: str = "auto") -> Parse:
    """Parse a referring expression.

    Args:
        text: the expression; letter case does not count.
        parser: as for `load_parser`.

    Raises:
        InputError: a blank expression, or no such parser.
        MissingError: as for `load_parser`.

    >>> found = parse("Man in the red hat left of the tall tree", parser="built-in")
    >>> found.target, found.others, found.relation.kind
    ('man', ('the red hat', 'the tall tree'), 'left')
    """
    if not text.strip():
        raise InputError("Expected an expression, but got a blank text.")
    reader = load_parser(parser)
    return from_tree(reader.tree(text.lower()), text.lower(), reader.name)


@cache
def load_parser(name: str = "auto") -> Parser:
    """The parser of a name, loaded once.

    Args:
        name: "auto": spaCy with the first of its English pipelines that is installed, otherwise the built-in parser;
            "spacy": the same without falling back; "spacy:NAME": a pipeline by name or path; "built-in".

    Raises:
        InputError: no such parser.
        MissingError: spaCy or the pipeline is not installed.
    """
    from car.referring import spacy_language

    if name == "auto":
        name = f"spacy:{found}" if (found := spacy_language.installed()) else BUILT_IN
    if name == BUILT_IN:
        return BuiltIn()
    kind, _, pipeline = name.partition(":")
    if kind != "spacy" or (":" in name and not pipeline):
        raise InputError(f"No parser {name!r}. Available: auto, spacy, spacy:NAME, {BUILT_IN}.")
    return spacy_language.load(pipeline or None)


def from_tree(tree: Tree, text: str, parser: str) -> Parse:
    """All that the rules find in a tree."""
    phrase, head, chunk = target(tree)
    found = others(tree, phrase)
    thing = entity(tree)
    extremes = (word for chain in thing.superlatives for word in chain if word in EXTREME) if thing else ()
    return Parse(
        text=text,
        sentence=" ".join(word.text for word in tree.words if word.text != " "),
        target=phrase,
        head=head,
        others=tuple(map(tree.text, found)),
        other_heads=tuple(tree.words[other.root].text for other in found),
        relations=tuple(relations(tree, found)),
        directions=tuple(directions(tree)),
        superlatives=tuple(dict.fromkeys(extremes)),
        attributes=attributes(tree, chunk) if chunk else (),
        entity=thing,
        entity_as_released=entity(tree, as_released=True),
        parser=parser,
    )


def attributes(tree: Tree, chunk: Chunk) -> tuple[str, ...]:
    """The attributes in a noun phrase."""
    inside = tree.words[chunk.start : chunk.root]
    return tuple(word.text for word in inside if word.tag[:2] in ("JJ", "VB") and word.text not in PLACES)
