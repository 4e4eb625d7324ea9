"""A referring job at work: pictures with expressions in, records out."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from car import __version__
from car.data import ReferringDataset, ReferringTruth, Target, find_referring, open_referring
from car.errors import InputError, MissingError
from car.evaluate.evaluator import NO_PRESET, PACKAGES, Outcome, drawn, set_threads
from car.evaluate.job import ReferringJob
from car.evaluate.plan import key_lines, plain
from car.evaluate.referring_plan import PROTOCOLS, ReferringPlan
from car.evaluate.referring_record import Answer, ReferringRecord, TargetRecord
from car.metrics.referring import overlap
from car.referring.hybrid import HybridGL
from car.referring.language import load_parser
from car.referring.load import CLIPS, load_referrer
from car.referring.proposals import PHRASECUT_SAM, ProposalSource
from car.referring.recurrent import Recurrent
from car.referring.referral import PreparedReferral, Referral
from car.referring.tas import TAS
from car.referring.texts import word_splitter
from car.vlm.fingerprint import weights_hash

_OF_RIVALS = ("proposals", "parser")
_LANGUAGE_PACKAGES = ("spacy", "nltk")
_READING = ("overlap", "instances", "sentence")


class ReferringEvaluator:
    """A referring benchmark that has been found, and a method that has been loaded.

    On a CPU the number of threads is set for the whole process, for rounding depends on it.

    Args:
        job: what to evaluate with what.

    Attributes:
        dataset: the benchmark.
        keys: its pictures, or those drawn by `job.limit`, sorted.
        plan: what is computed, whole.

    Raises:
        InputError: an unknown benchmark, split, method, protocol, preset, model or setting, or one that the method or
            the benchmark does not have.
        MissingError: data, weights or a package are not where they should be.
        CheckpointError: a file that is no CLIP checkpoint.
    """

    def __init__(self, job: ReferringJob) -> None:
        self.job = job
        check(job)
        self.dataset: ReferringDataset = open_referring(
            job.benchmark,
            job.data_root,
            split=job.split,
            split_by=job.split_by,
            **{k: getattr(job, k) for k in _READING},
        )
        self.keys = drawn(self.dataset.keys, job.limit, job.seed)
        self.threads = set_threads(job.threads)
        self.preset = preset_of(job)
        self.referrer: Any = load(job, self.preset)
        self.plan = self._plan()

    def __call__(self, key: str) -> Outcome:
        """One picture of the benchmark; a bad one gives a record that says what is wrong with it."""
        start = time.perf_counter()
        try:
            truth = self.dataset.read(key)
            return self.evaluate(key, truth, time.perf_counter() - start)
        except (InputError, MissingError) as error:
            # A report is the same wherever the data lies.
            reason = str(error).replace(f"{self.dataset.root}{os.sep}", "")
            return Outcome(ReferringRecord(key, error=reason))

    def evaluate(self, key: str, truth: ReferringTruth, seconds_read: float) -> Outcome:
        """One picture that has been read, in so many seconds."""
        prepared = self.prepare(key, truth.image)
        stages = {"read": seconds_read}
        targets = tuple(self.target(prepared, target, stages) for target in truth.targets)
        found = getattr(prepared, "proposals", None)
        rounded = {stage: round(seconds, 4) for stage, seconds in stages.items()}
        return Outcome(ReferringRecord(key, None if found is None else len(found), targets, rounded))

    def prepare(self, key: str, image: np.ndarray) -> Any:
        """What depends on the picture (H, W, 3) uint8 alone; files of proposals and of captions go by its key."""
        if isinstance(self.referrer, HybridGL):
            # With `as_released` these shrink from picture to picture; a record is to depend on its picture alone.
            self.referrer.reach = (self.referrer.settings.k1, self.referrer.settings.k2)
        picture: Any = Image.fromarray(image)
        picture.filename = f"{key}.png"
        return self.referrer.prepare(picture)

    def target(self, prepared: PreparedReferral, target: Target, stages: dict[str, float]) -> TargetRecord:
        """The answers for one target; the seconds are added to `stages`."""
        asked = [(number, text) for number, text in enumerate(target.expressions, 1)]
        if self.job.protocol == "sentence":
            answers = [answer([each], lambda texts: prepared.refer(texts[0]), target, stages) for each in asked]
        else:
            answers = [answer(asked, prepared.refer_object, target, stages)]
        return TargetRecord(target.id, target.no_target, tuple(answers))

    def _plan(self) -> ReferringPlan:
        job, referrer, rival = self.job, self.referrer, not isinstance(self.referrer, Recurrent)
        clips = {"clip": referrer.clip} if rival else roles(referrer)
        first = next(iter(clips.values()))
        choices = find_referring(job.benchmark).choices
        return ReferringPlan(
            benchmark=self.dataset.name,
            split=self.dataset.split,
            variant=self.dataset.variant,
            images=len(self.keys),
            keys_sha256=hashlib.sha256(key_lines(self.keys)).hexdigest(),
            protocol=job.protocol,
            skip_empty=job.skip_empty,
            reading={name: getattr(job, name) for name in _READING if name in choices},
            method=job.method,
            preset=self.preset,
            model=model_name(job, referrer),
            weights={role: weights_hash(clip) for role, clip in clips.items()},
            device=first.device.type,
            dtype=str(first.dtype).removeprefix("torch."),
            threads=self.threads,
            config=plain(asdict(referrer.settings) if rival else referrer.segmenter.config.to_dict()),
            proposals=proposals_of(referrer) if rival else {},
            language=language_of(job, referrer) if rival else {},
            captions=of_files(referrer.captions.name) if isinstance(referrer, TAS) else {},
            limit=job.limit,
            seed=job.seed,
            versions=versions(rival),
        )


def answer(
    asked: Sequence[tuple[int, str]],
    refer: Callable[[Sequence[str]], Referral],
    target: Target,
    stages: dict[str, float],
) -> Answer:
    """One answer to some expressions of a target, with their numbers; those that say nothing are not asked."""
    problems = [f"expression {number} is blank" for number, text in asked if not text.strip()]
    texts = [text for _, text in asked if text.strip()]
    nothing = np.zeros_like(target.mask)
    mask, found, flagged = nothing, False, False
    if texts:
        try:
            referral = refer(texts)
        except InputError as error:
            problems.append(f"{'expression' if len(asked) == 1 else 'expressions'} {_numbers(asked)}: {error}")
        else:
            for stage, seconds in referral.seconds.items():
                stages[stage] = stages.get(stage, 0.0) + float(np.sum(seconds))
            mask, found = referral.mask, bool(np.isfinite(referral.score))
            flagged = not found or not mask.any()
    counted = overlap(mask, target.mask, no_target=target.no_target)
    return Answer(counted.intersection, counted.union, found, flagged, tuple(problems))


def _numbers(asked: Sequence[tuple[int, str]]) -> str:
    return ", ".join(str(number) for number, text in asked if text.strip())


def check(job: ReferringJob) -> None:
    """Refuse what a benchmark or method does not have, before anything is read.

    Raises:
        InputError: no such protocol; a video benchmark; or a choice that is of other methods.
    """
    if job.protocol not in PROTOCOLS:
        raise InputError(f"Expected argument `protocol` to be {' or '.join(PROTOCOLS)}, but got {job.protocol!r}.")
    if find_referring(job.benchmark).unit != "pictures":
        raise InputError(f"{job.benchmark} is a benchmark of video, which `car eval` does not run yet.")
    if job.method == "car":
        given = [name for name in _OF_RIVALS if getattr(job, name) is not None]
        given += ["skip_empty"] if job.skip_empty else []
        if given:
            raise InputError(f"The method 'car' has no choice of `{given[0]}`: it needs no mask proposals.")
    elif job.classifier is not None:
        raise InputError(f"The method {job.method!r} has one CLIP, and no classifier beside it.")
    if job.captions is not None and job.method != "tas":
        raise InputError(f"Captions are of the method 'tas'; {job.method!r} has none.")


def preset_of(job: ReferringJob) -> str | None:
    """The job's preset, for "car" the benchmark's own by default; None where there is none, or none is asked for."""
    own = find_referring(job.benchmark).preset if job.method == "car" else None
    preset = own if job.preset is None else job.preset
    return None if preset == NO_PRESET else preset


def load(job: ReferringJob, preset: str | None) -> Any:
    """The method of a job; SAM is asked on PhraseCut what HybridGL's authors ask there."""
    model = job.model if job.classifier is None else (job.model, job.classifier)
    chosen = {name: getattr(job, name) for name in ("proposals", "parser", "captions")}
    referrer: Any = load_referrer(
        job.method,
        model,
        **{name: value for name, value in chosen.items() if value is not None},
        preset=preset,
        config_file=job.config_file,
        device=job.device,
        dtype=job.dtype,
        weights_dir=job.weights_dir,
        **job.options,
    )
    if job.benchmark.startswith("phrasecut") and not isinstance(referrer, Recurrent):
        referrer.proposals = ProposalSource(
            job.proposals or "regions", device=job.device, weights_dir=job.weights_dir, settings=PHRASECUT_SAM
        )
    return referrer


def roles(referrer: Recurrent) -> dict[str, Any]:
    """The networks of CaR by role."""
    return {"proposer": referrer.segmenter.proposer, "classifier": referrer.segmenter.classifier}


def model_name(job: ReferringJob, referrer: Any) -> str:
    """What the model is called in reports."""
    if isinstance(referrer, Recurrent):
        return referrer.segmenter.name
    return CLIPS[job.method] if job.model == "openai" else job.model


def proposals_of(referrer: Any) -> dict[str, Any]:
    """Where mask proposals come from, and what they depend on as far as it is known."""
    source: ProposalSource = referrer.proposals
    return {**of_files(source.name), **plain(source.identity or {})}


def of_files(name: str) -> dict[str, str]:
    """A source by its name; one that is a file or a folder by the last part of it, and a hash.

    The hash is of a file's content, and of the names and sizes of the files in a folder.
    """
    path = Path(name)
    if path.is_dir():
        listed = "".join(f"{each.name}\t{each.stat().st_size}\n" for each in sorted(path.iterdir()) if each.is_file())
        return {"source": path.name, "sha256": hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()}
    if path.is_file():
        with path.open("rb") as file:
            return {"source": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"source": name}


def language_of(job: ReferringJob, referrer: Any) -> dict[str, str]:
    """What reads expressions."""
    used = {"parser": load_parser(job.parser or "auto").name, "word_splitter": word_splitter()}
    return used | ({"thesaurus": referrer.thesaurus.name} if isinstance(referrer, TAS) else {})


def versions(rival: bool) -> dict[str, str]:
    """Of car and the packages that results depend on."""
    found = {"car": __version__, **{package: version(package) for package in PACKAGES}}
    for package in _LANGUAGE_PACKAGES if rival else ():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
