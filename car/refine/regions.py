"""Mask proposals that need no weights: the regions an image falls apart into, coarse and fine."""

import importlib.util
from collections.abc import Sequence

import cv2
import numpy as np

from car.errors import InputError, MissingError
from car.refine.region_tree import Regions, Weights

_TREES = (Weights(), Weights(colour=1, texture=0, size=2, fill=2, contour=0, shade=0))
_FINEST_SCALE, _FINEST_SHARE = 100, 0.0005  # of Felzenszwalb and Huttenlocher's segmentation


class RegionProposer:
    """Graph-based regions (Felzenszwalb and Huttenlocher), merged as in selective search, and cut at a few levels.

    Each level is a partition of the image into so many regions. A region that contains an object and much else stops
    IoM merging from ever replacing that object's mask, so the levels end well before everything is one region, and two
    different orders of merging are followed instead.

    Args:
        levels: numbers of regions to cut at.
        min_share, max_share: least and most share of the image that a proposal covers.
        max_side: larger images are segmented at this size; the proposals are then enlarged (nearest).

    Raises:
        MissingError: scikit-image is not installed.
        InputError: a level below 1, shares not in order within [0, 1], or a side below 1.
    """

    def __init__(
        self,
        *,
        levels: Sequence[int] = (16, 32, 64, 128),
        min_share: float = 0.001,
        max_share: float = 0.9,
        max_side: int = 512,
    ) -> None:
        if importlib.util.find_spec("skimage") is None:
            raise MissingError("scikit-image is not installed; run: pip install 'car-segmentation[regions]'")
        if not levels or min(levels) < 1 or not 0 <= min_share <= max_share <= 1 or max_side < 1:
            raise InputError(
                "Expected levels and max_side of at least 1 and 0 <= min_share <= max_share <= 1, "
                f"but got {tuple(levels)}, {max_side}, {min_share} and {max_share}."
            )
        self.levels, self.max_side = tuple(levels), max_side
        self.min_share, self.max_share = min_share, max_share

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Mask proposals (M, H, W) bool, all different, for an image (H, W, 3) uint8 RGB; the largest first."""
        height, width = image.shape[:2]
        labels = finest_regions(resize(image, self.max_side))
        regions = Regions(resize(image, self.max_side), labels)
        found = np.concatenate([cut(regions.tree(weights), regions.count, self.levels) for weights in _TREES])
        areas = found @ regions.size
        found = found[(areas >= self.min_share * labels.size) & (areas <= self.max_share * labels.size)]
        found = np.unique(found, axis=0)
        found = found[np.argsort(-(found @ regions.size), kind="stable")]
        enlarged = cv2.resize(labels.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
        return found[:, enlarged]


def resize(image: np.ndarray, max_side: int) -> np.ndarray:
    """The image with its longest side at most `max_side`."""
    scale = min(1.0, max_side / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def finest_regions(image: np.ndarray) -> np.ndarray:
    """Label map (H, W) int64 of many small regions that hardly ever cross an object's outline; labels are 0, 1, ..."""
    from skimage.segmentation import felzenszwalb

    smooth = cv2.bilateralFilter(image, 7, 30, 5)
    least = max(1, round(_FINEST_SHARE * image.shape[0] * image.shape[1]))
    labels = felzenszwalb(smooth, scale=_FINEST_SCALE, sigma=0.5, min_size=least)
    return np.unique(labels, return_inverse=True)[1].reshape(image.shape[:2])


def cut(tree: Sequence[tuple[int, int]], count: int, levels: Sequence[int]) -> np.ndarray:
    """The regions there are when merging has left as many as each level says.

    Args:
        tree: pairs merged, in order; the k-th makes region count + k.
        count: regions at the start; a level above it is the start itself.
        levels: numbers of regions.

    Returns:
        (R, count) bool: which of the first regions each one is made of.
    """
    members = np.eye(count + len(tree), count, dtype=bool)
    alive = set(range(count))
    wanted = {min(level, count) for level in levels}
    chosen = set(alive) if count in wanted else set()
    for new, (a, b) in enumerate(tree, start=count):
        members[new] = members[a] | members[b]
        alive -= {a, b}
        alive.add(new)
        if len(alive) in wanted:
            chosen |= alive
    return members[sorted(chosen)]
