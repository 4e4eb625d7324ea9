"""Annotations in the formats of COCO and of PASCAL in Detail."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from benchmarks_pictures import Picture

from car import rle
from car.data.prepare.context import CATEGORIES

COCO_CATEGORIES = (
    *((1, "person"), (2, "bicycle"), (3, "car"), (4, "motorcycle"), (5, "airplane"), (6, "bus"), (7, "train")),
    *((8, "truck"), (9, "boat"), (10, "traffic light"), (11, "fire hydrant"), (13, "stop sign"), (14, "parking meter")),
    *((15, "bench"), (16, "bird"), (17, "cat"), (18, "dog"), (19, "horse"), (20, "sheep"), (21, "cow")),
    *((22, "elephant"), (23, "bear"), (24, "zebra"), (25, "giraffe"), (27, "backpack"), (28, "umbrella")),
    *((31, "handbag"), (32, "tie"), (33, "suitcase"), (34, "frisbee"), (35, "skis"), (36, "snowboard")),
    *((37, "sports ball"), (38, "kite"), (39, "baseball bat"), (40, "baseball glove"), (41, "skateboard")),
    *((42, "surfboard"), (43, "tennis racket"), (44, "bottle"), (46, "wine glass"), (47, "cup"), (48, "fork")),
    *((49, "knife"), (50, "spoon"), (51, "bowl"), (52, "banana"), (53, "apple"), (54, "sandwich"), (55, "orange")),
    *((56, "broccoli"), (57, "carrot"), (58, "hot dog"), (59, "pizza"), (60, "donut"), (61, "cake"), (62, "chair")),
    *((63, "couch"), (64, "potted plant"), (65, "bed"), (67, "dining table"), (70, "toilet"), (72, "tv")),
    *((73, "laptop"), (74, "mouse"), (75, "remote"), (76, "keyboard"), (77, "cell phone"), (78, "microwave")),
    *((79, "oven"), (80, "toaster"), (81, "sink"), (82, "refrigerator"), (84, "book"), (85, "clock"), (86, "vase")),
    *((87, "scissors"), (88, "teddy bear"), (89, "hair drier"), (90, "toothbrush")),
)
"""COCO's categories, number and name, in the order of the classes."""
DETAIL_CATEGORIES = CATEGORIES[1:]
"""Numbers of the categories of PASCAL in Detail, in the order of the classes."""
CROWDS = 0.5
"""Share of groups of objects of one class that are annotated as a crowd."""


def described(format_name: str) -> dict[str, str]:
    """What a JSON of this format says of itself."""
    return {"description": f"Scenes in the format of {format_name}", "version": "1.0"}


def detail_annotations(picture: Picture) -> Iterator[dict[str, Any]]:
    """Run lengths of every object and kind of stuff that is of a class."""
    for region in picture.regions:
        if region.id is not None:
            shape = {"segmentation": rle.encode(region.mask), **measures(region.mask)}
            yield {"category_id": DETAIL_CATEGORIES[region.id], **shape, "iscrowd": int(not region.thing), "parts": []}


def coco_annotations(picture: Picture) -> Iterator[dict[str, Any]]:
    """Objects that are of a class: polygons, or run lengths where one has a hole. Then crowds.

    The region of a crowd takes in what other annotated objects have within its box, as careless ones do: it has to be
    painted before them.
    """
    things = [(region.id, region.mask) for region in picture.regions if region.thing and region.id is not None]
    counts = Counter(i for i, _ in things)
    crowds = [i for i, count in counts.items() if count > 1 and picture.rng.random() < CROWDS]
    alone = [(i, mask) for i, mask in things if i not in crowds]
    for i, mask in alone:
        yield coco_annotation(i, mask, polygons(mask) or rle.encode(mask), crowd=False)
    for i in crowds:
        mask = np.any([mask for j, mask in things if j == i], axis=0)
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        box = np.s_[top : top + height, left : left + width]
        for _, other in alone:
            mask[box] |= other[box]
        yield coco_annotation(i, mask, {"size": list(mask.shape), "counts": runs(mask)}, crowd=True)


def coco_annotation(class_id: int, mask: np.ndarray, segmentation: Any, *, crowd: bool) -> dict[str, Any]:
    number = COCO_CATEGORIES[class_id][0]
    return {"category_id": number, "iscrowd": int(crowd), "segmentation": segmentation, **measures(mask)}


def measures(mask: np.ndarray) -> dict[str, Any]:
    """Area in pixels, and box as [x, y, width, height]."""
    return {"area": int(np.count_nonzero(mask)), "bbox": list(cv2.boundingRect(mask.view(np.uint8)))}


def polygons(mask: np.ndarray) -> list[list[int]]:
    """The outlines of a mask's parts along the edges of its pixels, [x, y, x, y, ...] each; none where one has a hole.

    Filled as COCO fills polygons, they give the mask, exactly.
    """
    doubled = cv2.resize(mask.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (tree[0, :, 3] >= 0).any():
        return []
    return [corners((contour[:, 0] + 1) // 2).ravel().tolist() for contour in found]


def cut_polygons(mask: np.ndarray) -> list[list[int]]:
    """As `polygons`, of a mask with holes too: it is cut from top to bottom through each."""
    strips = ((np.array([left, 0]), polygons(part)) for left, part in cut(mask))
    return [(np.reshape(each, (-1, 2)) + shift).ravel().tolist() for shift, found in strips for each in found]


def cut(mask: np.ndarray, left: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Upright strips of a mask that have no holes, none empty, each with the column that it begins at."""
    found, tree = cv2.findContours(np.pad(mask, 1).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    hole = next(
        (contour for contour, (*_, parent) in zip(found, tree[0] if found else (), strict=True) if parent >= 0), None
    )
    if hole is None:
        if found:
            yield left, mask
        return
    outer, _, width, _ = cv2.boundingRect(hole)
    middle = outer + width // 2 - 1
    yield from cut(mask[:, :middle], left)
    yield from cut(mask[:, middle:], left + middle)


def corners(outline: np.ndarray) -> np.ndarray:
    """The points (n, 2) of a closed outline of level and upright lines at which it turns."""
    outline = outline[(outline != np.roll(outline, 1, axis=0)).any(axis=1)]
    before = outline - np.roll(outline, 1, axis=0)
    after = np.roll(before, -1, axis=0)
    return outline[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def runs(mask: np.ndarray) -> list[int]:
    """The lengths of runs of 0 and 1 in turn, down the columns, beginning with 0, as COCO has those of crowds."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *edges, mask.size]).tolist()
