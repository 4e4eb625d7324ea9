"""Which sentences of a picture a batch gets, and what becomes of words where there are too few."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from car.data.referring import ReferringTruth
from car.errors import InputError


@dataclass(frozen=True)
class _Pair:
    """A sentence and its mask (H, W); `instance` is the same number where the pixels are the same."""

    instance: int
    text: str
    mask: np.ndarray


def draw(truth: ReferringTruth, b: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """b sentences of one picture, and what each refers to.

    All pairs of a target and an expression are shuffled, and the first b taken: every expression is as likely as any
    other, but for what follows. The instance-contrastive loss learns both from two sentences for one instance and from
    sentences for two. Where the first b are all for one instance, or each is for another (and b is at least 3), one of
    them gives way to a sentence that brings what is missing, if there is one. Targets with the same pixels are one
    instance; what is said of it twice counts once.

    Where there are fewer than b, they are repeated in turn with random words masked, as in the paper.

    Args:
        truth: what is said; targets without pixels and expressions without words are left out.
        b: at least 1.
        rng: of the choice.

    Returns:
        The sentences, and their masks, bool (b, H, W).

    Raises:
        InputError: nothing is left to draw from.
    """
    pairs = list(_pairs(truth))
    if not pairs:
        raise InputError("Nothing that is said of it refers to a pixel of it.")
    chosen = _mixed([pairs[i] for i in rng.permutation(len(pairs))], b)
    again = [(mask_words(each.text, rng), each.mask) for each in islice(cycle(chosen), b - len(chosen))]
    texts, masks = zip(*((each.text, each.mask) for each in chosen), *again, strict=True)
    return list(texts), np.stack(masks)


def mask_words(text: str, rng: np.random.Generator) -> str:
    """A text without some of its words: at least one and at most half of them, drawn at random; what is left keeps its
    order. CLIP's vocabulary has no token that stands for a masked word, so masked words are dropped. A single word
    stays.

    >>> len(mask_words("the small dog on the left", np.random.default_rng(0)).split()) in (3, 4, 5)
    True
    """
    words = text.split()
    if len(words) < 2:
        return text
    dropped = rng.choice(len(words), rng.integers(1, len(words) // 2 + 1), replace=False)
    return " ".join(np.delete(words, dropped))


def _pairs(truth: ReferringTruth) -> Iterator[_Pair]:
    """Every sentence with what it refers to, once."""
    numbers: dict[bytes, int] = {}
    seen = set()
    for target in truth.targets:
        if not target.mask.any():
            continue
        instance = numbers.setdefault(np.packbits(target.mask).tobytes(), len(numbers))
        for text in target.expressions:
            if text.strip() and (instance, text) not in seen:
                seen.add((instance, text))
                yield _Pair(instance, text, target.mask)


def _mixed(pairs: list[_Pair], b: int) -> list[_Pair]:
    """The first b, or as many as there are; of several instances, and two of them of one, where that can be had."""
    chosen, rest = pairs[:b], pairs[b:]
    there = {each.instance for each in chosen}
    if len(there) == 1 and b >= 2:
        wanted = next((each for each in rest if each.instance not in there), None)
    elif len(there) == b >= 3:
        wanted = next((each for each in rest if each.instance in there), None)
    else:
        return chosen
    if wanted is None:
        return chosen
    leaves = max(i for i, each in enumerate(chosen) if each.instance != wanted.instance)
    return [*chosen[:leaves], *chosen[leaves + 1 :], wanted]
