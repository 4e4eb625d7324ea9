"""What the built-in parser knows of single words: their kinds, by a short lexicon and by their endings.

Kinds, as the lexicon names them:
    det, own, pron, num, order, prep, to, conj, neg, adv, filler: closed classes; `own` are possessive pronouns, `order`
        the words that count off things.
    be, aux, finite, bare: verb forms; the last two may be nouns, too.
    place, colour, shade, adj, more, most: adjectives; `shade` goes with colours; `more` and `most` are comparatives and
        superlatives, those in -est are found by their ending.
    ing, done: participles; `keen` are those in -ing that go before a noun, `stative` those of being somewhere or
        somehow, `linked` those that make one attribute with the noun before them ("snow covered").
    noun: nouns that look like something else. `part` are parts of things, `person` people.
    pairs: compound nouns whose words would be misread one by one.
    possessive: possessives without their apostrophe.
"""

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

NUMBER = re.compile(r"#?\d+$")
SUPERLATIVE = re.compile(r"\w{2,}(est|most)$")
PIECES = re.compile(
    r"""
    w/o(?:ut)?\b | w/ | \.{2,}
    | (?:n't|['’](?:s|re|m|ve|ll|d))\b          # what is left of a contracted or possessive word
    | [^\W_]+?(?=n't\b)
    | \#?[^\W_]+(?:[-/][^\W_]+)*                # words, also with hyphens
    | ['’](?=\s|$)                              # of a plural possessive
    | \S
    """,
    re.VERBOSE,
)


class Piece(NamedTuple):
    """A word or sign of a sentence, with its place in it, in characters."""

    text: str
    start: int
    end: int


def pieces(sentence: str) -> list[Piece]:
    """Words and signs, possessive and contracted endings apart.

    >>> [piece.text for piece in pieces("girl's t-shirt, isn't it?")]
    ['girl', "'s", 't-shirt', ',', 'is', "n't", 'it', '?']
    """
    return [Piece(match[0].replace("’", "'"), *match.span()) for match in PIECES.finditer(sentence)]


@cache
def lexicon() -> dict[str, frozenset[str]]:
    """The kinds of each word that the lexicon lists."""
    found: dict[str, set[str]] = {}
    for kind, words in _lines():
        for word in words:
            found.setdefault(word, set()).add(kind)
    return {word: frozenset(kinds) for word, kinds in found.items()}


@cache
def plurals() -> dict[str, str]:
    """The singular of plurals that are not formed by the rules."""
    irregular = dict(pair.split("=") for kind, words in _lines() if kind == "plural" for pair in words)
    return irregular | {word: word for kind, words in _lines() if kind == "same" for word in words}


@cache
def _lines() -> tuple[tuple[str, tuple[str, ...]], ...]:
    text = (files("car.referring") / "lexicon.txt").read_text(encoding="utf-8")
    lines = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple((kind, tuple(words.split())) for kind, _, words in lines)


@cache
def kinds(word: str) -> frozenset[str]:
    """Kinds of a word in lower case; a compound with hyphens or slashes has those of its last part.

    >>> sorted(kinds("streaching")), sorted(kinds("light-blue")), sorted(kinds("zebra"))
    (['ing'], ['colour'], ['noun'])
    """
    if known := lexicon().get(word, frozenset()) - {"same", "pairs"}:
        return known if known - {"keen", "linked", "stative", "part", "person"} else known | _by_ending(word)
    last = re.split("[-/]", word)[-1]
    return kinds(last) if last and last != word else _by_ending(word)


def _by_ending(word: str) -> frozenset[str]:
    if NUMBER.match(word):
        return frozenset({"num"})
    if not word[0].isalnum():
        return frozenset({"possessive mark" if word in ("'s", "'") else "sign"})
    if word.endswith("ing") and len(word) > 4:
        return frozenset({"ing"})
    if word.endswith("ed") and len(word) > 3 and not word.endswith("eed"):
        return frozenset({"done"})
    if word.endswith("ly") and len(word) > 4:
        return frozenset({"adv"})
    if SUPERLATIVE.match(word):
        return frozenset({"most"})
    if word.endswith(("ous", "ful", "less")) and len(word) > 5:
        return frozenset({"adj"})
    return frozenset({"noun"})


def singular(word: str) -> str:
    """The singular of a noun in lower case; a singular stays.

    >>> [singular(word) for word in ("zebras", "men", "berries", "dishes", "bus", "glasses", "wine")]
    ['zebra', 'man', 'berry', 'dish', 'bus', 'glasses', 'wine']
    """
    if word in plurals():
        return plurals()[word]
    if word.endswith("men") and len(word) > 4:
        return f"{word[:-3]}man"
    if len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses", "zzes", "uses")):
        return word[:-2]
    return word[:-1]
