"""Pictures of a result: the image with its masks, names and scores, and one page per step of the loop."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from car.canvas import FAINT, SOFT, Box, Canvas, Color, as_color, width
from car.errors import InputError
from car.explain import explain_step
from car.palette import query_colors
from car.pills import Lines, Pill

if TYPE_CHECKING:
    from car.result import Segmentation

__all__ = ["explain_step", "overlay"]

_SMALL_SIDE = 480
_SMALLEST_SIDE = 32
_TEXT_SHARE = 0.03
_MIN_TEXT = 13
_MAX_NAMES = 200
_STRIP_WIDTH = 320
_STRIP_LINES = 3
_ABSENT: Color = (236, 238, 242)
_WIDEST_NAME = 0.9
_ROOMY = 4

Region = tuple[slice, slice]


def overlay(result: "Segmentation", alpha: float = 0.5) -> np.ndarray:
    """The image under its masks, with the name and score of every query.

    Masks are tinted and outlined in the query's colour (`car.palette.query_colors`). Present queries are named on
    their masks, or below the picture where there is no room; absent ones are listed below. Images whose longer
    side is under 480 pixels are enlarged by a whole factor, in the picture only; so is a side under 32 pixels, alone.

    Args:
        alpha: strength of the tint in [0, 1].

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        InputError: alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"Expected argument `alpha` to be in [0, 1], but got {alpha}.")
    labels, image = _enlarge(result.labels), _enlarge(result.image)
    size = max(_MIN_TEXT, round(_TEXT_SHARE * math.sqrt(labels.size)))
    colors = query_colors(len(result.queries))
    canvas = Canvas.over(_tint(image, labels, colors, alpha, max(2, size // 7)))
    homeless = _place_names(canvas, result, labels, colors, size)
    return _stack(canvas.pixels(), _legends(result, homeless, colors, max(labels.shape[1], _STRIP_WIDTH), size))


def _enlarge(pixels: np.ndarray) -> np.ndarray:
    rows, columns = pixels.shape[:2]
    factor = max(1, math.ceil(_SMALL_SIDE / max(rows, columns)))
    down, across = (max(factor, math.ceil(_SMALLEST_SIDE / side)) for side in (rows, columns))
    return pixels.repeat(down, 0).repeat(across, 1)


def _tint(image: np.ndarray, labels: np.ndarray, colors: np.ndarray, alpha: float, line: int) -> np.ndarray:
    painted = np.concatenate([np.zeros((1, 3), np.uint8), colors])[labels]
    blended = cv2.addWeighted(painted, alpha, image, 1 - alpha, 0)
    inside = labels > 0
    tinted = np.where(inside[:, :, None], blended, image)
    edges = inside & _edges(labels, line)
    return np.where(edges[:, :, None], painted, tinted)


def _edges(labels: np.ndarray, line: int) -> np.ndarray:
    """Pixels at most `line` away from another label, bool; the border of the image is no edge."""
    edges = np.zeros(labels.shape, np.uint8)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line - 1, 2 * line - 1))
    return cv2.dilate(edges, window) > 0


def _name(result: "Segmentation", i: int, color: Color) -> Pill:
    score = float(result.scores[i])
    return Pill(result.queries[i], f"{score:.2f}" if math.isfinite(score) else "?", color)


def _place_names(
    canvas: Canvas, result: "Segmentation", labels: np.ndarray, colors: np.ndarray, size: int
) -> list[int]:
    """Name the present queries on their masks, large ones first; returns those that found no room."""
    areas = np.bincount(labels.ravel(), minlength=len(result.queries) + 1)[1:]
    order = [i for i in np.argsort(-areas, kind="stable").tolist() if result.present[i]]
    taken: list[Box] = []
    homeless = order[_MAX_NAMES:]
    for i in order[:_MAX_NAMES]:
        name = _name(result, i, as_color(colors[i]))
        name = name.fitted(size, _WIDEST_NAME * labels.shape[1])
        place = _place(labels, i + 1, name.size(size), taken)
        if place is None:
            homeless.append(i)
        else:
            name.draw(canvas, place[0], place[1], size)
            taken.append(place)
    return homeless


def _place(labels: np.ndarray, label: int, pill: tuple[int, int], taken: Sequence[Box]) -> Box | None:
    """The first free box for a name near its mask, or None."""
    rows, columns = labels.shape
    across, down = pill
    mask = (labels == label).view(np.uint8)
    *corner, width, height = cv2.boundingRect(mask)
    if not width or across > columns or down > rows:
        return None
    region = np.s_[corner[1] : corner[1] + height, corner[0] : corner[0] + width]
    for x, y in _spots(mask[region], region, across, down):
        left, top = min(max(x, 0.0), columns - across), min(max(y, 0.0), rows - down)
        box = (left, top, left + across, top + down)
        if not any(_overlap(box, other) for other in taken):
            return box
    return None


def _spots(mask: np.ndarray, region: Region, across: int, down: int) -> Iterator[tuple[float, float]]:
    """Top left corners to try: the depth of the mask if the name leaves it visible, else above and below it."""
    rows, columns = region
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    middle = columns.start + float(x) - 1 - across / 2
    inside = rows.start + float(y) - 1 - down / 2
    outside = (rows.start - down - 4, rows.stop + 4)
    roomy = depth.max() >= down and mask.sum() >= _ROOMY * across * down
    for top in (inside, *outside) if roomy else (*outside, inside):
        yield middle, top
    for step in (1, -1, 2, -2, 3, -3):
        yield middle, inside + 1.15 * step * down


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legends(
    result: "Segmentation", homeless: Sequence[int], colors: np.ndarray, columns: int, size: int
) -> list[np.ndarray]:
    """Strips below the picture: the present queries without room in it, then the absent ones, best first."""
    size = min(size, max(_MIN_TEXT, columns // 24))
    absent = np.flatnonzero(~np.asarray(result.present)).tolist()
    absent.sort(key=lambda i: -np.nan_to_num(result.scores[i]))
    present = [_name(result, i, as_color(colors[i])) for i in homeless]
    lists = {"present": present, "absent": [_name(result, i, _ABSENT) for i in absent]}
    return [_legend(heading, names, columns, size) for heading, names in lists.items() if names]


def _legend(heading: str, names: Sequence[Pill], columns: int, size: int) -> np.ndarray:
    """A strip (h, columns, 3) uint8 with a heading and as many names as a few lines hold."""
    start = 2 * size + max(width(word, size) for word in ("present", "absent"))
    lines = Lines.of(names, size, columns - start - size, _STRIP_LINES)
    canvas = Canvas(columns, round(lines.height + size))
    canvas.text(heading, size, size / 2 + 1.1 * size, size, SOFT)
    lines.draw(canvas, start, size / 2)
    return canvas.pixels()


def _stack(image: np.ndarray, strips: Sequence[np.ndarray]) -> np.ndarray:
    """Image over strips; an image narrower than they are stands in the middle of grey."""
    if not strips:
        return image
    spare = strips[0].shape[1] - image.shape[1]
    beside = ((0, 0), (spare // 2, spare - spare // 2))
    padded = [np.pad(image[:, :, c], beside, constant_values=FAINT[c]) for c in range(3)]
    return np.concatenate([np.stack(padded, 2), *strips])
