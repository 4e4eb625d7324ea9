"""Film in, masks out."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from car.io import ImageSource, read_image
from car.queries import Query
from car.segmenter import Segmenter
from car.video.frames import FilmFrames, Frame, PictureFrames, open_frames
from car.video.result import FrameResult
from car.video.settings import VideoSettings
from car.video.track import Track

FilmSource = str | Path | PictureFrames | FilmFrames | Iterable[Frame | ImageSource]
"""A film on disk as `open_frames` opens it, or its frames in order."""


class VideoSegmenter:
    """Segments films by text.

    Args:
        segmenter: models and settings of each frame.
        settings: fields of `VideoSettings`.

    Raises:
        InputError: as `VideoSettings`; TypeError where there is no such field.

    >>> import car
    >>> from car.scenes import film
    >>> frames = [frame.image for frame in film(3, frames=2, size=(64, 96), cuts=0)]
    >>> results = list(VideoSegmenter(car.load("mini")).segment(frames, ["cat", "dog"]))
    >>> results[1].masks.shape, results[1].labels.shape
    ((2, 64, 96), (64, 96))
    """

    def __init__(self, segmenter: Segmenter, **settings: Any) -> None:
        self.segmenter, self.settings = segmenter, VideoSettings(**settings)

    def track(self, queries: str | Sequence[Query]) -> Track:
        """What segments one film frame by frame; see `Track`."""
        return Track(self.segmenter, queries, self.settings)

    def segment(self, film: FilmSource, queries: str | Sequence[Query]) -> Iterator[FrameResult]:
        """Segment a film; only one frame and its answer are in memory.

        Args:
            film: a folder of pictures, a glob, or a film file; or frames in order, anything that `read_image` reads.
            queries: as of `Segmenter.segment`.

        Returns:
            One answer per frame, each when it is asked for.

        Raises:
            InputError: as `open_frames` for the film, `Segmenter.segment` for queries, and, when it is its turn,
                `read_image` for a frame that is not in a film on disk. One that is there and damaged has no masks.
        """
        track = self.track(queries)
        return map(track.step, frames_of(film))


def frames_of(film: FilmSource) -> Iterator[Frame]:
    """The frames of a film, read one by one."""
    if isinstance(film, str | Path):
        film = open_frames(film)
    if isinstance(film, PictureFrames | FilmFrames):
        return film.read()
    return (as_frame(number, each) for number, each in enumerate(film))


def as_frame(number: int, source: Frame | ImageSource) -> Frame:
    """Frame number `number` of a film, from any image."""
    if isinstance(source, Frame):
        return source
    image = read_image(source)
    return Frame(number, f"frame {number}", image.shape[:2], image)
