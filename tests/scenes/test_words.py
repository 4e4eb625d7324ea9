import pytest

from car.scenes import concepts
from car.scenes.words import plural, with_article


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("cat", "cats"),
        ("computer mouse", "computer mice"),
        ("french fries", "french fries"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("paintbrush", "paintbrushes"),
        ("glass of wine", "glasses of wine"),
        ("loaf", "loaves"),
    ],
)
def test_plural(name: str, many: str) -> None:
    assert plural(name) == many


def test_the_plural_of_a_plural_changes_no_word_that_scenes_use() -> None:
    for concept in concepts().values():
        for name in (concept.name, *concept.synonyms):
            assert plural(name) == name or plural(name)[0] == name[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("cat", "a cat"),
        ("orange cat", "an orange cat"),
        ("unicorn", "a unicorn"),
        ("red scissors", "some red scissors"),
    ],
)
def test_article(words: str, told: str) -> None:
    assert with_article(words) == told
