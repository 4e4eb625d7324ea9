"""Frames in, one at a time: a folder of pictures, a glob, or a film file."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np

from car.errors import InputError
from car.io import IMAGE_SUFFIXES, MAX_PIXELS, find_images, read_image

MOVING = frozenset((".gif",))
"""Suffixes of pictures that are read as films."""
PLAYLISTS = (b"#EXTM3U", b"ffconcat")
"""How files start that only name other files; those are not followed."""
SLACK = 0.01
"""Share of its frames by which a film file may be wrong about how many there are: many formats only estimate it."""


@dataclass(frozen=True)
class Frame:
    """One picture of a film.

    number: from 0.
    name: what it is called in messages.
    size: (H, W) in pixels.
    image: (H, W, 3) uint8 RGB, or None where it could not be read.
    error: why it could not be read, in one line; None where it could.
    """

    number: int
    name: str
    size: tuple[int, int]
    image: np.ndarray | None = field(repr=False)
    error: str | None = None


class PictureFrames:
    """A film kept as pictures, read from any frame on, as often as asked for.

    Args:
        paths: of the frames, in order.
        name: of the film.
        max_pixels: the largest H * W to read.

    Raises:
        InputError: not one of them can be read.

    Attributes:
        name: a file name for its results, without a suffix.
        size: (H, W) in pixels, of every frame.
        length: how many frames.
        fps: frames per second, which pictures do not know: None.
    """

    fps: float | None = None

    def __init__(self, paths: Sequence[Path], name: str, *, max_pixels: int = MAX_PIXELS) -> None:
        self.paths, self.name, self.max_pixels = list(paths), name, max_pixels
        self.length: int = len(self.paths)
        self.size = self._first_size()

    def read(self, start: int = 0) -> Iterator[Frame]:
        """The frames from number `start` on; one that is damaged, or of another size than the first, has no image."""
        for number in range(start, self.length):
            path = self.paths[number]
            try:
                image = read_image(path, max_pixels=self.max_pixels)
            except InputError as error:
                yield Frame(number, path.name, self.size, None, str(error))
                continue
            if image.shape[:2] == self.size:
                yield Frame(number, path.name, self.size, image)
            else:
                sizes = "{} x {} pixels, not {} x {} as the first".format(*image.shape[1::-1], *self.size[::-1])
                yield Frame(number, path.name, self.size, None, f"{str(path)!r} has {sizes}.")

    def _first_size(self) -> tuple[int, int]:
        first = None
        for path in self.paths:
            try:
                height, width = read_image(path, max_pixels=self.max_pixels).shape[:2]
                return height, width
            except InputError as error:
                first = first or error
        raise first or InputError("There are no frames.")


class FilmFrames:
    """A film file, decoded by OpenCV's FFmpeg, read from any frame on, as often as asked for.

    Damage inside the file is for the decoder to conceal; where it gives up, the film ends. `missing` then says how many
    frames were promised and did not come.

    Args:
        path: the file.
        max_pixels: the largest H * W to read; checked before anything is decoded.

    Raises:
        InputError: no such file, no film, a playlist, no frame that can be read, or frames that are too large.

    Attributes:
        name, size: as of `PictureFrames`.
        length, fps: how many frames, and how many per second, as the file says; None where it does not.
        missing: how many frames too few the last `read` found, 0 before it has come to the end.
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.path, self.name, self.missing = path, path.stem, 0
        capture = self._open()
        width, height, count, rate = (
            capture.get(each)
            for each in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_FPS,
            )
        )
        if width * height > max_pixels:
            raise InputError(
                f"The frames of {str(path)!r} have {width:.0f} x {height:.0f} pixels, more than the limit of "
                f"{max_pixels:,}; make them smaller, or raise the limit (max_pixels)."
            )
        there, image = capture.read()
        capture.release()
        if not there:
            raise InputError(f"{str(path)!r} holds no frame that can be decoded.")
        self.size: tuple[int, int] = image.shape[:2]
        # What a header leaves out comes as 0, a negative number or one beyond reason.
        self.length = int(count) if 0 < count < 2**31 else None
        self.fps = float(rate) if 0 < rate < 1000 else None

    def read(self, start: int = 0) -> Iterator[Frame]:
        """The frames from number `start` on. Those before it are decoded, too: seeking is not exact in every format."""
        capture = self._open()
        try:
            number, there = 0, True
            while number < start and (there := capture.grab()):
                number += 1
            while there:
                there, image = capture.read()
                if there:
                    yield self._frame(number, image)
                    number += 1
        finally:
            capture.release()
        promised = self.length or 0
        self.missing = promised - number if promised - number > max(1, SLACK * promised) else 0

    def _frame(self, number: int, image: np.ndarray) -> Frame:
        name = f"frame {number}"
        if image.shape[:2] != self.size:
            sizes = "{} x {} pixels, not {} x {} as the first".format(*image.shape[1::-1], *self.size[::-1])
            return Frame(number, name, self.size, None, f"Frame {number} of {str(self.path)!r} has {sizes}.")
        return Frame(number, name, self.size, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def _open(self) -> cv2.VideoCapture:
        try:
            with self.path.open("rb") as stream:
                head = stream.read(16)
        except OSError as error:
            raise InputError(f"Cannot read {str(self.path)!r}: {error.strerror}.") from None
        if head.startswith(PLAYLISTS):
            raise InputError(f"{str(self.path)!r} is a playlist; name the film itself.")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(f"{str(self.path)!r} is no film in a format that can be read, or it is damaged.")
        return capture


def open_frames(source: str | Path, *, max_pixels: int = MAX_PIXELS) -> PictureFrames | FilmFrames:
    """Open a film.

    Args:
        source: a folder of pictures, a glob of pictures (both in natural order, 2 before 10), one picture, or a film
            file in any format that FFmpeg reads.
        max_pixels: the largest H * W of a frame to read.

    Raises:
        InputError: nothing there, no picture among it, or nothing that can be read.
    """
    path = Path(source)
    if path.is_file() and (path.suffix.lower() in MOVING or path.suffix.lower() not in IMAGE_SUFFIXES):
        return FilmFrames(path, max_pixels=max_pixels)
    return PictureFrames(find_images([source]), film_name(source), max_pixels=max_pixels)


def film_name(source: str | Path) -> str:
    """What results of pictures are called: their folder, or a single picture itself.

    >>> film_name("films/JPEGImages/blackswan"), film_name("films/blackswan/*.jpg")
    ('blackswan', 'blackswan')
    """
    path = Path(source)
    if path.is_file():
        return path.stem
    parts = path.parts if path.is_dir() else takewhile(lambda part: not glob.has_magic(part), path.parts)
    return Path(*parts).resolve().name or "frames"
