"""Which noun phrases name much the same thing, for TAS to leave them out of what the target is told from."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from car.errors import InputError, MissingError
from car.referring import grammar
from car.referring.grammar_words import singular

SHARED = 3
"""So many senses two nouns must share for TAS to take them for near-synonyms."""

BUILT_IN = "built-in"


class Thesaurus(Protocol):
    """Judges noun phrases; `name` tells by what: "wordnet", "wordnet, built-in tagger" or "built-in"."""

    name: str

    def near(self, first: str, second: str) -> bool:
        """Whether two noun phrases name much the same thing."""


class WordNet:
    """TAS's rule: the first nouns of both phrases share at least three senses in WordNet.

    TAS counts the pairs of senses whose path similarity exceeds 0.9, which are those of a sense with itself. So a noun
    with fewer senses, such as "giraffe", is no near-synonym even of itself.

    Args:
        synsets: all senses of a word.
        first_noun: the first noun of a phrase, or None.
        name: "wordnet", or more where the nouns are not found as in TAS.
    """

    def __init__(
        self,
        synsets: Callable[[str], Sequence[Any]],
        first_noun: Callable[[str], str | None],
        name: str = "wordnet",
    ) -> None:
        self.synsets = synsets
        self.first_noun = first_noun
        self.name = name

    def near(self, first: str, second: str) -> bool:
        """Whether the first nouns of two phrases share at least `SHARED` senses."""
        nouns = self.first_noun(first), self.first_noun(second)
        if nouns[0] is None or nouns[1] is None:
            return False
        senses = self.synsets(nouns[0]), self.synsets(nouns[1])
        return sum(one == other for one in senses[0] for other in senses[1]) >= SHARED


class BuiltIn:
    """Heads that are the same in the singular, or in one group of a short list of synonyms."""

    name = BUILT_IN

    def near(self, first: str, second: str) -> bool:
        """Whether the heads of two phrases are the same or listed together.

        >>> BuiltIn().near("the red sofa", "two couches"), BuiltIn().near("a dog", "a hot dog")
        (True, False)
        """
        terms = term(first), term(second)
        return None not in terms and (terms[0] == terms[1] or terms[1] in groups().get(terms[0] or "", ()))


def load_thesaurus(name: str = "auto") -> Thesaurus:
    """A thesaurus by name, loaded once.

    Args:
        name: "auto": WordNet where NLTK can load it, otherwise the built-in one; "wordnet"; "built-in".

    Raises:
        InputError: no such thesaurus.
        MissingError: NLTK or its WordNet is not installed.
    """
    if name not in ("auto", "wordnet", BUILT_IN):
        raise InputError(f"No thesaurus {name!r}. Available: auto, wordnet, {BUILT_IN}.")
    if name == BUILT_IN:
        return BuiltIn()
    if found := _wordnet():
        return found
    if name == "auto":
        return BuiltIn()
    raise MissingError(
        "WordNet is not installed. Install it with: pip install 'car-segmentation[nlp]' and "
        "python -m nltk.downloader wordnet punkt_tab averaged_perceptron_tagger_eng"
    )


def near_synonyms(first: str, second: str, *, thesaurus: str = "auto") -> bool:
    """Whether two noun phrases name much the same thing, by the thesaurus of a name.

    Raises:
        InputError, MissingError: as for `load_thesaurus`.

    >>> near_synonyms("a young lady", "women", thesaurus="built-in")
    True
    """
    return load_thesaurus(thesaurus).near(first, second)


@cache
def _wordnet() -> WordNet | None:
    """WordNet through NLTK, if it can be loaded."""
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError, OSError):
        return None
    try:
        tagged_noun("a dog")
    except LookupError:
        return WordNet(wordnet.synsets, first_noun, "wordnet, built-in tagger")
    return WordNet(wordnet.synsets, tagged_noun)


def tagged_noun(phrase: str) -> str | None:
    """The first noun of a phrase by NLTK's tagger.

    Raises:
        LookupError: the tagger's data is not installed.
    """
    import nltk

    tagged = nltk.pos_tag(nltk.word_tokenize(phrase))
    return next((word for word, tag in tagged if tag.startswith("N")), None)


def first_noun(phrase: str) -> str | None:
    """The first noun of a phrase by the built-in parser's tags.

    >>> first_noun("a shiny tennis racket")
    'tennis'
    """
    if not phrase.strip():
        return None
    return next((word.text for word in grammar.tree(phrase.lower()).words if word.tag.startswith("N")), None)


def term(phrase: str) -> str | None:
    """What a noun phrase is compared by: its head in the singular, with the word before where the list has both.

    >>> term("some old cell phones"), term("the phones of a man"), term("")
    ('cell phone', 'phone', None)
    """
    if not phrase.strip():
        return None
    found = grammar.tree(phrase.lower())
    if not found.chunks:
        return phrase.lower().strip()
    chunk = found.chunk_of.get(found.roots[-1], found.chunks[0])
    head = singular(found.words[chunk.root].text)
    compound = f"{found.words[chunk.root - 1].text} {head}" if chunk.root > chunk.start else head
    return compound if compound in groups() else head


@cache
def groups() -> dict[str, frozenset[str]]:
    """The group of each term of the list."""
    text = (files("car.referring") / "synonyms.txt").read_text(encoding="utf-8")
    listed = ([term.strip() for term in line.split(",")] for line in text.splitlines() if not line.startswith("#"))
    return {term: frozenset(group) for group in listed for term in group}
