"""Captions without a captioning model: noun phrases, ranked with a CLIP as names of what a picture shows."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from car.errors import InputError
from car.vlm.fingerprint import weights_hash
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views
from car.vlm.text import TextEncoder
from car.vlm.text_store import text_folder
from car.wordlists import read_classes

VERSION = 1
"""Raised whenever the same model and words give other captions of the same picture."""
TEMPLATE = "a photo of {}"
MOST = 5
"""So many things at most are named of a whole image."""
LIKELY = 0.05
"""Least share of the softmax over all nouns for a thing to be named of a whole image, but for the likeliest."""
LISTS = ("coco_object80", "context59", "ade150")
"""Class lists that give the nouns for a CLIP of the world."""
PEOPLE = ("man", "woman", "boy", "girl", "child", "baby")
"""The lists know persons alone."""
REWORDED = {
    "person with clothes": "person",
    "bird avian": "bird",
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sknowboard": "snowboard",
    "dessertspoon": "spoon",
    "chair seat": "chair",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor screen": "television",
    "television receiver": "television",
    "hairdrier": "hair dryer",
    "crt screen": "monitor",
    "house exterior": "house",
    "windowpane": "window",
    "shelves": "shelf",
    "stairs": "stairway",
    "plant pots": "plant pot",
}
"""What the lists word for CaR, or for annotators, as people would say it."""


class PhraseCaptioner:
    """Names what it sees, with a colour where one fits better than none: "a red car".

    Args:
        clip: any.
        things: nouns that are counted, in the singular; for the embedded model those of `car.scenes`, for others those
            of `LISTS`.
        stuff: nouns that are not.
        colours: adjectives.
        batch_size: pictures that are worked on at once.

    Raises:
        InputError: no noun, or a text too long for the model.
    """

    name = "built-in"

    def __init__(
        self,
        clip: CLIP,
        *,
        things: Sequence[str] | None = None,
        stuff: Sequence[str] | None = None,
        colours: Sequence[str] | None = None,
        batch_size: int = 64,
    ) -> None:
        from car.scenes.objects import COLOURS

        known = drawn_words() if clip.token_rows is not None else listed_words()
        self.things, self.stuff = (tuple(b if a is None else a) for a, b in zip((things, stuff), known, strict=True))
        self.colours = tuple(COLOURS if colours is None else colours)
        if not (self.things or self.stuff):
            raise InputError("Captions need a noun at least.")
        self.clip, self.batch_size = clip, batch_size
        self.texts = TextEncoder(clip, folder=text_folder())

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What its captions depend on besides the picture."""
        words = [self.things, self.stuff, self.colours]
        return {"phrases": VERSION, "clip": weights_hash(self.clip), "device": self.clip.device.type, "words": words}

    def whole(self, image: np.ndarray) -> str:
        """The likeliest things in an image (H, W, 3) uint8 RGB, at most `MOST`: "a red car, a dog and grass"."""
        feature = self._features([image], "squash")
        shares = self._logits(feature, self._phrases)[0].softmax(dim=0)
        order = shares.argsort(descending=True, stable=True)[:MOST].tolist()
        likely = [self._phrases[i] for i in order if shares[i] >= LIKELY] or [self._phrases[order[0]]]
        named = [self._coloured(feature, phrase) for phrase in likely]
        return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """The likeliest thing of each picture (h, w, 3) uint8 RGB: "a red car"."""
        if not pictures:
            return []
        features = self._features(pictures, "crop")
        best = self._logits(features, self._phrases).argmax(dim=1).tolist()
        return [self._coloured(feature[None], self._phrases[i]) for feature, i in zip(features, best, strict=True)]

    @cached_property
    def _phrases(self) -> tuple[str, ...]:
        from car.scenes.words import with_article

        return (*map(with_article, self.things), *self.stuff)

    def _coloured(self, feature: Tensor, phrase: str) -> str:
        """A phrase with the colour that makes it fit a feature (1, E) better, if one does; stuff has none."""
        if phrase in self.stuff:
            return phrase
        from car.scenes.words import with_article

        noun = phrase.split(" ", 1)[1]
        options = [phrase, *(with_article(f"{colour} {noun}") for colour in self.colours)]
        return options[int(self._logits(feature, options).argmax())]

    @torch.inference_mode()
    def _features(self, pictures: Sequence[np.ndarray], view: str) -> Tensor:
        """Normalised features (B, E) of pictures."""
        clip, size = self.clip, self.batch_size
        batches = (pictures[start : start + size] for start in range(0, len(pictures), size))
        views = (classifier_views(some, clip.input_resolution, view) for some in batches)
        found = [clip.encode_image(some.to(clip.device, clip.dtype)) for some in views]
        return F.normalize(torch.cat(found), dim=-1)

    def _logits(self, features: Tensor, phrases: Sequence[str]) -> Tensor:
        """Scaled cosines (B, N) of features with phrases."""
        texts = self.texts.encode([TEMPLATE.format(phrase) for phrase in phrases])
        return self.clip.logit_scale.exp().float() * features @ texts.T


def drawn_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Things and stuff that scenes show, all of which the embedded model knows."""
    from car.scenes.backgrounds import STUFF
    from car.scenes.sprites import concepts

    return tuple(concepts()), tuple(STUFF)


def listed_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Things and stuff of `LISTS`, each once, as people say it; of several words for one class the first.

    >>> [len(words) for words in listed_words()]
    [185, 35]
    """
    kinds: dict[str, str] = dict.fromkeys(PEOPLE, "thing")
    for entry in (entry for name in LISTS for entry in read_classes(name)):
        word = entry.query.split(",")[0]
        kinds.setdefault(REWORDED.get(word, word), entry.kind)
    things, stuff = (tuple(word for word, kind in kinds.items() if kind == wanted) for wanted in ("thing", "stuff"))
    return things, stuff
