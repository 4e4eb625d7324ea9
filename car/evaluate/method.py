"""The method of a job with expressions: loaded by name, and told as plain data."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from car import __version__
from car.data import ReferringDataset, VideoDataset, find_referring
from car.errors import InputError
from car.evaluate.evaluator import NO_PRESET, PACKAGES
from car.evaluate.job import MethodJob
from car.evaluate.plan import key_lines, plain
from car.prompt_ris.referrer import METHOD, PromptRISReferrer
from car.referring.defaults import default_proposals
from car.referring.hybrid import HybridGL
from car.referring.language import load_parser
from car.referring.load import CLIPS, load_referrer
from car.referring.proposals import PHRASECUT_SAM, ProposalSource
from car.referring.recurrent import Recurrent
from car.referring.tas import TAS
from car.referring.texts import word_splitter
from car.refine.sam_checkpoint import MINI
from car.vlm.fingerprint import weights_hash

_OF_RIVALS = ("proposals", "parser")
_WITHOUT_PROPOSALS = ("car", METHOD)
_LANGUAGE_PACKAGES = ("spacy", "nltk")


def check_method(job: MethodJob) -> None:
    """Refuse what a method does not have, before anything is read.

    Raises:
        InputError: a choice that is of other methods.
    """
    given = [name for name in _OF_RIVALS if getattr(job, name) is not None]
    if given and job.method in _WITHOUT_PROPOSALS:
        raise InputError(f"The method {job.method!r} has no choice of `{given[0]}`: it needs no mask proposals.")
    if job.method != "car" and job.classifier is not None:
        raise InputError(f"The method {job.method!r} has one CLIP, and no classifier beside it.")
    if job.captions is not None and job.method != "tas":
        raise InputError(f"Captions are of the method 'tas'; {job.method!r} has none.")


def prepare(referrer: Any, key: str, image: np.ndarray) -> Any:
    """What depends on the picture (H, W, 3) uint8 alone; files of proposals and of captions go by its key."""
    if isinstance(referrer, HybridGL):
        # With `as_released` these shrink from picture to picture; a record is to depend on its picture alone.
        referrer.reach = (referrer.settings.k1, referrer.settings.k2)
    picture: Any = Image.fromarray(image)
    picture.filename = f"{key}.png"
    return referrer.prepare(picture)


def planned(
    job: MethodJob, dataset: ReferringDataset | VideoDataset, keys: Sequence[str], referrer: Any
) -> Mapping[str, Any]:
    """What is measured, and what the answers of a method that was loaded depend on, as fields of a plan."""
    rival = chooses(referrer)
    networks = roles(referrer)
    device, dtype = precision(referrer)
    return {
        "benchmark": dataset.name,
        "split": dataset.split,
        "variant": dataset.variant,
        "keys_sha256": hashlib.sha256(key_lines(keys)).hexdigest(),
        "method": job.method,
        "preset": preset_of(job),
        "model": model_name(job, referrer),
        "weights": {role: weights_hash(network) for role, network in networks.items()},
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "config": plain(config_of(referrer)),
        "proposals": proposals_of(referrer) if rival else {},
        "language": language_of(job, referrer) if rival else {},
        "captions": of_files(referrer.captions.name) if isinstance(referrer, TAS) else {},
        "limit": job.limit,
        "seed": job.seed,
        "versions": versions(rival),
    }


def preset_of(job: MethodJob) -> str | None:
    """The job's preset, for "car" the benchmark's own by default; None where there is none, or none is asked for."""
    own = find_referring(job.benchmark).preset if job.method == "car" else None
    preset = own if job.preset is None else job.preset
    return None if preset == NO_PRESET else preset


def load(job: MethodJob) -> Any:
    """The method of a job; a published SAM is asked on PhraseCut what HybridGL's authors ask there."""
    model = job.model if job.classifier is None else (job.model, job.classifier)
    chosen = {name: getattr(job, name) for name in ("proposals", "parser", "captions")}
    referrer: Any = load_referrer(
        job.method,
        model,
        **{name: value for name, value in chosen.items() if value is not None},
        preset=preset_of(job),
        config_file=job.config_file,
        device=job.device,
        dtype=job.dtype,
        weights_dir=job.weights_dir,
        **job.options,
    )
    source = job.proposals or default_proposals(model)
    if job.benchmark.startswith("phrasecut") and chooses(referrer) and source != MINI:
        referrer.proposals = ProposalSource(
            source, device=job.device, weights_dir=job.weights_dir, settings=PHRASECUT_SAM
        )
    return referrer


def chooses(referrer: Any) -> bool:
    """Whether it chooses among mask proposals."""
    return not isinstance(referrer, Recurrent | PromptRISReferrer)


def roles(referrer: Any) -> dict[str, nn.Module]:
    """The networks of a method by role."""
    if isinstance(referrer, Recurrent):
        return referrer.segmenter.networks
    return {"model": referrer.model} if isinstance(referrer, PromptRISReferrer) else {"clip": referrer.clip}


def precision(referrer: Any) -> tuple[torch.device, torch.dtype]:
    """Where a method computes, and in which type."""
    if isinstance(referrer, PromptRISReferrer):
        return referrer.model.clip.clip.device, referrer.dtype
    clip = referrer.segmenter.proposer if isinstance(referrer, Recurrent) else referrer.clip
    return clip.device, clip.dtype


def config_of(referrer: Any) -> dict[str, Any]:
    """The settings of a method."""
    if isinstance(referrer, Recurrent):
        return referrer.segmenter.config.to_dict()
    return asdict(referrer.model.settings if isinstance(referrer, PromptRISReferrer) else referrer.settings)


def model_name(job: MethodJob, referrer: Any) -> str:
    """What the model is called in reports."""
    if isinstance(referrer, Recurrent):
        return referrer.segmenter.name
    return CLIPS[job.method] if job.model == "openai" and job.method in CLIPS else job.model


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


def language_of(job: MethodJob, referrer: Any) -> dict[str, str]:
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
