"""How good the small SAM is on scenes it never saw: clicks, boxes, and automatic masks beside the regions'.

    python tools/mini_sam_eval.py runs/mini_sam/best.safetensors --scenes 50

Run inside the repository, or with the package installed. Brackets are 95 % intervals over the scenes.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

from car.evaluate.bootstrap import MeanBootstrap
from car.refine.sam import MINI_SETTINGS, MaskProposer, SamProposer
from car.refine.sam_checkpoint import import_package, load_sam
from car.scenes import TEST, TUNING, Scene, Split

SCENES = 15
"""How many scenes of each tuning row the trainer's own evaluation looks at."""
RECALLS = (0.5, 0.7)


def scenes_of(split: Split, count: int) -> list[tuple[str, Scene]]:
    """The first scenes of a row, each with a key of its own."""
    return [(f"{split.name} {i}", split.scene(i)) for i in range(count)]


def tuning_scenes() -> list[tuple[str, Scene]]:
    """What the trainer judges by."""
    return [pair for split in TUNING for pair in scenes_of(split, SCENES)]


def click_point(mask: np.ndarray) -> tuple[float, float]:
    """x and y of the pixel of a mask (H, W) that is farthest from what is not of it; the picture's edge is not."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(distance[1:-1, 1:-1].argmax(), mask.shape)
    return float(x), float(y)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask's first and last columns and rows."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def overlaps(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """IoU of all pairs, (M, N), of masks (M, H, W) bool with masks (N, H, W) bool."""
    a, b = (masks.reshape(len(masks), np.prod(masks.shape[1:])).astype(np.float32) for masks in (found, true))
    shared = a @ b.T
    return shared / (a.sum(axis=1)[:, None] + b.sum(axis=1) - shared)


@torch.no_grad()
def prompted(sam: torch.nn.Module, scenes: Iterable[tuple[str, Scene]]) -> dict[str, MeanBootstrap]:
    """IoU with the objects of scenes.

    Returns:
        "click" and "box": of the mask answered to one click (at `click_point`; of three, that of the highest predicted
        IoU) and to a box; "oracle": of the three of a click, the best; "single": of the one mask that is answered to
        the click where three are not asked for.
    """
    predictor = import_package("segment_anything").SamPredictor(sam.eval())
    out = {name: MeanBootstrap() for name in ("click", "oracle", "single", "box")}
    for key, made in scenes:
        if not len(made.masks):
            continue
        predictor.set_image(made.image)
        points, boxes = [click_point(mask) for mask in made.masks], [box_of(mask) for mask in made.masks]
        three, quality = ask(predictor, True, points=points)
        ious = np.stack([overlaps(masks, made.masks[i : i + 1])[:, 0] for i, masks in enumerate(three)])
        out["click"].add(key, ious[np.arange(len(ious)), quality.argmax(axis=1)])
        out["oracle"].add(key, ious.max(axis=1))
        for name, prompt in (("single", {"points": points}), ("box", {"boxes": boxes})):
            one, _ = ask(predictor, False, **prompt)
            out[name].add(key, np.diag(overlaps(one[:, 0], made.masks)))
    return out


def ask(predictor: Any, several: bool, **prompts: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N, 1 or 3, H, W) bool and their predicted IoUs, of N points or N boxes of the image that is set."""
    size, transform = predictor.original_size, predictor.transform
    points = boxes = labels = None
    if "points" in prompts:
        points = transform.apply_coords_torch(torch.tensor(prompts["points"])[:, None], size)
        labels = torch.ones(points.shape[:2])
    else:
        boxes = transform.apply_boxes_torch(torch.tensor(prompts["boxes"], dtype=torch.float32), size)
    masks, quality, _ = predictor.predict_torch(points, labels, boxes, multimask_output=several)
    return masks.numpy(), quality.numpy()


def proposed(propose: MaskProposer, scenes: Iterable[tuple[str, Scene]]) -> tuple[dict[str, MeanBootstrap], float]:
    """Share of the objects that some proposal overlaps by each of `RECALLS`, and the mean number of proposals."""
    out, counts = {f"recall@{least}": MeanBootstrap() for least in RECALLS}, []
    for key, made in scenes:
        masks = propose(made.image)
        counts.append(len(masks))
        best = overlaps(masks, made.masks).max(axis=0, initial=0)
        for least in RECALLS:
            out[f"recall@{least}"].add(key, (best >= least).astype(float))
    return out, float(np.mean(counts))


def cell(scores: MeanBootstrap) -> str:
    low, high = scores.interval()
    return f"{scores.mean(scores.scores):.3f} [{low:.3f}, {high:.3f}]"


def table(header: list[str], rows: Iterable[list[str]]) -> None:
    for row in (header, ["---"] * len(header)):
        click.echo(f"| {' | '.join(row)} |")
    for row in rows:
        click.echo(f"| {' | '.join(row)} |")


def prompted_rows(sam: torch.nn.Module, splits: Iterable[Split], count: int) -> Iterable[list[str]]:
    for split in splits:
        scores = prompted(sam, scenes_of(split, count))
        yield [split.name, str(sum(map(len, scores["click"].scores.values()))), *map(cell, scores.values())]


def proposed_rows(
    proposers: dict[str, Callable[[], MaskProposer]], splits: Iterable[Split], count: int
) -> Iterable[list[str]]:
    made = {name: make() for name, make in proposers.items()}
    for split in splits:
        for name, propose in made.items():
            scores, masks = proposed(propose, scenes_of(split, count))
            yield [split.name, name, *map(cell, scores.values()), f"{masks:.1f}"]


@click.command(help=__doc__)
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--scenes", default=50, show_default=True, help="Scenes of each row.")
@click.option("--rows", type=click.Choice(["test", "tuning"]), default="test", show_default=True)
@click.option("--automatic/--no-automatic", default=True, help="Also measure automatic masks, which takes longer.")
def main(weights: Path, scenes: int, rows: str, automatic: bool) -> None:
    from car.refine.regions import RegionProposer

    splits, sam = TEST if rows == "test" else TUNING, load_sam(weights)
    header = ["scenes", "objects", "one click", "best of three", "single mask", "box"]
    table(header, prompted_rows(sam, splits, scenes))
    if automatic:
        click.echo()
        proposers = {"mini SAM": lambda: SamProposer(sam, settings=MINI_SETTINGS), "regions": RegionProposer}
        header = ["scenes", "proposals", *(f"recall at IoU {least}" for least in RECALLS), "masks"]
        table(header, proposed_rows(proposers, splits, scenes))


if __name__ == "__main__":
    main()
