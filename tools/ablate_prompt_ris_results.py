"""What a variant of Prompt-RIS comes to on held-out scenes: a record per picture on disk, and scores of any number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path

from car.evaluate.bootstrap import MeanBootstrap
from car.export import write_atomically
from car.metrics.referring import Overlap, grouped_scores, referring_scores
from car.prompt_ris.pictures import ScenePictures

Targets = list[list[Overlap]]
"""The overlaps of a picture: of each target, those of its expressions."""
PRECISION = (0.5, 0.7, 0.9)
SEED = 1
"""Of the scenes that are evaluated on; the trainer validates on those of seed 0."""
MOST = 10_000


@dataclass(frozen=True)
class Kind:
    """Scenes to evaluate on.

    name: for files, and what the pictures' keys begin with.
    title: of their tables.
    pictures: all there are.
    alike: take only those that show several objects of one concept.
    """

    name: str
    title: str
    pictures: ScenePictures
    alike: bool = False

    def numbers(self, wanted: int) -> list[int]:
        """The first pictures, so many."""
        return [*islice((number for number in count() if not self.alike or self._repeats(number)), wanted)]

    def key(self, number: int) -> str:
        """What a picture is called."""
        return f"{self.name}-{number}"

    def _repeats(self, number: int) -> bool:
        names = self.pictures.drawn(number)[0].names
        return len(set(names)) < len(names)


KINDS = (
    Kind("usual", "Scenes like those trained on", ScenePictures(seed=SEED, count=MOST, split="val")),
    Kind(
        "alike",
        "Crowded scenes with several objects of one concept",
        ScenePictures(seed=SEED, count=MOST, split="val", objects=((5, 6),), shares=(1.0,), layouts=("crowded",)),
        alike=True,
    ),
)


class Records:
    """The overlaps of pictures in a file of JSON lines that grows picture by picture.

    Args:
        path: the file; a line that was not finished when a run was stopped is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures: dict[str, Targets] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if whole != lines:
            write_atomically(path, b"".join(whole))
        for line in whole:
            record = json.loads(line)
            self.pictures[record["key"]] = [[Overlap(*each) for each in target] for target in record["targets"]]

    def add(self, key: str, targets: Targets) -> None:
        """Write one picture more."""
        told = [[(each.intersection, each.union) for each in target] for target in targets]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "targets": told}) + "\n")
        self.pictures[key] = targets

    def of(self, keys: Sequence[str]) -> "Result":
        """What some pictures come to, of which there are records."""
        return Result({key: self.pictures[key] for key in keys if key in self.pictures})


@dataclass(frozen=True)
class Result:
    """Scores over pictures, in [0, 1].

    pictures: overlaps by the picture's key.
    """

    pictures: dict[str, Targets]

    @property
    def expressions(self) -> int:
        """How many were asked."""
        return sum(1 for _ in self._overlaps())

    @cached_property
    def means(self) -> MeanBootstrap:
        """IoU by picture, for mIoU, its interval, and differences."""
        means = MeanBootstrap()
        for key, targets in self.pictures.items():
            means.add(key, (each.iou() for each in chain.from_iterable(targets)))
        return means

    @cached_property
    def scores(self) -> dict[str, float]:
        """oIoU, mIoU, P@X (IoU higher than X), ImgAcc and InstAcc."""
        plain, grouped = referring_scores(self._overlaps()), grouped_scores(self.pictures.values())
        return {
            "oIoU": plain.oiou,
            "mIoU": plain.miou,
            **{f"P@{x}": plain.strict_precision[x] for x in PRECISION},
            "ImgAcc": grouped.img_acc,
            "InstAcc": grouped.inst_acc,
        }

    def _overlaps(self) -> Iterator[Overlap]:
        return (each for targets in self.pictures.values() for target in targets for each in target)
