"""TAS (Suo, Zhu and Yang, 2023): mask proposals judged by looks, by their captions, and against what else there is.

The score of a proposal is V + 0.1 P - lambda N:

    V  its picture, on black, with the sentence
    P  the caption of its picture, on a blurred background, with the sentence
    N  its picture with the other things that a caption of the whole image names, their mean

all as scaled cosines of CLIP. Where the sentence says where in the picture, only masks there can win
(`car.referring.rectifier`).
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
from car.referring.captions import Captions, CaptionSource
from car.referring.language import Parse, load_parser, parse
from car.referring.mask_filter import filtered
from car.referring.preprocess import blurred, on_background, pad_square
from car.referring.proposals import MaskProposals, ProposalSource, stem_of, window
from car.referring.rectifier import QUADRANTS, centres, part, region
from car.referring.referral import Ranked, Referral
from car.referring.synonyms import Thesaurus, load_thesaurus
from car.referring.texts import TextVectors, tidy
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views

METHOD = "tas"
BLUR = 75
"""Pixels of the Gaussian that blurs the background of the pictures that are captioned."""


@dataclass(frozen=True)
class TASSettings:
    """The defaults are those of the released code, which the published results come from.

    min_area: least size of a proposal, in pixels, or below 1 as a share of the picture. The published 2000 are meant
        for photographs of COCO's size, where they are 0.0065 (of 640 x 480): give that for smaller pictures. Where all
        proposals are smaller, size is left out of it.
    max_overlap: of two proposals that share more than this of the smaller one, the larger is kept; in [0, 1].
    caption_weight: of P, at least 0.
    lam: weight of N, at least 0. The released code has 0.7 for all benchmarks; the paper says 1 for RefCOCOg.
    rectify: let places in the sentence part the candidates.
    as_released: do what the released code does where that is no choice: without anything to tell the target from there
        is no number (NaN) for any proposal, nor for a single one, and the first wins; places are read by its rule, see
        `car.referring.rectifier.region`. Where it would stop with an error, this does not.
    truncate: cut sentences that are too long instead of refusing them; captions always are.
    batch_size: proposals that are worked on at once.

    Raises:
        InputError: out of range.
    """

    min_area: float = 2000
    max_overlap: float = 0.4
    caption_weight: float = 0.1
    lam: float = 0.7
    rectify: bool = True
    as_released: bool = False
    truncate: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.max_overlap <= 1:
            raise InputError(f"Expected argument `max_overlap` to be in [0, 1], but got {self.max_overlap}.")
        for name, least in (("min_area", 0), ("caption_weight", 0), ("lam", 0), ("batch_size", 1)):
            if not (value := getattr(self, name)) >= least:
                raise InputError(f"Expected argument `{name}` to be at least {least}, but got {value}.")


class TAS:
    """Refer with TAS.

    Args:
        clip: any; the published results are of ViT-B/32.
        proposals: where mask proposals come from; `ProposalSource()` by default.
        captions: where captions come from; the built-in captioner with this CLIP by default, BLIP-2 in the paper.
        settings: see `TASSettings`.
        parse: what parses expressions.
        noun_phrases: finds the noun phrases of a caption.
        thesaurus: judges which of these name the target; as of `car.referring.synonyms.load_thesaurus`.

    Raises:
        InputError, MissingError: as `load_thesaurus`.
    """

    method = METHOD

    def __init__(
        self,
        clip: CLIP,
        *,
        proposals: ProposalSource | None = None,
        captions: CaptionSource | None = None,
        settings: TASSettings | None = None,
        parse: Callable[[str], Parse] = parse,
        noun_phrases: Callable[[str], Sequence[str]] | None = None,
        thesaurus: str | Thesaurus = "auto",
    ) -> None:
        self.clip = clip
        self.settings = settings or TASSettings()
        self.proposals = proposals or ProposalSource()
        self.captions = captions or CaptionSource(clip=clip)
        self.parse, self.noun_phrases = parse, noun_phrases or chunks
        self.thesaurus = load_thesaurus(thesaurus) if isinstance(thesaurus, str) else thesaurus
        self.sentences = TextVectors(clip, truncate=self.settings.truncate)
        self.phrases = TextVectors(clip, truncate=True)

    def prepare(self, image: ImageSource, *, proposals: MaskProposals | None = None) -> "PreparedTAS":
        """As `Referrer.prepare`.

        Args:
            image: path, PIL image, or array; see `car.io.read_image`.
            proposals: instead of those of the source.

        Raises:
            InputError, MissingError, CheckpointError: an unreadable image, or as `ProposalSource.__call__` and
                `CaptionSource.__call__`.
        """
        pixels, stem, clock = read_image(image), stem_of(image), Clock()
        with clock("proposals"):
            if proposals is None:
                proposals = self.proposals(pixels, stem=stem)
            proposals.check(pixels)
        return PreparedTAS(self, pixels, stem, proposals, clock)

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """As `Referrer.refer`."""
        return self.prepare(image).refer(expression)


class PreparedTAS:
    """One image with the captions and features of its mask proposals, ready for any number of expressions."""

    def __init__(
        self, referrer: TAS, image: np.ndarray, stem: str | None, proposals: MaskProposals, clock: Clock
    ) -> None:
        self.referrer, self.image, self.proposals, self.clock = referrer, image, proposals, clock
        settings = referrer.settings
        with clock("filter"):
            self.kept = filtered(proposals, min_area=settings.min_area, max_overlap=settings.max_overlap)
            self.centres = centres(proposals.masks[self.kept.indices])
        with clock("crops"):
            rows = self.kept.indices.tolist()
            black = [picture(image * proposals.masks[row][..., None], proposals, row) for row in rows]
            self.features = self._features(black)
        with clock("captions"):
            soft = blurred(image, BLUR)
            seen = [picture(on_background(image, proposals.masks[row], soft), proposals, row) for row in rows]
            self.captions = Captions("", (), referrer.captions.name)
            if rows:
                self.captions = referrer.captions(image, seen, kept=rows, total=len(proposals), stem=stem)
            self.named = referrer.noun_phrases(self.captions.image)

    def refer(self, expression: str) -> Referral:
        """As `PreparedReferral.refer`; without proposals nothing is found.

        The score of a proposal is its share of a softmax over the candidates, of scores stretched to [0, 1]; 0 where it
        lies outside of what the rectifier leaves.

        `why` holds parser, thesaurus, noun_phrase, proposals and captions (where they come from), image_caption,
        negatives (what the target is told from), region (the quadrants that the sentence leaves; None for all),
        rectified (whether that changed the answer), rule ("default" or "released"), waived (whether all proposals were
        too small), kept (the candidates), and for each of these mask_captions, v, p, n (None without negatives), total
        and weight (its share before it is rectified); None is not a number. `seconds` of the first expression has the
        image's stages, too.
        """
        text = tidy(expression)
        scores, winner, why = self._judge(text)
        return self._referral(text, scores, winner, why)

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """As `PreparedReferral.refer_object`. A proposal's score is the mean of its scores for all expressions, so one
        that names a place gives nothing to masks elsewhere.

        The published protocol is one answer per sentence; this rule is ours. `why` holds the rule, and under
        "expressions" that of each as of `refer`.
        """
        texts = [tidy(expression) for expression in expressions]
        if not texts:
            raise InputError("No expressions: give at least one of the object.")
        judged = [self._judge(text) for text in texts]
        if len(judged) == 1:
            return self._referral(texts[0], *judged[0])
        mean = np.mean([scores for scores, _, _ in judged], axis=0)
        winner = int(mean.argmax()) if len(mean) else None
        why = {"rule": "mean", "expressions": [why for _, _, why in judged]}
        return self._referral(" / ".join(texts), mean, winner, why)

    @torch.inference_mode()
    def _judge(self, text: str) -> tuple[np.ndarray, int | None, dict[str, Any]]:
        """Scores (K,) of the candidates for one expression, the best of them, and how that came about."""
        referrer, settings = self.referrer, self.referrer.settings
        with self.clock("language"):
            parsed = referrer.parse(text.lower())
            negatives = [name for name in self.named if not referrer.thesaurus.near(name, parsed.target)]
            left = region(parsed, as_released=settings.as_released) if settings.rectify else ()
        with self.clock("text"):
            sentence = F.normalize(referrer.sentences.encode([text.lower()])[0], dim=-1)
            captions = F.normalize(referrer.phrases.encode(self.captions.masks), dim=-1)
            others = F.normalize(referrer.phrases.encode([f"a photo of {name}" for name in negatives]), dim=-1)
        scale = referrer.clip.logit_scale.exp().float()
        v, p = (scale * features @ sentence for features in (self.features, captions))
        n = (scale * self.features @ others.T).mean(dim=1) if negatives or settings.as_released else torch.zeros_like(v)
        total = v + settings.caption_weight * p - settings.lam * n
        weights = shares(total, as_released=settings.as_released)
        scores, winner, rectified = self._rectified(weights.double().cpu().numpy(), left)
        why = {
            "parser": parsed.parser,
            "thesaurus": referrer.thesaurus.name,
            "noun_phrase": parsed.target,
            "proposals": self.proposals.source,
            "captions": self.captions.source,
            "image_caption": self.captions.image,
            "negatives": negatives,
            "region": [" ".join(QUADRANTS[i]) for i in left] or None,
            "rectified": rectified,
            "rule": "released" if settings.as_released else "default",
            "waived": self.kept.waived,
            "kept": self.kept.indices.tolist(),
            "mask_captions": list(self.captions.masks),
            "v": numbers(v),
            "p": numbers(p),
            "n": numbers(n) if negatives else None,
            "total": numbers(total),
            "weight": numbers(weights),
        }
        return scores, winner, why

    def _rectified(self, weights: np.ndarray, left: tuple[int, ...]) -> tuple[np.ndarray, int | None, bool]:
        """Scores (K,), the best candidate, and whether it is another than without the quadrants that are left."""
        if not len(weights):
            return weights, None, False
        best = int(weights.argmax())
        if not left:
            return weights, best, False
        parted = part(self.centres, weights)
        inside = np.isin(parted.quadrants, left)
        winner = parted.winner(left)
        return np.where(inside | ~inside.any(), weights, 0), winner, winner != best

    def _referral(self, expression: str, scores: np.ndarray, winner: int | None, why: dict[str, Any]) -> Referral:
        masks, kept = self.proposals.masks, self.kept.indices
        order = [i for i in np.argsort(-scores, kind="stable").tolist() if i != winner]
        order = order if winner is None else [winner, *order]
        ranking = tuple(Ranked(int(kept[i]), float(scores[i]), masks[kept[i]]) for i in order)
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

    @torch.inference_mode()
    def _features(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Normalised features (K, E) of pictures (h, w, 3)."""
        clip, size = self.referrer.clip, self.referrer.settings.batch_size
        batches = (pictures[start : start + size] for start in range(0, len(pictures), size))
        views = (classifier_views(some, clip.input_resolution, "crop") for some in batches)
        found = [clip.encode_image(some.to(clip.device, clip.dtype)) for some in views]
        return F.normalize(torch.cat([torch.zeros(0, clip.embed_dim, device=clip.device), *found]), dim=-1)


def picture(image: np.ndarray, proposals: MaskProposals, row: int) -> np.ndarray:
    """The cut of an image (H, W, 3) uint8 around one of the proposals, made nearly square with black."""
    x, y, width, height = proposals.sam_boxes[row].tolist()
    return pad_square(image[window(x, y, x + width, y + height)])


def shares(total: Tensor, *, as_released: bool = False) -> Tensor:
    """Shares (K,) that add up to 1: a softmax of scores (K,) stretched to [0, 1].

    Where all are equal they have equal shares; with `as_released` NaN.
    """
    if not len(total):
        return total
    stretch = total.max() - total.min()
    scaled = (total - total.min()) / (stretch if as_released or stretch > 0 else 1)
    return scaled.softmax(dim=0)


def chunks(caption: str, *, parser: str = "auto") -> list[str]:
    """The noun phrases of a caption, in order; `parser` as of `car.referring.language.load_parser`.

    >>> chunks("A red car and two dogs on grass", parser="built-in")
    ['a red car', 'two dogs', 'grass']
    """
    if not caption.strip():
        return []
    tree = load_parser(parser).tree(caption.lower())
    return [tree.text(chunk) for chunk in tree.chunks]


def numbers(values: Tensor) -> list[float | None]:
    """Values (K,) as plain data; None where there is no number."""
    return [value if math.isfinite(value) else None for value in values.tolist()]
