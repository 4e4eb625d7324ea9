"""Captions of training scenes, each with one that is nearly the same and wrong."""

from collections.abc import Sequence

import numpy as np
from mini_words import RELATIONS, SIDES, SIZES

from car.scenes import COLOURS, Scene, concepts
from car.scenes.scene import describe
from car.scenes.words import with_article

Captions = tuple[str, str]
"""What is true, and what is not."""


def caption_of(made: Scene, rng: np.random.Generator) -> Captions:
    """A caption of the whole scene: all that is there, or how two things lie to each other."""
    if rng.random() < 0.35 and (pair := related(made, rng)):
        return pair
    order = rng.permutation(len(made.names))
    names, colours = [made.names[i] for i in order], [made.colours[i] for i in order]
    textures = [made.textures[i] for i in order]
    right = describe([synonym(name, rng) for name in names], colours, textures, made.background)
    i = int(rng.integers(len(names))) if names else -1
    if i >= 0 and colours[i] and rng.random() < 0.6:
        colours[i] = other(tuple(COLOURS), {colours[i]}, rng)
    elif i >= 0:
        names[i] = other(tuple(concepts()), set(made.names), rng)
    wrong = describe(names, colours, textures, made.background)
    return said(right, wrong, rng)


def object_caption(made: Scene, i: int, rng: np.random.Generator) -> Captions:
    """A caption of one object: its name, and now and then its texture, colour, size and side."""
    mask = made.masks[i]
    told = {
        "size": size_of(mask) if rng.random() < 0.3 else "",
        "texture": made.textures[i] or "",
        "colour": made.colours[i] if made.colours[i] and rng.random() < 0.7 else "",
        "name": made.names[i],
        "side": side_of(mask, rng) if rng.random() < 0.4 else "",
    }
    turned = str(rng.choice([key for key, word in told.items() if word]))
    false = dict(told)
    if turned == "size":
        false["size"] = {"small": "big", "big": "small"}[told["size"]]
    elif turned == "texture":
        false["texture"] = ""
    elif turned == "colour":
        false["colour"] = other(tuple(COLOURS), {told["colour"]}, rng)
    elif turned == "side":
        false["side"] = SIDES[SIDES.index(told["side"]) ^ 1]
    else:
        # What else is in the picture is the hardest to tell from what is meant.
        rivals = [name for name in made.names if name != told["name"]]
        known = tuple(rivals) if rivals and rng.random() < 0.7 else tuple(concepts())
        false["name"] = other(known, {told["name"]}, rng)
    told["name"] = synonym(told["name"], rng)
    return said(phrase(told, rng), phrase(false, rng), rng)


def phrase(told: dict[str, str], rng: np.random.Generator) -> str:
    size = SIZES[told["size"]][rng.integers(3)] if told["size"] else ""
    words = " ".join(word for word in (size, told["texture"], told["colour"], told["name"]) if word)
    return " ".join(word for word in (with_article(words), told["side"]) if word)


def related(made: Scene, rng: np.random.Generator) -> Captions | None:
    """How two different things lie to each other, where it is clear; wrong the other way round."""
    if len(set(made.names)) < 2 or len(set(made.names)) < len(made.names):
        return None
    i, j = rng.choice(len(made.names), 2, replace=False)
    (y0, x0), (y1, x1) = centre(made.masks[i]), centre(made.masks[j])
    across, down = x1 - x0, y1 - y0
    if max(abs(across), abs(down)) < 0.2:
        return None
    number = (0 if across > 0 else 1) if abs(across) > abs(down) else (2 if down > 0 else 3)
    words = [" ".join(word for word in (made.colours[k], synonym(made.names[k], rng)) if word) for k in (i, j)]
    first, second = (with_article(w) for w in words)
    return said(f"{first} {RELATIONS[number]} {second}", f"{first} {RELATIONS[number ^ 1]} {second}", rng)


def said(right: str, wrong: str, rng: np.random.Generator) -> Captions:
    """Both in the same manner of speaking."""
    start = "a photo of " if rng.random() < 0.5 else ""
    return start + right, start + wrong


def synonym(name: str, rng: np.random.Generator) -> str:
    """The name, or a synonym now and then."""
    synonyms = concepts()[name].synonyms
    return synonyms[rng.integers(len(synonyms))] if synonyms and rng.random() < 0.3 else name


def other(words: Sequence[str], taken: set[str], rng: np.random.Generator) -> str:
    """One of the words that is not taken."""
    free = [word for word in words if word not in taken]
    return free[rng.integers(len(free))]


def centre(mask: np.ndarray) -> tuple[float, float]:
    """Centroid (y, x) of a mask as shares of its sides."""
    ys, xs = np.nonzero(mask)
    return ys.mean() / mask.shape[0], xs.mean() / mask.shape[1]


def size_of(mask: np.ndarray) -> str:
    """A key of SIZES where a mask clearly is small or big; otherwise nothing."""
    share = mask.mean()
    return "small" if share < 0.035 else "big" if share > 0.14 else ""


def side_of(mask: np.ndarray, rng: np.random.Generator) -> str:
    """One of SIDES on which a mask clearly is; otherwise nothing."""
    y, x = centre(mask)
    sides = [side for side, held in zip(SIDES, (x < 0.38, x > 0.62, y < 0.38, y > 0.62), strict=True) if held]
    return sides[rng.integers(len(sides))] if sides else ""
