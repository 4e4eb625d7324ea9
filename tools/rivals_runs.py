"""What is compared: methods, where their mask proposals come from, and the run of each on each benchmark."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from car import rle
from car.data import find_referring
from car.data.instances import instance_mask, read_instances
from car.data.refcoco import CocoReferring
from car.evaluate import ReferringJob, RunDirectory, run
from car.evaluate.evaluator import NO_PRESET, drawn
from car.evaluate.referring_evaluator import opened
from car.export import dumps, make_folder, write_atomically
from car.slug import slug
from car.vlm.download import weights_folder

TRUE = "true masks"
"""Proposals that are the true masks of a picture: of all annotated objects, and of whatever something is said of."""
TRAINED = "prompt-ris"
"""The method that is trained: its model is a file of its own."""
DATA = {"phrasecut-unseen": "phrasecut"}
"""Folders of data that are not called as their benchmark."""
ALL = {"phrasecut-unseen": "phrasecut"}
"""Benchmarks that are a part of another one, in whose pictures there is more to choose from."""


@dataclass(frozen=True)
class Method:
    """A row of the table.

    title: what the row is called.
    name: the method, as `car.load_referrer` has it.
    options: settings.
    preset: as of `ReferringJob`.
    """

    title: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None

    @property
    def chooses(self) -> bool:
        """Whether it chooses among mask proposals."""
        return self.name not in ("car", TRAINED)

    def differs_on(self, benchmark: str) -> bool:
        """Whether it is another than the method without options and preset: there are benchmarks without a preset."""
        return self.preset is None or find_referring(benchmark).preset is not None


METHODS = (
    Method("car", "car"),
    Method("car, no preset", "car", preset=NO_PRESET),
    Method("global-local", "global-local"),
    Method("tas", "tas"),
    Method("hybridgl", "hybridgl"),
    Method("hybridgl, as released", "hybridgl", {"as_released": True}),
    Method(TRAINED, TRAINED),
)


@dataclass(frozen=True)
class Entry:
    """One run: a benchmark, a method, and where mask proposals come from; None for a method without."""

    benchmark: str
    method: Method
    proposals: str | None


class Rivals:
    """All runs of a comparison.

    Every run has a cache of its own, so that none saves time by what another one found. Runs of some categories are in
    other folders than those of all.

    Args:
        data: folder with a folder for each benchmark, as `tools/make_benchmarks.py` writes them.
        out: folder of the runs.
        job: what all runs have in common; its benchmark, data root and method do not count.
        proposals: what the methods choose among, besides the true masks.
        trained: the model of "prompt-ris".
    """

    def __init__(self, data: Path, out: Path, job: ReferringJob, proposals: str, trained: str = "mini") -> None:
        self.data, self.out, self.proposals, self.trained = data, out, proposals, trained
        self.job = replace(job, weights_dir=weights_folder(job.weights_dir))

    @property
    def of(self) -> str:
        """What the names of folders and files end in where not all categories are asked for."""
        return "" if self.job.categories is None else f"-{slug(Path(self.job.categories).stem)}"

    def entries(self, benchmark: str, methods: Sequence[Method]) -> list[Entry]:
        """The runs of a benchmark: those without proposals, those with, those with the true masks."""
        there = [method for method in methods if method.differs_on(benchmark)]
        alone = [Entry(benchmark, method, None) for method in there if not method.chooses]
        kinds = (self.proposals, TRUE)
        return alone + [Entry(benchmark, method, kind) for kind in kinds for method in there if method.chooses]

    def root(self, benchmark: str) -> Path:
        """Where the data of a benchmark is."""
        return self.data / DATA.get(benchmark, benchmark)

    def folder(self, entry: Entry) -> Path:
        """Where a run is."""
        kind = "alone" if entry.proposals is None else slug(entry.proposals)
        return self.out / f"runs{self.of}" / entry.benchmark / kind / slug(entry.method.title)

    def job_of(self, entry: Entry) -> ReferringJob:
        """What a run does."""
        masks = str(self.true_masks(entry.benchmark)) if entry.proposals == TRUE else entry.proposals
        return replace(
            self.job,
            benchmark=entry.benchmark,
            data_root=self.root(entry.benchmark),
            method=entry.method.name,
            model=self.trained if entry.method.name == TRAINED else self.job.model,
            proposals=masks,
            preset=entry.method.preset,
            options={**self.job.options, **entry.method.options},
        )

    def do(self, entry: Entry) -> None:
        """Run what is missing of a run.

        Raises:
            CarError: as `car.evaluate.run`.
        """
        if entry.proposals == TRUE:
            self.write_true_masks(entry.benchmark)
        with self.cache_of(entry):
            run(self.job_of(entry), self.folder(entry))

    def result(self, entry: Entry) -> RunDirectory:
        """A run that was done."""
        return RunDirectory(self.folder(entry))

    @contextmanager
    def cache_of(self, entry: Entry) -> Iterator[None]:
        """Let whatever is kept on disk be kept for this run alone."""
        before = os.environ.get("CAR_CACHE")
        own = self.folder(entry).relative_to(self.out / f"runs{self.of}")
        os.environ["CAR_CACHE"] = str(self.out / f"cache{self.of}" / own)
        try:
            yield
        finally:
            if before is None:
                del os.environ["CAR_CACHE"]
            else:
                os.environ["CAR_CACHE"] = before

    def open(self, benchmark: str) -> Any:
        """The data set of a benchmark, as the runs open it."""
        return opened(replace(self.job, benchmark=benchmark, data_root=self.root(benchmark)))

    def keys(self, benchmark: str) -> tuple[str, ...]:
        """The pictures that the runs of a benchmark evaluate."""
        return drawn(self.open(benchmark).keys, self.job.limit, self.job.seed)

    def true_masks(self, benchmark: str) -> Path:
        """Folder of the true masks as proposals, a file per picture."""
        return self.out / "true" / benchmark

    def write_true_masks(self, benchmark: str) -> None:
        """Write those that are not there."""
        every = replace(
            self.job, benchmark=ALL.get(benchmark, benchmark), data_root=self.root(benchmark), categories=None
        )
        folder, dataset = self.true_masks(benchmark), opened(every)
        make_folder(folder)
        missing = [key for key in self.keys(benchmark) if not (folder / f"{key}.json").exists()]
        objects = annotated(dataset) if missing and isinstance(dataset, CocoReferring) else {}
        for key in missing:
            said = [each.mask for each in dataset.read(key).targets if each.mask.any()]
            masks = {mask.tobytes(): mask for mask in (*objects.get(key, ()), *said)}
            entries = [{"segmentation": rle.encode(mask)} for mask in masks.values()]
            write_atomically(folder / f"{key}.json", dumps({"annotations": entries}, indent=None).encode())


class Everything:
    """Has whatever is asked for."""

    def __contains__(self, number: object) -> bool:
        return True


def annotated(dataset: CocoReferring) -> dict[str, list[np.ndarray]]:
    """Masks (H, W) bool of all objects that COCO's annotations have, by the key of their picture."""
    every: Any = Everything()
    found = read_instances(dataset.annotations, every, every)
    masks: dict[str, list[np.ndarray]] = {}
    for each in found.instances.values():
        photo = found.photos[each.image]
        mask = instance_mask(each.segmentation, photo.height, photo.width, dataset.overlap)
        if mask.any() and not each.crowd:
            masks.setdefault(Path(photo.file).stem, []).append(mask)
    return masks
