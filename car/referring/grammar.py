"""The built-in parser: an expression to a tree, by rules, for the short and careless English of referring expressions.

Words get roles from left to right (grammar_roles.py), roles make noun phrases, one of these is what is meant, and the
rest depends on it. The tree has one root, from which the published rules find that noun phrase.
"""

import re

from car.referring.grammar_roles import ADJECTIVES, roles
from car.referring.grammar_rules import NO_PLACE, words
from car.referring.grammar_tree import Chunk, Tree, Word
from car.referring.grammar_words import kinds, pieces, singular

PHRASE = re.compile(r"P|(?:[DAMC]*N+S)*[DAMC]*N+|[DAM]*N")
WEAK = words("i im ive we you u me us it this that these those mine yours which what who")
ASKING = words(
    """see find get take look looking think thinking mean want need choose click pick select guess know show point mark
    locate segment talking for at on is are be it's was"""
)
"""Words that ask for what follows them, which is then what is meant."""
TAGS = {"D": "DT", "A": "RB", "C": "CC", "J": "CC", "S": "POS", "P": "PRP", "I": "IN", "R": "RB", "T": "TO", "U": "."}
TAGS |= {"F": "UH", "X": "VBZ"}
SPECIAL = {"more": "JJR", "most": "JJS", "ing": "VBG", "done": "VBN", "num": "CD"}
"""Tags of attributes and participles by their kind."""


def tree(sentence: str) -> Tree:
    """Parse an expression in lower case that is not blank.

    >>> parsed = tree("man in the red hat")
    >>> [parsed.text(chunk) for chunk in parsed.chunks]
    ['man', 'the red hat']
    """
    found = pieces(sentence)
    reading = Reading([piece.text for piece in found], roles(found))
    listed = (
        Word(piece.text, tag(piece.text, role), head, piece.start, piece.end)
        for piece, role, head in zip(found, reading.roles, reading.heads(), strict=True)
    )
    return Tree(sentence, tuple(listed), tuple(reading.chunks))


def tag(text: str, role: str) -> str:
    """The Penn Treebank tag of a word in a role."""
    known = kinds(text)
    if role == "N" or "possessive" in known:
        return "NN" if singular(text) == text else "NNS"
    if role in "MRV":
        special = next((tag for kind, tag in SPECIAL.items() if kind in known), None)
        return special or ("VB" if role == "V" else "RB" if "adv" in known else "JJ")
    if role == "P" and text in ("who", "whom", "which", "what"):
        return "WP"
    return TAGS[role]


class Reading:
    """A sentence with the roles of its words: its noun phrases, what it means, and what each word depends on.

    Attributes:
        chunks: its noun phrases, in order.
        target: the one that is meant; None where there is none.
        root: index of the word that all others depend on: the verb of which the target is the subject, or its head.
    """

    def __init__(self, texts: list[str], roles: str) -> None:
        self.texts = texts
        self.roles = roles
        self.chunks = [Chunk(m.start(), m.end(), m.end() - 1) for m in PHRASE.finditer(roles)]
        self.chunk_of = {i: chunk for chunk in self.chunks for i in range(chunk.start, chunk.end)}
        self.target = min(self.chunks, key=self.rank, default=None)
        self.root = self.clause(self.target) if self.target else 0

    def rank(self, chunk: Chunk) -> int:
        """How unlikely a noun phrase is what is meant; of equally likely ones the first is."""
        i, head = chunk.start, self.texts[chunk.root]
        governor = self.roles[i - 1] if i else "U"
        if governor == "R" and "neg" in kinds(self.texts[i - 1]):
            return 6
        if self.roles[i] == "P" and head in WEAK:
            return 5
        if governor in "UFJR" or (self.texts[i - 1] in ASKING and self.asks(i - 1)):
            return 2 if head in NO_PLACE or not kinds(head).isdisjoint(ADJECTIVES | {"place"}) else 0
        return {"I": 4, "V": 3, "X": 3}.get(governor, 1)

    def asks(self, i: int) -> bool:
        """Whether a word is part of a question or order at the start: no noun comes before it."""
        while i >= 0 and self.roles[i] != "U":
            if self.roles[i] in "NM" or (self.roles[i] == "I" and i == 0):
                return False
            i -= 1
        return True

    def heads(self) -> list[int]:
        """For each word the index of the word it depends on; the root has its own."""
        if self.target is None:
            return [self.root] * len(self.texts)
        found = [self.head(i) for i in range(len(self.texts))]
        found[self.target.root] = found[self.root] = self.root
        return rooted(found, self.root)

    def clause(self, target: Chunk) -> int:
        """The verb of which a noun phrase is the subject, or its head where it is of none."""
        for i in range(target.end, len(self.texts)):
            if self.roles[i] in "UFJ":
                break
            chunk = self.chunk_of.get(i)
            if chunk and i == chunk.start and (self.roles[i - 1] not in "IV" or self.roles[i] == "P"):
                break
            if self.roles[i] == "X":
                return self.verb(i)
        return target.root

    def verb(self, i: int) -> int:
        """The participle or infinitive that an auxiliary goes with, or the verb itself."""
        j = i + 1
        while j < len(self.texts) and self.roles[j] in "RXT":
            j += 1
        return j if j < len(self.texts) and self.roles[j] == "V" else i

    def head(self, i: int) -> int:
        """What a word depends on."""
        chunk = self.chunk_of.get(i)
        if chunk:
            return self.within(i, chunk) if i != chunk.root else self.governor(chunk)
        role = self.roles[i]
        if role in "UFJ":
            return self.meant()
        if role in "XT" and (verb := self.verb(i)) != i:
            return verb
        if role == "I" and self.positions(i):
            return self.meant()
        if role == "R" and self.modifies_next(i):
            return i + 1
        return self.left(i)

    def within(self, i: int, chunk: Chunk) -> int:
        """What a word of a noun phrase depends on that is not its head."""
        role = self.roles[i]
        if role == "A":
            return i + 1
        if role in "SC":
            return i - 1
        if (mark := self.roles.find("S", i, chunk.end)) > i:
            return mark - 1 if i < mark - 1 else chunk.root
        return i + 1 if self.is_place(i) and self.is_place(i + 1) else chunk.root

    def governor(self, chunk: Chunk) -> int:
        """What the head of a noun phrase other than the target depends on."""
        after = chunk.end
        while after < len(self.texts) and self.roles[after] == "R":
            after += 1
        i = chunk.start - 1
        if after < len(self.texts) and self.roles[after] == "X" and (i < 0 or self.roles[i] not in "IV"):
            return self.verb(after)
        if i >= 0 and self.roles[i] in "IVX":
            return i
        if i >= 1 and self.roles[i] == "J" and i - 1 in self.chunk_of:
            return self.chunk_of[i - 1].root
        return self.left(chunk.start)

    def modifies_next(self, i: int) -> bool:
        """Whether a place goes with the place or the preposition that follows: "top left", "right behind"."""
        if i + 1 >= len(self.texts) or not self.is_place(i):
            return False
        role, after = self.roles[i + 1], self.texts[i + 1]
        before_preposition = role == "I" and self.texts[i] == "right" and after not in ("of", "to")
        return before_preposition or (role == "R" and self.is_place(i + 1))

    def is_place(self, i: int) -> bool:
        return "place" in kinds(self.texts[i])

    def positions(self, i: int) -> bool:
        """Whether a preposition starts a place in the picture that is told of the target: no verb lies between."""
        chunk, end = self.chunk_of.get(i + 1), self.target.end if self.target else 0
        placed = chunk is not None and self.texts[i] != "of" and self.is_place(chunk.root)
        return placed and end <= i and set(self.roles[end:i]).isdisjoint("VXU")

    def left(self, i: int) -> int:
        """The noun or verb before a word, in its sentence."""
        for j in range(i - 1, -1, -1):
            if self.roles[j] == "U":
                break
            if self.roles[j] in "NPV" or (self.roles[j] in "XR" and self.roles[i] == "I" and j == i - 1):
                return j
            if self.roles[j] == "X":
                return self.verb(j)
        return self.meant()

    def meant(self) -> int:
        return self.target.root if self.target else self.root


def rooted(heads: list[int], root: int) -> list[int]:
    """Heads of a tree: what leads around in a circle depends on the root."""
    for i in range(len(heads)):
        j, seen = i, {i}
        while heads[j] != j and heads[j] not in seen:
            j = heads[j]
            seen.add(j)
        if j != root:
            heads[i] = root
    return heads
