"""The words the mini model is taught, and sentences as rows of its reduced token table."""

from functools import cache, lru_cache

import numpy as np
import torch

from car.scenes import COLOURS, STUFF, TEXTURES, concepts
from car.scenes.words import NUMBERS, plural
from car.vlm.tokenizer import tokenize

LENGTH = 28
"""Token positions in training; the model has 77."""
SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
SIDES = ("on the left", "on the right", "at the top", "at the bottom")
RELATIONS = ("left of", "right of", "above", "below")
"""Each even one and the one after it are opposites, as in SIDES."""
TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "a clean origami {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}",
    "an image of a {}",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(
        template.replace("SIZE", size)
        for size in ("small", "medium", "large")
        for template in ("a photo of a SIZE {}.", "This is a photo of a SIZE {}.", "There is a SIZE {} in the scene.")
    ),
)
INSERTED = 0.1
"""Share of sentences that an unknown word is put into: "a photo of a <unknown> cat"."""
PLURALS = 0.1
"""Share of sentences that name a thing in the plural."""


@cache
def vocabulary() -> tuple[tuple[str, ...], ...]:
    """All ways to name each of the K words: concepts first, then kinds of stuff."""
    things = tuple((c.name, *c.synonyms) for c in concepts().values())
    # A word that is also a thing ("spring" is not, "square" is not, "tree" is) stays with the thing.
    taken = {word for names in things for word in names}
    return things + tuple(tuple(w for w in kind.words if w not in taken) for kind in STUFF.values())


@cache
def index() -> dict[str, int]:
    """Number of each concept and kind of stuff among the K words."""
    return {names[0]: i for i, names in enumerate(vocabulary())}


@cache
def token_ids() -> np.ndarray:
    """CLIP's token of each row of the reduced table; row 0 (-1) is the unknown."""
    sentences = [template.format("cat") for template in TEMPLATES]
    sentences += [word for names in vocabulary() for word in names]
    sentences += [plural(word) for names in vocabulary()[: len(concepts())] for word in names]
    sentences += [f"{kind.place} {name} under, and nothing" for name, kind in STUFF.items()]
    sentences += [*COLOURS, *TEXTURES, *NUMBERS, *SIDES, *RELATIONS, "a an some the to"]
    sentences += [word for words in SIZES.values() for word in words]
    used = np.unique(np.concatenate([np.unique(row.numpy()) for row in tokenize(sentences)]))
    return np.concatenate([[-1], used[used > 0]])


@cache
def fragments() -> np.ndarray:
    """Rows of the table that are no name by themselves: pieces of longer words, and the words of templates."""
    names = {name for names in vocabulary() for word in names for name in (word, plural(word))}
    whole = {int(row[1]) for row in map(rows_of, sorted(names)) if row.argmax() == 2}
    return np.array([row for row in range(1, len(token_ids()) - 2) if row not in whole])


@lru_cache(maxsize=50_000)
def rows_of(sentence: str) -> np.ndarray:
    """A sentence as rows of the reduced table, int64 (LENGTH,), cut before the end token where it is too long."""
    ids = tokenize([sentence])[0].numpy()
    ids = ids[: ids.argmax() + 1]
    ids = ids if len(ids) <= LENGTH else np.append(ids[: LENGTH - 1], ids[-1])
    table = token_ids()
    place = np.clip(np.searchsorted(table, ids), 0, len(table) - 1)
    out = np.zeros(LENGTH, np.int64)
    out[: len(ids)] = np.where(table[place] == ids, place, 0)
    return out


def inserted(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sentences (n, LENGTH), some of them with an unknown word put in: what is not known must not drown what is."""
    out = rows.copy()
    for i in np.flatnonzero(rng.random(len(rows)) < INSERTED):
        if (end := int(rows[i].argmax())) < LENGTH - 1:
            at = int(rng.integers(1, end + 1))
            out[i, at], out[i, at + 1 :] = 0, rows[i, at:-1]
    return out


def sentence(word: int, rng: np.random.Generator) -> str:
    """A sentence for one of the K words: its name more often than a synonym, in a random template."""
    names = vocabulary()[word]
    name = names[0] if rng.random() < 0.6 else names[rng.integers(len(names))]
    if word < len(concepts()) and rng.random() < PLURALS:
        name = plural(name)
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(name)


def sentences(rng: np.random.Generator, words: np.ndarray | None = None) -> torch.Tensor:
    """One sentence for each of these words, all K by default, int64 (n, LENGTH)."""
    words = np.arange(len(vocabulary())) if words is None else words
    return torch.from_numpy(inserted(np.stack([rows_of(sentence(k, rng)) for k in words]), rng))


def nonsense(count: int, rng: np.random.Generator) -> torch.Tensor:
    """Sentences about nothing that is known, int64 (count, LENGTH): unknown words, or odd pieces of known ones."""
    out = []
    for _ in range(count):
        word = "X " * int(rng.integers(1, 4))
        rows = rows_of(TEMPLATES[rng.integers(len(TEMPLATES))].format(word.strip())).copy()
        (places,) = np.nonzero(rows[: rows.argmax()] == 0)
        pieces = fragments()[rng.integers(len(fragments()), size=len(places))]
        # One place at least stays unknown where there is only one: a lone piece may be half of a name.
        odd = (rng.random(len(places)) < 0.4) & (len(places) > 1)
        rows[places] = np.where(odd, pieces, 0)
        out.append(rows)
    return torch.from_numpy(np.stack(out))
