"""Film files out, whole or not at all."""

import os
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from car.errors import CarError
from car.export import make_folder, reported

CODECS = ("vp09", "mp4v")
"""VP9, which browsers play; MPEG-4 part 2 where an OpenCV has no VP9. None of its wheels has H.264."""


class FilmWriter:
    """Writes an MP4 film, under another name until it is complete. A context manager: where its block ends well, the
    film is there; otherwise nothing is.

    Args:
        path: of the film; one that is there is replaced in the end.
        size: (H, W) of the frames, both even.
        fps: frames per second.

    Raises:
        InputError: the folder cannot be made.
        CarError: this OpenCV has no codec for it, or writing failed.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path, self.size, self.frames = path, size, 0
        make_folder(path.parent)
        self._unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
        self._writer = self._open(fps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.release()
        try:
            if kind is None:
                self._finish()
        finally:
            self._unfinished.unlink(missing_ok=True)

    def write(self, image: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 RGB."""
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, fps: float) -> cv2.VideoWriter:
        for codec in CODECS:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self._unfinished), cv2.CAP_FFMPEG, code, fps, self.size[::-1])
            if writer.isOpened():
                return writer
            writer.release()
        self._unfinished.unlink(missing_ok=True)
        raise CarError(f"Cannot write {str(self.path)!r}: no room or no right to, or an OpenCV without video codecs.")

    def _finish(self) -> None:
        """Give the film its name, once it is known to hold every frame: OpenCV does not say when writing failed."""
        capture = cv2.VideoCapture(str(self._unfinished), cv2.CAP_FFMPEG)
        written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if written != self.frames:
            raise CarError(
                f"Cannot write {str(self.path)!r}: {written} of {self.frames} frames arrived; is the disk full?"
            )
        with reported(self.path):
            os.replace(self._unfinished, self.path)
