"""What each word of an expression does there: the built-in parser's reading of words in their context.

Roles, one letter each:
    D determiner or possessive pronoun, M attribute before its noun, A adverb before an attribute, C "and" or comma
    between attributes, N noun, S possessive mark: these make noun phrases. P pronoun, a noun phrase of its own.
    I preposition, V participle or infinitive, X finite verb, R adverb or attribute after its noun, J other conjunction,
    T "to" of an infinitive, F word that says nothing, U sign.
"""

from collections.abc import Callable, Sequence

from car.referring.grammar_rules import words
from car.referring.grammar_words import Piece, kinds, lexicon, singular

ADJECTIVES = frozenset({"colour", "shade", "adj", "more", "most"})
ATTRIBUTES = ADJECTIVES | {"place", "num", "order", "done", "keen", "linked"}
NOUNS = frozenset({"noun", "bare", "finite", "possessive"})
RELATIVE = words("who whom that which what")
SUBJECTS = words("i we you u he she it they who that")
PARTICLES = words(
    "in on off over through by around round along across behind below above under inside outside about up"
)
TOWARDS = words(
    "next close closer closest near nearer nearest adjacent attached opposite left right back similar talking"
)
READY = words("about ready trying going preparing starting able waiting")
"""Words before "to" and an infinitive."""
POINTING = words("look click point go")
NEAREST = words("closest nearest farthest furthest")
THERE = words("here there what where who that it how")
DESPITE_NOUN = words("with without in w w/ w/o")
"""Prepositions after which a participle goes with the noun that follows it."""


def roles(sentence: Sequence[Piece]) -> str:
    """The role of each word, a letter each."""
    reader = Context([piece.text for piece in sentence])
    for i in range(len(sentence)):
        reader.roles.append(reader.role(i))
    return "".join(reader.roles)


class Context:
    """A sentence whose words get their roles from left to right."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.kinds = [kinds(text) for text in texts]
        self.roles: list[str] = []

    def role(self, i: int) -> str:
        """The role of a word, those before it being known."""
        for kind, rule in RULES:
            if kind in self.kinds[i] and (role := rule(self, i)):
                return role
        return "N"

    def word(self, i: int) -> str:
        return self.texts[i] if 0 <= i < len(self.texts) else ""

    def kind(self, i: int) -> frozenset[str]:
        return self.kinds[i] if 0 <= i < len(self.texts) else frozenset()

    def before(self, i: int) -> str:
        """The role of the word before, "" at the start; also at the start of what follows a sign or filler."""
        return self.roles[i - 1] if i and self.roles[i - 1] not in "UF" else ""

    def settled(self, i: int) -> str:
        """The role of the word before, adverbs passed over."""
        while self.before(i) == "R":
            i -= 1
        return self.before(i)

    def attributive(self, i: int) -> bool:
        """Whether a word can be an attribute."""
        return not ATTRIBUTES.isdisjoint(self.kind(i))

    def nominal(self, i: int) -> bool:
        """Whether attributes from here on, if any, lead to a noun."""
        while i < len(self.texts):
            known = self.kinds[i]
            if (known & NOUNS and self.word(i) != "half") or self.word(i) in ("one", "ones"):
                return True
            listed = self.word(i) == "," and self.kind(i - 1) & ADJECTIVES
            between = listed or "conj" in known or ("adv" in known and not self.attributive(i))
            if not (self.attributive(i) or (between and self.attributive(i + 1))):
                return self.compound(i)
            i += 1
        return False

    def compound(self, i: int) -> bool:
        """Whether a word and the next are a compound noun of the lexicon."""
        return "pairs" in lexicon().get(f"{self.word(i)}-{singular(self.word(i + 1))}", ())

    def sign(self, i: int) -> str:
        listed = self.word(i) == "," and self.before(i) == "M" and self.kind(i - 1) & ADJECTIVES
        return "C" if listed and self.attributive(i + 1) and self.nominal(i + 1) else "U"

    def possessive_mark(self, i: int) -> str:
        after = self.kind(i + 1)
        verbal = self.before(i) == "P" or self.word(i - 1) in THERE or after & {"det", "neg", "prep"}
        return "X" if verbal else "S"

    def filler(self, i: int) -> str:
        return "F" if not i or self.roles[i - 1] in "UF" or i + 1 == len(self.texts) else ""

    def determiner(self, i: int) -> str:
        word, nominal = self.word(i), self.nominal(i + 1)
        if word in ("a", "an", "the", "every", "whose"):
            return "D"
        if word in RELATIVE and (self.before(i) in ("N", "I") or self.kind(i + 1) & {"be", "aux"}):
            return "P"
        if nominal or "det" in self.kind(i + 1):
            return "D"
        return "F" if word == "no" else "P"

    def owner(self, i: int) -> str:
        if self.word(i) == "its" and self.word(i + 1) in ("a", "an", "the"):
            return "X"
        return "D" if self.nominal(i + 1) else "P"

    def possessive(self, i: int) -> str:
        return "D" if self.nominal(i + 1) else "N"

    def number(self, i: int) -> str:
        """Of a number, also of "one"."""
        if self.before(i) in ("N", "M") and not self.nominal(i + 1):
            return "N"
        return "M" if self.nominal(i + 1) else "N"

    def order(self, i: int) -> str:
        if "det" in self.kind(i + 1):
            return "R"
        if self.nominal(i + 1) and self.before(i) not in ("N", "V", "X"):
            return "M"
        return "R" if self.before(i) in ("N", "P", "V", "X", "R") or self.word(i + 1) == "to" else "N"

    def preposition(self, i: int) -> str:
        if self.word(i) == "near" and self.before(i) in ("", "D") and "noun" in self.kind(i + 1):
            return "M"
        return "R" if self.word(i) in PARTICLES and not self.object(i + 1) else "I"

    def object(self, i: int) -> bool:
        """Whether something that a preposition can govern starts here."""
        return bool(self.kind(i) & {"det", "own", "pron", "place", "ing"}) or self.attributive(i) or self.nominal(i)

    def to(self, i: int) -> str:
        verbal = "bare" in self.kind(i + 1) and self.word(i - 1) not in TOWARDS
        return "T" if verbal or (self.word(i - 1) in READY and "noun" in self.kind(i + 1)) else "I"

    def adverb(self, i: int) -> str:
        if "det" in self.kind(i + 1) and self.word(i) in ("up", "down", "out"):
            return "I"
        if self.before(i) == "M" and self.word(i) == "most":
            return "M" if self.nominal(i + 1) else "N"
        leads = self.nominal(i + 1) or "place" in self.kind(i + 1)
        if self.before(i) not in ("N", "V", "X", "R", "P") and self.attributive(i + 1) and leads:
            return "A"
        return "" if self.kinds[i] & (ADJECTIVES | {"filler"}) - {"filler"} else "R"

    def conjunction(self, i: int) -> str:
        joins = self.before(i) == "M" and self.attributive(i + 1) and self.nominal(i + 1)
        return "C" if joins else "J"

    def auxiliary(self, i: int) -> str:
        """Of "is", "has", "can" and the like; a can may be a thing."""
        if (
            self.word(i) == "can"
            and self.before(i) in ("N", "D", "M")
            and not self.kind(i + 1) & {"bare", "be", "pron"}
        ):
            return "N"
        return "V" if self.word(i) in ("being", "having") else "X"

    def auxiliaries(self, i: int) -> bool:
        """Whether the verb before a word, adverbs passed over, is one that goes with another: "can", "does"."""
        j = next(j for j in range(i - 1, -1, -1) if self.roles[j] == "X")
        return "aux" in self.kinds[j]

    def finite(self, i: int) -> str:
        return "X" if self.before(i) in ("N", "P", "R") else ""

    def bare(self, i: int) -> str:
        """Of a verb form that is a noun as often."""
        if self.before(i) == "T":
            return "V"
        if self.settled(i) == "X" and self.auxiliaries(i):
            return "V"
        if self.before(i) == "P" and self.word(i - 1) in SUBJECTS:
            return "X"
        if self.before(i) == "N" and "noun" not in self.kinds[i] and self.plural(i - 1):
            return "X"
        ordered = self.kind(i + 1) & {"det", "own"} or (self.word(i) in POINTING and "prep" in self.kind(i + 1))
        return "V" if not self.before(i) and ordered else ""

    def place(self, i: int) -> str:
        if self.compound(i - 1):
            return "N"
        before = self.before(i)
        if before == "N":
            if "part" in self.kind(i + 1):
                return "N"
            return "M" if self.nominal(i + 1) else "R"
        if self.nominal(i + 1) or self.word(i + 1) == "most":
            return "M"
        if before in ("V", "X", "P", "R"):
            return "R"
        return "M" if self.attributive(i + 1) and "place" in self.kind(i + 1) else "N"

    def adjective(self, i: int) -> str:
        before = self.before(i)
        if before == "N" and self.word(i) in NEAREST:
            return "R"
        if self.nominal(i + 1):
            return "M"
        if not before and "N" in self.roles:
            return "R"
        if before == "N" and self.kinds[i] >= {"noun", "shade"}:
            return "N"
        if self.settled(i) in ("N", "P", "X") or (self.word(i) == "close" and self.word(i + 1) == "to"):
            return "R"
        joined = before == "J" and i > 1 and self.roles[i - 2] == "R"
        if joined or (before in ("V", "J") and "colour" not in self.kinds[i]):
            return "R"
        return "M" if not (ADJECTIVES | {"place"}).isdisjoint(self.kind(i + 1)) else "N"

    def ing(self, i: int) -> str:
        before, nominal = self.before(i), self.nominal(i + 1)
        if self.compound(i) or (before == "N" and nominal and "linked" in self.kinds[i]):
            return "N"
        if before in ("D", "S"):
            return "M" if nominal else "N"
        if before in ("M", "A"):
            return "M" if nominal else "V"
        keen = "keen" in self.kinds[i] or (before == "I" and self.word(i - 1) in DESPITE_NOUN)
        return "M" if before in ("", "I", "V", "C") and keen and nominal else "V"

    def done(self, i: int) -> str:
        before, nominal = self.before(i), self.nominal(i + 1)
        if before == "N":
            return "N" if "linked" in self.kinds[i] and nominal else "V"
        holding = before == "X" and self.word(i - 1) in ("has", "have", "had")
        return "M" if nominal and (holding or before not in ("X", "R", "P")) else "V"

    def half(self, i: int) -> str:
        if "det" in self.kind(i + 1):
            return "D"
        if self.kind(i + 1) & {"done", "adj"} and "noun" not in self.kind(i + 1):
            return "A" if self.nominal(i + 1) else "R"
        return "M" if self.nominal(i + 1) and self.before(i) != "N" else "N"

    def noun(self, i: int) -> str:
        if self.before(i) == "T":
            return "V"
        verbal = self.before(i) == "N" and self.plural(i) and not self.plural(i - 1)
        return "X" if verbal and self.kind(i + 1) & {"det", "own"} else "N"

    def plural(self, i: int) -> bool:
        return singular(self.word(i)) != self.word(i)


def always(role: str) -> Callable[[Context, int], str]:
    return lambda context, i: role


RULES: tuple[tuple[str, Callable[[Context, int], str]], ...] = (
    ("sign", Context.sign),
    ("possessive mark", Context.possessive_mark),
    ("filler", Context.filler),
    ("neg", always("R")),
    ("det", Context.determiner),
    ("own", Context.owner),
    ("possessive", Context.possessive),
    ("pron", always("P")),
    ("num", Context.number),
    ("order", Context.order),
    ("to", Context.to),
    ("prep", Context.preposition),
    ("adv", Context.adverb),
    ("conj", Context.conjunction),
    ("be", always("X")),
    ("aux", Context.auxiliary),
    ("finite", Context.finite),
    ("bare", Context.bare),
    ("place", Context.place),
    *((kind, Context.adjective) for kind in ("colour", "shade", "adj", "more", "most")),
    ("ing", Context.ing),
    ("done", Context.done),
    ("half", Context.half),
    ("noun", Context.noun),
)
"""What decides on each kind, in this order; a rule that gives none passes the word on to the next kind it is of."""
