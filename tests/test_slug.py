import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.slug import MAX_LENGTH, slug, unique_slugs

RESERVED = {"con", "prn", "aux", "nul", "com1", "lpt9", "com0"}


def is_safe(name: str) -> bool:
    return (
        0 < len(name) <= MAX_LENGTH + 1
        and len(name.encode()) <= 255 - len(".masks.png")
        and not set(name) & set('./\\:*?"<>| \t\n\0')
        and all(unicodedata.category(char)[0] in "LMN" or char in "-_" for char in name)
        and name not in RESERVED
        and not name.startswith("-")
        and not name.endswith("-")
    )


@given(st.text())
def test_slugs_are_safe_and_stable(text):
    name = slug(text)
    assert is_safe(name)
    assert slug(name) == name


@given(st.text(st.characters(codec=None), min_size=50, max_size=400))
def test_long_and_broken_text(text):
    assert is_safe(slug(text))


@given(st.text())
def test_case_makes_no_difference(text):
    assert slug(text.casefold()) == slug(text)


@given(st.lists(st.text(st.sampled_from("aA1-2 !猫"), max_size=4)))
def test_unique_slugs(texts):
    names = unique_slugs(texts)
    assert len(names) == len(texts)
    assert len(set(names)) == len(names)
    assert all(map(is_safe, names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\Windows\\con", "c-windows-con"),
        ("CON", "con_"),
        ("  The  Left   Cat.  ", "the-left-cat"),
        ("\u732b", "\u732b"),
        ("STRASSE", "strasse"),
        ("stra\u00dfe", "strasse"),
        ("\u092c\u093f\u0932\u094d\u0932\u0940", "\u092c\u093f\u0932\u094d\u0932\u0940"),
        ("\U0001f431", "u1f431"),
        ("...", "u2e-u2e-u2e"),
        ("   ", "query"),
        ("", "query"),
        ("a" * 100, "a" * MAX_LENGTH),
    ],
)
def test_examples(text, expected):
    assert slug(text) == expected


def test_thousands_of_equal_texts_are_numbered_quickly():
    names = unique_slugs(["x" * 80] * 5000)
    assert names[:2] == ["x" * 60, "x" * 58 + "-2"]
    assert len(set(names)) == 5000
    assert max(map(len, names)) == MAX_LENGTH
