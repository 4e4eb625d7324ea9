"""Which sentences of a picture are drawn, and dropping words of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.data import ReferringTruth, Target
from car.errors import InputError
from car.prompt_ris.sentences import draw, mask_words

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32)


def target(number: int, *expressions: str, pixel: int | None = None) -> Target:
    """A target of one pixel, by default of its own number."""
    mask = np.zeros((4, 5), bool)
    mask.flat[number if pixel is None else pixel] = True
    return Target(str(number), expressions, mask, False, "dog")


def truth(*targets: Target) -> ReferringTruth:
    return ReferringTruth(np.zeros((4, 5, 3), np.uint8), targets)


def subsequence(short: list[str], long: list[str]) -> bool:
    rest = iter(long)
    return all(word in rest for word in short)


@given(WORDS, SEEDS)
def test_some_words_are_dropped_and_never_all(words, seed):
    left = mask_words(" ".join(words), np.random.default_rng(seed)).split()
    assert subsequence(left, words)
    assert len(left) == 1 if len(words) == 1 else -(-len(words) // 2) <= len(left) < len(words)


def test_every_word_is_dropped_at_times():
    words = ["the", "small", "dog", "on", "left"]
    rng = np.random.default_rng(0)
    drawn = [mask_words(" ".join(words), rng).split() for _ in range(200)]
    assert all(any(word not in left for left in drawn) for word in words)
    assert {len(left) for left in drawn} == {3, 4}


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=6), b=st.integers(1, 8), seed=SEEDS)
def test_as_many_as_asked_for_each_with_its_mask(counts, b, seed):
    targets = [target(i, *(f"target {i} says {n}" for n in range(count))) for i, count in enumerate(counts)]
    texts, masks = draw(truth(*targets), b, np.random.default_rng(seed))
    total = sum(counts)
    assert masks.shape == (b, 4, 5)
    assert masks.dtype == np.bool_
    assert len(texts) == b
    pixels = [int(np.flatnonzero(mask).item()) for mask in masks]
    whole = {text: i for i, each in enumerate(targets) for text in each.expressions}
    first = texts[: min(b, total)]
    assert len(set(first)) == len(first)
    assert [whole[text] for text in first] == pixels[: len(first)]
    for i, (text, pixel) in enumerate(zip(texts[total:], pixels[total:], strict=True)):
        source = first[i % total]
        assert pixel == whole[source]
        assert text != source
        assert subsequence(text.split(), source.split())
    if b >= 2 and len(counts) >= 2:
        assert len(set(pixels)) >= 2
    if b >= 3 and (max(counts) >= 2 or b > total):
        assert len(set(pixels)) < b


@given(seed=SEEDS)
def test_the_same_seed_draws_the_same(seed):
    said = truth(*(target(i, f"a {i}", f"the {i}") for i in range(3)))
    one, other = (draw(said, 8, np.random.default_rng(seed)) for _ in range(2))
    assert one[0] == other[0]
    assert np.array_equal(one[1], other[1])


def test_every_expression_is_drawn_at_times():
    said = truth(target(0, "a", "b", "c", "d", "e", "f"), target(1, "g"), target(2, "h"))
    rng = np.random.default_rng(0)
    drawn = [text for _ in range(200) for text in draw(said, 4, rng)[0]]
    assert min(drawn.count(text) for text in "abcdefgh") > 50


def test_targets_of_the_same_pixels_are_one_instance():
    said = truth(target(0, "left dog", "dog"), target(1, "left dog", "it", pixel=0), target(2, "cat"))
    texts, masks = draw(said, 4, np.random.default_rng(0))
    assert sorted(texts) == ["cat", "dog", "it", "left dog"]
    assert sorted(int(np.flatnonzero(mask).item()) for mask in masks) == [0, 0, 0, 2]


def test_a_word_for_two_objects_stays_for_both():
    assert draw(truth(target(0, "dog"), target(1, "dog")), 2, np.random.default_rng(0))[0] == ["dog", "dog"]


def test_single_words_are_repeated_as_they_are():
    assert draw(truth(target(0, "dog")), 3, np.random.default_rng(0))[0] == ["dog"] * 3


@pytest.mark.parametrize(
    "targets",
    [
        (),
        (target(0, " "),),
        (Target("1", ("no dog",), np.zeros((4, 5), bool), True, None),),
        (Target("1", ("hidden dog",), np.zeros((4, 5), bool), False, "dog"),),
    ],
)
def test_nothing_to_draw_from(targets):
    with pytest.raises(InputError, match="refers to a pixel"):
        draw(truth(*targets), 2, np.random.default_rng(0))
    texts, _ = draw(truth(*targets, target(3, "cat")), 1, np.random.default_rng(0))
    assert texts == ["cat"]
