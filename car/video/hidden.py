"""What one frame hands to the next: the hidden state of the recurrence over time."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from car.errors import InputError


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
    """

    picture: np.ndarray
    digest: np.ndarray
    survivors: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    uncertain: np.ndarray
    wait: int
    since: int

    def to_bytes(self) -> bytes:
        """All of it, compressed."""
        arrays = {**vars(self), "masks": np.packbits(self.masks), "shape": np.array(self.masks.shape)}
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
            shape = arrays.pop("shape")
            bits = np.unpackbits(arrays["masks"], count=int(shape.prod()))
            arrays["masks"] = bits.reshape(shape).astype(bool)
            wait, since = (int(arrays.pop(name)) for name in ("wait", "since"))
            return cls(**arrays, wait=wait, since=since)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error):
            raise InputError("The state of a film to go on with is damaged.") from None
