"""What a description of things means in a scene. Expressions are worded from descriptions; here is their sense."""

from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

from car.scenes.geometry import BACKGROUND, OPPOSITE, Rough, geometry
from car.scenes.nouns import BEHIND, PATTERNED, broader, concept_of, confusable
from car.scenes.scene import Scene

LIKE_COLOURS = {
    "red": ("orange", "pink", "brown"),
    "orange": ("red", "yellow", "brown"),
    "yellow": ("orange", "brown", "green"),
    "green": ("yellow",),
    "blue": ("purple",),
    "purple": ("blue", "pink"),
    "pink": ("red", "purple"),
    "brown": ("red", "orange", "yellow", "black"),
    "gray": ("white", "black"),
    "white": ("gray",),
    "black": ("gray", "brown"),
}
"""Colours that are easily taken for each other, since a recoloured drawing keeps its light and dark parts."""


@dataclass(frozen=True)
class Place:
    """Where in the picture: "left", "right", "top", "bottom", "middle", or a corner such as "top left"."""

    where: str


@dataclass(frozen=True)
class Rank:
    """Which in an order: number 1 from "left", "right", "top", "bottom", "big" or "small" is the outermost."""

    order: str
    number: int = 1


@dataclass(frozen=True)
class Compared:
    """The "big" or the "small" one of two."""

    order: str


@dataclass(frozen=True)
class Relation:
    """How something lies to something else.

    name: one of the relations of `Geometry`.
    landmark: what else.
    """

    name: str
    landmark: "Description"


Pick: TypeAlias = Place | Rank | Compared | Relation


@dataclass(frozen=True)
class Description:
    """What is looked for: the things that have this name, colour and texture, and of these the picked one.

    noun: a word of `nouns()`, or None for anything.
    colour: name of a colour, or None.
    texture: name of a texture, or None.
    pick: which of them.
    count: how many are meant: 1; more ("both dogs"); or None for all, at least two ("the dogs").
    """

    noun: str | None
    colour: str | None = None
    texture: str | None = None
    pick: Pick | None = None
    count: int | None = 1

    @property
    def kind(self) -> str:
        """The kind of expression that words it, where it means something."""
        if self.count != 1:
            return "plural"
        match self.pick:
            case None:
                return "attribute" if self.colour or self.texture else "name"
            case Rank(order="big" | "small"):
                return "attribute"
            case Rank(number=number):
                return "position" if number == 1 else "ordinal"
            case Place():
                return "position"
            case _:
                return "relation"


@dataclass(frozen=True)
class Meaning:
    """What a description means: objects in ascending order, and whether another reading would mean others."""

    objects: tuple[int, ...]
    ambiguous: bool


def meaning(description: Description, made: Scene) -> Meaning | None:
    """What a description means in a scene: `Sense(made).meaning(description)`."""
    return Sense(made).meaning(description)


class Sense:
    """Finds what descriptions mean in one scene; its geometry is computed once."""

    def __init__(self, made: Scene) -> None:
        self.made = made
        self.geometry = geometry(made.masks)
        self.kept: dict[tuple[str | None, str | None, str | None], Rough] = {}

    def meaning(self, description: Description) -> Meaning | None:
        """What a description means; no objects where it clearly fits nothing; None where it fits nothing clearly, or
        another number of things than it says.

        A description is ambiguous where it fits, clearly or not, more than it says there are.
        """
        sure, maybe = self.find(description)
        if len(maybe) < (description.count or 1):
            return Meaning((), False)
        least = description.count or 2
        if len(sure) < least or (least > 1 and description.count and len(sure) > least):
            return None
        most = description.count or len(sure)
        return Meaning(tuple(sorted(sure)), len(maybe) > most)

    def find(self, description: Description) -> Rough:
        """Everything that a description fits, whatever number it says."""
        found = self.looking(description.noun, description.colour, description.texture)
        match description.pick:
            case None:
                return found
            case Place(where):
                return self.placed(found, where)
            case Rank(order, number):
                return self.ranked(found, order, number)
            case Compared(order):
                return self.ranked(found, order, 1) if len(found.maybe) == 2 else Rough(frozenset(), found.maybe)
            case Relation(name, landmark):
                return self.related(found, name, self.find(landmark))

    def looking(self, noun: str | None, colour: str | None, texture: str | None) -> Rough:
        """What has this name and these looks; kept, since picks from it are many."""
        if (found := self.kept.get((noun, colour, texture))) is None:
            found = self.of_noun(noun)
            if colour is not None:
                found = found.both(self.of_colour(colour))
            if texture is not None:
                found = found.both(self.of_texture(texture))
            self.kept[noun, colour, texture] = found
        return found

    def of_noun(self, noun: str | None) -> Rough:
        """What a word names; faint objects only maybe."""
        names, faint = self.made.names, self.geometry.faint
        everything = frozenset(range(len(names)))
        if noun is None:
            return Rough(everything - faint, everything)
        concept = concept_of(noun)
        here = frozenset(i for i in everything if names[i] == concept)
        doubtful = confusable(noun) if here else confusable(noun) | broader(noun)
        maybe = here | {i for i in everything if names[i] in doubtful}
        if any(concept in BEHIND.get(stuff, ()) for stuff in self.made.background):
            maybe |= {BACKGROUND}
        return Rough(here - faint, maybe)

    def of_colour(self, colour: str) -> Rough:
        """What was recoloured to a colour; maybe what was to a similar one, or to none: its own may be that."""
        colours = self.made.colours
        sure = frozenset(i for i, own in enumerate(colours) if own == colour)
        maybe = {i for i, own in enumerate(colours) if own is None or own in LIKE_COLOURS[colour]}
        if colour == "orange":
            maybe |= {i for i, name in enumerate(self.made.names) if name == "orange"}
        return Rough(sure, sure | maybe | {BACKGROUND})

    def of_texture(self, texture: str) -> Rough:
        """What a texture was painted over; maybe what is drawn with a similar pattern."""
        sure = frozenset(i for i, own in enumerate(self.made.textures) if own == texture)
        maybe = {i for i, name in enumerate(self.made.names) if name in PATTERNED[texture]}
        return Rough(sure, sure | maybe | {BACKGROUND})

    def ranked(self, found: Rough, order: str, number: int) -> Rough:
        """Which of these is the number-th in an order."""
        before, after = self.geometry.orders[order], self.geometry.orders[OPPOSITE[order]]
        spans = {i: (len(found.sure & after[i]), len(found.maybe - before[i]) - 1) for i in found.maybe}
        return Rough(
            frozenset(i for i in found.sure if spans[i] == (number - 1, number - 1)),
            frozenset(i for i, (least, most) in spans.items() if least < number <= most + 1),
        )

    def placed(self, found: Rough, where: str) -> Rough:
        """Which of these is in some part of the picture.

        Of several, "the left one" can also be the leftmost: both readings have to agree, except that of exactly two the
        latter decides.
        """
        sides = where.split()
        absolute = reduce(Rough.both, (self.geometry.places[side] for side in sides), found)
        if len(found.maybe) < 2:
            return absolute
        if where == "middle":
            return self.amid(found, absolute) if len(found.sure) == len(found.maybe) == 3 else absolute
        relative = reduce(Rough.both, (self.ranked(found, side, 1) for side in sides))
        if not relative.maybe:
            return absolute
        if len(sides) == 1 and len(found.sure) == len(found.maybe) == 2:
            return Rough(relative.sure & absolute.maybe, relative.maybe)
        return Rough(absolute.sure & relative.sure, absolute.maybe | relative.maybe)

    def amid(self, found: Rough, absolute: Rough) -> Rough:
        """The middle one of three: the second from the left, if not far from the picture's middle.

        In doubt: a clear second from the top, and what is in the very middle of the picture.
        """
        second = self.ranked(found, "left", 2)
        others = self.ranked(found, "top", 2).sure | absolute.sure
        return Rough(second.sure & absolute.maybe, second.maybe | others)

    def related(self, found: Rough, name: str, landmarks: Rough) -> Rough:
        """Which of these lie so to one of the landmarks; all maybe, where a landmark is in doubt."""
        rows = self.geometry.relations[name]
        if landmarks.maybe and not landmarks.sure:
            return Rough(frozenset(), found.maybe)
        return Rough(
            frozenset(i for i in found.sure if rows[i].sure & landmarks.sure),
            frozenset(i for i in found.maybe if rows[i].maybe & landmarks.maybe),
        )
