"""Regions of an image merged two by two, the most alike first: selective search's grouping with contours added."""

import heapq
from dataclasses import dataclass

import cv2
import numpy as np

_COLOUR_BINS, _ANGLES = 25, 8
_GRADIENTS = (4.0, 12.0, 30.0, 70.0, 150.0)
_TEXTURE_BINS = _ANGLES * (len(_GRADIENTS) + 1)
_LAB_SCALE, _CONTOUR_SCALE = 50.0, 40.0


@dataclass(frozen=True)
class Weights:
    """What counts, and how much, when two neighbouring regions are compared.

    colour, texture: shared part of their histograms.
    size: small regions first. fill: together they fill their bounding box.
    contour: how weak the edge is along their common border. shade: how close their mean colours are.
    """

    colour: float = 1.0
    texture: float = 1.0
    size: float = 1.0
    fill: float = 1.0
    contour: float = 1.0
    shade: float = 1.0


class Regions:
    """The regions of a label map and what they look like; merged ones are appended.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int, every value in [0, n) present.
    """

    def __init__(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.count, self.pixels = int(labels.max()) + 1, labels.size
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        self.size = np.bincount(labels.ravel(), minlength=self.count).astype(np.float64)
        self.colour = np.concatenate(
            [self._histogram(labels, bins, _COLOUR_BINS) / 3 for bins in _colour_bins(image)], 1
        )
        self.texture = self._histogram(labels, _texture_bins(image), _TEXTURE_BINS)
        self.shade = np.stack([self._mean(labels, lab[..., channel]) for channel in range(3)], 1)
        self.low, self.high = _boxes(labels, self.count)
        self.borders = _borders(labels, lab, self.count)

    def _histogram(self, labels: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
        """(n, count), rows summing to one."""
        joint = np.bincount((labels * count + bins).ravel(), minlength=self.count * count)
        return joint.reshape(self.count, count) / self.size[:, None]

    def _mean(self, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(labels.ravel(), weights=values.ravel(), minlength=self.count) / self.size

    def tree(self, weights: Weights) -> list[tuple[int, int]]:
        """Merge until one region is left; the k-th pair makes region n + k. Regions that never touch stay apart."""
        return _Merging(self, weights).run()


class _Merging:
    """One run of merging over copies of the regions' arrays, with room for the merged ones."""

    def __init__(self, regions: Regions, weights: Weights) -> None:
        room = regions.count - 1
        self.weights, self.pixels, self.next = weights, regions.pixels, regions.count
        self.size = np.pad(regions.size, (0, room))
        self.colour, self.texture, self.shade, self.low, self.high = (
            np.pad(array, ((0, room), (0, 0)))
            for array in (regions.colour, regions.texture, regions.shade, regions.low, regions.high)
        )
        self.borders = [dict(border) for border in regions.borders]

    def run(self) -> list[tuple[int, int]]:
        queue: list[tuple[float, int, int]] = []
        for region in range(self.next):
            queue += self._candidates(region, [other for other in self.borders[region] if other > region])
        heapq.heapify(queue)
        alive = set(range(self.next))
        merged = []
        while queue:
            _, a, b = heapq.heappop(queue)
            if a in alive and b in alive:
                alive -= {a, b}
                alive.add(self.next)
                merged.append((a, b))
                for candidate in self._join(a, b):
                    heapq.heappush(queue, candidate)
        return merged

    def _join(self, a: int, b: int) -> list[tuple[float, int, int]]:
        """Make the next region of two; returns its pairs with its neighbours."""
        new = self.next
        self.next += 1
        self.size[new] = self.size[a] + self.size[b]
        for array in (self.colour, self.texture, self.shade):
            array[new] = (self.size[a] * array[a] + self.size[b] * array[b]) / self.size[new]
        self.low[new] = np.minimum(self.low[a], self.low[b])
        self.high[new] = np.maximum(self.high[a], self.high[b])
        border: dict[int, tuple[float, float]] = {}
        for part, rest in ((a, b), (b, a)):
            for other, (length, strength) in self.borders[part].items():
                if other != rest:
                    before = border.get(other, (0.0, 0.0))
                    border[other] = (before[0] + length, before[1] + strength)
                    del self.borders[other][part]
        self.borders.append(border)
        for other, value in border.items():
            self.borders[other][new] = value
        return self._candidates(new, list(border))

    def _candidates(self, region: int, others: list[int]) -> list[tuple[float, int, int]]:
        """Pairs for the queue, the most alike with the least key."""
        if not others:
            return []
        return [
            (-alike, region, other) for alike, other in zip(self._alike(region, others).tolist(), others, strict=True)
        ]

    def _alike(self, region: int, others: list[int]) -> np.ndarray:
        w, them = self.weights, np.array(others)
        size = self.size[region] + self.size[them]
        extent = np.maximum(self.high[region], self.high[them]) - np.minimum(self.low[region], self.low[them]) + 1
        length, strength = np.array([self.borders[region][other] for other in others]).T
        return (
            w.colour * np.minimum(self.colour[region], self.colour[them]).sum(axis=1)
            + w.texture * np.minimum(self.texture[region], self.texture[them]).sum(axis=1)
            + w.size * (1 - size / self.pixels)
            + w.fill * (1 - (extent.prod(axis=1) - size) / self.pixels)
            - w.contour * strength / length / _CONTOUR_SCALE
            - w.shade * np.linalg.norm(self.shade[region] - self.shade[them], axis=1) / _LAB_SCALE
        )


def _colour_bins(image: np.ndarray) -> list[np.ndarray]:
    """Bin of each pixel, per channel of Lab, int (H, W)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int64)
    return [lab[..., channel] * _COLOUR_BINS // 256 for channel in range(3)]


def _texture_bins(image: np.ndarray) -> np.ndarray:
    """Direction and strength of the gradient of each pixel as one bin, int (H, W)."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float32)
    dx, dy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    angle = ((np.arctan2(dy, dx) / np.pi + 1) * _ANGLES / 2).astype(np.int64) % _ANGLES
    return angle * (len(_GRADIENTS) + 1) + np.digitize(np.hypot(dx, dy), _GRADIENTS)


def _boxes(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last row and column of each region, two arrays (n, 2)."""
    low, high = np.full((count, 2), max(labels.shape)), np.zeros((count, 2), np.int64)
    for axis, position in enumerate(np.indices(labels.shape)):
        np.minimum.at(low[:, axis], labels, position)
        np.maximum.at(high[:, axis], labels, position)
    return low, high


def _borders(labels: np.ndarray, lab: np.ndarray, count: int) -> list[dict[int, tuple[float, float]]]:
    """Per region, its neighbours with the length of the common border and the colour contrast summed along it."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1)
    pairs, contrasts = [], []
    for axis in (0, 1):
        turned, colours = np.moveaxis(labels, axis, 0), np.moveaxis(smooth, axis, 0)
        wide = np.pad(colours, ((1, 1), (0, 0), (0, 0)), mode="edge")
        first, second = turned[:-1], turned[1:]
        border = first != second
        pairs.append(np.minimum(first, second)[border] * count + np.maximum(first, second)[border])
        contrasts.append(np.linalg.norm(wide[3:] - wide[:-3], axis=-1)[border])
    found, which = np.unique(np.concatenate(pairs), return_inverse=True)
    lengths, strengths = np.bincount(which), np.bincount(which, weights=np.concatenate(contrasts))
    borders: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for pair, length, strength in zip(found.tolist(), lengths.tolist(), strengths.tolist(), strict=True):
        a, b = divmod(pair, count)
        borders[a][b] = borders[b][a] = (length, strength)
    return borders
