"""How the objects of a scene lie to each other, as far as that is beyond doubt."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BACKGROUND = -1
"""Stands for the background where a word may mean that; it has no place among the objects."""
FAINT = 0.002
"""Share of the picture below which an object cannot be expected to be recognised."""
SIDE = 0.1
"""Least distance of centroids, or from the picture's middle, for a clear "left": share of its width (height)."""
SLIGHT = 0.05
"""Most that something left of another may lie to its right where that is taken for a doubtful case, same unit."""
CENTRE, OFF_CENTRE = 0.1, 0.25
"""Up to where "in the middle" is clear, and where it is doubtful, on both axes, same unit."""
LARGER, LONGER = 1.5, 1.1
"""Least ratios of areas and of box diagonals for a clear "bigger"."""
NEAR, FAR = 0.06, 0.25
"""Up to where "next to" is clear, and where it is doubtful: gap between boxes as a share of the short side."""
CONTACT = 0.4
"""Least shared border for a clear overlap, as a share of the root of the smaller area."""

OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "big": "small", "small": "big"}


class Rough(NamedTuple):
    """A set of objects known up to doubts: what is surely in it, and what may be (the sure ones too)."""

    sure: frozenset[int]
    maybe: frozenset[int]

    def both(self, other: "Rough") -> "Rough":
        return Rough(self.sure & other.sure, self.maybe & other.maybe)


@dataclass(frozen=True)
class Geometry:
    """What is clear about N objects. Lists by object have one more item, for BACKGROUND.

    orders: by "left", "right", "top", "bottom", "big", "small": for each object those that it clearly precedes.
    places: by "left", "right", "top", "bottom", "middle": the objects in that part of the picture.
    relations: by "left of", "right of", "above", "below", "next to", "behind", "in front of": for each object those to
        which it is so related.
    faint: objects of which too little is to be seen.
    """

    orders: dict[str, list[frozenset[int]]]
    places: dict[str, Rough]
    relations: dict[str, list[Rough]]
    faint: frozenset[int]


def geometry(masks: np.ndarray) -> Geometry:
    """Geometry of bool masks (N, H, W), disjoint, none empty, back to front.

    Lengths are measured from the middle of the picture, so that the mirrored picture has exactly the mirrored geometry.
    """
    count, height, width = masks.shape
    area, x, y = moments(masks)
    x0, x1 = borders(np.any(masks, axis=1))
    y0, y1 = borders(np.any(masks, axis=2))
    right, down = x - x[:, None], y - y[:, None]
    left_of = (right >= SIDE * width) & (x0[:, None] <= x0) & (x1[:, None] <= x1)
    above = (down >= SIDE * height) & (y0[:, None] <= y0) & (y1[:, None] <= y1)
    diagonal = np.hypot(x1 - x0 + 1, y1 - y0 + 1)
    across, along = gaps(x0, x1), gaps(y0, y1)
    gap = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    other = ~np.eye(count, dtype=bool)
    beside = (left_of | left_of.T) & (2 * -along >= np.minimum.outer(y1 - y0 + 1, y1 - y0 + 1))
    close = other & (gap <= FAR * min(height, width))
    shared = contact(masks)
    back = np.triu(other) & (shared >= CONTACT * np.sqrt(np.minimum.outer(area, area)))
    # What is partly hidden or cut by the border is larger than what is seen of it.
    whole = ~np.any(np.triu(other) & (shared > 0), axis=1) & (np.maximum(-x0, x1) < (width - 1) / 2)
    whole &= np.maximum(-y0, y1) < (height - 1) / 2
    bigger = (area[:, None] >= LARGER * area) & (diagonal[:, None] >= LONGER * diagonal) & whole
    level, upright = np.abs(right) >= np.abs(down), np.abs(down) >= np.abs(right)
    nearly_left, nearly_above = other & (right > -SLIGHT * width), other & (down > -SLIGHT * height)
    return Geometry(
        orders={
            "left": rows(left_of),
            "right": rows(left_of.T),
            "top": rows(above),
            "bottom": rows(above.T),
            "big": rows(bigger),
            "small": rows(bigger.T),
        },
        places={
            "left": within(-x, SIDE * width),
            "right": within(x, SIDE * width),
            "top": within(-y, SIDE * height),
            "bottom": within(y, SIDE * height),
            "middle": central(np.maximum(np.abs(x) / width, np.abs(y) / height)),
        },
        relations={
            "left of": relation(left_of & level, nearly_left),
            "right of": relation(left_of.T & level, nearly_left.T),
            "above": relation(above & upright, nearly_above),
            "below": relation(above.T & upright, nearly_above.T),
            "next to": relation(beside & (gap <= NEAR * min(height, width)), close),
            "behind": relation(back, close & ~back.T),
            "in front of": relation(back.T, close & ~back),
        },
        faint=members(area < FAINT * height * width),
    )


def moments(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area in pixels and centroid (x, y) from the middle of the picture, float64 (N,) each."""
    height, width = masks.shape[1:]
    columns, lines = masks.sum(axis=1), masks.sum(axis=2)
    area = np.maximum(columns.sum(axis=1), 1)
    # Twice the distance from the middle is a whole number, so that these sums are exact.
    x = columns @ (2 * np.arange(width) - (width - 1)) / (2 * area)
    y = lines @ (2 * np.arange(height) - (height - 1)) / (2 * area)
    return area.astype(np.float64), x, y


def borders(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last true item of each row of (N, L), from the middle of the row."""
    middle = (filled.shape[1] - 1) / 2
    return filled.argmax(axis=1) - middle, middle - filled[:, ::-1].argmax(axis=1)


def gaps(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Pixels between each two spans (N, N); negative: so many are shared."""
    return np.maximum(first - last[:, None], first[:, None] - last) - 1


def contact(masks: np.ndarray) -> np.ndarray:
    """How many pixels of one mask are direct neighbours of pixels of another, counted by pair of pixels, (N, N)."""
    flat = masks.astype(np.float32)
    across = np.tensordot(flat[:, :, 1:], flat[:, :, :-1], ([1, 2], [1, 2]))
    along = np.tensordot(flat[:, 1:], flat[:, :-1], ([1, 2], [1, 2]))
    return across + across.T + along + along.T


def within(depth: np.ndarray, margin: float) -> Rough:
    """What lies deeper than the margin in one half of the picture; about its border all is doubtful."""
    return Rough(members(depth >= margin), members(depth > -margin) | {BACKGROUND})


def central(offset: np.ndarray) -> Rough:
    return Rough(members(offset <= CENTRE), members(offset <= OFF_CENTRE) | {BACKGROUND})


def relation(sure: np.ndarray, maybe: np.ndarray) -> list[Rough]:
    """What each object surely and maybe is so related to. The background may be related to anything in any way."""
    pairs = [Rough(a, b | {BACKGROUND}) for a, b in zip(rows(sure), rows(maybe), strict=True)]
    return [*pairs[:-1], Rough(frozenset(), frozenset(range(-1, len(sure))))]


def rows(holds: np.ndarray) -> list[frozenset[int]]:
    """The true items of each row, and for BACKGROUND none."""
    return [*(frozenset(j for j, true in enumerate(row) if true) for row in holds.tolist()), frozenset()]


def members(holds: np.ndarray) -> frozenset[int]:
    return frozenset(np.flatnonzero(holds).tolist())
