"""The pictures of referring benchmarks, and what is said of their objects."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from benchmarks_pictures import Drawing, Item, Picture, until

from car.scenes import STUFF, Expression, expressions
from car.scenes.describing import Description, Relation, Sense
from car.scenes.expressions import ANY, RELATED
from car.scenes.words import plural

REFERRED = 2
"""Objects of a picture that something is said of, at most."""
SENTENCES = 2
"""Expressions of an object, at most."""
PEOPLE = ("person", "boy", "girl")
"""All a "person" to COCO."""
ABOUT_PEOPLE = 6
"""Words besides `PEOPLE` that pictures of people are drawn from."""
CLEAR_STUFF = ("grass", "snow", "water", "sky", "sand", "road", "brick wall")
"""Stuff that is not taken for another."""
UNNAMED = 0.1
"""Share of expressions that do without a name ("the left one") that are taken; most pictures have more of them."""
PHRASES = 4
"""Phrases of a picture, at most."""
ON_STUFF = 0.5
"""Share of long expressions that name the background as well."""
PLACES = frozenset((
    *("left", "right", "top", "bottom", "middle", "center", "corner", "above", "below", "upper", "lower", "higher"),
    *("highest", "lowest", "leftmost", "rightmost", "topmost", "bottommost", "first", "second", "third", "fourth"),
    *("fifth", "sixth"),
))  # fmt: skip
"""Words that RefCOCO+ does without."""


@dataclass(frozen=True)
class Said:
    """What is said of some objects.

    objects: their indices in the scene, ascending; none where nothing there is meant.
    sentences: at least one.
    """

    objects: tuple[int, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Told(Picture):
    """A picture with what is said of it, at least one thing."""

    said: tuple[Said, ...]


class ReferringDrawing(Drawing):
    """Draws pictures with something to say of them: RefCOCO's. "testA" shows people, "testB" other things."""

    objects: ClassVar[tuple[int, int]] = (2, 5)
    repeats: ClassVar[float] = 0.5

    def picture(self, split: str, index: int) -> Told:
        """Picture `index` of a split; the same arguments give the same picture, byte for byte."""
        rng = self.chance(split, index)
        return until(lambda: self._told(rng, split))

    def _told(self, rng: np.random.Generator, split: str) -> Told | None:
        picture = Picture(self._draw(rng, split).scene, self.categories, rng)
        said = tuple(self.say(picture, split))
        return Told(picture.scene, picture.ids, rng, said) if said else None

    @property
    def categories(self) -> dict[str, int]:
        """The class of each word that is annotated."""
        return {**self.wording.ids, **dict.fromkeys(PEOPLE, self.wording.ids["person"])}

    def say(self, picture: Picture, split: str) -> Iterator[Said]:
        """What is said of a picture; nothing where nothing is clear."""
        about = self._referred(picture, split)
        found = defaultdict(list)
        for each in told(picture):
            if self.fits(each) and len(each.objects) == 1:
                found[each.objects[0]].append(each)
        for i in mixed([i for i in about if i in found], picture.rng)[:REFERRED]:
            chosen = self.chosen(found[i], picture.rng)
            yield Said((i,), tuple(self.worded(each, picture) for each in chosen))

    def fits(self, expression: Expression) -> bool:
        """Whether the benchmark has such expressions."""
        return True

    def chosen(self, found: Sequence[Expression], rng: np.random.Generator) -> list[Expression]:
        """Those that are taken of all that fit an object."""
        return varied(found, rng)[:SENTENCES]

    def worded(self, expression: Expression, picture: Picture) -> str:
        """What is written of an expression."""
        return expression.text

    def _among(self, rng: np.random.Generator, split: str) -> list[str]:
        words = super()._among(rng, split)
        others = [word for word in words if word not in PEOPLE]
        if split == "testA":
            return [*PEOPLE, *mixed(others, rng)[:ABOUT_PEOPLE]]
        return others if split == "testB" else words

    def _referred(self, picture: Picture, split: str) -> list[int]:
        """The annotated objects; in testA the people."""
        names = enumerate(picture.scene.names)
        return [i for i, name in names if name in picture.ids and (split != "testA" or name in PEOPLE)]


class PlusDrawing(ReferringDrawing):
    """RefCOCO+: no words of place."""

    def fits(self, expression: Expression) -> bool:
        return PLACES.isdisjoint(expression.text.split())


class LongDrawing(ReferringDrawing):
    """RefCOCOg: long expressions."""

    def chosen(self, found: Sequence[Expression], rng: np.random.Generator) -> list[Expression]:
        longest = sorted(varied(found, rng), key=lambda each: -len(each.text.split()))
        return longest[:SENTENCES]

    def worded(self, expression: Expression, picture: Picture) -> str:
        text, stuff = expression.text, picture.scene.background
        if len(stuff) > 1 or picture.rng.random() >= ON_STUFF:
            return text
        return f"{text} {STUFF[stuff[0]].place} {stuff[0]}"


class ManyDrawing(ReferringDrawing):
    """gRefCOCO: one object, several of a kind, two that are joined by "and", or none."""

    def say(self, picture: Picture, split: str) -> Iterator[Said]:
        alone = list(super().say(picture, split))
        if not alone:
            return
        yield alone[0]
        if len(alone) == 2:
            both = tuple(sorted(each.objects[0] for each in alone))
            yield Said(both, (" and ".join(each.sentences[0] for each in alone),))
        every, about = told(picture), set(self._referred(picture, split))
        many = [each for each in every if each.kind == "plural" and about.issuperset(each.objects)]
        nothing = [each for each in every if each.kind == "nothing"]
        for found in (many, nothing):
            for each in varied(found, picture.rng)[:1]:
                yield Said(each.objects, (each.text,))


@dataclass(frozen=True)
class Phrase:
    """A phrase for everything that it describes.

    name, attributes: the noun, and what goes before it.
    relations: how it lies to what: ("next to", "dog"); one at most.
    instances: bool (N, H, W), N >= 1, none empty.
    """

    name: str
    attributes: tuple[str, ...]
    relations: tuple[tuple[str, str], ...]
    instances: np.ndarray

    @property
    def text(self) -> str:
        return " ".join((*self.attributes, self.name, *(word for relation in self.relations for word in relation)))


@dataclass(frozen=True)
class Phrased(Picture):
    """A picture with its phrases, at least one."""

    phrases: tuple[Phrase, ...]


class PhraseDrawing(Drawing):
    """PhraseCut: what there is by name, colour and relation, one or many of it, and kinds of stuff."""

    objects: ClassVar[tuple[int, int]] = (2, 5)
    repeats: ClassVar[float] = 0.5

    def picture(self, split: str, index: int) -> Phrased:
        """Picture `index` of a split; the same arguments give the same picture, byte for byte."""
        rng = self.chance(split, index)
        return until(lambda: self._phrased(rng, split))

    def _phrased(self, rng: np.random.Generator, split: str) -> Phrased | None:
        drawn = self._draw(rng, split)
        kinds = defaultdict(list)
        for each in phrases(drawn):
            kinds[bool(each.attributes), bool(each.relations), len(each.instances) > 1].append(each)
        chosen = tuple(in_turn(kinds.values(), rng)[:PHRASES])
        return Phrased(drawn.scene, drawn.ids, rng, chosen) if chosen else None


def phrases(picture: Picture) -> Iterator[Phrase]:
    """All phrases whose meaning is beyond doubt."""
    made = picture.scene
    sense = Sense(made)
    looks = dict.fromkeys(zip(made.names, made.colours, strict=True))
    described = dict.fromkeys(Description(name, hue) for name, own in looks for hue in (None, own))
    landmarks = [each for each in described if clear(sense, each)]
    for base in described:
        related = (
            Description(base.noun, base.colour, pick=Relation(name, mark))
            for mark in landmarks
            if mark.noun != base.noun
            for name in RELATED
        )
        for each in (base, *related):
            if objects := clear(sense, each):
                yield phrase(each, made.masks[objects])
    free = ~made.masks.any(axis=0, keepdims=True)
    if len(made.background) == 1 and made.background[0] in CLEAR_STUFF and free.any():
        yield Phrase(made.background[0], (), (), free)


def clear(sense: Sense, description: Description) -> list[int]:
    """The objects that a description fits; none where any of them is in doubt."""
    sure, maybe = sense.find(description)
    return sorted(sure) if sure == maybe else []


def phrase(description: Description, instances: np.ndarray) -> Phrase:
    """A description in words."""
    relations: tuple[tuple[str, str], ...] = ()
    if isinstance(pick := description.pick, Relation):
        mark = pick.landmark
        relations = ((RELATED[pick.name][0], " ".join(word for word in (mark.colour, mark.noun) if word)),)
    attributes = (description.colour,) if description.colour else ()
    return Phrase(str(description.noun), attributes, relations, instances)


def told(picture: Picture) -> list[Expression]:
    """The expressions of a picture that have one meaning, few of them without a name."""
    found = expressions(picture.scene, seed=int(picture.rng.integers(2**31)))
    named = [not {*ANY, *map(plural, ANY)} & set(each.text.split()) for each in found]
    taken = picture.rng.random(len(found)) < np.where(named, 1, UNNAMED)
    return [each for each, take in zip(found, taken, strict=True) if take and not each.ambiguous]


def varied(found: Sequence[Expression], rng: np.random.Generator) -> list[Expression]:
    """Expressions in an order drawn at random, but one of each kind before the second of any."""
    kinds = defaultdict(list)
    for each in found:
        kinds[each.kind].append(each)
    return in_turn(kinds.values(), rng)


def in_turn(groups: Iterable[Sequence[Item]], rng: np.random.Generator) -> list[Item]:
    """The items of all groups, one of each in turn, both in random order."""
    ranked = [(rank, item) for group in groups for rank, item in enumerate(mixed(group, rng))]
    return [item for _, item in sorted(mixed(ranked, rng), key=lambda each: each[0])]


def mixed(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """Items in random order."""
    return [items[i] for i in rng.permutation(len(items))]
