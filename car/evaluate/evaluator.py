"""A job at work: pictures of a benchmark in, records out."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from car import __version__
from car.config import Config, load_preset
from car.data import DATASETS, IGNORE, SemanticDataset, Truth, open_dataset
from car.device import choose_device, choose_dtype
from car.errors import CarError, InputError
from car.evaluate.job import Job
from car.evaluate.plan import Plan, PlannedPass, key_lines
from car.evaluate.record import Pass, Record, cells_of
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.video_record import VideoRecord
from car.evaluate.words import askable, class_words
from car.metrics.semantic import confusion
from car.result import Segmentation
from car.segmenter import Segmenter
from car.vlm.fingerprint import weights_hash
from car.vlm.registry import load_model_set
from car.wordlists import background_words

NO_PRESET = "none"
PACKAGES = ("torch", "numpy", "scipy", "opencv-python-headless", "Pillow")


@dataclass(frozen=True)
class Outcome:
    """What comes of one picture.

    record: what is kept of it, of the kind of the run.
    labels: predicted label map (H, W) uint16, 0 is background and i + 1 class i; None where there is an error,
        and where expressions are asked.
    """

    record: Record | ReferringRecord | VideoRecord
    labels: np.ndarray | None = None


class Evaluator:
    """A benchmark that has been found, and models that have been loaded.

    On a CPU the number of threads is set for the whole process, for rounding depends on it.

    Args:
        job: what to evaluate with what.

    Attributes:
        dataset: the benchmark.
        keys: its pictures, or those drawn by `job.limit`, sorted.
        plan: what is computed, whole.

    Raises:
        InputError: an unknown benchmark, split, preset, model or setting, or a class list that does not fit.
        MissingError: data or weights are not where they should be.
        CheckpointError: a file that is no CLIP checkpoint.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.dataset: SemanticDataset = open_dataset(job.benchmark, job.data_root, split=job.split)
        self.keys = drawn(self.dataset.keys, job.limit, job.seed)
        self.words = class_words(self.dataset.classes, job.classes)
        self.threads = set_threads(job.threads)
        preset, file = (None if source is None else load_preset(source) for source in (preset_of(job), job.config_file))
        presets = [each for each in (preset, file) if each is not None]
        model = job.model if job.classifier is None else (job.model, job.classifier)
        device = choose_device(job.device)
        models = load_model_set(
            model, weights_dir=job.weights_dir, device=device, dtype=choose_dtype(job.dtype, device)
        )
        settings = [models.defaults, *(preset.settings for preset in presets), job.options]
        config = Config.from_mapping({key: value for layer in settings for key, value in layer.items()})
        self.segmenter = Segmenter(
            models.proposer, models.classifier, config, name=models.name, weights_dir=job.weights_dir
        )
        about = {key: value for preset in presets for key, value in preset.about.items()}
        stuff_prompts = None if "prompts" in job.options else about.get("stuff_prompts")
        self.passes = plan_passes(
            [entry.kind for entry in self.dataset.classes] if about.get("mutual_background") else None,
            self.words,
            background_words(config.background),
            config.prompts,
            config.prompts if stuff_prompts is None else tuple(stuff_prompts),
        )
        for each in self.passes:
            self.segmenter.check([self.words[id] for id in each.classes])
        self.plan = self._plan(None if preset is None else preset.name, about)

    def __call__(self, key: str) -> Outcome:
        """One picture of the benchmark; a bad one gives a record that says what is wrong with it."""
        start = time.perf_counter()
        try:
            truth = self.dataset.read(key)
        except InputError as error:
            return Outcome(Record(key, error=reason(error, self.dataset.root)))
        return self.evaluate(key, truth, time.perf_counter() - start)

    def evaluate(self, key: str, truth: Truth, seconds_read: float) -> Outcome:
        """One picture that has been read, in so many seconds."""
        prepared = self.segmenter.prepare(truth.image)
        labels = np.zeros(truth.labels.shape, np.uint16)
        passes, stages = [], {"read": seconds_read}
        for planned in self.passes:
            result = prepared.segment(
                [self.words[id] for id in planned.classes], background=planned.background, prompts=planned.prompts
            )
            found = np.array([0, *(id + 1 for id in planned.classes)], np.uint16)[result.labels]
            labels = np.where(found > 0, found, labels)
            passes.append(history(planned, result))
            for stage, seconds in result.seconds.items():
                stages[stage] = stages.get(stage, 0.0) + float(np.sum(seconds))
        counts = confusion(labels, truth.labels, len(self.words) + 1, ignore=IGNORE)
        height, width = truth.labels.shape[:2]
        rounded = {stage: round(seconds, 4) for stage, seconds in stages.items()}
        return Outcome(Record(key, (height, width), cells_of(counts), tuple(passes), rounded), labels)

    def _plan(self, preset: str | None, about: Mapping[str, Any]) -> Plan:
        segmenter, proposer = self.segmenter, self.segmenter.proposer
        return Plan(
            benchmark=self.dataset.name,
            split=self.dataset.split,
            images=len(self.keys),
            keys_sha256=hashlib.sha256(key_lines(self.keys)).hexdigest(),
            background=self.dataset.background,
            classes=tuple(
                {"id": entry.id, "kind": entry.kind, "names": list(names)}
                for entry, names in zip(self.dataset.classes, self.words, strict=True)
            ),
            passes=self.passes,
            preset=preset,
            published=dict(about.get("published", {})),
            model=segmenter.name,
            weights={role: weights_hash(network) for role, network in segmenter.networks.items()},
            device=proposer.device.type,
            dtype=str(proposer.dtype).removeprefix("torch."),
            threads=self.threads,
            config=segmenter.config.to_dict(),
            limit=self.job.limit,
            seed=self.job.seed,
            versions={"car": __version__, **{package: version(package) for package in PACKAGES}},
        )


def preset_of(job: Job) -> str | None:
    """The job's preset, the benchmark's own by default; None where there is none, or none is asked for."""
    preset = DATASETS[job.benchmark].preset if job.preset is None else job.preset
    return None if preset == NO_PRESET else preset


def drawn(keys: Sequence[str], limit: int | None, seed: int) -> tuple[str, ...]:
    """All keys, or `limit` of them drawn with a seed, in their order.

    >>> drawn(["a", "b", "c"], 2, 0) == drawn(["a", "b", "c"], 2, 0)
    True
    """
    if limit is None or limit >= len(keys):
        return tuple(keys)
    if limit < 1:
        raise InputError(f"Expected argument `limit` to be at least 1, but got {limit}.")
    chosen = np.random.default_rng(seed).choice(len(keys), limit, replace=False)
    return tuple(keys[i] for i in sorted(chosen))


def plan_passes(
    kinds: Sequence[str] | None,
    words: Sequence[Sequence[str]],
    background: Sequence[str],
    prompts: tuple[str, ...],
    stuff_prompts: tuple[str, ...],
) -> tuple[PlannedPass, ...]:
    """All classes at once; or stuff, then things over it, each with the other's texts as further background queries.

    Args:
        kinds: "thing" or "stuff" by class id, for two passes (mutual background); None for one.
        words: names and synonyms by class id.
        background: the background queries of both.
        prompts, stuff_prompts: visual prompts, and those of the pass over stuff.
    """
    if kinds is None or len(set(kinds)) < 2:
        return (PlannedPass("all", tuple(askable(words, range(len(words)))), tuple(background), prompts),)
    ids = {kind: [id for id, each in enumerate(kinds) if each == kind] for kind in ("stuff", "thing")}
    texts = {kind: [text for id in ids[kind] for text in words[id]] for kind in ids}
    return tuple(
        PlannedPass(kind, tuple(askable(words, ids[kind])), (*background, *texts[other]), drawn_on)
        for kind, other, drawn_on in (("stuff", "thing", stuff_prompts), ("thing", "stuff", prompts))
    )


def history(planned: PlannedPass, result: Segmentation) -> Pass:
    """What a record keeps of a pass."""
    steps = tuple(
        tuple(planned.classes[query] for query, kept in zip(step.indices, step.kept, strict=True) if kept)
        for step in result.steps
    )
    scores = tuple(round(float(score), 6) for score in result.scores[result.present])
    return Pass(steps, scores)


def reason(error: CarError, root: Path) -> str:
    """Why there is no result; a report is the same wherever the data lies."""
    return str(error).replace(f"{root}{os.sep}", "")


def set_threads(threads: int | None) -> int:
    """Have torch and OpenCV use so many threads, torch's own number by default; the number."""
    if threads is not None:
        torch.set_num_threads(threads)
    cv2.setNumThreads(torch.get_num_threads())
    return torch.get_num_threads()
