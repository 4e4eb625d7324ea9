"""What one frame hands to the next: the hidden state of the recurrence over time."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from car.errors import InputError
from car.video.claims import Claims

_CLAIM, _SHAPE = "claims.", ".shape"
_MASKS = ("masks", _CLAIM + "places")


@dataclass(frozen=True)
class Hidden:
    """The last frame's answer, and what is needed to go on from it.

    picture: (h, w, 3) uint8 RGB, the frame as of `car.video.flow.shrunk`.
    digest: of the frame's pixels, (16,) uint8.
    survivors: (n,) int64, which of the N queries were kept.
    masks: (n, H, W) bool, theirs, at the size worked on.
    scores: (N,) float32, as of `FrameResult`.
    uncertain: (N,) bool, as of `FrameResult`.
    wait: from one full check to the next, in frames.
    since: frames since the last full check.
    claims: whose each object is.
    """

    picture: np.ndarray
    digest: np.ndarray
    survivors: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    uncertain: np.ndarray
    wait: int
    since: int
    claims: Claims

    def to_bytes(self) -> bytes:
        """All of it, compressed."""
        arrays = {**vars(self), **{_CLAIM + name: value for name, value in vars(self.claims).items()}}
        del arrays["claims"]
        for name in _MASKS:
            arrays |= {name: np.packbits(arrays[name]), name + _SHAPE: np.array(arrays[name].shape)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            InputError: it did not write this.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = dict(file)
            for name in _MASKS:
                shape = arrays.pop(name + _SHAPE)
                arrays[name] = np.unpackbits(arrays[name], count=int(shape.prod())).reshape(shape).astype(bool)
            wait, since = (int(arrays.pop(name)) for name in ("wait", "since"))
            claims = {name: arrays.pop(name) for name in [*arrays] if name.startswith(_CLAIM)}
            known = Claims(**{name.removeprefix(_CLAIM): value for name, value in claims.items()})
            return cls(**arrays, wait=wait, since=since, claims=known)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
            raise InputError("The state of a film to go on with is damaged.") from None
