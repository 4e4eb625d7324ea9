"""One image, and what has been computed of it for whatever is asked."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor

from car.classify.scores import Classifier
from car.classify.visual_prompts import VisualPrompter
from car.propose.background import without_queries
from car.propose.proposals import Proposals
from car.propose.proposer import Proposer, make_proposer, shortlist, tap
from car.queries import Query, clean_synonyms
from car.recurrence import Turn, recur
from car.refine.crf import make_crf, with_background
from car.refine.iom import merge
from car.refine.mask_files import FileProposer
from car.result import Segmentation, Step
from car.vlm.preprocess import proposer_input
from car.vlm.vit import VisionTaps, VisionTransformer

if TYPE_CHECKING:
    from car.segmenter import Segmenter


class PreparedImage:
    """One image and what has been computed from it so far: proposer features, CRF lattice, mask proposals."""

    def __init__(self, segmenter: "Segmenter", image: np.ndarray) -> None:
        self.segmenter, self.config = segmenter, segmenter.config
        self.image = image
        self.working = shrink(image, self.config.max_side)
        self.new_clock: Callable[[], Clock] = Clock

    @cached_property
    @torch.inference_mode()
    def taps(self) -> VisionTaps:
        """The proposer's one pass over the image."""
        proposer = self.segmenter.proposer
        assert isinstance(proposer.visual, VisionTransformer)
        x = proposer_input(self.working, proposer.visual.patch, self.config.proposer_side)
        return tap(self.config.proposer, proposer.visual, x.to(proposer.device))

    @cached_property
    def crf(self) -> Any:
        """The dense CRF's lattices."""
        c = self.config
        return make_crf(
            c.crf,
            self.working,
            sxy_gaussian=c.crf_sxy_gaussian,
            compat_gaussian=c.crf_compat_gaussian,
            sxy_bilateral=c.crf_sxy_bilateral,
            srgb=c.crf_srgb,
            compat_bilateral=c.crf_compat_bilateral,
            device=self.segmenter.proposer.device,
        )

    @cached_property
    def mask_proposals(self) -> np.ndarray:
        """Mask proposals for IoM merging, bool (M, h, w)."""
        proposer = self.segmenter.mask_proposer
        assert proposer is not None
        if not isinstance(proposer, FileProposer):
            return proposer(self.working)
        # The masks of a file have the size of the image itself.
        masks = [resized(mask.astype(np.uint8), self.working.shape[:2]) > 0 for mask in proposer(self.image)]
        return np.array(masks, bool).reshape(-1, *self.working.shape[:2])

    def segment(
        self,
        queries: str | Sequence[Query],
        *,
        background: Sequence[str] | None = None,
        prompts: Sequence[str] | None = None,
    ) -> Segmentation:
        """As `Segmenter.segment`, on this image; background queries and visual prompts as of `ask`."""
        return self.ask(queries, background=background, prompts=prompts).result()

    @torch.inference_mode()
    def ask(
        self,
        queries: str | Sequence[Query],
        *,
        background: Sequence[str] | None = None,
        prompts: Sequence[str] | None = None,
        together: bool = True,
    ) -> "Asked":
        """Have f and g ready for some queries.

        Args:
            queries: as of `Segmenter.segment`.
            background: background queries; the configuration's by default. Those that equal a query are left out.
            prompts: visual prompts; the configuration's by default.
            together: whether queries compete for their proposals; apart, each has the background queries alone as
                rivals there (referring mode). The classifier's softmax is over all of them either way.

        Raises:
            InputError: as `Segmenter.segment` for queries; or an unknown visual prompt.
        """
        words = self.segmenter.background if background is None else background
        drawn = self.config.prompts if prompts is None else prompts
        return Asked(self, clean_synonyms(queries), words, drawn, together=together)

    def labels(self, turn: Turn, clock: "Clock") -> np.ndarray:
        """Label map of a turn's survivors, int32 (h, w) of `working`: CRF, then IoM merging."""
        size = self.working.shape[:2]
        labels = np.zeros(size, np.int32)
        if not turn.survivors:
            return labels
        rows = [turn.queries.index(q) for q in turn.survivors]
        with clock("crf"):
            soft = Proposals(turn.proposals.grid[rows], size).full()
            q = with_background(soft, self.config.background_factor)
            if self.config.crf != "none":
                q = self.crf.infer(q, iterations=self.config.crf_iterations)
            winner = q.argmax(dim=0).cpu().numpy()
        labels = np.array([0, *(q + 1 for q in turn.survivors)], np.int32)[winner]
        if self.config.sam is not None:
            with clock("sam"):
                labels = self.merged(labels, turn)
        return labels

    def masks(self, turn: Turn, clock: "Clock") -> np.ndarray:
        """Masks of a turn's survivors, each apart from the others, bool (n, h, w) of `working`: a CRF of two labels
        each, all on one lattice."""
        size = self.working.shape[:2]
        if not turn.survivors:
            return np.zeros((0, *size), bool)
        rows = [turn.queries.index(q) for q in turn.survivors]
        with clock("crf"):
            soft = Proposals(turn.proposals.grid[rows], size).full()
            q = torch.stack([with_background(each[None], self.config.background_factor) for each in soft])
            if self.config.crf != "none":
                q = self.crf.infer_many(q, iterations=self.config.crf_iterations)
            return (q[:, 1] > q[:, 0]).cpu().numpy()

    def merged(self, labels: np.ndarray, turn: Turn) -> np.ndarray:
        """A label map of a turn's survivors with mask proposals merged in, painted in ascending score order."""
        if not turn.survivors:
            return labels
        c = self.config
        order = sorted(map(turn.queries.index, turn.survivors), key=lambda row: turn.scores[row])
        merged = merge(
            np.stack([labels == turn.queries[row] + 1 for row in order]),
            self.mask_proposals,
            phi_iom=c.phi_iom,
            phi_iou=c.phi_iou,
            min_pred_threshold=c.min_pred_threshold,
        )
        painted = np.zeros_like(labels)
        for row, mask in zip(order, merged, strict=True):
            painted[mask] = turn.queries[row] + 1
        return painted


class Asked:
    """One list of queries asked of one image: f and g at hand, to be run at any threshold.

    Pruning only re-weights the proposals, and the classifier knows the masks it has seen: another threshold is cheap.

    Args:
        prepared: the image.
        queries: names and synonyms of each.
        background: background queries; those that equal a query are left out.
        prompts: visual prompts.
        together: as of `PreparedImage.ask`.
    """

    def __init__(
        self,
        prepared: PreparedImage,
        queries: Sequence[Sequence[str]],
        background: Sequence[str],
        prompts: Sequence[str],
        *,
        together: bool = True,
    ) -> None:
        self.prepared, self.queries, self.together = prepared, queries, together
        self.names = tuple(synonyms[0] for synonyms in queries)
        self.texts = [text for synonyms in queries for text in synonyms]
        self.background = without_queries(background, self.texts)
        self.clock = prepared.new_clock()
        self.proposer = self._proposer()
        self.classifier = self._classifier(prompts)

    def propose(self, kept: Sequence[int]) -> Proposals:
        """f: soft masks of the queries at these positions; the network has run already."""
        with self.clock("propose"):
            maps = self.proposer.maps(kept, eps=self.prepared.config.cam_eps, together=self.together)
            return Proposals(maps, self.prepared.working.shape[:2])

    def judge(self, kept: Sequence[int], proposals: Proposals) -> np.ndarray:
        """v and g: P_ii (n,) float32 of these queries on their proposals."""
        with self.clock.step():
            matrix = self.classifier.matrix(kept, proposals, self.clock)
            with self.clock("classify"):
                return matrix.diagonal().float().cpu().numpy()

    @torch.inference_mode()
    def turns(self, **changes: Any) -> list[Turn]:
        """The recurrence; theta, keep_best and max_steps are the configuration's unless given."""
        c = self.prepared.config
        settings = {"theta": c.theta, "keep_best": c.keep_best, "max_steps": c.max_steps}
        return recur(self.shortlist(), self.propose, self.judge, **settings | changes)

    def shortlist(self) -> Sequence[int]:
        """h_0: the positions of all queries, or of those that a cascade leaves."""
        c = self.prepared.config
        if c.cascade is None or c.cascade >= len(self.names):
            return range(len(self.names))
        with self.clock("propose"):
            return shortlist(self.proposer.presence(), c.cascade, c.cascade_floor)

    @torch.inference_mode()
    def result(self) -> Segmentation:
        """The whole loop and its masks."""
        turns = self.turns()
        labels = self.prepared.labels(turns[-1], self.clock)
        scores = np.full(len(self.names), np.nan, np.float32)
        for turn in turns:
            scores[list(turn.queries)] = turn.scores
        present = np.zeros(len(self.names), bool)
        present[list(turns[-1].survivors)] = True
        return Segmentation(
            image=self.prepared.image,
            queries=self.names,
            labels=resized(labels, self.prepared.image.shape[:2]),
            scores=scores,
            present=present,
            steps=tuple(self._step(turn) for turn in turns),
            config=self.prepared.config.to_dict(),
            model=self.prepared.segmenter.name,
            seconds=self.clock.seconds,
        )

    def _proposer(self) -> Proposer:
        c, segmenter = self.prepared.config, self.prepared.segmenter
        with self.clock("text"):
            features = segmenter.proposer_text.templated([*self.texts, *self.background], [c.cam_template])[0]
            queries = mean_of_synonyms(features[: len(self.texts)], [*map(len, self.queries)])
        with self.clock("propose"):
            visual = segmenter.proposer.visual
            assert isinstance(visual, VisionTransformer)
            return make_proposer(
                c.proposer,
                visual,
                self.prepared.taps,
                queries,
                features[len(self.texts) :],
                logit_scale=segmenter.proposer.logit_scale.exp().item(),
                lam=c.lam,
            )

    def _classifier(self, prompts: Sequence[str]) -> Classifier:
        c, segmenter = self.prepared.config, self.prepared.segmenter
        with self.clock("text"):
            rivals = self.background if c.against_background else []
            features = segmenter.classifier_text.templated([*self.texts, *rivals], segmenter.templates)
            if c.template_fusion == "mean-embedding":
                mean = features.mean(dim=0, keepdim=True)
                features = mean / mean.norm(dim=-1, keepdim=True)
        return Classifier(
            segmenter.classifier,
            VisualPrompter(self.prepared.working, prompts),
            features[:, : len(self.texts)],
            features[:, len(self.texts) :],
            synonyms=[*map(len, self.queries)],
            eta=c.eta,
            fusion=c.template_fusion,
            view=c.view,
            skip_last=c.classifier_skip_last,
            batch_size=c.batch_size,
        )

    def _step(self, turn: Turn) -> Step:
        survivors = set(turn.survivors)
        return Step(
            queries=tuple(self.names[q] for q in turn.queries),
            indices=turn.queries,
            scores=turn.scores,
            kept=np.array([q in survivors for q in turn.queries]),
            soft=turn.proposals,
            prompter=self.classifier.prompter,
            eta=self.classifier.eta,
        )


def mean_of_synonyms(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Normalised mean features (N, E) of queries, from their synonyms' (S, E), `counts` of them in turn."""
    if len(counts) == len(features):
        return features
    means = torch.stack([part.mean(dim=0) for part in features.split(list(counts))])
    return means / means.norm(dim=-1, keepdim=True)


def shrink(image: np.ndarray, max_side: int | None) -> np.ndarray:
    """The image with its longest side at most `max_side` (area averaging); unchanged when it fits."""
    height, width = image.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return image
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map (h, w) at another size (nearest)."""
    if labels.shape == size:
        return labels
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


@dataclass
class Clock:
    """Wall time per stage. On a GPU the stages wait for the device only where they hand numbers to the CPU."""

    def __post_init__(self) -> None:
        self.seconds: dict[str, Any] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    @contextmanager
    def step(self) -> Iterator[None]:
        """Stages inside belong to one step of the loop: each has a list of seconds, with an entry per step."""
        before, self.seconds = self.seconds, {}
        try:
            yield
        finally:
            step, self.seconds = self.seconds, before
            for stage, seconds in step.items():
                self.seconds.setdefault(stage, []).append(seconds)
