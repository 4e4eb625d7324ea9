"""TAS's choice among mask proposals: neither the small ones, nor those that lie mostly in a larger one."""

from dataclasses import dataclass

import numpy as np

from car.referring.proposals import MaskProposals

PIECE = 2**16
"""Pixels that are compared at once: float32 counts them exactly."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Which mask proposals are candidates.

    indices: (K,) int64, ascending; none only where there were no proposals.
    waived: whether all of them were too small, which leaves size out of it.
    """

    indices: np.ndarray
    waived: bool


def filtered(proposals: MaskProposals, *, min_area: float, max_overlap: float) -> Kept:
    """The proposals that TAS works with.

    Of every two proposals large enough that share more than `max_overlap` of the smaller one, the smaller goes, of two
    equal ones the later: also where the larger goes itself, because of a third.

    Args:
        proposals: M masks.
        min_area: least number of pixels; below 1, least share of the picture.
        max_overlap: in [0, 1].
    """
    areas, pixels = proposals.areas, int(np.prod(proposals.masks.shape[1:]))
    large = areas >= (min_area if min_area >= 1 else min_area * pixels)
    waived = bool(len(areas)) and not large.any()
    candidates = np.flatnonzero(large | waived)
    shared = intersections(proposals.masks[candidates])
    areas = areas[candidates]
    close = shared / np.minimum(areas[:, None], areas[None]) > max_overlap
    order = np.arange(len(areas))
    larger = (areas[None] > areas[:, None]) | ((areas[None] == areas[:, None]) & (order[None] < order[:, None]))
    return Kept(candidates[~(close & larger).any(axis=1)], waived)


def intersections(masks: np.ndarray) -> np.ndarray:
    """Pixels that any two of the masks (M, H, W) bool share: (M, M) int64."""
    flat = masks.reshape(len(masks), -1) if len(masks) else np.zeros((0, 0), bool)
    shared = np.zeros((len(masks), len(masks)), np.int64)
    for start in range(0, flat.shape[1], PIECE):
        piece = flat[:, start : start + PIECE].astype(np.float32)
        shared += (piece @ piece.T).astype(np.int64)
    return shared
