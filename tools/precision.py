"""How far masks of faster settings are from those of float32, on scenes.

Scenes of the test split (`car.scenes.TEST`, 2-4 objects, seen artwork), 20 queries each, with the embedded model, the
whole way with CRF. Between the label maps of two settings: the share of pixels that are equal, the mean IoU over the
queries that either gave a pixel, all scenes together, and the share of scenes that keep the same queries. Beside it
the mIoU against the truth of each setting, the mean over scenes.

    python tools/precision.py --scenes 100
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import numpy as np
import torch
from ablate_measure import Bench, scene_miou
from ablate_tables import per_cent as with_interval
from rich.console import Console
from rich.progress import track

from car.evaluate.markdown import number, per_cent, table
from car.scenes import TEST
from car.segmenter import Segmenter
from car.vlm.registry import MINI

ROW = TEST[1]
REFERENCE = "fp32"


def settings(device: str) -> Iterator[tuple[str, Segmenter]]:
    """What is compared, the reference first."""
    reference = Bench(MINI, device, REFERENCE)
    yield REFERENCE, reference.base
    yield "fp32, one by one", reference.under(batch_size=1)
    yield "bf16", Bench(MINI, device, "bf16").base
    if reference.base.proposer.device.type != "cpu":
        yield "fp16", Bench(MINI, device, "fp16").base


class Outcome:
    """What a setting came to, over all scenes.

    Attributes:
        labels: label maps (S, H, W) int32.
        kept: which queries were kept, (S, N) bool.
        miou: against the truth, in [0, 1], one per scene.
    """

    def __init__(self) -> None:
        self.labels: list[np.ndarray] = []
        self.kept: list[np.ndarray] = []
        self.miou: list[float] = []

    def cells(self, other: "Outcome") -> tuple[str, ...]:
        """This setting beside another, as text."""
        maps, others = np.array(self.labels), np.array(other.labels)
        return (
            per_cent(float((maps == others).mean()), digits=2),
            number(float(np.mean([*ious(self.labels, other.labels)])), 4),
            per_cent(float((np.array(self.kept) == np.array(other.kept)).all(axis=1).mean())),
            with_interval(np.array(self.miou)),
        )


def ious(maps: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Iterator[float]:
    """IoU of each query's masks, of all scenes and queries where one of them is not empty."""
    for labels, other in zip(maps, others, strict=True):
        for label in np.union1d(labels, other):
            if label:
                yield float(((labels == label) & (other == label)).sum() / ((labels == label) | (other == label)).sum())


@torch.inference_mode()
def outcomes(segmenters: Mapping[str, Segmenter], scenes: int) -> dict[str, Outcome]:
    """Every setting on every scene."""
    found = {name: Outcome() for name in segmenters}
    for index in track(range(scenes), "scenes", console=Console(stderr=True), transient=True):
        scene, queries = ROW.scene(index), ROW.queries(index)
        truth = np.zeros(scene.image.shape[:2], int)
        for name, mask in scene.concepts.items():
            truth[mask] = queries.index(name) + 1
        for name, segmenter in segmenters.items():
            result = segmenter.segment(scene.image, queries)
            found[name].labels.append(result.labels)
            found[name].kept.append(result.present)
            found[name].miou.append(scene_miou(result.labels, truth, len(queries)))
    return found


@click.command(help=__doc__.split("\n")[0])
@click.option("--scenes", type=click.IntRange(min=2), default=100, show_default=True)
@click.option("--device", default="auto", show_default=True)
def main(**options: Any) -> None:
    found = outcomes(dict(settings(options["device"])), options["scenes"])
    header = ("setting", "equal pixels, %", f"mIoU with {REFERENCE}", "same queries, %", "mIoU with the truth, %")
    print(table(header, [(name, *each.cells(found[REFERENCE])) for name, each in found.items()]))


if __name__ == "__main__":
    main()
