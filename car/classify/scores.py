"""The second CLIP's verdict: a softmax over the queries for each prompted image (CaR, section 3.2)."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from car.classify.visual_prompts import VisualPrompter
from car.errors import InputError
from car.propose.proposals import Proposals
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views

FUSIONS = ("sum-softmax", "mean-embedding")
Stages = Callable[[str], AbstractContextManager]
"""Times what runs inside as a stage of that name."""
BATCH_SIZES = {"cpu": 8, "cuda": 64}
"""Prompted images at a time where nothing else is asked for; other devices take a GPU's."""


def score_matrix(logits: Tensor, *, fusion: str) -> Tensor:
    """Scores of images against texts from their per-template logits.

    Args:
        logits: (T, N, K): T templates, N prompted images, K texts. "mean-embedding" expects T = 1, the templates having
            been averaged in the embedding.
        fusion: "sum-softmax" takes a softmax over texts per template, sums over the templates and takes a softmax of
            the sum (the released code, whose thresholds belong to that scale; one template gives the plain softmax of
            the paper); "mean-embedding" is one softmax.

    Returns:
        (N, K), rows summing to one.
    """
    if fusion not in FUSIONS:
        raise InputError(f"Expected argument `template_fusion` to be one of {', '.join(FUSIONS)}, but got {fusion!r}.")
    per_template = logits.softmax(dim=-1)
    return per_template[0] if len(logits) == 1 else per_template.sum(dim=0).softmax(dim=-1)


def joined(logits: Tensor, counts: Sequence[int]) -> Tensor:
    """Logits of queries from those of their synonyms: the logarithm of the sum of the exponentials, so that a softmax
    gives a query the sum of what it gives its synonyms.

    Args:
        logits: (..., S).
        counts: how many of the S texts in turn belong to each of N queries; they add up to S.

    Returns:
        (..., N); `logits` itself where every query has one text.
    """
    if len(counts) == logits.shape[-1]:
        return logits
    return torch.stack([part.logsumexp(dim=-1) for part in logits.split(list(counts), dim=-1)], dim=-1)


class Classifier:
    """Scores the proposals of one image; an image feature is computed once per distinct binary mask.

    Args:
        clip: the classifier.
        prompter: draws the visual prompts on the image.
        queries: (T, S, E) normalised text features of all queries' synonyms, per template, query after query.
        background: (T, M, E) of the texts every query is judged against besides its rivals; M may be 0.
        synonyms: how many of the S texts each of the N queries has; a query's probability in each template's softmax
            is the sum of theirs.
        eta: binarisation threshold of the proposals.
        fusion, view, skip_last, batch_size: see `Config`.
    """

    def __init__(
        self,
        clip: CLIP,
        prompter: VisualPrompter,
        queries: Tensor,
        background: Tensor,
        *,
        synonyms: Sequence[int],
        eta: float,
        fusion: str,
        view: str,
        skip_last: bool,
        batch_size: int | None,
    ) -> None:
        self.clip, self.prompter = clip, prompter
        self.queries, self.background = queries, background
        ends = np.cumsum(synonyms).tolist()
        self._rows = [range(end - count, end) for end, count in zip(ends, synonyms, strict=True)]
        self.eta, self.fusion, self.view = eta, fusion, view
        self.skip_last = skip_last
        self.batch_size = batch_size or BATCH_SIZES.get(clip.device.type, BATCH_SIZES["cuda"])
        self._features: dict[bytes, Tensor] = {}

    def matrix(self, kept: Sequence[int], proposals: Proposals, clock: Stages = nullcontext) -> Tensor:
        """Scores (n, n + M) of the kept queries' prompted images against their texts and the background's.

        `clock` is told the stages: "prompt", what draws the images and makes views of them, and "classify".
        """
        images = self.features(proposals, clock)
        with clock("classify"):
            rows = [row for query in kept for row in self._rows[query]]
            texts = torch.cat([self.queries[:, rows], self.background], dim=1)
            logits = self.clip.logit_scale.exp() * images @ texts.mT
            counts = [*(len(self._rows[query]) for query in kept), *[1] * self.background.shape[1]]
            return score_matrix(joined(logits, counts), fusion=self.fusion)

    def features(self, proposals: Proposals, clock: Stages = nullcontext) -> Tensor:
        """Normalised features (n, E) of the prompted images; only masks not seen before are encoded."""
        keys: list[bytes] = []
        for start in range(0, len(proposals), self.batch_size):
            new: dict[bytes, np.ndarray] = {}
            with clock("prompt"):
                full = (proposals.full(start, start + self.batch_size) > self.eta).cpu().numpy()
                for mask in full:
                    keys.append(key := mask_key(mask))
                    if key not in self._features:
                        new[key] = mask
                prompted = [self.prompter.render(mask) for mask in new.values()]
                views = classifier_views(prompted, self.clip.input_resolution, self.view) if new else None
            if views is not None:
                with clock("classify"):
                    features = self.clip.encode_image(views.to(self.clip.device), skip_last=self.skip_last)
                    features = features / features.norm(dim=-1, keepdim=True)
                    self._features.update(zip(new, features, strict=True))
        return torch.stack([self._features[key] for key in keys])


def mask_key(mask: np.ndarray) -> bytes:
    """What identifies a binary mask; masks too small to draw a prompt on all mean the unprompted image."""
    if np.count_nonzero(mask) <= 1:
        return b""
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()
