"""HybridGL (Liu and Li, CVPR 2025): features of masks that are local and global in one, and spatial guidance.

The features are made in `car.referring.fusion`, the heat map in `car.vlm.gem`; what becomes of them with the relation
and the direction that an expression names is in `car.referring.spatial`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from car.errors import InputError
from car.io import ImageSource, read_image
from car.prepared import Clock
from car.referring.fusion import FUSIONS, hybrid_features
from car.referring.language import Parse, parse
from car.referring.proposals import MaskProposals, ProposalSource, stem_of
from car.referring.referral import Ranked, Referral
from car.referring.spatial import GuidanceSettings, Guided, guide, position_heat, ranked
from car.referring.texts import TextVectors, ensemble, rejoined, tidy, word_splitter
from car.vlm.gem import DEPTH, SCALE, gem_tokens, heat_maps, min_max
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views
from car.vlm.vit import VisionTransformer

METHOD = "hybridgl"
PARTS = ("p", "q", "relation_score", "relation_share", "heat_score", "heat_share", "final")
"""Of `Guided`, what `Referral.why` has."""


@dataclass(frozen=True)
class HybridSettings(GuidanceSettings):
    """The defaults are the paper's; those of the guidance are described in `GuidanceSettings`.

    fusion: one of `FUSIONS`.
    fused_blocks: in how many of the last blocks tokens are added.
    beta: weight of the global tokens.
    r: share of the sentence's feature, the noun phrase has the rest, in [0, 1].
    gem_depth: depth of GEM; see `gem_tokens`.
    antialias: bring masks to the token grid with antialiasing, as today's torchvision does and the authors' did not.
    truncate: cut texts that are too long instead of refusing them.
    batch_size: masks that are worked on at once.

    Raises:
        InputError: out of range.
    """

    fusion: str = "g2l"
    fused_blocks: int = 3
    beta: float = 2.0
    r: float = 0.5
    gem_depth: int = DEPTH
    antialias: bool = False
    truncate: bool = False
    batch_size: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion not in FUSIONS:
            raise InputError(f"Expected argument `fusion` to be one of {', '.join(FUSIONS)}, but got {self.fusion!r}.")
        if not 0 <= self.r <= 1:
            raise InputError(f"Expected argument `r` to be in [0, 1], but got {self.r}.")
        for name in ("fused_blocks", "gem_depth", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"Expected argument `{name}` to be at least 1, but got {value}.")


class HybridGL:
    """Refer with HybridGL.

    With `as_released`, an image with few proposals changes the answers for all later ones, as in the released code; see
    `car.referring.spatial`.

    Args:
        clip: with a ViT; the published results are of ViT-B/16.
        proposals: where mask proposals come from; `ProposalSource()` by default.
        settings: see `HybridSettings`.
        parse: what parses expressions.

    Raises:
        InputError: the image encoder is a ResNet, or has fewer blocks than are to be fused.
    """

    method = METHOD

    def __init__(
        self,
        clip: CLIP,
        *,
        proposals: ProposalSource | None = None,
        settings: HybridSettings | None = None,
        parse: Callable[[str], Parse] = parse,
    ) -> None:
        self.settings = settings or HybridSettings()
        if not isinstance(clip.visual, VisionTransformer):
            raise InputError("HybridGL needs a ViT: it works on the tokens of the image encoder.")
        if len(clip.visual.blocks) < self.settings.fused_blocks:
            raise InputError(
                f"Expected argument `fused_blocks` to be at most {len(clip.visual.blocks)}, the number of the model's "
                f"blocks, but got {self.settings.fused_blocks}."
            )
        self.clip, self.visual = clip, clip.visual
        self.proposals = proposals or ProposalSource()
        self.texts = TextVectors(clip, truncate=self.settings.truncate)
        self.parse = parse
        self.reach = (self.settings.k1, self.settings.k2)

    def prepare(self, image: ImageSource, *, proposals: MaskProposals | None = None) -> "PreparedHybrid":
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
        return PreparedHybrid(self, pixels, proposals, clock)

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """As `Referrer.refer`."""
        return self.prepare(image).refer(expression)

    def reached(self, masks: int) -> tuple[int, int]:
        """k1 and k2 for an image of so many masks; with `as_released` from now on."""
        k1, k2 = (min(k, masks) for k in self.reach)
        if self.settings.as_released:
            self.reach = (k1, k2)
        return k1, k2


class PreparedHybrid:
    """One image with the features of its mask proposals and its GEM tokens, ready for any number of expressions."""

    @torch.inference_mode()
    def __init__(self, referrer: HybridGL, image: np.ndarray, proposals: MaskProposals, clock: Clock) -> None:
        self.referrer, self.image, self.proposals, self.clock = referrer, image, proposals, clock
        settings, visual, device = referrer.settings, referrer.visual, referrer.clip.device
        self.masks = torch.tensor(proposals.masks, device=device)
        with clock("masks"):
            self.features = hybrid_features(
                visual,
                image,
                proposals.masks,
                fusion=settings.fusion,
                fused_blocks=settings.fused_blocks,
                beta=settings.beta,
                antialias=settings.antialias,
                batch_size=settings.batch_size,
            )
        with clock("gem"):
            view = classifier_views([image], SCALE * visual.resolution, "squash")
            self.gem = gem_tokens(visual, view.to(device), depth=settings.gem_depth)
        boxes = torch.from_numpy(proposals.sam_boxes).float()
        if not settings.as_released:
            boxes[:, 2:] += 1
        self.boxes = boxes.to(device)

    def refer(self, expression: str) -> Referral:
        """As `PreparedReferral.refer`; without proposals nothing is found.

        `why` holds parser, word_splitter, sentence (as CLIP reads it), noun_phrase, other_nouns, relation and direction
        (None for none), rule ("paper" or "released"), the source of the proposals, and for each of them the parts of
        its score: hybrid, the scaled cosine with the expression, and those of `Guided`; None is not a number. `seconds`
        of the first expression has the image's stages, too.
        """
        text = tidy(expression)
        guided, why = self._judge(text)
        return self._referral(text, guided.final, guided.able, why)

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """As `PreparedReferral.refer_object`. A proposal's score is the mean of its final scores for all expressions.

        The published protocol is one answer per sentence; this rule is ours. With `as_released`, what can win for any
        of the expressions can. `why` holds the rule, and under "expressions" that of each as of `refer`.
        """
        texts = [tidy(expression) for expression in expressions]
        if not texts:
            raise InputError("No expressions: give at least one of the object.")
        judged = [self._judge(text) for text in texts]
        if len(judged) == 1:
            guided, why = judged[0]
            return self._referral(texts[0], guided.final, guided.able, why)
        mean = torch.stack([guided.final for guided, _ in judged]).mean(dim=0)
        able = torch.cat([guided.able for guided, _ in judged]).unique()
        parts = [why for _, why in judged]
        return self._referral(" / ".join(texts), mean, able, {"rule": "mean", "expressions": parts})

    @torch.inference_mode()
    def _judge(self, text: str) -> tuple[Guided, dict[str, Any]]:
        """The final scores for one expression, and how they came about."""
        referrer, settings = self.referrer, self.referrer.settings
        with self.clock("language"):
            sentence = rejoined(text)
            parsed = referrer.parse(sentence)
            relation = parsed.relation_as_released if settings.as_released else parsed.relation
            acting = relation.kind if relation else None
            direction = parsed.direction.kind if parsed.direction else None
        with self.clock("text"):
            others = [f"a photo of {other}" for other in parsed.others]
            texts = referrer.texts.encode([sentence, parsed.target, f"a photo of a {parsed.target}.", *others])
        with self.clock("guidance"):
            logits = scaled_cosines(referrer.clip, self.features, ensemble(texts[0], texts[1], settings.r))
            other_logits = scaled_cosines(referrer.clip, self.features, texts[3:].mean(dim=0)) if others else None
            guided = self._guided(logits, other_logits, texts[2], acting, direction)
        why = {
            "parser": parsed.parser,
            "word_splitter": word_splitter(),
            "sentence": sentence,
            "noun_phrase": parsed.target,
            "other_nouns": list(parsed.others),
            "relation": acting,
            "direction": direction,
            "rule": "released" if settings.as_released else "paper",
            "proposals": self.proposals.source,
            "hybrid": numbers(logits),
        }
        return guided, why | {part: numbers(getattr(guided, part)) for part in PARTS}

    def _guided(
        self, logits: Tensor, other_logits: Tensor | None, gem_text: Tensor, relation: str | None, direction: str | None
    ) -> Guided:
        settings, masks = self.referrer.settings, len(self.proposals)
        if not masks:
            return Guided.of_nothing()
        side = SCALE * self.referrer.visual.resolution
        raw = min_max(heat_maps(self.gem.gem[0], self.gem.grid, gem_text[None], (side, side)))[0]
        heat = position_heat(raw, direction, self.image.shape[:2], as_released=settings.as_released)
        reach = self.referrer.reached(masks)
        return guide(logits, other_logits, self.boxes, self.masks, heat, relation, settings, reach=reach)

    def _referral(self, expression: str, scores: Tensor, able: Tensor, why: dict[str, Any]) -> Referral:
        masks = self.proposals.masks
        ranking = tuple(Ranked(i, float(scores[i]), masks[i]) for i in ranked(scores, able).tolist())
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


def scaled_cosines(clip: CLIP, features: Tensor, text: Tensor) -> Tensor:
    """Cosines of features (M, E) with a text feature (E,), of any length, times the model's temperature: (M,)."""
    return clip.logit_scale.exp() * (F.normalize(features, dim=-1) @ F.normalize(text, dim=-1))


def numbers(values: Tensor | None) -> list[float | None] | None:
    """Values (M,) as plain data; None where there is no number."""
    return None if values is None else [v if math.isfinite(v) else None for v in values.tolist()]
