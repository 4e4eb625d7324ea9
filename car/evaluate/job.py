"""What a worker needs in order to evaluate pictures: told by names and paths, so that any process can start from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BaseJob:
    """What jobs of all kinds say.

    benchmark, data_root, split: as of what opens a benchmark of the kind.
    preset, config_file, options, model, classifier, weights_dir, device, dtype: as of what loads the method.
    threads: of torch and OpenCV on a CPU; torch's own choice by default.
    limit, seed: evaluate that many of the split's pictures or films, drawn with this seed.
    """

    benchmark: str
    data_root: str | Path
    split: str | None = None
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
class Job(BaseJob):
    """A benchmark, models and settings, by name; None leaves a choice to the defaults.

    benchmark, data_root, split: as of `car.data.open_dataset`.
    classes: a class list by name or path that replaces the benchmark's own words; see `car.evaluate.words`.
    preset: the benchmark's own by default.
    config_file, options: as of `car.load`; they override the preset.
    model, classifier, weights_dir, device, dtype: as of `car.load`.
    """

    classes: str | Path | None = None


@dataclass(frozen=True, kw_only=True)
class MethodJob(BaseJob):
    """What jobs say that find what expressions refer to.

    method, proposals, parser, captions, config_file, options: as of `car.referring.load.load_referrer`.
    preset: of the method "car", the benchmark's own by default.
    model, classifier, weights_dir, device, dtype: as of `car.load`.
    """

    method: str = "car"
    proposals: str | None = None
    parser: str | None = None
    captions: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReferringJob(MethodJob):
    """A referring benchmark of pictures, a method and settings, by name; None leaves a choice to the defaults.

    benchmark, data_root, split, split_by, overlap, instances, sentence: as of `car.data.open_referring`.
    protocol: "sentence", every sentence has an answer of its own, or "object", the sentences of an object have one.
    skip_empty: do not count images without mask proposals, as in the released code of the rivals.
    categories: evaluate only targets of these categories, of the RefCOCO family; a list by name or path, as of
        `car.data.read_categories`.
    """

    split_by: str | None = None
    overlap: str = "union"
    instances: str = "merged"
    sentence: str = "sent"
    protocol: str = "sentence"
    skip_empty: bool = False
    categories: str | Path | None = None


@dataclass(frozen=True, kw_only=True)
class VideoJob(MethodJob):
    """A referring benchmark of films, a method and settings, by name; None leaves a choice to the defaults.

    benchmark, data_root, split, annotations: as of `car.data.open_video`.
    mode, check_every: of the method "car", as of `car.video.VideoSettings`; other methods take every frame alone.
    """

    annotations: str | None = None
    mode: str | None = None
    check_every: int | None = None
