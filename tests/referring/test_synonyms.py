"""Near-synonyms: the built-in list, singulars, and TAS's rule on WordNet as NLTK reads it."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError, MissingError
from car.referring import synonyms
from car.referring.grammar_words import singular
from car.referring.synonyms import SHARED, BuiltIn, WordNet, first_noun, groups, load_thesaurus, near_synonyms, term
from car.scenes.nouns import MASS
from car.scenes.sprites import concepts
from car.scenes.words import is_plural, plural

pytestmark = pytest.mark.filterwarnings("ignore:The multilingual functions:UserWarning")
PHRASES = st.sampled_from(
    ["a dog", "two dogs", "the red sofa", "couch", "hot dog", "her cell phones", "phone", "men", "?"]
)
NAMES = [
    name for c in concepts().values() for name in (c.name, *c.synonyms) if name not in MASS and not is_plural(name)
]
ODD = {"glass", "clothes"}
"""Words whose plural is a word of its own, and a plural that names of things hold ("person with clothes")."""


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("the man on the left", "a guy in red", True),
        ("two women", "a lady with a hat", True),
        ("zebra", "the zebras", True),
        ("a cell phone", "the phone of a man", True),
        ("a hot dog", "a dog", False),
        ("a teddy bear", "a bear", False),
        ("wine glass", "a glass of juice", False),
        ("a dog on a couch", "a couch", False),
        ("tennis player", "tennis racket", False),
        ("", "a dog", False),
        ("", "", False),
    ],
)
def test_the_built_in_thesaurus(first, second, near):
    assert near_synonyms(first, second, thesaurus="built-in") is near


@given(PHRASES, PHRASES, PHRASES)
def test_the_built_in_thesaurus_is_an_equivalence(first, second, third):
    near = BuiltIn().near
    assert near(first, first)
    assert near(first, second) == near(second, first)
    assert not (near(first, second) and near(second, third)) or near(first, third)


def test_the_list_has_every_term_once_in_the_singular_or_as_it_is_said():
    listed = [term for group in {frozenset(group) for group in groups().values()} for term in group]
    assert [term for term, count in Counter(listed).items() if count > 1] == []
    assert all(term == term.strip().lower() and term for term in listed)


def test_a_term_is_the_head_or_a_listed_compound():
    assert [term(phrase) for phrase in ("big red buses", "old teddy bears", "a slice of pizza", "???")] == [
        "bus",
        "teddy bear",
        "slice",
        "???",
    ]


@pytest.mark.parametrize("head", sorted({name.split(" of ")[0].split(" with ")[0].split()[-1] for name in NAMES} - ODD))
def test_the_singular_of_a_plural_is_the_word(head):
    assert singular(plural(head)) == singular(head) == head


@pytest.mark.parametrize("word", ["", "s", "us", "gas", "boss", "chess", "tennis", "bread", "scissors"])
def test_what_is_no_plural_stays(word):
    assert singular(word) == word


def test_an_unknown_thesaurus_is_an_error():
    with pytest.raises(InputError, match="Available: auto, wordnet, built-in"):
        load_thesaurus("thesaurus.com")


def test_without_nltk_auto_is_built_in_and_wordnet_names_the_command(monkeypatch):
    for module in ("nltk", "nltk.corpus"):
        monkeypatch.setitem(sys.modules, module, None)
    synonyms._wordnet.cache_clear()
    try:
        assert load_thesaurus("auto").name == "built-in"
        with pytest.raises(MissingError, match=r"nltk\.downloader wordnet") as told:
            load_thesaurus("wordnet")
        assert "\n" not in str(told.value)
    finally:
        synonyms._wordnet.cache_clear()


def test_the_first_noun_of_a_phrase():
    assert [first_noun(text) for text in ("the shiny tennis racket", "a man's hat", "of", " ")] == [
        "tennis",
        "man",
        None,
        None,
    ]


SENSES = [("man", "guy"), ("man", "guy", "adult"), ("man", "guy"), ("man",), ("couch", "sofa"), ("giraffe",)]
"""The words of each sense of a WordNet made for these tests."""


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    """NLTK's reader on a WordNet database of SENSES, in WordNet's own files."""
    reader = pytest.importorskip("nltk.corpus.reader.wordnet", reason="NLTK is not installed: pip install nltk")
    data = tmp_path_factory.mktemp("nltk_data")
    root = data / "corpora" / "wordnet"
    root.mkdir(parents=True)
    for name in reader.WordNetCorpusReader._FILES:
        (root / name).write_text("")
    (root / "index.sense").write_text("")
    (root / "lexnames").write_text("".join(f"{i:02d}\tnoun.{i}\t1\n" for i in range(45)))
    (root / "data.adj").write_text("  1 WordNet 3.0 Copyright\n")
    offsets, text = [], ""
    for i, words in enumerate(SENSES):
        offsets.append(len(text))
        above = f"001 @ {0:08d} n 0000" if i else "000"
        named = " ".join(f"{word} 0" for word in words)
        text += f"{len(text):08d} 03 n {len(words):02x} {named} {above} | sense {i}  \n"
    (root / "data.noun").write_text(text)
    lines = []
    for word in sorted({word for words in SENSES for word in words}):
        found = [f"{offset:08d}" for offset, words in zip(offsets, SENSES, strict=True) if word in words]
        lines.append(f"{word} n {len(found)} 1 @ {len(found)} 0 {' '.join(found)}  \n")
    (root / "index.noun").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nltk.data.path", [str(data)])
        yield reader.WordNetCorpusReader(str(root), None)


def test_the_rule_of_tas_counts_shared_senses(wordnet):
    thesaurus = WordNet(wordnet.synsets, first_noun)
    assert thesaurus.near("the man in red", "a guy")
    assert not thesaurus.near("a couch", "the sofa")
    assert not thesaurus.near("a giraffe", "a giraffe")
    assert not thesaurus.near("", "a man")
    assert thesaurus.name == "wordnet"


def test_shared_senses_are_the_pairs_whose_path_similarity_exceeds_nine_tenths(wordnet):
    words = sorted({word for words in SENSES for word in words})
    for first in words:
        for second in words:
            pairs = [one.path_similarity(other) for one in wordnet.synsets(first) for other in wordnet.synsets(second)]
            similar = sum(similarity is not None and similarity > 0.9 for similarity in pairs)
            assert WordNet(wordnet.synsets, first_noun).near(first, second) == (similar >= SHARED)


def test_what_nltk_finds_is_used_and_named():
    pytest.importorskip("nltk", reason="NLTK is not installed: pip install nltk")
    found = load_thesaurus()
    assert found.name in ("wordnet", "wordnet, built-in tagger", "built-in")
    assert found.near("the man", "a man")
