"""Referring expressions that hold all over a film: its actors by name, colour and texture, as in Ref-DAVIS 2017."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random

import numpy as np

from car.scenes.describing import Description, Sense
from car.scenes.expressions import (
    TRIES,
    Expression,
    absent_attribute,
    absent_name,
    attributes,
    plurals,
    reworded,
    worded,
)
from car.scenes.film import Film
from car.scenes.scene import Scene, describe


def film_expressions(made: Film, *, seed: int = 0) -> tuple[Expression, ...]:
    """Expressions of a whole film, each text once: one or more for every actor, plurals, and up to two for nothing.

    They say nothing of place or size, which change. What they mean in one frame is `frame.mask(expression.objects)`:
    nothing while those actors are covered or away. What only holds for a frame is in
    `car.scenes.expressions(frame.scene())`.

    Args:
        made: the film.
        seed: of the wording, and of what the expressions that match nothing are about. The same film and seed give the
            same expressions.

    Returns:
        Expressions of the kinds "name", "attribute", "plural" and "nothing", whose `objects` are actors of the film.
        They are ambiguous where another reading would mean other actors, in the same shot or not.

    Examples:
        >>> from car.scenes.film import film
        >>> made = film(3, objects=(2, 2), repeats=0)
        >>> sorted(e.objects for e in film_expressions(made) if e.kind == "name")
        [(0,), (1,)]
    """
    sense = Sense(line_up(made))
    rng = Random(f"{seed} {sense.made.caption}")
    return worded(sense, lasting(sense, rng), missing(sense, rng), rng)


def line_up(made: Film) -> Scene:
    """All actors of a film as a scene, one pixel each side by side, with all of the film's backgrounds."""
    count = len(made.names)
    masks = np.eye(count, max(1, count), dtype=bool)[:, None]
    stuff = tuple(dict.fromkeys(name for background in made.backgrounds for name in background))
    caption = describe(made.names, made.colours, made.textures, stuff)
    image = np.zeros((*masks.shape[1:], 3), np.uint8)
    return Scene(image, masks, made.names, made.colours, made.textures, stuff, caption)


def lasting(sense: Sense, rng: Random) -> Iterator[Description]:
    """What there is by name, colour and texture, one and all; some of it fits several actors."""
    looks = list(dict.fromkeys(zip(sense.made.names, sense.made.colours, sense.made.textures, strict=True)))
    named = [Description(name) for name in dict.fromkeys(sense.made.names)]
    for base in dict.fromkeys([*named, *attributes(looks)]):
        yield reworded(base, rng)
        yield from plurals(sense, base, rng)


def missing(sense: Sense, rng: Random) -> Iterator[Description]:
    """A name that clearly fits no actor, and a look that one of the names there has not."""
    for draw in (absent_name, absent_attribute) if sense.made.names else (absent_name,):
        drawn = (replace(draw(sense, rng), pick=None) for _ in range(TRIES))
        clear = (each for each in drawn if (means := sense.meaning(each)) and not means.objects)
        yield from islice(clear, 1)
