"""Which object is whose: a claim per query, to tell when one query takes over what another had.

A query's claim is the place of its object, and its look. The place moves along the optical flow from frame to frame,
also while the query is not there; the look outlives cuts. A mask is marked where it lies in another query's place
rather than in its own; where it has come over a place that another query has lost, or into it; where it comes from
nowhere, and looks like what another query had that is not there; and where it has left its own place for nobody's, and
does not look like before. Two that ask for the same and stay where they are together take nothing from each other.
What is marked gains no claim. So it stays marked until it is back on its own object, or until nobody else has claimed
the new one for `PATIENCE` frames: then that is its own. An object passes from one query to another under a mark, or not
at all, as far as places and looks can tell.

The numbers were chosen on films of scenes (seeds from 7,000,000 on).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from car.video.flow import carried
from car.video.identity import AGREE, coverage, overlaps

MEET = 0.3
"""IoU of a mask with a place from which on it may be in it."""
MARGIN = 0.1
"""IoU by which a mask must be more in its own place than in another query's."""
STAY = 0.1
"""IoU with its own place under which a mask has left it."""
FITS = 0.7
"""Cosine of a mask's look with its query's from which on it may be anywhere."""
ALIKE = 0.5
"""Cosine with another query's look from which on a query that had nothing before may have taken over its object."""
SWALLOW = 0.6
"""Share of a place that a mask covers, or of a mask that lies in a place, from which on the mask has what was there."""
KEEP = 0.5
"""Share of its place that a query's mask must cover, or the query has lost it."""
SPECK = 0.25
"""Size of a place, by a mask's, up to which it is too little of what the mask shows to be the object it is on."""
PATIENCE = 8
"""Frames after which an object that nobody else claims is a query's own."""
LEARN = 0.2
"""Share of a frame in the mean that is a look."""
NOBODY = -1


@dataclass(frozen=True)
class Claims:
    """What N queries claim after a frame, and whose claims are in doubt.

    owners: (m,) int64, the queries that have a place, ascending.
    places: (m, H, W) bool, theirs, at the size worked on.
    known: (k,) int64, the queries that have a look, ascending.
    looks: (k, E) float32, theirs: means of the classifier's image features of their objects, of length 1.
    present: (N,) bool, which queries had a mask that is not empty.
    taken_from: (N,) int64, whose object each query seems to have taken over; -1 where nobody's.
    strayed: (N,) bool, which queries have left their places for nobody's.
    held: (N,) int64, for how many frames each has been one of these two, without a break.
    nested: (N, N) bool, [i, j] whether i's mask covered j's or lay in it when both were last there, as part and whole.
    """

    owners: np.ndarray
    places: np.ndarray
    known: np.ndarray
    looks: np.ndarray
    present: np.ndarray
    taken_from: np.ndarray
    strayed: np.ndarray
    held: np.ndarray
    nested: np.ndarray

    @classmethod
    def none(cls, queries: int, size: tuple[int, int]) -> Self:
        """What so many queries claim before the first frame, of this size."""
        nobody, never, nothing = np.zeros(0, np.int64), np.zeros(queries, np.int64), np.zeros(queries, bool)
        places, looks = np.zeros((0, *size), bool), np.zeros((0, 0), np.float32)
        apart = np.zeros((queries, queries), bool)
        return cls(nobody, places, nobody, looks, nothing, np.full(queries, NOBODY), nothing, never, apart)

    @property
    def doubtful(self) -> np.ndarray:
        """(N,) bool; which queries are marked."""
        return self.strayed | (self.taken_from != NOBODY)

    def moved(self, field: np.ndarray) -> Self:
        """As they lie in the next frame; the field is as of `car.video.flow.flow`."""
        places = carried(self.places, field) > 0.5
        inside = places.any(axis=(1, 2))
        return replace(self, owners=self.owners[inside], places=places[inside])

    def cut(self, size: tuple[int, int]) -> Self:
        """As a new shot begins with them, whose frames have this size: looks alone."""
        fresh = Claims.none(len(self.held), size)
        return replace(self, owners=fresh.owners, places=fresh.places, present=fresh.present, held=fresh.held)

    def after(
        self,
        queries: Sequence[int],
        masks: np.ndarray,
        scores: np.ndarray,
        looks: np.ndarray,
        alike: np.ndarray | None = None,
    ) -> "Claims":
        """The claims after a frame, from those that have been moved to it.

        Args:
            queries: that have the n masks.
            masks: (n, H, W) bool.
            scores: (n,); who has a higher one is first to claim what nobody has.
            looks: (n, E) float32, image features of the masks, of length 1.
            alike: (N, N) bool, as of `car.video.identity.alike`; without it, no query asks for what another asks for.
        """
        there = np.flatnonzero(masks.any(axis=(1, 2))).tolist()
        alike = np.eye(len(self.held), dtype=bool) if alike is None else alike
        shown = (masks[there], scores[there], looks[there])
        return _Hearing(self, [queries[row] for row in there], *shown, alike).claims()


class _Hearing:
    """Hears the masks of a frame one by one: first those that are in their own places, then those whose places are
    elsewhere, last those without one, each by score. What was settled before goes into what comes after."""

    def __init__(
        self,
        before: Claims,
        queries: list[int],
        masks: np.ndarray,
        scores: np.ndarray,
        looks: np.ndarray,
        alike: np.ndarray,
    ) -> None:
        self.before, self.queries, self.masks, self.seen, self.alike = before, queries, masks, looks, alike
        self.places = dict(zip(before.owners.tolist(), before.places, strict=True))
        self.looks = dict(zip(before.known.tolist(), before.looks, strict=True))
        self.now: dict[int, int] = {}  # by query, the row of the mask that has become its place
        self.settled: set[int] = set()
        n = len(before.held)
        self.taken_from, self.strayed, self.held = np.full(n, NOBODY), np.zeros(n, bool), np.zeros(n, np.int64)
        self.among_masks, self.with_places = overlaps(masks, masks), overlaps(masks, before.places)
        self.has = has(masks, before.places)
        self.order = sorted(range(len(queries)), key=lambda row: (self._turn(row), -scores[row], queries[row]))

    def claims(self) -> Claims:
        for row in self.order:
            self._hear(row)
        owners, known = sorted(self.places), sorted(self.looks)
        places = np.array([self.places[query] for query in owners], bool)
        present = np.zeros(len(self.held), bool)
        present[self.queries] = True
        return Claims(
            np.array(owners, np.int64),
            places.reshape(-1, *self.before.places.shape[1:]),
            np.array(known, np.int64),
            np.array([self.looks[query] for query in known], np.float32).reshape(len(known), self._width),
            present,
            self.taken_from,
            self.strayed,
            self.held,
            self._nested(),
        )

    def _nested(self) -> np.ndarray:
        """As `Claims.nested`; a query that has just been swallowed is no part."""
        nested, pairs = self.before.nested.copy(), np.ix_(self.queries, self.queries)
        taken = self.taken_from[self.queries, None] == np.array(self.queries, np.int64)
        nested[pairs] = np.where(taken, nested[pairs], has(self.masks, self.masks))
        return nested

    @property
    def _width(self) -> int:
        return self.seen.shape[1] if len(self.seen) else self.before.looks.shape[1]

    @cached_property
    def _column(self) -> dict[int, int]:
        return {query: column for column, query in enumerate(self.before.owners.tolist())}

    @cached_property
    def _row(self) -> dict[int, int]:
        return {query: row for row, query in enumerate(self.queries)}

    def _lost(self, query: int) -> bool:
        """Whether a query that has a place has no mask, or the lesser part of its place alone."""
        if query not in self._row:
            return True
        mask, place = self.masks[self._row[query], None], self.before.places[self._column[query], None]
        return bool(coverage(mask, place) < KEEP and coverage(place, mask) >= SWALLOW)

    def _turn(self, row: int) -> int:
        """When a mask is heard: 0, 1 or 2."""
        if (query := self.queries[row]) not in self._column:
            return 2
        return int(self.with_places[row, self._column[query]] < self.with_places[row].max())

    def _hear(self, row: int) -> None:
        """Settle a mask, or mark it."""
        query, rival = self.queries[row], self._rival(row)
        strayed = rival == NOBODY and self._strays(row)
        held = int(self.before.held[query]) + 1
        if (rival == NOBODY and not strayed) or (held > PATIENCE and rival not in self.settled):
            for claims in (self.places, self.now):
                claims.pop(rival, None)
            self._settle(row)
            return
        self.held[query], self.taken_from[query], self.strayed[query] = held, rival, strayed
        if rival not in (NOBODY, *self.queries) and self._overlap(row, query) < MEET:
            # Who is not there keeps the claim, on what the one who has taken it over shows, if that is one object.
            self.places[rival], self.now[rival] = self.masks[row], row

    def _settle(self, row: int) -> None:
        """Make a mask its query's place, and learn its look."""
        query, seen = self.queries[row], self.seen[row]
        self.settled.add(query)
        self.places[query], self.now[query] = self.masks[row], row
        look = self.looks.get(query, seen)
        mean = look + LEARN * (seen - look)
        self.looks[query] = mean / max(float(np.linalg.norm(mean)), 1e-6)

    def _rival(self, row: int) -> int:
        """Whose object a mask is on rather than on its own query's."""
        query = self.queries[row]
        own = self._overlap(row, query)
        apart = [other for other in self.places if other != query and not self._agrees(row, other)]
        others = {other: self._overlap(row, other) for other in apart}
        nearest = max(others, key=others.__getitem__, default=NOBODY)
        if nearest != NOBODY and others[nearest] >= max(MEET, own - MARGIN):
            return nearest
        if (swallowed := self._swallowed(row, apart)) != NOBODY:
            return swallowed
        return NOBODY if self.before.present[query] or own >= MEET else self._double(row)

    def _agrees(self, row: int, other: int) -> bool:
        """Whether another query asks for what a mask's query asks for, and they are together and have not met just now:
        the other is absent or its mask coincides with this one, which is in its own place or shared that before."""
        query = self.queries[row]
        if not self.alike[query, other] or (other in self._row and self.among_masks[row, self._row[other]] < AGREE):
            return False
        if query not in self._column or self.with_places[row, self._column[query]] >= MEET:
            return True
        before = [self.before.places[self._column[each], None] for each in (query, other) if each in self._column]
        return len(before) == 2 and bool(overlaps(*before)[0, 0] >= AGREE)

    def _swallowed(self, row: int, others: list[int]) -> int:
        """Of other queries that have lost their places, the one whose object a mask has come to show, wholly or too."""
        query, least = self.queries[row], SPECK * float(self.masks[row].sum())
        found = {
            other: float(self.with_places[row, column])
            for other in others
            if (column := self._column.get(other)) is not None
            and self.has[row, column]
            and not self.before.nested[query, other]
            and self.before.places[column].sum() >= least
            and self._lost(other)
        }
        return max(found, key=found.__getitem__, default=NOBODY)

    def _double(self, row: int) -> int:
        """Of the queries that are not there, whose object a mask looks like rather than like its own query's."""
        query, seen = self.queries[row], self.seen[row]
        least = float(self.looks[query] @ seen) if query in self.looks else ALIKE
        away = {other: float(look @ seen) for other, look in self.looks.items() if other not in self.queries}
        nearest = max(away, key=away.__getitem__, default=NOBODY)
        return nearest if nearest != NOBODY and away[nearest] >= least else NOBODY

    def _strays(self, row: int) -> bool:
        query = self.queries[row]
        if query not in self.places or self._overlap(row, query) >= STAY:
            return False
        return query not in self.looks or float(self.looks[query] @ self.seen[row]) < FITS

    def _overlap(self, row: int, query: int) -> float:
        """IoU of a mask with a query's place, as far as that is known by now."""
        if query in self.now:
            return float(self.among_masks[row, self.now[query]])
        return float(self.with_places[row, self._column[query]]) if query in self.places else 0.0


def has(masks: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, m) bool, whether masks (n, H, W) cover most of places (m, H, W) or lie mostly in them."""
    return (coverage(masks, places) >= SWALLOW) | (coverage(places, masks).T >= SWALLOW)
