"""Where the actors of a film are: smooth paths on which they wander, cross, leave the picture and come back."""

from itertools import combinations

import numpy as np
from scipy.interpolate import PchipInterpolator

PACE = 10
"""Least number of frames between two points that a path is laid through, where the shot is as long."""
REACH = 0.25
"""Farthest that a wandering actor gets between two points, per axis, as a share of the picture's short side."""
BEYOND = 0.8
"""How far outside the picture the centre of an actor that has left lies, as a share of its extent."""
PASSERBY = 0.15
"""Chance that an actor starts a shot outside the picture, and that it ends one there."""
EVENTS = ("cross", "leave")
TRIES = 8


def draw_paths(
    rng: np.random.Generator, extents: np.ndarray, frames: int, size: tuple[int, int], event: str
) -> PchipInterpolator:
    """Paths of the actors of one shot.

    Args:
        rng: source of all chance.
        extents: (N,), the longer side of each actor in pixels.
        frames: length of the shot.
        size: (H, W) of the picture.
        event: what happens first where it can, of EVENTS; the others follow in turn.

    Returns:
        Called with a frame of the shot, or a fraction of one, it gives float64 (N, 4): row and column of each centre in
        pixels (0 is the middle of the first pixel), natural logarithm of the extent, and radians of further turning.
    """
    steps = max(1, frames // PACE)
    points = Walk(rng, extents, size, event).points(steps)
    shape = (len(extents), steps + 1)
    sizes = np.log(extents)[:, None] + rng.uniform(-0.2, 0.2, shape)
    turns = rng.uniform(-0.25, 0.25, shape)
    knots = np.linspace(0, max(1, frames - 1), steps + 1)
    return PchipInterpolator(knots, np.dstack([points, sizes, turns]), axis=1)


class Walk:
    """Lays the points of the paths, one step in time after the other. Points are (row, column)."""

    def __init__(self, rng: np.random.Generator, extents: np.ndarray, size: tuple[int, int], event: str) -> None:
        self.rng = rng
        self.extents = extents
        self.events = sorted(EVENTS, key=event.__ne__)
        """What is to happen, the next first."""
        self.gap = extents.max(initial=0)
        self.last = np.array(size) - 1.0
        margin = np.minimum(0.45 * extents[:, None], self.last / 2)
        self.low, self.high = margin, self.last - margin
        self.reach = REACH * min(size)

    def points(self, steps: int) -> np.ndarray:
        """Points (N, steps + 1, 2) of all actors."""
        laid = [self.start()]
        for step in range(steps):
            busy = step < 2 or self.rng.random() < 0.5
            laid.append(self.next(laid[-1], busy, step == steps - 1))
        return np.stack(laid, axis=1)

    def start(self) -> np.ndarray:
        """Points (N, 2) all over the picture; some actors are still outside, unless two are to cross at once."""
        here: list[np.ndarray] = []
        for low, high in zip(self.low, self.high, strict=True):
            here.append(apart(self.rng.uniform(low, high, (TRIES, 2)), here, self.gap))
        if self.events[0] != "cross":
            here = [self.out(i, point) if self.rng.random() < PASSERBY else point for i, point in enumerate(here)]
        return np.array(here).reshape(-1, 2)

    def next(self, here: np.ndarray, busy: bool, last: bool) -> np.ndarray:
        """Points (N, 2) one step on: who is outside comes back, something happens if it is a busy step, others wander.

        At the last step nobody leaves to come back, but some leave.
        """
        away = ((here < 0) | (here > self.last)).any(axis=1)
        inside = [int(i) for i in np.flatnonzero(~away)]
        there = {int(i): self.wander(int(i), here[i], 1)[0] for i in np.flatnonzero(away)}
        if busy:
            there |= self.happen(here, inside, last)
        if last:
            there |= {i: self.out(i, here[i]) for i in inside if i not in there and self.rng.random() < PASSERBY}
        for i in inside:
            if i not in there:
                there[i] = apart(self.wander(i, here[i], TRIES), list(there.values()), self.gap)
        return np.array([there[i] for i in range(len(here))]).reshape(-1, 2)

    def happen(self, here: np.ndarray, inside: list[int], last: bool) -> dict[int, np.ndarray]:
        """Where the next event that is possible takes those whom it concerns; nothing where none is."""
        for event in self.events:
            if event == "cross" and len(inside) >= 2:
                moved = self.cross(here, inside)
            elif event == "leave" and inside and not last:
                moved = self.leave(here, inside)
            else:
                continue
            self.events = sorted(EVENTS, key=event.__eq__)
            return moved
        return {}

    def cross(self, here: np.ndarray, inside: list[int]) -> dict[int, np.ndarray]:
        """Two actors pass each other: the nearest two of those that do not touch, if there are any."""

        def rank(pair: tuple[int, ...]) -> tuple[bool, float]:
            a, b = pair
            distance = float(np.hypot(*(here[a] - here[b])))
            return distance < (self.extents[a] + self.extents[b]) / 2, distance

        a, b = min(combinations(inside, 2), key=rank)
        middle, half = (here[a] + here[b]) / 2, (here[b] - here[a]) / 2
        clear = 0.6 * (self.extents[a] + self.extents[b]) / 2
        half *= min(1, clear / max(1e-9, np.hypot(*half)))
        jitter = self.rng.uniform(-0.1, 0.1, (2, 2)) * self.extents[[a, b], None]
        return {a: middle + half + jitter[0], b: middle - half + jitter[1]}

    def leave(self, here: np.ndarray, inside: list[int]) -> dict[int, np.ndarray]:
        """The actor that has the shortest way goes out."""
        ways = {i: self.out(i, here[i]) for i in inside}
        actor = min(ways, key=lambda i: float(np.abs(ways[i] - here[i]).sum()))
        return {actor: ways[actor]}

    def out(self, actor: int, point: np.ndarray) -> np.ndarray:
        """The point wholly outside the picture beyond the nearest border."""
        side, axis = divmod(int(np.concatenate([point, self.last - point]).argmin()), 2)
        beyond = BEYOND * self.extents[actor]
        outside = point.copy()
        outside[axis] = self.last[axis] + beyond if side else -beyond
        return outside

    def wander(self, actor: int, point: np.ndarray, count: int) -> np.ndarray:
        """Points (count, 2) inside the picture and, if it is inside itself, near `point`."""
        near = point + self.rng.uniform(-self.reach, self.reach, (count, 2))
        return np.clip(near, self.low[actor], self.high[actor])


def apart(candidates: np.ndarray, others: list[np.ndarray], gap: float) -> np.ndarray:
    """The first of the candidates (K, 2) that is `gap` from all others; the one farthest from them if none is."""
    distance = np.array([np.hypot(*(candidates - other).T) for other in others]).min(axis=0, initial=gap)
    return candidates[distance.argmax()]
