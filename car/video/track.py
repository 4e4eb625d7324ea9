"""One film and one list of queries: CaR on each frame, with what the frame before has left."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from car.errors import InputError
from car.prepared import PreparedImage, resized
from car.propose.background import without_queries
from car.queries import Query, clean_synonyms
from car.segmenter import Segmenter
from car.video.asking import Asking
from car.video.claims import NOBODY, Claims
from car.video.cuts import is_cut
from car.video.flow import carried, flow, shrunk
from car.video.frames import Frame
from car.video.hidden import Hidden
from car.video.identity import alike
from car.video.result import FrameResult
from car.video.settings import VideoSettings


class Track:
    """Segments the frames of one film in order.

    From frame to frame go the queries that survived and their masks: the hidden state of a recurrence over time. In the
    next frame, a survivor's proposal is mixed with its mask, moved along the optical flow, before it is judged. All
    queries are asked in a full check: in the first frame, at a scene cut (which forgets the masks), in the frame after
    one in which a query came or went, and then after 2, 4, 8, ... frames as long as nothing changes. In between, only
    the survivors are asked. Whose objects are whose (`car.video.claims`) is followed beside that, where every frame is
    alone as well; no mask depends on it.

    Args:
        segmenter: models and settings of each frame.
        queries: as of `Segmenter.segment`.
        settings: how to go from frame to frame.

    Raises:
        InputError: as `Segmenter.segment` for queries; or queries are apart, and mask proposals were to be merged.

    Attributes:
        names: of the queries.
        hidden: what the last frame has left, None before the first; assign it to go on from there.
    """

    def __init__(self, segmenter: Segmenter, queries: str | Sequence[Query], settings: VideoSettings) -> None:
        if segmenter.config.sam is not None and not settings.together:
            raise InputError(
                "Mask proposals (sam) are merged into masks of competing queries only, not of expressions."
            )
        self.segmenter, self.settings = segmenter, settings
        self.queries = clean_synonyms(queries)
        segmenter.check(self.queries)
        self.names = tuple(synonyms[0] for synonyms in self.queries)
        texts = [text for synonyms in self.queries for text in synonyms]
        # When survivors alone are asked, what was pruned must not become their background.
        self.background = without_queries(segmenter.background, texts)
        self.alike = alike(self.queries)
        self.hidden: Hidden | None = None

    def step(self, frame: Frame) -> FrameResult:
        """The answer for the next frame. One that could not be read has no masks, and leaves the state as it is."""
        before = self.hidden
        if frame.image is None:
            return self._result(frame, None)
        digest = digest_of(frame.image)
        # Between full checks, a film that stands still is not to wait for the next one for ever.
        if before is not None and np.array_equal(digest, before.digest) and (before.since == 0 or not due(before)):
            self.hidden = replace(before, since=before.since and before.since + 1)
            return self._result(frame, self.hidden, reused=True)
        prepared, picture = self.segmenter.prepare(frame.image), shrunk(frame.image)
        cut = before is not None and new_shot(prepared, picture, before)
        last = None if cut or self.settings.mode == "per-frame" else before
        checked = last is None or due(last)
        field = None if before is None or cut else self._field(picture, before)
        answer = self._answer(prepared, {} if last is None else prior(last, field), last, checked)
        claims = self._claims(before, field, answer)
        answer = answer._replace(uncertain=answer.uncertain | claims.doubtful)
        self.hidden = Hidden(picture, digest, *answer[:4], *self.schedule(answer, last, checked), claims)
        return self._result(frame, self.hidden, checked=checked, cut=cut)

    @torch.inference_mode()
    def _answer(
        self, prepared: PreparedImage, prior: dict[int, np.ndarray], last: Hidden | None, checked: bool
    ) -> "Answer":
        """Run the loop on one frame."""
        scores = np.full(len(self.names), np.nan, np.float32) if last is None else last.scores.copy()
        doubtful = np.zeros(len(self.names), bool)
        queries = range(len(self.names)) if last is None or checked else last.survivors.tolist()
        if queries:
            asking = Asking(prepared, {q: self.queries[q] for q in queries}, self.background, prior, self.settings)
            turns = asking.turns()
            for turn in turns:
                scores[list(turn.queries)] = turn.scores
            if kept := turns[-1].survivors:
                masks, doubtful[list(kept)], looks = asking.settle(turns[-1])
                return Answer(np.array(kept, np.int64), masks, scores, doubtful, looks)
        nothing, looks = np.zeros((0, *prepared.working.shape[:2]), bool), np.zeros((0, 0), np.float32)
        return Answer(np.zeros(0, np.int64), nothing, scores, doubtful, looks)

    def _field(self, picture: np.ndarray, before: Hidden) -> np.ndarray:
        """Where to move what the frame before has left."""
        if self.settings.warp and (len(before.survivors) or len(before.claims.owners)):
            return flow(picture, before.picture)
        return np.zeros((*picture.shape[:2], 2), np.float32)

    def _claims(self, before: Hidden | None, field: np.ndarray | None, answer: "Answer") -> Claims:
        """The claims after a frame; without a field, a shot begins with it."""
        size = answer.masks.shape[1:]
        claims = Claims.none(len(self.names), size) if before is None else before.claims
        claims = claims.cut(size) if field is None else claims.moved(field)
        kept = answer.survivors.tolist()
        return claims.after(kept, answer.masks, answer.scores[kept], answer.looks, self.alike)

    def schedule(self, answer: "Answer", last: Hidden | None, checked: bool) -> tuple[int, int]:
        """`wait` and `since`: check again at once after a change, and later and later while there is none."""
        if last is None:
            return 1, 0
        changed = not np.array_equal(answer.survivors, last.survivors)
        wait = 1 if changed else min(2 * last.wait, self.settings.check_every) if checked else last.wait
        return wait, 0 if checked else last.since + 1

    def _result(
        self, frame: Frame, hidden: Hidden | None, *, checked: bool = False, cut: bool = False, reused: bool = False
    ) -> FrameResult:
        """The answer as the frame's size has it; without one, nothing is known to be there."""
        n, size = len(self.names), frame.size
        if hidden is None:
            nothing, masks = np.zeros(n, bool), np.zeros((0, *size), bool)
            unknown, nobody = np.full(n, np.nan, np.float32), np.full(n, NOBODY)
            return FrameResult(frame, self.names, nothing, masks, unknown, nothing, nobody, checked, cut, reused)
        present = np.zeros(n, bool)
        present[hidden.survivors] = True
        masks = np.array([resized(mask.astype(np.uint8), size) > 0 for mask in hidden.masks], bool).reshape(-1, *size)
        doubt = (hidden.uncertain, hidden.claims.taken_from)
        return FrameResult(frame, self.names, present, masks, hidden.scores, *doubt, checked, cut, reused)


class Answer(NamedTuple):
    """As the fields of `Hidden` of the same names, and the looks of the survivors as of `Settled`."""

    survivors: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    uncertain: np.ndarray
    looks: np.ndarray


def prior(last: Hidden, field: np.ndarray | None) -> dict[int, np.ndarray]:
    """The masks of the frame before as they lie in this one, by query."""
    assert field is not None
    return dict(zip(last.survivors.tolist(), carried(last.masks, field), strict=True))


def due(last: Hidden) -> bool:
    """Whether the next frame is to be a full check."""
    return last.since + 1 >= last.wait


def new_shot(prepared: PreparedImage, picture: np.ndarray, before: Hidden) -> bool:
    """Whether there is a cut before a frame; a picture of another size is one, too."""
    same_size = prepared.working.shape[:2] == before.masks.shape[1:] and picture.shape == before.picture.shape
    return not same_size or is_cut(picture, before.picture)


def digest_of(image: np.ndarray) -> np.ndarray:
    """What identifies a picture (H, W, 3) uint8: (16,) uint8."""
    size = repr(image.shape).encode()
    return np.frombuffer(hashlib.blake2b(size + image.tobytes(), digest_size=16).digest(), np.uint8)
