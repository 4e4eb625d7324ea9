"""A parsed expression: words, what each depends on, and its noun phrases. Both parsers make one, all rules read it."""

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Word:
    """One word or sign.

    text: as in the sentence.
    tag: its part of speech, a Penn Treebank tag.
    head: index of the word it depends on; its own index where it depends on none.
    start, end: where it is in the sentence, in characters; the end is exclusive.
    """

    text: str
    tag: str
    head: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A noun phrase without what follows its head noun: words [start, end) with the head at index `root`."""

    start: int
    end: int
    root: int


@dataclass(frozen=True)
class Tree:
    """A sentence in lower case, its words and its noun phrases, both in order; noun phrases do not overlap."""

    sentence: str
    words: tuple[Word, ...] = field(repr=False)
    chunks: tuple[Chunk, ...] = field(repr=False)

    @cached_property
    def chunk_of(self) -> dict[int, Chunk]:
        """The noun phrase of each word that is in one, by the index of the word."""
        return {i: chunk for chunk in self.chunks for i in range(chunk.start, chunk.end)}

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each word, the indices of those that depend on it, in order."""
        found: list[list[int]] = [[] for _ in self.words]
        for i, word in enumerate(self.words):
            if word.head != i:
                found[word.head].append(i)
        return tuple(map(tuple, found))

    @property
    def roots(self) -> list[int]:
        """The words that depend on none, in order: one per sentence."""
        return [i for i, word in enumerate(self.words) if word.head == i]

    def span(self, start: int, end: int) -> str:
        """The text of words [start, end), as in the sentence."""
        return self.sentence[self.words[start].start : self.words[end - 1].end]

    def text(self, chunk: Chunk) -> str:
        """The text of a noun phrase."""
        return self.span(chunk.start, chunk.end)

    def above(self, upper: int, lower: int) -> bool:
        """Whether a word is an ancestor of another: that depends on it, directly or not."""
        while (head := self.words[lower].head) != lower:
            if head == upper:
                return True
            lower = head
        return False
