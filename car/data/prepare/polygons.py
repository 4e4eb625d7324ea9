"""Polygons as pixels, exactly as COCO's own tools (pycocotools) fill them.

A polygon is drawn on a grid five times as fine, an edge giving one point for every step along its longer side. A column
of pixels is crossed where the outline passes the fine column in its middle; the pixels below an odd number of crossings
are inside. COCO's results depend on how each number is rounded, so the roundings here are those of its C code.
"""

import numpy as np

from car.errors import InputError

_FINE = 5
_MOST_POINTS = 20_000_000
_LEAST_NUMBERS = 6


def fill_polygon(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of a polygon.

    Args:
        polygon: (2 * N,) float64: x, y of N >= 3 corners in turn, in pixels, (0, 0) being the corner of the picture;
            the last corner is joined to the first. What is outside the picture is cut off.
        height, width: of the picture.

    Returns:
        (height, width) bool.

    Raises:
        InputError: fewer than three corners, half a corner, no finite numbers, or far outside the picture.

    >>> fill_polygon(np.array([1.0, 0, 3, 0, 3, 2, 1, 2]), 2, 4).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    corners = _corners(polygon, height, width)
    u, v = _outline(*corners)
    crossed = np.flatnonzero(u[1:] != u[:-1])
    before, after = u[crossed], u[crossed + 1]
    column = (np.where(after < before, after, after - 1) + 0.5) / _FINE - 0.5
    inside = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    lower = np.minimum(v[crossed], v[crossed + 1])[inside]
    row = np.ceil(((lower + 0.5) / _FINE - 0.5).clip(0, height))
    crossings = column[inside].astype(np.int64) * height + row.astype(np.int64)
    flat = np.zeros(width * height, bool)
    if crossings.size:
        first, last = int(crossings.min()), int(crossings.max())
        odd = np.cumsum(np.bincount(crossings - first)) & 1
        flat[first:last] = odd[:-1]
    return flat.reshape(width, height).T


def _corners(polygon: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners on the fine grid, the first once more at the end: x and y, int64."""
    if polygon.ndim != 1 or polygon.size < _LEAST_NUMBERS or polygon.size % 2:
        raise InputError(f"Expected a polygon of at least three corners x, y, but got {polygon.size} numbers.")
    points = polygon.reshape(-1, 2)
    # Also the answer to NaN: no comparison with it is true.
    if not ((points >= (-width, -height)) & (points <= (2 * width, 2 * height))).all():
        raise InputError(f"A polygon is far outside its picture of {height} x {width} pixels.")
    fine = (points * _FINE + 0.5).astype(np.int64)  # towards zero, also where negative, as in C
    x, y = np.concatenate([fine, fine[:1]]).T
    return x, y


def _outline(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the fine grid along all edges, in turn."""
    wide, high = np.abs(np.diff(x)), np.abs(np.diff(y))
    flat = wide >= high
    length = np.where(flat, wide, high)
    if length.sum() > _MOST_POINTS:
        raise InputError(f"A polygon of {len(length):,} corners has too long an outline.")
    # An edge is followed from its lesser end, whichever way it runs, so that rounding does not depend on that.
    backwards = np.where(flat, x[:-1] > x[1:], y[:-1] > y[1:])
    start_x, end_x = np.where(backwards, x[1:], x[:-1]), np.where(backwards, x[:-1], x[1:])
    start_y, end_y = np.where(backwards, y[1:], y[:-1]), np.where(backwards, y[:-1], y[1:])
    slope = np.where(flat, end_y - start_y, end_x - start_x) / np.maximum(length, 1)
    edge = np.repeat(np.arange(len(length)), length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - length - 1, length + 1)
    step = np.where(backwards[edge], length[edge] - step, step)
    along, across = np.where(flat, start_x, start_y)[edge] + step, np.where(flat, start_y, start_x)[edge]
    across = (across + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(flat[edge], along, across), np.where(flat[edge], across, along)
