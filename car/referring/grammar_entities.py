"""The reading of an expression that TAS takes from ReCLIP: a thing, its relations to others, and its superlatives."""

from collections.abc import Iterator
from dataclasses import dataclass

from car.referring.grammar_rules import NO_PLACE, words
from car.referring.grammar_tree import Chunk, Tree

RELATING = words(
    """left west right east above north top below south under bigger larger closer smaller tinier further inside within
    contained"""
)
"""TAS's relation words: fewer than HybridGL's."""

SUPERLATIVES = {
    "left": words("left west leftmost western"),
    "right": words("right rightmost east eastern"),
    "up": words("above north top"),
    "down": words("below south underneath"),
    "big": words("bigger biggest larger largest closer closest"),
    "small": words("smaller smallest tinier tiniest further furthest"),
}
"""The words that make a chain of words a superlative."""

EXTREME = frozenset().union(*SUPERLATIVES.values())
VAGUE = NO_PLACE - {"photo"}
KEYWORDS = RELATING | VAGUE
"""Words that are passed through on the way to another thing, though they are noun phrases themselves."""


@dataclass(frozen=True)
class Entity:
    """A thing as an expression tells of it.

    text: its noun phrase, with the words that depend on it up to the next noun phrase.
    relations: the words on the way to another thing, in order, and that thing.
    superlatives: chains of words that depend on it, lead to no other thing and hold a word of `SUPERLATIVES`.
    """

    text: str
    relations: tuple[tuple[tuple[str, ...], "Entity"], ...]
    superlatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chain:
    """Words by index that end at another thing, or at none."""

    words: tuple[int, ...]
    thing: Entity | None


def entity(tree: Tree, *, as_released: bool = False) -> Entity | None:
    """The thing that the first root names, or that the first word depending on it names; failing both, the same for
    what the first noun phrase depends on; None where that fails, too.

    as_released: the published code takes every word of a noun phrase for a thing of its own, because it compares the
        noun phrases by identity after copying them: "the" in "the left dog" becomes a relation without words, and "on
        the left" a relation to "the left" instead of a superlative.
    """
    reader = Reader(tree, as_released)
    found = reader.read(tree.roots[0])
    if found is None and tree.chunks:
        found = reader.read(tree.words[tree.chunks[0].root].head)
    return found


class Reader:
    """Reads the entities of one tree."""

    def __init__(self, tree: Tree, as_released: bool) -> None:
        self.tree = tree
        self.as_released = as_released

    def read(self, head: int) -> Entity | None:
        """The entity of a word, or of the first that depends on it, where one of them is in a noun phrase."""
        tree = self.tree
        for i in (head, *tree.children[head][:1]):
            if i in tree.chunk_of:
                return self.entity(i)
        return None

    def entity(self, head: int) -> Entity:
        chains = list(self.chains(head, head, ()))
        relations = ((self.texts(chain.words), chain.thing) for chain in chains if chain.thing)
        ends = (self.texts(chain.words) for chain in chains if not chain.thing)
        superlatives = (words for words in ends if not EXTREME.isdisjoint(words))
        return Entity(expanded(self.tree, self.tree.chunk_of[head]), tuple(relations), tuple(superlatives))

    def chains(self, i: int, head: int, path: tuple[int, ...]) -> Iterator[Chain]:
        """The chains from a word on; `path` are the words since the head, but those inside noun phrases."""
        tree, text = self.tree, self.tree.words[i].text
        if i in tree.chunk_of and not self.together(i, head) and text not in KEYWORDS:
            yield Chain(path, self.entity(i))
            return
        if not tree.children[i]:
            yield Chain((*path, i), None)
            return
        passing = (*path, i) if i not in tree.chunk_of or text in KEYWORDS | EXTREME else path
        for child in tree.children[i]:
            if not self.together(i, child) or tree.words[child].text in EXTREME:
                yield from self.chains(child, head, passing)
            elif len(tree.children[i]) == 1:
                yield Chain((*path, i), None)

    def together(self, i: int, j: int) -> bool:
        """Whether two words are in one noun phrase."""
        if self.as_released:
            return i == j
        chunk = self.tree.chunk_of.get(i)
        return chunk is not None and chunk == self.tree.chunk_of.get(j)

    def texts(self, chain: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(self.tree.words[i].text for i in sorted(chain))


def expanded(tree: Tree, chunk: Chunk) -> str:
    """A noun phrase with the words that depend on it on both sides, up to those that lead to another noun phrase."""
    start, end = chunk.start, chunk.end
    for i in range(chunk.start - 1, -1, -1):
        if depends(tree, chunk, i) and not leads(tree, i):
            start = i
    for i in range(chunk.end, len(tree.words)):
        if depends(tree, chunk, i):
            if leads(tree, i) or i in tree.chunk_of:
                break
            end = i + 1
    return tree.span(start, end)


def depends(tree: Tree, chunk: Chunk, i: int) -> bool:
    return any(tree.above(j, i) for j in range(chunk.start, chunk.end))


def leads(tree: Tree, i: int) -> bool:
    """Whether a word of a noun phrase depends on this word."""
    return any(tree.above(i, j) for j in tree.chunk_of)
