"""One mask against another in one frame: J and F as the DAVIS challenges define them (davis2017-evaluation).

Everything about a mask is found once, within a box around it, so that a frame of several objects takes milliseconds,
even where every mask is compared with every other.
"""

from functools import cached_property, lru_cache
from math import ceil, hypot

import cv2
import numpy as np

from car.errors import InputError


def region_similarity(predicted: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """J of one object in one frame: the IoU of the masks, 1 where both are empty.

    Args:
        predicted, truth: (H, W) bool.
        void: (H, W) bool, pixels that are taken out of both masks; none by default.

    Returns:
        A number in [0, 1].

    Raises:
        InputError: shapes or dtypes do not fit.

    >>> region_similarity(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.3333333333333333
    """
    return iou(*_regions(predicted, truth, void))


def boundary_accuracy(predicted: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """F of one object in one frame: 2PR / (P + R) of the masks' boundaries, see `boundary_map`.

    P is the share of the predicted boundary that lies within reach of the true one, R the share of the true boundary
    within reach of the predicted one; see `boundary_reach`. A mask without a boundary, which is one that is empty or
    fills the frame, has F 1 with another such mask and 0 with any other.

    Args:
        predicted, truth: (H, W) bool.
        void: (H, W) bool, pixels that are taken out of both masks; none by default. There is a boundary around the
            hole that this leaves in a mask.

    Returns:
        A number in [0, 1].

    Raises:
        InputError: shapes or dtypes do not fit.

    >>> square = np.zeros((60, 80), bool)
    >>> square[20:40, 20:40] = True
    >>> boundary_accuracy(np.roll(square, 1, axis=1), square), boundary_accuracy(np.roll(square, 30, axis=1), square)
    (1.0, 0.0)
    """
    return boundary_score(*_regions(predicted, truth, void))


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their neighbour to the right, below, or right below. The frame's edges are no boundary.

    The last row is compared to the right only, the last column downwards only, and the last pixel is none.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool, one pixel wide, half a pixel towards the first pixel from where the mask ends.

    >>> boundary_map(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool)).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    boundary = np.zeros_like(mask)
    boundary[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1] |= mask[:-1] ^ mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def boundary_reach(height: int, width: int) -> int:
    """How far from each other boundaries may lie and still agree, in pixels: ceil(0.008 * diagonal).

    >>> boundary_reach(480, 854)
    8
    """
    return ceil(0.008 * hypot(height, width))


class Region:
    """A mask of a frame, cut out with a margin that its boundary and everything within reach of that lie in.

    Args:
        mask: (H, W) bool.
        reach: how far from each other boundaries may lie, in pixels.

    Attributes:
        top, left: where in the frame the cut-out starts.
        mask: (h, w) bool, the cut-out.
        area: pixels of the mask.
    """

    def __init__(self, mask: np.ndarray, reach: int = 0) -> None:
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        margin = reach + 1
        self.reach, self.top, self.left = reach, max(0, top - margin), max(0, left - margin)
        self.mask = mask[self.top : top + height + margin, self.left : left + width + margin].copy()
        self.area = int(np.count_nonzero(self.mask))

    @cached_property
    def boundary(self) -> np.ndarray:
        """`boundary_map` of the mask, (h, w) bool."""
        return boundary_map(self.mask)

    @cached_property
    def length(self) -> int:
        """Pixels of the boundary."""
        return int(np.count_nonzero(self.boundary)) if self.area else 0

    @cached_property
    def near(self) -> np.ndarray:
        """Pixels within reach of the boundary, in a straight line from centre to centre; (h, w) bool."""
        return cv2.dilate(self.boundary.view(np.uint8), _disk(self.reach)).view(np.bool_)

    def overlap(self, other: "Region") -> int:
        """Pixels that the masks share."""
        return self._shared(self.mask, other, other.mask) if self.area and other.area else 0

    def boundary_near(self, other: "Region") -> int:
        """Pixels of this boundary that lie within reach of the other one."""
        return self._shared(self.boundary, other, other.near) if self.length and other.length else 0

    def _shared(self, mine: np.ndarray, other: "Region", its: np.ndarray) -> int:
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + mine.shape[0], other.top + its.shape[0])
        right = min(self.left + mine.shape[1], other.left + its.shape[1])
        if bottom <= top or right <= left:
            return 0
        mine = mine[top - self.top : bottom - self.top, left - self.left : right - self.left]
        its = its[top - other.top : bottom - other.top, left - other.left : right - other.left]
        return int(np.count_nonzero(mine & its))


def iou(one: Region, other: Region) -> float:
    """J of two regions of one frame, or of a region with itself in another frame."""
    shared = one.overlap(other)
    union = one.area + other.area - shared
    return shared / union if union else 1.0


def boundary_score(predicted: Region, truth: Region) -> float:
    """F of two regions of one frame."""
    precision = predicted.boundary_near(truth) / predicted.length if predicted.length else 1.0
    recall = truth.boundary_near(predicted) / truth.length if truth.length else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _regions(predicted: np.ndarray, truth: np.ndarray, void: np.ndarray | None) -> tuple[Region, Region]:
    for name, mask in (("predicted", predicted), ("truth", truth), ("void", truth if void is None else void)):
        if mask.dtype != np.bool_ or mask.ndim != 2 or mask.shape != truth.shape or not mask.size:
            raise InputError(
                f"Expected `{name}` of bool, (H, W) of one size, but got {mask.dtype}, {mask.shape} "
                f"for a truth of {truth.shape}."
            )
    reach = boundary_reach(*truth.shape)
    one, other = (mask if void is None else mask & ~void for mask in (predicted, truth))
    return Region(one, reach), Region(other, reach)


@lru_cache(maxsize=8)
def _disk(radius: int) -> np.ndarray:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)
