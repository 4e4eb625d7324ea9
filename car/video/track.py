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
from car.video.cuts import is_cut
from car.video.flow import carried, flow, shrunk
from car.video.frames import Frame
from car.video.hidden import Hidden
from car.video.result import FrameResult
from car.video.settings import VideoSettings


class Track:
    """Segments the frames of one film in order.

    From frame to frame go the queries that survived and their masks: the hidden state of a recurrence over time. In the
    next frame, a survivor's proposal is mixed with its mask, moved along the optical flow, before it is judged. All
    queries are asked in a full check: in the first frame, at a scene cut (which forgets the masks), in the frame after
    one in which a query came or went, and then after 2, 4, 8, ... frames as long as nothing changes. In between, only
    the survivors are asked.

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
        answer = self._answer(prepared, picture, last, checked)
        self.hidden = Hidden(picture, digest, *answer, *self.schedule(answer, last, checked))
        return self._result(frame, self.hidden, checked=checked, cut=cut)

    @torch.inference_mode()
    def _answer(self, prepared: PreparedImage, picture: np.ndarray, last: Hidden | None, checked: bool) -> "Answer":
        """Run the loop on one frame."""
        scores = np.full(len(self.names), np.nan, np.float32) if last is None else last.scores.copy()
        doubtful = np.zeros(len(self.names), bool)
        queries = range(len(self.names)) if last is None or checked else last.survivors.tolist()
        if queries:
            prior = {} if last is None else self._prior(picture, last)
            asking = Asking(prepared, {q: self.queries[q] for q in queries}, self.background, prior, self.settings)
            turns = asking.turns()
            for turn in turns:
                scores[list(turn.queries)] = turn.scores
            if kept := turns[-1].survivors:
                masks, doubtful[list(kept)] = asking.settle(turns[-1])
                return Answer(np.array(kept, np.int64), masks, scores, doubtful)
        return Answer(np.zeros(0, np.int64), np.zeros((0, *prepared.working.shape[:2]), bool), scores, doubtful)

    def _prior(self, picture: np.ndarray, last: Hidden) -> dict[int, np.ndarray]:
        """The masks of the frame before as they lie in this one, by query."""
        still = np.zeros((*picture.shape[:2], 2), np.float32)
        field = flow(picture, last.picture) if self.settings.warp and len(last.survivors) else still
        return dict(zip(last.survivors.tolist(), carried(last.masks, field), strict=True))

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
            unknown = np.full(n, np.nan, np.float32)
            return FrameResult(frame, self.names, nothing, masks, unknown, nothing, checked, cut, reused)
        present = np.zeros(n, bool)
        present[hidden.survivors] = True
        masks = np.array([resized(mask.astype(np.uint8), size) > 0 for mask in hidden.masks], bool).reshape(-1, *size)
        return FrameResult(frame, self.names, present, masks, hidden.scores, hidden.uncertain, checked, cut, reused)


class Answer(NamedTuple):
    """As the fields of `Hidden` of the same names."""

    survivors: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    uncertain: np.ndarray


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
