"""CaR the published way, in plain code of our own, to time ours against.

What it computes is what `car.prepared` does; how it does it is how the released code goes about it:

- in float32 on a CPU, in float16 elsewhere;
- the proposer encodes the image anew in each step, in referring mode for each expression of each step;
- one backward pass by autograd per query, and the affinity balanced and squared anew for each;
- prompted images are drawn, resized and encoded one by one, masks that were seen before included;
- it stops when as many queries are left as in the step before, so it takes two steps at least;
- texts go through the encoder query by query, all positions of its context;
- the dense CRF is pydensecrf's (ours where that is not installed), in referring mode one per expression.

Given a part, it works so many queries of each step and takes the seconds in proportion. How the loop goes on is then
taken from our own, and there are no masks. The texts are always timed on a few queries; the features that the loop
works with are ours, so that neither way starts from other texts.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from published_parts import Encoded, dense_crf, enlarge, image_feature, spread, text_features, verdict
from torch import Tensor

from car.bench import Answer
from car.bench.meter import Meter
from car.classify.visual_prompts import VisualPrompter
from car.device import DTYPES
from car.prepared import PreparedImage
from car.propose.background import without_queries
from car.recurrence import Turn
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views, proposer_input

TEXTS = 4
"""Queries whose texts are timed."""


class Published:
    """The rival of `car.bench.measure`.

    Args:
        part: queries worked in each step; None works all.
        dtype: of both models, "fp32" or "fp16"; None is as released: float32 on a CPU, float16 elsewhere.
    """

    def __init__(self, part: int | None = None, dtype: str | None = None) -> None:
        self.part, self.dtype = part, dtype

    def __call__(
        self, prepared: PreparedImage, queries: Sequence[str], turns: Sequence[Turn], *, together: bool
    ) -> Answer:
        """As of `car.bench.Rival`."""
        proposer, classifier = prepared.segmenter.proposer, prepared.segmenter.classifier
        dtype = self.dtype or ("fp32" if proposer.device.type == "cpu" else "fp16")
        # Copies live no longer than this call, or they would count as memory that ours needs in the next row.
        first = converted(proposer, dtype)
        clips = first, first if classifier is proposer else converted(classifier, dtype)
        part = self.part if self.part is not None and self.part < len(queries) else None
        return _Loop(prepared, queries, clips, dtype=dtype, together=together, part=part).run(turns)


def converted(clip: CLIP, dtype: str) -> CLIP:
    """The model in another dtype; the one given, if it has that."""
    return clip if clip.dtype == DTYPES[dtype] else copy.deepcopy(clip).cast(DTYPES[dtype])


class _Loop:
    """One image and one list of queries; the arguments are those of `Published`, the models in `dtype`."""

    def __init__(
        self,
        prepared: PreparedImage,
        queries: Sequence[str],
        clips: tuple[CLIP, CLIP],
        *,
        dtype: str,
        together: bool,
        part: int | None,
    ) -> None:
        segmenter, c = prepared.segmenter, prepared.config
        self.config, self.image = c, prepared.working
        self.proposer, self.classifier = clips
        self.count, self.dtype, self.together, self.part = len(queries), dtype, together, part
        self.meter = Meter(self.proposer.device)
        self.templates = segmenter.templates
        background = without_queries(segmenter.background, queries)
        self.proposed = [*queries, *background]
        self.judged = [*queries, *(background if c.against_background else [])]
        texts = segmenter.proposer_text.templated(self.proposed, [c.cam_template])[0].clone()
        self.asked, self.background = texts[: self.count], texts[self.count :]
        self.texts = segmenter.classifier_text.templated(self.judged, self.templates).clone()

    def run(self, turns: Sequence[Turn]) -> Answer:
        """From the texts to the masks."""
        text = self.text_seconds()
        hidden, before, entered = list(range(self.count)), None, []
        soft, survivors = torch.zeros(0), []
        while hidden:
            with self.meter.step():
                soft, scores = self.step(hidden)
            survivors = [q for q, score in zip(hidden, scores, strict=False) if score >= self.config.theta]
            if self.part is not None:
                survivors = list(turns[min(len(entered), len(turns) - 1)].survivors)
            entered.append(len(hidden))
            soft = soft[[row for row, q in enumerate(hidden[: len(soft)]) if q in survivors]]
            if len(survivors) == before:
                break
            hidden, before = survivors, len(survivors)
        masks = self.masks(soft, survivors)
        seconds = self.in_proportion(entered, len(survivors), len(soft)) | {"text": text}
        return Answer(
            seconds=seconds,
            peaks=self.meter.peaks,
            masks=masks if self.part is None else None,
            entered=entered,
            dtype=self.dtype,
            estimated=frozenset(seconds if self.part is not None else {"text"}),
        )

    def step(self, hidden: Sequence[int]) -> tuple[Tensor, list[float]]:
        """Soft masks (n, H, W) and scores of the queries that are worked."""
        worked = range(min(len(hidden), self.part or len(hidden)))
        soft = []
        if self.together:
            with self.meter("encode"):
                encoded = self.encoded()
        for row in worked:
            with self.meter("propose"):
                if self.together:
                    soft.append(self.proposal(encoded, row, self.asked[list(hidden)]))
                else:
                    soft.append(self.proposal(self.encoded(), 0, self.asked[[hidden[row]]]))
        texts = self.texts[:, [*hidden, *range(self.count, len(self.judged))]]
        return torch.stack(soft), [self.score(soft[row], row, texts) for row in worked]

    def encoded(self) -> Encoded:
        """The proposer's pass over the image."""
        visual = self.proposer.visual
        return Encoded(
            visual, proposer_input(self.image, visual.patch, self.config.proposer_side).to(self.meter.device)
        )

    def proposal(self, encoded: Encoded, row: int, queries: Tensor) -> Tensor:
        """f: the soft mask (H, W) of one of the queries (N, E)."""
        c, scale = self.config, float(self.proposer.logit_scale.exp())
        cam = encoded.cam(row, queries, self.background, scale, c.cam_eps)
        if c.proposer == "caa":
            cam = spread(cam, encoded.attention, c.lam, c.cam_eps)
        return enlarge(cam, self.image.shape[:2])

    def score(self, soft: Tensor, row: int, texts: Tensor) -> float:
        """v and g: the score of one proposal (H, W), whose query is the `row`-th of the texts (T, K, E)."""
        c = self.config
        with self.meter("prompt"):
            prompted = VisualPrompter(self.image, c.prompts).render((soft > c.eta).cpu().numpy())
            view = classifier_views([prompted], self.classifier.input_resolution, c.view)
        with self.meter("classify"):
            feature = image_feature(self.classifier.visual, view.to(self.meter.device))
            return verdict(feature, row, texts, float(self.classifier.logit_scale.exp()))

    def masks(self, soft: Tensor, survivors: Sequence[int]) -> np.ndarray:
        """As of `Answer`, of the survivors' proposals (n, H, W), of which some may be lacking."""
        size = self.image.shape[:2]
        labels, apart = np.zeros(size, np.int32), np.zeros((self.count, *size), bool)
        with self.meter("crf"):
            if len(soft) and self.together:
                winner = dense_crf(self.image, soft, self.config)
                labels = np.array([0, *(q + 1 for q in survivors[: len(soft)])], np.int32)[winner]
            elif len(soft):
                for query, each in zip(survivors, soft, strict=False):
                    apart[query] = dense_crf(self.image, each[None], self.config) > 0
        return labels if self.together else apart

    def in_proportion(self, entered: Sequence[int], kept: int, refined: int) -> dict[str, float | list[float]]:
        """Seconds by stage, of all queries, when only a part of those that entered each step was worked and `refined`
        of those `kept` had a CRF."""
        seconds = self.meter.seconds
        shares = [count / min(count, self.part or count) for count in entered]
        each = {
            stage: [value * share for value, share in zip(seconds[stage], shares, strict=True)]
            for stage in ("propose", "prompt", "classify")
        }
        # A joint CRF has the background's label, too.
        more = int(self.together)
        crf = seconds["crf"] * (kept + more) / (refined + more) if refined else seconds["crf"]
        return {**each, "propose": sum(each["propose"]) + sum(seconds.get("encode", [])), "crf": crf}

    def text_seconds(self) -> float:
        """Seconds of all texts, from a few of them."""
        seconds = 0.0
        for clip, words, templates in (
            (self.proposer, self.proposed, [self.config.cam_template]),
            (self.classifier, self.judged, self.templates),
        ):
            meter = Meter(self.meter.device)
            for word in words[:TEXTS]:
                with meter("text"):
                    text_features(clip, [template.replace("{}", word) for template in templates])
            seconds += meter.seconds["text"] * len(words) / len(words[:TEXTS])
        return seconds
