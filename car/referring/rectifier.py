"""The spatial rectifier of TAS: where an expression says where in the picture, only masks there can be meant.

The masks' centres are parted at their medians into four quadrants. What an expression says leaves one of these, or two
that are neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from car.referring.grammar_rules import NO_PLACE
from car.referring.language import Parse

QUADRANTS = (("top", "left"), ("bottom", "left"), ("top", "right"), ("bottom", "right"))
"""In TAS's order."""

RELEASED = {
    "left": ("left", "west", "leftmost", "western"),
    "right": ("right", "east", "eastern", "rightmost"),
    "top": ("above", "top", "north"),
    "bottom": ("below", "south", "underneath"),
}
"""The words of the released code for an expression that relates its thing to no other."""

RELATING = RELEASED | {"left": ("left", "west"), "right": ("right", "east"), "bottom": ("below", "south", "under")}
"""The words of the released code for a relation."""

PLACES = RELEASED | {
    "top": (*RELEASED["top"], "topmost", "upper", "uppermost", "highest"),
    "bottom": (*RELEASED["bottom"], "bottom", "bottommost", "lower", "lowermost", "lowest"),
}
"""Ours: the released ones know no word for what is at the bottom that people use."""

SPOTS = NO_PLACE | frozenset(("left", "right", "top", "bottom", "middle", "center", "centre", "corner", "edge"))
"""Ours: what ends in one of these is no thing, but a part of the picture."""

ACROSS = {"left": ("top", "bottom"), "right": ("top", "bottom"), "top": ("left", "right"), "bottom": ("left", "right")}
"""The sides that a side can be joined with in a corner, the one that is looked for first in front."""


def region(parsed: Parse, *, as_released: bool = False) -> tuple[int, ...]:
    """The quadrants that an expression leaves, indices into `QUADRANTS` in ascending order; none where it leaves all.

    It leaves some of them

    - where it relates its thing to no other: those of the words of `PLACES` in it ("top left dog", "dog in the lower
      left corner");
    - where it relates its thing to another of the same noun: those of the word of the last such relation, and of words
      for a corner with it ("the dog to the left of the dog").

    Args:
        parsed: the expression.
        as_released: by the rule of the released code. The first case needs a word such as "left" that depends on the
            thing and, since every other word of a noun phrase counts as another thing, no article; in the second case
            both things must read the same, or the other one have the word ("on the left" is a relation to "the left"
            there); words are found inside of others, too ("laptop" has "top"); nothing is at the bottom; and the thing
            must read exactly as the noun phrase.

    >>> from car.referring.language import parse
    >>> [QUADRANTS[i] for i in region(parse("left dog", parser="built-in"))]
    [('top', 'left'), ('bottom', 'left')]
    """
    return released(parsed) if as_released else reworked(parsed)


def reworked(parsed: Parse) -> tuple[int, ...]:
    """The rule as it is meant."""
    thing = parsed.entity
    if thing is None or parsed.target not in thing.text:
        return ()
    said = parsed.text.split()
    relations = [(chain, other) for chain, other in thing.relations if other.text.split()[-1] not in SPOTS]
    if not relations:
        return matching(first(said, PLACES, ("top", "bottom")), first(said, PLACES, ("left", "right")))
    found: tuple[int, ...] = ()
    for chain, other in relations:
        side = next((side for word in chain for side in ACROSS if word in RELATING[side]), None)
        if side and parsed.head in other.text.split():
            found = matching(side, first(said, PLACES, ACROSS[side]))
    return found


def released(parsed: Parse) -> tuple[int, ...]:
    """The rule of the released code."""
    thing = parsed.entity_as_released
    if thing is None or parsed.target != thing.text or bool(thing.relations) == bool(thing.superlatives):
        return ()
    if thing.superlatives:
        pairs = (("top", "bottom"), ("left", "right"))
        return matching(*(first(parsed.text, RELEASED, pair) for pair in pairs))
    found: tuple[int, ...] = ()
    for chain, other in thing.relations:
        placing = ((word, side) for word in chain for side in ACROSS if word in RELATING[side])
        word, side = next(placing, ("", ""))
        if side and (other.text == thing.text or word in other.text):
            found = matching(side, first(parsed.text, RELATING, ACROSS[side]))
    return found


def first(text: str | list[str], words: Mapping[str, Sequence[str]], sides: tuple[str, str]) -> str | None:
    """The first of two sides that a text, or a list of words, has a word for."""
    return next((side for side in sides if any(word in text for word in words[side])), None)


def matching(*sides: str | None) -> tuple[int, ...]:
    """The quadrants on all of these sides, None being no side; none of them where there is no side at all."""
    wanted = {side for side in sides if side}
    return tuple(i for i, quadrant in enumerate(QUADRANTS) if wanted and wanted <= set(quadrant))


@dataclass(frozen=True, eq=False)
class Parted:
    """The best mask of each quadrant.

    quadrants: (M,) int64, which quadrant each mask is in.
    best: (4,) int64, the first with the greatest weight; of an empty quadrant, of all masks.
    weights: (4,) in the weights' dtype, theirs; 0 of an empty quadrant.
    """

    quadrants: np.ndarray
    best: np.ndarray
    weights: np.ndarray

    def winner(self, region: tuple[int, ...]) -> int:
        """The best mask of some quadrants; of equal ones, that of the last quadrant."""
        chosen = region[0]
        for other in region[1:]:
            chosen = chosen if self.weights[chosen] > self.weights[other] else other
        return int(self.best[chosen])


def part(centres: np.ndarray, weights: np.ndarray) -> Parted:
    """Masks by quadrant.

    Args:
        centres: (M, 2), row and column of each mask's centre, M at least 1.
        weights: (M,), higher is better. Where all are NaN, the first mask of a quadrant is its best.
    """
    low = centres >= np.median(centres, axis=0)
    quadrants = low[:, 0] + 2 * low[:, 1]
    best, greatest = np.full(4, np.argmax(weights), np.int64), np.zeros(4, weights.dtype)
    for quadrant in range(4):
        if len(there := np.flatnonzero(quadrants == quadrant)):
            best[quadrant] = there[np.argmax(weights[there])]
            greatest[quadrant] = weights[best[quadrant]]
    return Parted(quadrants.astype(np.int64), best, greatest)


def centres(masks: np.ndarray) -> np.ndarray:
    """Mean row and column of each of the masks (M, H, W) bool, cut to whole pixels: (M, 2) int64."""
    found = [[int(line.mean()) for line in np.nonzero(mask)] for mask in masks]
    return np.array(found, np.int64).reshape(-1, 2)
