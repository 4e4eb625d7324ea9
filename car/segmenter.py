"""Models and a configuration, ready to turn images and queries into masks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from car.classify.scores import Classifier
from car.classify.visual_prompts import VisualPrompter
from car.config import Config, resolve
from car.device import choose_device, choose_dtype
from car.errors import InputError
from car.io import read_image
from car.propose.background import without_queries
from car.propose.proposals import Proposals
from car.propose.proposer import make_proposer, tap
from car.queries import clean_queries
from car.recurrence import Turn, recur
from car.refine.crf import make_crf, with_background
from car.refine.iom import merge
from car.refine.mask_files import FileProposer
from car.refine.sam import MaskProposer, SamSettings, load_mask_proposer
from car.result import Segmentation, Step
from car.vlm.model import CLIP
from car.vlm.preprocess import proposer_input
from car.vlm.registry import load_model_set
from car.vlm.text import TextEncoder
from car.vlm.tokenizer import tokenize
from car.vlm.vit import VisionTaps, VisionTransformer
from car.wordlists import background_words, read_templates

ImageLike = str | Path | Image.Image | np.ndarray


class Segmenter:
    """A proposer, a classifier and a `Config`.

    Args:
        proposer: CLIP with a ViT image encoder (f of the paper).
        classifier: any CLIP (g).
        config: what to do with them.
        name: what results call this model set.
        weights_dir: where segment-anything's weights are kept, if `config.sam` names some.

    Raises:
        InputError: the proposer is a ResNet, which has no tokens to take maps from.
    """

    def __init__(
        self,
        proposer: CLIP,
        classifier: CLIP,
        config: Config,
        *,
        name: str = "custom",
        weights_dir: str | Path | None = None,
    ) -> None:
        if not isinstance(proposer.visual, VisionTransformer):
            raise InputError("The proposer must be a ViT: proposals are read from a ViT's last block.")
        self.proposer, self.classifier = proposer, classifier
        self.config, self.name = config, name
        self.proposer_text = TextEncoder(proposer, truncate=config.truncate)
        self.classifier_text = (
            self.proposer_text if classifier is proposer else TextEncoder(classifier, truncate=config.truncate)
        )
        self.templates = read_templates(config.templates)
        self.background = background_words(config.background)
        self.mask_proposer: MaskProposer | None = None
        if config.sam is not None:
            self.mask_proposer = load_mask_proposer(
                config.sam,
                proposer.device,
                weights_dir=None if weights_dir is None else Path(weights_dir),
                settings=SamSettings(**config.sam_settings),
            )

    def segment(self, image: ImageLike, queries: str | Sequence[str]) -> Segmentation:
        """Segment one image by text.

        Args:
            image: path, PIL image, or numpy array; see `car.io.read_image`.
            queries: what to look for. White space is tidied and repetitions (letter case ignored) are dropped.

        Returns:
            The label map, masks, scores, and every step of the loop. Queries that are not in the image have no mask;
            all of them may be absent.

        Raises:
            InputError: an unreadable image, no query, a blank one, or one too long for the text encoder.
        """
        return self.prepare(image).segment(queries)

    def check(self, queries: Sequence[str]) -> None:
        """Refuse queries that the text encoders cannot read, before any image is worked on.

        Raises:
            InputError: as `segment` does for queries.
        """
        longest = max([self.config.cam_template, *self.templates], key=len)
        context = min(self.proposer.context_length, self.classifier.context_length)
        texts = [longest.replace("{}", query) for query in clean_queries(queries)]
        tokenize(texts, context_length=context, truncate=self.config.truncate)

    def prepare(self, image: ImageLike) -> "PreparedImage":
        """Do once what depends on the image alone; the object returned answers any number of query lists."""
        return PreparedImage(self, read_image(image))


class PreparedImage:
    """One image and what has been computed from it so far: proposer features, CRF lattice, mask proposals."""

    def __init__(self, segmenter: Segmenter, image: np.ndarray) -> None:
        self.segmenter, self.config = segmenter, segmenter.config
        self.image = image
        self.working = shrink(image, self.config.max_side)

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

    @torch.inference_mode()
    def segment(self, queries: str | Sequence[str]) -> Segmentation:
        """As `Segmenter.segment`, on this image."""
        names = clean_queries(queries)
        clock = Clock()
        propose, classifier = self._proposer(names, clock), self._classifier(names, clock)

        def judge(kept: Sequence[int], proposals: Proposals) -> np.ndarray:
            with clock.step("classify"):
                return classifier.matrix(kept, proposals).diagonal().cpu().numpy()

        turns = recur(
            range(len(names)),
            propose,
            judge,
            theta=self.config.theta,
            keep_best=self.config.keep_best,
            max_steps=self.config.max_steps,
        )
        labels = self._labels(turns[-1], clock)
        scores = np.zeros(len(names), np.float32)
        for turn in turns:
            scores[list(turn.queries)] = turn.scores
        present = np.zeros(len(names), bool)
        present[list(turns[-1].survivors)] = True
        return Segmentation(
            image=self.image,
            queries=names,
            labels=resized(labels, self.image.shape[:2]),
            scores=scores,
            present=present,
            steps=tuple(as_step(turn, names, classifier) for turn in turns),
            config=self.config.to_dict(),
            model=self.segmenter.name,
            seconds=clock.seconds,
        )

    def _proposer(self, names: Sequence[str], clock: "Clock") -> Callable[[Sequence[int]], Proposals]:
        """f: soft masks of any of the named queries; the network runs here, once."""
        c, segmenter = self.config, self.segmenter
        with clock("text"):
            background = without_queries(segmenter.background, names)
            queries = segmenter.proposer_text.templated(names, [c.cam_template])[0]
            against = segmenter.proposer_text.templated(background, [c.cam_template])[0]
        with clock("propose"):
            visual = segmenter.proposer.visual
            assert isinstance(visual, VisionTransformer)
            scale = segmenter.proposer.logit_scale.exp().item()
            proposer = make_proposer(c.proposer, visual, self.taps, queries, against, logit_scale=scale, lam=c.lam)

        def propose(kept: Sequence[int]) -> Proposals:
            with clock("propose"):
                return Proposals(proposer.maps(kept, eps=c.cam_eps), self.working.shape[:2])

        return propose

    def _classifier(self, names: Sequence[str], clock: "Clock") -> Classifier:
        """v and g, with the texts they need encoded."""
        c, segmenter = self.config, self.segmenter
        rivals = without_queries(segmenter.background, names) if c.against_background else []
        with clock("text"):
            texts = segmenter.classifier_text.templated([*names, *rivals], segmenter.templates)
            if c.template_fusion == "mean-embedding":
                mean = texts.mean(dim=0, keepdim=True)
                texts = mean / mean.norm(dim=-1, keepdim=True)
        return Classifier(
            segmenter.classifier,
            VisualPrompter(self.working, c.prompts),
            texts[:, : len(names)],
            texts[:, len(names) :],
            eta=c.eta,
            fusion=c.template_fusion,
            view=c.view,
            skip_last=c.classifier_skip_last,
            batch_size=c.batch_size,
        )

    def _labels(self, turn: Turn, clock: "Clock") -> np.ndarray:
        """Label map of the last turn's survivors, int32 (h, w): CRF, then IoM merging in ascending score order."""
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
                labels = self._merged(labels, turn, rows)
        return labels

    def _merged(self, labels: np.ndarray, turn: Turn, rows: Sequence[int]) -> np.ndarray:
        c = self.config
        order = sorted(rows, key=lambda row: turn.scores[row])
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


def load(
    model: Any = "mini",
    *,
    preset: str | Path | None = None,
    config_file: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    weights_dir: str | Path | None = None,
    **options: Any,
) -> Segmenter:
    """Load a model set and configure it.

    Args:
        model: a model set ("mini", "openai", "openai-b16"), a checkpoint's name or path, a model made by OpenAI's
            ``clip.load``, or a pair (proposer, classifier) of any of these.
        preset: a named configuration; see `car presets`.
        config_file: a YAML file of settings, which override the preset's.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        dtype: "auto", "fp32", "bf16" or "fp16".
        weights_dir: where checkpoints are kept; default $CAR_CACHE, else ~/.cache/clip.
        options: fields of `Config`, which override both.

    Raises:
        InputError: an unknown model, preset or option.
        MissingError: weights that are not here and cannot be downloaded.
        CheckpointError: a file that is no CLIP checkpoint.
    """
    chosen = choose_device(device)
    models = load_model_set(model, weights_dir=weights_dir, device=chosen, dtype=choose_dtype(dtype, chosen))
    config = resolve(preset=preset, config_file=config_file, model_defaults=models.defaults, **options)
    return Segmenter(models.proposer, models.classifier, config, name=models.name, weights_dir=weights_dir)


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


def as_step(turn: Turn, names: Sequence[str], classifier: Classifier) -> Step:
    """The public view of one turn."""
    survivors = set(turn.survivors)
    return Step(
        queries=tuple(names[q] for q in turn.queries),
        indices=turn.queries,
        scores=turn.scores,
        kept=np.array([q in survivors for q in turn.queries]),
        soft=turn.proposals,
        prompter=classifier.prompter,
        eta=classifier.eta,
    )


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
    def step(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds.setdefault(stage, []).append(time.perf_counter() - start)
