"""The loop of CaR on one frame, with the carried masks of some queries."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from car.prepared import PreparedImage
from car.propose.proposals import Proposals
from car.recurrence import Turn, recur
from car.video.identity import AGREE, alike, overlaps, uncertain
from car.video.proposals import CarriedProposals
from car.video.settings import VideoSettings


class Settled(NamedTuple):
    """What the n survivors have.

    masks: (n, H, W) bool, at the size worked on.
    uncertain: (n,) bool, as of `car.video.identity`.
    looks: (n, E) float32, the classifier's image features of their prompted images, of length 1.
    """

    masks: np.ndarray
    uncertain: np.ndarray
    looks: np.ndarray


class Asking:
    """Some of a film's queries asked of one frame; everywhere, queries are named by their positions in the film's list.

    Args:
        prepared: the frame.
        queries: those to ask, with their synonyms.
        background: background queries.
        prior: the carried masks of some of them, (H, W) float32 in [0, 1].
        settings: of the film.
    """

    def __init__(
        self,
        prepared: PreparedImage,
        queries: Mapping[int, Sequence[str]],
        background: Sequence[str],
        prior: Mapping[int, np.ndarray],
        settings: VideoSettings,
    ) -> None:
        self.prepared, self.settings, self.prior, self.queries = prepared, settings, prior, queries
        self.place = {query: place for place, query in enumerate(queries)}
        self.asked = prepared.ask([*queries.values()], background=background, together=settings.together)

    def turns(self) -> list[Turn]:
        """The loop of CaR. What is carried is asked, whether a cascade would list it or not."""
        c = self.prepared.config
        listed = set(self.asked.shortlist())
        first = [query for query, place in self.place.items() if place in listed or query in self.prior]
        return recur(first, self._propose, self._judge, theta=c.theta, keep_best=c.keep_best, max_steps=c.max_steps)

    def settle(self, last: Turn) -> Settled:
        """The masks of the survivors, and what tells whose they are."""
        kept, clock = last.survivors, self.asked.clock
        rows = [last.queries.index(query) for query in kept]
        assert isinstance(last.proposals, CarriedProposals)
        proposals = last.proposals.chosen(rows)
        turn = Turn(kept, proposals, last.scores[rows], kept)
        if self.settings.together:
            masks = self.prepared.labels(turn, clock) == np.array(kept).reshape(-1, 1, 1) + 1
        else:
            masks = self.prepared.masks(turn, clock)
        matrix = self.asked.classifier.matrix(self._places(kept), proposals)[:, : len(kept)].float().cpu().numpy()
        nowhere = np.zeros(masks.shape[1:], np.float32)
        before = np.array([self.prior.get(query, nowhere) for query in kept])
        agreed = alike([self.queries[query] for query in kept]) & (overlaps(masks, masks) >= AGREE)
        doubt = uncertain(matrix, overlaps(masks, before), agreed)
        return Settled(masks, doubt, self.asked.classifier.features(proposals).float().cpu().numpy())

    def _propose(self, kept: Sequence[int]) -> Proposals:
        return CarriedProposals.of(self.asked.propose(self._places(kept)), kept, self.prior, self.settings.carry)

    def _judge(self, kept: Sequence[int], proposals: Proposals) -> np.ndarray:
        return self.asked.judge(self._places(kept), proposals)

    def _places(self, kept: Sequence[int]) -> list[int]:
        return [self.place[query] for query in kept]
