"""Films as Ref-DAVIS 2017: things that move, and in four texts what is said of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from benchmarks_layouts import Layout
from benchmarks_pictures import SEEDS, Drawing, until
from benchmarks_saying import varied
from benchmarks_words import Wording

from car.data.refdavis import ANNOTATORS
from car.export import write_atomically, write_labels
from car.scenes import Expression, Film, FilmFrame, expressions, film, film_expressions

FRAMES = 24
ALONE = 0.2
"""Share of films with a single thing."""
SHY = 0.5
"""Share of the other films in which one surely leaves the picture and comes back."""
AWAY = 3
"""Frames that it is then away, at least."""
LEAST = 0.005
"""Share of the first frame that every thing must cover there."""
ENCODINGS = {name: encoding.removesuffix("-sig") for name, encoding in ANNOTATORS.items()}


@dataclass(frozen=True)
class Worded:
    """A film, and by text what it says of each of its things, in order."""

    film: Film
    texts: dict[str, tuple[str, ...]]


class FilmDrawing(Drawing):
    """Draws films without cuts all of whose things are in the first frame; of the size that films have."""

    sized: ClassVar[bool] = False

    def picture(self, split: str, index: int) -> Worded:
        """Film `index` of a split; the same arguments give the same film, byte for byte."""
        rng = self.chance(split, index)
        alone = rng.random() < ALONE
        shy = not alone and rng.random() < SHY
        return until(lambda: self._worded(rng, (1, 1) if alone else (2, 4), shy))

    def _worded(self, rng: np.random.Generator, objects: tuple[int, int], shy: bool) -> Worded | None:
        made = film(int(rng.integers(*SEEDS)), frames=FRAMES, objects=objects, cuts=0)
        first = made.frame(0)
        if not starts_full(first) or (shy and not comes_back(made)):
            return None
        texts = worded(made, first, rng)
        return Worded(made, texts) if texts else None


class RefDavis(Layout[Worded]):
    """Folders of frames and of label maps for both tasks of DAVIS, a list, and four texts."""

    base = "DAVIS"
    splits: ClassVar[Mapping[str, int]] = MappingProxyType({"val": 8})

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.lines: dict[str, list[str]] = {name: [] for name in ENCODINGS}

    def key(self, split: str, index: int) -> str:
        return f"film-{index:03}"

    def write_picture(self, split: str, key: str, picture: Worded) -> None:
        most = len(picture.film.names)
        for frame in picture.film:
            self.write_jpeg(frame.image, "JPEGImages", "480p", key, f"{frame.time:05}.jpg")
            for folder in ("Annotations", "Annotations_unsupervised"):
                write_labels(self.path(folder, "480p", key, f"{frame.time:05}.png"), frame.labels, most)
        for name, texts in picture.texts.items():
            self.lines[name] += [f'{key} {i} "{text}"\n' for i, text in enumerate(texts, start=1)]

    def finish(self) -> None:
        """Write the list of films and the texts."""
        self.write_list(self.keys["val"], "ImageSets", "2017", "val.txt")
        for name, encoding in ENCODINGS.items():
            path = self.path("davis_text_annotations", f"Davis17_{name}.txt")
            write_atomically(path, "".join(self.lines[name]).encode(encoding))


def starts_full(frame: FilmFrame) -> bool:
    """Whether all things of the film are well to be seen."""
    sizes = [np.count_nonzero(frame.mask([i])) for i in range(len(frame.film.names))]
    return bool(min(sizes) >= LEAST * frame.labels.size)


def comes_back(made: Film) -> bool:
    """Whether something is out of sight for `AWAY` frames or more, and then to be seen again."""
    present = [frame.present for frame in made]
    for i in range(len(made.names)):
        seen = np.flatnonzero([i in each for each in present])
        if np.diff(seen).max(initial=0) > AWAY:
            return True
    return False


def worded(made: Film, first: FilmFrame, rng: np.random.Generator) -> dict[str, tuple[str, ...]]:
    """What each text says of the things; nothing where one of them cannot be told from the others."""
    texts = {}
    for name in ENCODINGS:
        seed = int(rng.integers(2**31))
        if name.endswith("full_video"):
            found = [*film_expressions(made, seed=seed)]
        else:
            here = expressions(first.scene(), seed=seed)
            found = [replace(each, objects=tuple(first.present[i] for i in each.objects)) for each in here]
        said = [varied([each for each in found if only(each, i)], rng) for i in range(len(made.names))]
        if not all(said):
            return {}
        texts[name] = tuple(each[0].text for each in said)
    return texts


def only(expression: Expression, thing: int) -> bool:
    """Whether an expression means this thing and clearly no other."""
    return expression.objects == (thing,) and not expression.ambiguous
