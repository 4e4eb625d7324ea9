"""The published rules that read a parsed expression, as facts about words and what they depend on.

The noun phrase rule is that of Global-Local CLIP; HybridGL and TAS take it over. Other noun phrases, relation and
direction are HybridGL's.
"""

from dataclasses import dataclass

from car.referring.grammar_tree import Chunk, Tree


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RELATIONS = {
    "left": words("left west"),
    "right": words("right east"),
    "up": words("above north top back behind"),
    "down": words("below south under front"),
    "big": words("bigger larger closer"),
    "small": words("smaller tinier further smallest"),
    "within": words("inside within contained"),
}
"""The words that relate one thing to another."""

BETWEEN = "between"
"""A relation to two things. HybridGL takes the word for a direction alone."""

DIRECTIONS = {
    "left": words("left"),
    "right": words("right"),
    "middle": words("middle between"),
    "up": words("up top above"),
    "down": words("down under bottom low"),
}
"""The words that say where in the picture."""

NOT_THINGS = words(
    """left west right east above north top back behind below south under front bigger larger closer smaller tinier
    further inside within contained who what which middle"""
)
"""A noun phrase with such a head is no other thing."""

NO_PLACE = words("part image side picture half region section photo")
"""Where another noun phrase has such a head, the relation is to no thing, and there is none."""

LINKING = words("IN TO RB RBR RBS CC DT")
"""Tags of the words that may stand between a relation and what it relates to."""


@dataclass(frozen=True)
class Direction:
    """A word that says where in the picture.

    word: as said.
    kind: "left", "right", "middle", "up" or "down".
    rank: index of the word it depends on; the smallest wins, then the first.
    """

    word: str
    kind: str
    rank: int


@dataclass(frozen=True)
class Relation:
    """A word that relates things.

    word: as said: "left", "behind", "bigger", "inside", ...
    kind: "left", "right", "up", "down", "big", "small", "within" or "between".
    other: the noun phrase it leads to, or None: in "left man" and "man on the left" it leads to none.
    rank: index of the word it depends on; the smallest wins, then the first.
    """

    word: str
    kind: str
    other: str | None
    rank: int


def target(tree: Tree) -> tuple[str, str, Chunk | None]:
    """The noun phrase of what is meant, its head and its chunk.

    That is the noun phrase of the root (of the last, where there are several sentences), or of the first word that
    depends on the root; failing both, the whole sentence, without a chunk.
    """
    for i in (tree.roots[-1], *tree.children[tree.roots[-1]][:1]):
        if chunk := tree.chunk_of.get(i):
            return tree.text(chunk), tree.words[i].text, chunk
    return tree.sentence, tree.sentence, None


def others(tree: Tree, target: str) -> list[Chunk]:
    """Noun phrases of other things: those that read differently from the target and have no head of NOT_THINGS."""
    return [c for c in tree.chunks if tree.text(c) != target and tree.words[c.root].text not in NOT_THINGS]


def directions(tree: Tree) -> list[Direction]:
    """All direction words, in order."""
    kinds = ((word, next((k for k, known in DIRECTIONS.items() if word.text in known), None)) for word in tree.words)
    return [Direction(word.text, kind, word.head) for word, kind in kinds if kind]


def relations(tree: Tree, others: list[Chunk]) -> list[Relation]:
    """All relation words, in order."""
    found = []
    for i, word in enumerate(tree.words):
        kind = next((kind for kind, known in RELATIONS.items() if word.text in known), None)
        if kind or word.text == BETWEEN:
            found.append(Relation(word.text, kind or BETWEEN, led_to(tree, i, others), word.head))
    return found


def led_to(tree: Tree, i: int, others: list[Chunk]) -> str | None:
    """The noun phrase that a relation word leads to: the next one, if but prepositions and the like lie between."""
    own = tree.chunk_of.get(i)
    if own and own.root != i:
        return None
    later = next((chunk for chunk in others if chunk.start > i), None)
    if later is None:
        return None
    between = range(i + 1, later.start)
    if all(tree.words[j].tag in LINKING or tree.words[j].text in NOT_THINGS for j in between):
        return tree.text(later)
    return None
