"""What a worker needs in order to evaluate pictures: told by names and paths, so that any process can start from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """A benchmark, models and settings, by name; None leaves a choice to the defaults.

    benchmark, data_root, split: as of `car.data.open_dataset`.
    classes: a class list by name or path that replaces the benchmark's own words; see `car.evaluate.words`.
    preset: the benchmark's own by default.
    config_file, options: as of `car.load`; they override the preset.
    model, classifier, weights_dir, device, dtype: as of `car.load`.
    threads: of torch and OpenCV on a CPU; torch's own choice by default.
    limit, seed: evaluate that many of the split's pictures, drawn with this seed.
    """

    benchmark: str
    data_root: str | Path
    split: str | None = None
    classes: str | Path | None = None
    preset: str | None = None
    config_file: str | Path | None = None
    model: str = "mini"
    classifier: str | None = None
    weights_dir: str | Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    limit: int | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReferringJob:
    """A referring benchmark, a method and settings, by name; None leaves a choice to the defaults.

    benchmark, data_root, split, split_by, overlap, instances, sentence: as of `car.data.open_referring`.
    method, proposals, parser, captions, config_file, options: as of `car.referring.load.load_referrer`.
    preset: of the method "car", the benchmark's own by default.
    protocol: "sentence", every sentence has an answer of its own, or "object", the sentences of an object have one.
    skip_empty: do not count images without mask proposals, as in the released code of the rivals.
    model, classifier, weights_dir, device, dtype: as of `car.load`.
    threads, limit, seed: as of `Job`.
    """

    benchmark: str
    data_root: str | Path
    split: str | None = None
    split_by: str | None = None
    overlap: str = "union"
    instances: str = "merged"
    sentence: str = "sent"
    method: str = "car"
    proposals: str | None = None
    parser: str | None = None
    captions: str | None = None
    preset: str | None = None
    config_file: str | Path | None = None
    protocol: str = "sentence"
    skip_empty: bool = False
    model: str = "mini"
    classifier: str | None = None
    weights_dir: str | Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    limit: int | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
