"""Referring expressions of a scene in the manner of RefCOCO ("left dog", "the cup behind the cat"), and their masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import numpy as np

from car.scenes.describing import Compared, Description, Pick, Place, Rank, Relation, Sense
from car.scenes.nouns import countable, nouns
from car.scenes.objects import COLOURS, TEXTURES
from car.scenes.scene import Scene
from car.scenes.words import NUMBERS, plural

SYNONYMS = 0.25
"""Share of nouns for which a synonym is taken, where there is one."""
ANYTHING = 0.1
"""Share of the relations that are told of "the thing" instead of naming it."""
TRIES = 6
"""Draws for an expression that means nothing, before it is left out."""
SIDES = ("left", "right", "top", "bottom")
PLACES = (*SIDES, "middle", "top left", "top right", "bottom left", "bottom right")

SIZED = {"big": ("big {}", "biggest {}", "large {}"), "small": ("small {}", "smallest {}", "little {}")}
COMPARED = {"big": ("bigger {}", "larger {}"), "small": ("smaller {}",)}
FIRST = {
    "left": ("leftmost {}", "far left {}", "{} farthest to the left"),
    "right": ("rightmost {}", "far right {}", "{} farthest to the right"),
    "top": ("topmost {}", "highest {}"),
    "bottom": ("lowest {}", "bottommost {}"),
}
PLACED = {
    "left": ("left {}", "{} on the left", "{} on the left side"),
    "right": ("right {}", "{} on the right", "{} on the right side"),
    "top": ("top {}", "{} at the top", "upper {}"),
    "bottom": ("bottom {}", "{} at the bottom", "lower {}"),
    "middle": ("middle {}", "{} in the middle", "{} in the center"),
}
CORNER = ("{where} {{}}", "{{}} at the {where}", "{{}} in the {where} corner")
RELATED = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "lower down than"),
    "next to": ("next to", "beside", "by"),
    "behind": ("behind", "partly hidden by"),
    "in front of": ("in front of", "partly hiding"),
}
ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth")
ANY = ("one", "thing", "object")


@dataclass(frozen=True)
class Expression:
    """An expression and what it means in the scene it was made for.

    text: lower case, without punctuation.
    kind: "name", "attribute", "position", "relation", "plural", "ordinal", or "nothing".
    objects: indices of the objects that it means, ascending; none where it clearly matches nothing in the scene.
    ambiguous: whether another reading would mean other objects. Then `objects` are all that it fits for sure.
    """

    text: str
    kind: str
    objects: tuple[int, ...]
    ambiguous: bool

    def mask(self, made: Scene) -> np.ndarray:
        """The visible pixels of all that it means, bool (H, W)."""
        return np.any(made.masks[list(self.objects)], axis=0)


def expressions(made: Scene, *, seed: int = 0) -> tuple[Expression, ...]:
    """Expressions of a scene, each text once: all that its objects give rise to, and a few that match nothing.

    What is doubtful (nearly as far left, nearly as big, a colour of its own) is left out, or marked as ambiguous.

    Args:
        made: the scene.
        seed: of the wording, and of what the expressions that match nothing are about. The same scene and seed give the
            same expressions.

    Examples:
        >>> from car.scenes import scene
        >>> made = scene(7, among=["cat", "dog"], objects=(2, 2), background=["grass"], repeats=0)
        >>> sorted(e.objects for e in expressions(made) if e.kind == "name")
        [(0,), (1,)]
    """
    sense = Sense(made)
    rng = Random(f"{seed} {made.caption}")
    return worded(sense, fitting(sense, rng), missing(sense, rng), rng)


def worded(
    sense: Sense, fits: Iterator[Description], nothing: Iterator[Description], rng: Random
) -> tuple[Expression, ...]:
    """Descriptions put into words, each text once: of those in `fits` the ones that fit something, then `nothing`."""
    told: dict[str, Expression] = {}
    for description in fits:
        if (means := sense.meaning(description)) and means.objects:
            text = wording(description, rng)
            told.setdefault(text, Expression(text, description.kind, means.objects, means.ambiguous))
    for description in nothing:
        text = wording(description, rng)
        told.setdefault(text, Expression(text, "nothing", (), False))
    return tuple(told.values())


def fitting(sense: Sense, rng: Random) -> Iterator[Description]:
    """Descriptions of what is there; some fit nothing all the same, or nothing clearly."""
    looks = list(dict.fromkeys(zip(sense.made.names, sense.made.colours, sense.made.textures, strict=True)))
    named = [Description(name) for name in dict.fromkeys(sense.made.names)]
    painted = attributes(looks)
    for base in (*named, *painted):
        yield reworded(base, rng)
    several = [base for base in painted if len(sense.find(base).sure) > 1]
    for base in (*named, *several, Description(None)):
        for pick in picks(len(sense.find(base).sure)):
            yield reworded(base, rng, pick)
        yield from plurals(sense, base, rng)
    telling = [base for base in painted if single(sense, base) and not single(sense, Description(base.noun))]
    yield from relations(sense, [*named, *telling], rng)


def attributes(looks: list[tuple[str, str | None, str | None]]) -> list[Description]:
    """Colour, texture, and both, of things by name and of anything."""
    out: dict[Description, None] = {}
    for name, colour, texture in looks:
        for noun in (name, None):
            if colour:
                out[Description(noun, colour)] = None
            if texture:
                out[Description(noun, None, texture)] = None
            if colour and texture:
                out[Description(noun, colour, texture)] = None
    return list(out)


def picks(candidates: int) -> Iterator[Place | Rank | Compared]:
    """What one of so many candidates may be picked by."""
    yield from map(Place, PLACES)
    if candidates >= 2:
        yield from (Rank(order) for order in (*SIDES, "big", "small"))
    if candidates == 2:
        yield from (Compared(order) for order in SIZED)
    yield from (Rank(side, n) for n in range(2, min(candidates, len(ORDINALS))) for side in SIDES)


def plurals(sense: Sense, base: Description, rng: Random) -> Iterator[Description]:
    """All the things of a description: "both dogs", "the dogs"."""
    for count in (len(sense.find(base).sure), None):
        many = reworded(base, rng, count=count)
        if many.count != 1 and sayable(many):
            yield many


def sayable(description: Description) -> bool:
    """Whether there are words for so many, which differ from those for one."""
    noun, count = description.noun, description.count
    if count == 1:
        return True
    if noun is None or not countable(noun):
        return False
    return plural(noun) != noun if count is None else 2 <= count < len(NUMBERS)


def relations(sense: Sense, bases: list[Description], rng: Random) -> Iterator[Description]:
    """How things lie to those that can be told by name or attribute alone."""
    for landmark in (base for base in bases if single(sense, base)):
        (mark,) = sense.find(landmark).sure
        for target in bases:
            fits = sense.find(target).sure
            for name, rows in sense.geometry.relations.items():
                if any(mark in rows[i].sure for i in fits):
                    base = Description(None) if rng.random() < ANYTHING else target
                    yield reworded(base, rng, Relation(name, reworded(landmark, rng)))


def single(sense: Sense, description: Description) -> bool:
    """Whether a description fits one object, and clearly."""
    sure, maybe = sense.find(description)
    return len(sure) == len(maybe) == 1


def reworded(base: Description, rng: Random, pick: Pick | None = None, count: int | None = 1) -> Description:
    """One pick from a description, or so many; now and then with a synonym, which can make it ambiguous."""
    noun = base.noun
    if noun is not None and rng.random() < SYNONYMS:
        noun = rng.choice(nouns()[noun])
    return Description(noun, base.colour, base.texture, pick, count)


def missing(sense: Sense, rng: Random) -> Iterator[Description]:
    """A few descriptions that clearly fit nothing."""
    draws = [(absent_name, 2)]
    if sense.made.names:
        draws += [(absent_attribute, 2), (absent_relation, 2), (absent_place, 1), (absent_number, 1)]
    for draw, most in draws:
        drawn = filter(sayable, (draw(sense, rng) for _ in range(TRIES)))
        clear = (description for description in drawn if (means := sense.meaning(description)) and not means.objects)
        yield from islice(clear, most)


def absent_name(sense: Sense, rng: Random) -> Description:
    colour = rng.choice(tuple(COLOURS)) if rng.random() < 0.2 else None
    place = Place(rng.choice(PLACES)) if rng.random() < 0.2 else None
    return reworded(Description(any_concept(rng), colour), rng, place)


def absent_attribute(sense: Sense, rng: Random) -> Description:
    colour, texture = (None, rng.choice(TEXTURES)) if rng.random() < 0.3 else (rng.choice(tuple(COLOURS)), None)
    return reworded(Description(rng.choice(sense.made.names), colour, texture), rng)


def absent_relation(sense: Sense, rng: Random) -> Description:
    """What is there in a relation that does not hold, or to something that is not there, or the other way round."""
    concepts = list(dict.fromkeys(sense.made.names))
    rng.shuffle(concepts)
    if len(concepts) < 2 or rng.random() < 0.5:
        concepts.insert(rng.randrange(2), any_concept(rng))
    target, landmark = map(Description, concepts[:2])
    return reworded(target, rng, Relation(rng.choice(tuple(RELATED)), reworded(landmark, rng)))


def absent_place(sense: Sense, rng: Random) -> Description:
    base = Description(rng.choice(sense.made.names))
    beyond = len(sense.find(base).maybe) + 1
    if 2 < beyond < len(ORDINALS) and rng.random() < 0.5:
        return reworded(base, rng, Rank(rng.choice(SIDES), beyond))
    return reworded(base, rng, Place(rng.choice(PLACES)))


def absent_number(sense: Sense, rng: Random) -> Description:
    """More than there are: "both dogs" with one."""
    base = Description(rng.choice(sense.made.names))
    return reworded(base, rng, count=max(2, len(sense.find(base).maybe) + 1))


def any_concept(rng: Random) -> str:
    return rng.choice(tuple(nouns()))


def wording(description: Description, rng: Random) -> str:
    """One way to say a description, in lower case."""
    text = phrase(description, rng)
    match description.count:
        case None:
            return rng.choice(("the {}", "all {}", "all the {}")).format(text)
        case 1:
            return f"the {text}" if rng.random() < 0.6 else text
        case 2:
            return rng.choice(("both {}", "the two {}")).format(text)
        case count:
            return rng.choice(("all {} {}", "the {} {}")).format(NUMBERS[count], text)


def phrase(description: Description, rng: Random) -> str:
    """A description without its article or number."""
    noun = description.noun or rng.choice(ANY)
    words = (description.texture, description.colour, noun if description.count == 1 else plural(noun))
    base = " ".join(word for word in words if word)
    match description.pick:
        case None:
            return base
        case Place(where):
            pattern = rng.choice(PLACED[where]) if where in PLACED else rng.choice(CORNER).format(where=where)
            return pattern.format(base)
        case Rank(order, 1):
            return rng.choice((SIZED | FIRST)[order]).format(base)
        case Rank(side, number):
            return f"{ORDINALS[number]} {base} from the {side}"
        case Compared(order):
            return rng.choice(COMPARED[order]).format(base)
        case Relation(name, landmark):
            return f"{base} {rng.choice(RELATED[name])} the {phrase(landmark, rng)}"
