"""Global-Local CLIP (Yu et al., 2023): of an image's mask proposals, the one that looks most like the expression.

Each proposal is seen twice, as the whole image with the encoder's last layers masked (global) and as a picture of it
alone (local); the expression is read twice, as a sentence and as its target noun phrase. The score compares

    alpha * global + (1 - alpha) * local    with    beta * sentence + (1 - beta) * noun phrase
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from car.errors import InputError
from car.io import ImageSource, read_image
from car.prepared import Clock
from car.referring.language import parse
from car.referring.mask_features import make_encoder, mask_features
from car.referring.proposals import MaskProposals, ProposalSource, stem_of
from car.referring.referral import Ranked, Referral
from car.referring.texts import TextVectors, ensemble, rejoined, tidy, word_splitter
from car.vlm.model import CLIP

METHOD = "global-local"


class Parsed(Protocol):
    """What is needed of a parsed expression."""

    @property
    def target(self) -> str:
        """The noun phrase that names what is meant."""

    @property
    def parser(self) -> str:
        """What parsed it."""


@dataclass(frozen=True)
class GlobalLocalSettings:
    """The defaults are the published ones.

    alpha: share of the global feature, in [0, 1]: 0.95, and 0.85 for RefCOCOg.
    beta: share of the sentence's feature, in [0, 1].
    masked_blocks: k, how many of a ViT's last blocks see the proposal's patches alone; a ResNet has none.
    antialias: resize tensors with antialiasing, as today's torchvision does and the authors' did not.
    truncate: cut texts that are too long instead of refusing them.
    batch_size: proposals that are worked on at once.

    Raises:
        InputError: out of range.
    """

    alpha: float = 0.95
    beta: float = 0.5
    masked_blocks: int = 3
    antialias: bool = False
    truncate: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"Expected argument `{name}` to be in [0, 1], but got {value}.")
        for name in ("masked_blocks", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"Expected argument `{name}` to be at least 1, but got {value}.")


class GlobalLocal:
    """Refer with Global-Local CLIP.

    Args:
        clip: with a ViT or a ResNet; the published results are of ViT-B/32 and RN50.
        proposals: where mask proposals come from; `ProposalSource()` by default.
        settings: see `GlobalLocalSettings`.
        parse: finds the noun phrase of an expression.

    Raises:
        InputError: the ViT has fewer blocks than are to be masked.
    """

    method = METHOD

    def __init__(
        self,
        clip: CLIP,
        *,
        proposals: ProposalSource | None = None,
        settings: GlobalLocalSettings | None = None,
        parse: Callable[[str], Parsed] = parse,
    ) -> None:
        self.clip = clip
        self.settings = settings or GlobalLocalSettings()
        self.proposals = proposals or ProposalSource()
        self.encoder = make_encoder(clip, self.settings.masked_blocks)
        self.texts = TextVectors(clip, truncate=self.settings.truncate)
        self.parse = parse

    def prepare(self, image: ImageSource, *, proposals: MaskProposals | None = None) -> "PreparedGlobalLocal":
        """As `Referrer.prepare`.

        Args:
            image: path, PIL image, or array; see `car.io.read_image`.
            proposals: instead of those of the source.

        Raises:
            InputError, MissingError, CheckpointError: an unreadable image, or as `ProposalSource.__call__`.
        """
        pixels, clock = read_image(image), Clock()
        with clock("proposals"):
            if proposals is None:
                proposals = self.proposals(pixels, stem=stem_of(image))
            proposals.check(pixels)
        return PreparedGlobalLocal(self, pixels, proposals, clock)

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """As `Referrer.refer`."""
        return self.prepare(image).refer(expression)


class PreparedGlobalLocal:
    """One image with the features of its mask proposals, ready for any number of expressions."""

    def __init__(self, referrer: GlobalLocal, image: np.ndarray, proposals: MaskProposals, clock: Clock) -> None:
        self.referrer, self.image, self.proposals, self.clock = referrer, image, proposals, clock
        settings = referrer.settings
        self.features = mask_features(
            referrer.encoder,
            image,
            proposals,
            antialias=settings.antialias,
            batch_size=settings.batch_size,
            clock=clock,
        )

    def refer(self, expression: str) -> Referral:
        """As `PreparedReferral.refer`; without proposals nothing is found.

        `why` holds parser, word_splitter, sentence (as CLIP reads it), noun_phrase, the source of the proposals, and
        for each of them the score that its global and its local feature have alone. `seconds` of the first expression
        has the image's stages, too.
        """
        text = tidy(expression)
        scores, why = self._judge(text)
        return self._referral(text, scores, why)

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """As `PreparedReferral.refer_object`. A proposal's score is the mean of its scores for all expressions.

        The published protocol is one answer per sentence; this rule is ours. `why` holds the rule, and under
        "expressions" that of each as of `refer`, with its scores.
        """
        texts = [tidy(expression) for expression in expressions]
        if not texts:
            raise InputError("No expressions: give at least one of the object.")
        judged = [self._judge(text) for text in texts]
        if len(judged) == 1:
            return self._referral(texts[0], *judged[0])
        parts = [why | {"scores": scores.tolist()} for scores, why in judged]
        mean = np.mean([scores for scores, _ in judged], axis=0)
        return self._referral(" / ".join(texts), mean, {"rule": "mean", "expressions": parts})

    @torch.inference_mode()
    def _judge(self, text: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Scores (M,) float64 of the proposals for one expression, and how they came about."""
        encoder, settings = self.referrer.encoder, self.referrer.settings
        with self.clock("text"):
            sentence = rejoined(text)
            parsed = self.referrer.parse(sentence)
            features = encoder.texts(self.referrer.texts.encode([sentence, parsed.target]))
            meant = ensemble(features[0], features[1], settings.beta)
        whole, alone = self.features
        mixed = settings.alpha * whole + (1 - settings.alpha) * alone
        scores, by_whole, by_alone = (encoder.scores(x, meant).double().cpu().numpy() for x in (mixed, whole, alone))
        why = {
            "parser": parsed.parser,
            "word_splitter": word_splitter(),
            "sentence": sentence,
            "noun_phrase": parsed.target,
            "proposals": self.proposals.source,
            "global": by_whole.tolist(),
            "local": by_alone.tolist(),
        }
        return scores, why

    def _referral(self, expression: str, scores: np.ndarray, why: dict[str, Any]) -> Referral:
        masks = self.proposals.masks
        order = np.argsort(-scores, kind="stable").tolist()
        ranking = tuple(Ranked(index, float(scores[index]), masks[index]) for index in order)
        seconds, self.clock.seconds = dict(self.clock.seconds), {}
        return Referral(
            image=self.image,
            expression=expression,
            method=METHOD,
            mask=ranking[0].mask if ranking else np.zeros(self.image.shape[:2], bool),
            score=ranking[0].score if ranking else math.nan,
            ranking=ranking,
            why=why,
            seconds=seconds,
        )
