"""What referring returns, and what every way of referring answers to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from car.io import ImageSource


@dataclass(frozen=True, eq=False)
class Ranked:
    """One candidate for what an expression means.

    index: its position among the image's mask proposals (for "car": among the expressions given together).
    score: the method's, higher is better; comparable within one ranking alone.
    mask: (H, W) bool.
    """

    index: int
    score: float
    mask: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Referral:
    """The answer to one referring expression.

    image: (H, W, 3) uint8 RGB.
    expression: as asked, with tidy white space; where several mean one object, joined by " / ".
    method: "car", "global-local", "tas", "hybridgl" or "prompt-ris".
    mask: (H, W) bool; empty where nothing is found.
    score: of the mask, the method's own; NaN where nothing is found.
    ranking: candidates, best first; the first is the mask unless the method says otherwise in `why`.
    why: how the answer came about, plain data: the parser and what it found (noun phrase, relation, ...), the parts the
        scores were made of, per candidate in the order of their index.
    seconds: wall time by stage.
    """

    image: np.ndarray = field(repr=False)
    expression: str
    method: str
    mask: np.ndarray = field(repr=False)
    score: float
    ranking: tuple[Ranked, ...] = field(repr=False)
    why: Mapping[str, Any] = field(repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def found(self) -> bool:
        """Whether there is a mask."""
        return bool(self.mask.any())


class PreparedReferral(Protocol):
    """One image, ready for any number of expressions: what depends on the image alone is computed once."""

    def refer(self, expression: str) -> Referral:
        """What the expression means in this image.

        Raises:
            InputError: the expression is blank or too long for the text encoder.
        """

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """What several expressions mean that are known to mean one object (the per-object protocol)."""


class Referrer(Protocol):
    """A method with its models and settings."""

    @property
    def method(self) -> str:
        """Its name, as `car.load_referrer` takes it."""

    def prepare(self, image: ImageSource) -> PreparedReferral:
        """Do once what depends on the image alone.

        Raises:
            InputError: an unreadable image.
        """

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """What the expression means in the image; as `prepare(image).refer(expression)`."""
