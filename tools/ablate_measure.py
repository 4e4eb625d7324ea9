"""What `ablate_scenes` measures of a scene; what columns, settings or proposers have in common is computed once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablate_records import Task

from car.prepared import Asked, Clock
from car.recurrence import Turn
from car.scenes import TEST, TUNING, VERSION
from car.segmenter import Segmenter, load
from car.vlm.registry import MODEL_SETS

ALL, FILTERED, RECURRENT, CRF, REGIONS, TOLD, TOLD_CRF = COLUMNS = (
    "all kept (T = 1)",
    "filtered once",
    "recurrent",
    "recurrent + CRF",
    "+ regions by IoM",
    "told",
    "told + CRF",
)
UNKNOWN = ("xylophone", "spaghetti", "stethoscope", "blicket", "zorbulax")
"""Three real words and two made-up ones that no scene shows and no training names."""
SPLITS = {split.name: split for split in (*TEST, *TUNING)}


class Bench:
    """Segmenters of one checkpoint under any settings; they share the models and the text features.

    Args:
        checkpoint: both proposer and classifier; the settings are the defaults of the model set "mini".
        device, dtype: as of `car.load`.
    """

    def __init__(self, checkpoint: Path, device: str, dtype: str) -> None:
        self.arguments = checkpoint, device, dtype
        self.base = load(checkpoint, device=device, dtype=dtype, **MODEL_SETS["mini"].defaults)
        self._made: dict[Any, Segmenter] = {}

    def under(self, **changes: Any) -> Segmenter:
        """The segmenter under changed settings."""
        key = tuple(sorted(changes.items()))
        if key not in self._made:
            made = Segmenter(self.base.proposer, self.base.classifier, self.base.config.replace(**changes))
            made.proposer_text, made.classifier_text = self.base.proposer_text, self.base.classifier_text
            self._made[key] = made
        return self._made[key]

    @property
    def settings(self) -> dict[str, Any]:
        """All that the figures depend on, but for the scenes' numbers, as plain data."""
        return {
            "checkpoint": hashlib.sha256(self.arguments[0].read_bytes()).hexdigest(),
            "scenes": VERSION,
            "unknown": list(UNKNOWN),
            "device": self.base.proposer.device.type,
            "dtype": str(self.base.proposer.dtype),
            "config": self.base.config.to_dict(),
        }


def told(asked: Asked, queries: tuple[int, ...]) -> Turn:
    """A turn that these queries alone enter, and all survive."""
    return Turn(queries, asked.propose(queries), np.ones(len(queries), np.float32), queries)


class Visit:
    """One scene, and what is computed of it for whatever is asked."""

    def __init__(self, bench: Bench, row: str, index: int) -> None:
        self.bench = bench
        self.queries = SPLITS[row].queries(index)
        self.scene = SPLITS[row].scene(index)
        self._plain, self._refined, self._regions = (
            bench.under(**settings).prepare(self.scene.image) for settings in ({"crf": "none"}, {}, {"sam": "regions"})
        )
        self._taps: dict[int | None, Any] = {}
        self._asked: dict[Any, Asked] = {}

    def ask(self, names: Sequence[str], **changes: Any) -> Asked:
        """Ask the scene for these names, under changed settings; asking the same again costs nothing."""
        key = tuple(names), tuple(sorted(changes.items()))
        if key not in self._asked:
            prepared = self.bench.under(**changes).prepare(self.scene.image)
            side = prepared.config.proposer_side
            if side not in self._taps:
                # What "caa" keeps of the image is all that any proposer needs.
                tapped = self.bench.under(proposer="caa", proposer_side=side)
                self._taps[side] = tapped.prepare(self.scene.image).taps
            prepared.taps = self._taps[side]
            self._asked[key] = prepared.ask(names)
        return self._asked[key]

    def plain(self, turn: Turn) -> np.ndarray:
        """Label map of a turn's survivors, int32 (H, W), without CRF."""
        return self._plain.labels(turn, Clock())

    def refined(self, turn: Turn) -> np.ndarray:
        """The same after the CRF."""
        return self._refined.labels(turn, Clock())

    def with_regions(self, refined: np.ndarray, turn: Turn) -> np.ndarray:
        """The same after merging regions of the image into what the CRF left."""
        return self._regions.merged(refined, turn)

    def truth(self, names: Sequence[str]) -> np.ndarray:
        """Label map of the named concepts, int (H, W): 0 is none of them, i + 1 the i-th."""
        labels = np.zeros(self.scene.image.shape[:2], int)
        for name, mask in self.scene.concepts.items():
            labels[mask] = names.index(name) + 1
        return labels


def scene_miou(labels: np.ndarray, truth: np.ndarray, count: int) -> float:
    """Mean IoU over the labels of 1 to `count` that have a pixel in either map; one at least must.

    A query that is wrongly given pixels thus counts as 0, one that is rightly given none does not count.
    """
    size = count + 1
    pixels = np.bincount((truth.astype(np.int64) * size + labels).ravel(), minlength=size**2).reshape(size, size)
    shared = pixels.diagonal()[1:]
    either = (pixels.sum(axis=0) + pixels.sum(axis=1))[1:] - shared
    return float((shared[either > 0] / either[either > 0]).mean())


def count_kept(names: Sequence[str], present: Mapping[str, Any], turn: Turn) -> dict[str, int]:
    """How many of the queries are present, were kept, and both."""
    kept = [names[query] for query in turn.survivors]
    return {"present": len(present), "kept": len(kept), "right": sum(name in present for name in kept)}


def measure_columns(visit: Visit, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Every column of the main table, and the seconds each stage took.

    What proposers share (the pass over the image, the CRF's lattice, the regions) is counted with the first of them.
    """
    asked = visit.ask(visit.queries, **changes)
    turns = asked.turns()
    maps, truth = label_maps(visit, asked, turns), visit.truth(visit.queries)
    return {
        "miou": {column: scene_miou(maps[column], truth, len(visit.queries)) for column in COLUMNS},
        **count_kept(visit.queries, visit.scene.concepts, turns[-1]),
        "steps": len(turns),
        "seconds": {stage: round(float(np.sum(seconds)), 4) for stage, seconds in asked.clock.seconds.items()},
    }


def label_maps(visit: Visit, asked: Asked, turns: Sequence[Turn]) -> dict[str, np.ndarray]:
    """Label map of each column, int32 (H, W)."""
    first, last = turns[0], turns[-1]
    present = tuple(i for i, name in enumerate(asked.names) if name in visit.scene.concepts)
    shown = last if last.queries == last.survivors == present else told(asked, present)
    with asked.clock("arg-max"):
        maps = {
            ALL: visit.plain(replace(first, survivors=first.queries)),
            FILTERED: visit.plain(first),
            RECURRENT: visit.plain(last),
            TOLD: visit.plain(shown),
        }
    with asked.clock("CRF"):
        maps[CRF] = visit.refined(last)
    with asked.clock("regions"):
        maps[REGIONS] = visit.with_regions(maps[CRF], last)
    with asked.clock("told + CRF"):
        maps[TOLD_CRF] = maps[CRF] if shown is last else visit.refined(shown)
    return maps


def measure_setting(visit: Visit, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recurrence, without CRF, under changed settings."""
    others = {field: value for field, value in changes.items() if field != "theta"}
    asked = visit.ask(visit.queries, **others)
    last = asked.turns(theta=changes.get("theta", visit.bench.base.config.theta))[-1]
    truth = visit.truth(visit.queries)
    return {
        "miou": {RECURRENT: scene_miou(visit.plain(last), truth, len(visit.queries))},
        **count_kept(visit.queries, visit.scene.concepts, last),
    }


def measure_unknown(visit: Visit, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recurrence asked for what is there and for words that nothing is called by."""
    names = [*visit.scene.concepts, *UNKNOWN]
    last = visit.ask(names, **changes).turns()[-1]
    kept = [names[query] for query in last.survivors]
    return {"unknown": [word for word in kept if word in UNKNOWN], **count_kept(names, visit.scene.concepts, last)}


MEASURES = {"main": measure_columns, "tuning": measure_setting, "unknown": measure_unknown}


@torch.inference_mode()
def measure(bench: Bench, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Records of tasks that are all about the same scene."""
    visit = Visit(bench, tasks[0].row, tasks[0].index)
    return [
        {"table": task.table, "row": task.row, "name": task.name, "index": task.index}
        | MEASURES[task.table](visit, dict(task.changes))
        for task in tasks
    ]
