"""One film segmented by what one person says of its objects, frame by frame, with any method."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from car.errors import InputError
from car.referring.recurrent import distinct, tidy
from car.referring.referral import PreparedReferral
from car.video import Frame, VideoSegmenter


class Found(NamedTuple):
    """What an expression means in one frame.

    object: the id of what it was said of.
    score: the method's, higher is better.
    mask: (H, W) bool.
    uncertain: whether the mask could as well be another expression's.
    """

    object: int
    score: float
    mask: np.ndarray
    uncertain: bool


class RecurrentFilm:
    """CaR, with `VideoSegmenter`. Expressions that are the same but for letter case share their mask.

    Args:
        video: models, and how to go from frame to frame.
        said: expressions by object.

    Attributes:
        problems: why expressions are not asked, by object.
    """

    def __init__(self, video: VideoSegmenter, said: Mapping[int, str]) -> None:
        self.problems: dict[int, str] = {}
        for object, text in said.items():
            try:
                video.segmenter.check([text])
            except InputError as error:
                self.problems[object] = str(error)
        self.said = {object: text for object, text in said.items() if object not in self.problems}
        texts = distinct([*self.said.values()])
        self.track = video.track(texts) if texts else None

    def step(self, frame: Frame) -> list[Found]:
        """What is found in the next frame, in the order of objects."""
        if self.track is None:
            return []
        result = self.track.step(frame)
        places = {name.casefold(): place for place, name in enumerate(result.queries)}
        found = []
        for object, text in self.said.items():
            place = places[tidy(text).casefold()]
            if result.present[place]:
                uncertain = bool(result.uncertain[place])
                found.append(Found(object, float(result.scores[place]), result.masks[place], uncertain))
        return found


class ReferredFilm:
    """Any method that refers in pictures, in every frame alone.

    Args:
        said: expressions by object.

    Attributes:
        problems: why expressions are not asked, by object; known from the first frame on.
    """

    def __init__(self, said: Mapping[int, str]) -> None:
        self.said, self.problems = said, dict[int, str]()

    def step(self, prepared: PreparedReferral) -> list[Found]:
        """What is found in the next frame, in the order of objects."""
        found = []
        for object, text in self.said.items():
            if object in self.problems:
                continue
            try:
                referral = prepared.refer(text)
            except InputError as error:
                self.problems[object] = str(error)
                continue
            if math.isfinite(referral.score):
                found.append(Found(object, referral.score, referral.mask, uncertain=False))
        return found


def painted(found: Iterable[Found], shape: tuple[int, ...]) -> np.ndarray:
    """The label map of one frame: the object of each pixel, 0 for none.

    Where masks overlap, the highest score is in front; of equal scores the lowest object, as the arg-max over objects
    has it in ReferFormer's practice.

    Returns:
        (H, W) uint8.
    """
    labels = np.zeros(shape, np.uint8)
    for each in sorted(found, key=lambda each: (each.score, -each.object)):
        labels[each.mask] = each.object
    return labels
