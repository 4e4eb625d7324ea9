"""A film from its frames to its files; see `car.video.folder` for them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from car import __version__, rle
from car.export import plain
from car.queries import Query
from car.video.film_out import FilmWriter
from car.video.folder import FilmFolder
from car.video.frames import FilmFrames, PictureFrames
from car.video.overlay import FrameDrawer
from car.video.result import FrameResult
from car.video.segmenter import VideoSegmenter
from car.video.track import digest_of
from car.vlm.fingerprint import weights_hash

FPS = 24.0
"""Of the overlay, where the source does not say how many frames it shows per second."""


class FilmRun:
    """Segments one film into a folder; goes on where an earlier run of the same was stopped.

    Args:
        video: models and settings.
        frames: the film.
        queries: as of `Segmenter.segment`.
        out: folder for the results; made when absent.
        overlay: whether to make the overlay film, too.
        fps: of the overlay; by default the film's own, or `FPS`.
        overwrite: begin anew, whatever is there.

    Raises:
        InputError: as `Track` for queries, and as `FilmFolder`.
        CarError: writing failed.

    Attributes:
        folder: the files.
        names: of the queries.
    """

    def __init__(
        self,
        video: VideoSegmenter,
        frames: PictureFrames | FilmFrames,
        queries: str | Sequence[Query],
        out: str | Path,
        *,
        overlay: bool = True,
        fps: float | None = None,
        overwrite: bool = False,
    ) -> None:
        self.frames, self.overlay = frames, overlay
        self.track = video.track(queries)
        self.names = self.track.names
        self.fps = fps or frames.fps or FPS
        self.folder = FilmFolder(out, frames.name, self._plan(video), overwrite=overwrite)
        self.track.hidden = self.folder.hidden

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.close()

    def segment(self) -> Iterator[FrameResult]:
        """Segment the frames that are not there yet, and write each before it is handed on."""
        for frame in self.frames.read(self.folder.done):
            result = self.track.step(frame)
            self.folder.write(result, self.track.hidden)
            yield result
        self.folder.save()

    def draw(self) -> Iterator[int]:
        """Make the overlay film of the frames and what was written of them; the number of each when it is drawn."""
        drawer = FrameDrawer(self.names, self.frames.size)
        nothing = np.zeros((*self.frames.size, 3), np.uint8)
        with FilmWriter(self.folder.film, drawer.size, self.fps) as film:
            for frame, record in zip(self.frames.read(), self.folder.records(), strict=False):
                masks = {each["label"] - 1: rle.decode(each["segmentation"]) for each in record["objects"]}
                image = nothing if frame.image is None else frame.image
                film.write(drawer.draw(image, masks, doubts(record["objects"])))
                yield frame.number

    def finish(self) -> dict[str, Any]:
        """Sum up and mark the film as finished.

        Returns:
            frames, how many; damaged, how many of them could not be read; missing, how many more the film promised;
            cuts, the first frame of each further shot; `doubt`, the masks that may be of another query's object: masks,
            how many, taken, how many of these seem to have taken it over, and frames, where, as pairs of first and last
            frame numbers; and `queries`, each with query, label, frames (how many it is in), uncertain (in how many of
            these), taken_from (by the label of another query, in how many frames it seems to have taken over that
            one's object) and first and last (frame numbers, or null).
        """
        found: list[dict[str, Any]] = [
            {"query": name, "label": i + 1, "frames": 0, "uncertain": 0, "taken_from": {}, "first": None, "last": None}
            for i, name in enumerate(self.names)
        ]
        summary: dict[str, Any] = {"frames": 0, "damaged": 0, "missing": getattr(self.frames, "missing", 0), "cuts": []}
        summary["doubt"] = {"masks": 0, "taken": 0, "frames": []}
        for record in self.folder.records():
            summary["frames"] += 1
            summary["damaged"] += record["error"] is not None
            summary["cuts"] += [record["frame"]] if record["cut"] else []
            add_doubt(summary["doubt"], record)
            for each in record["objects"]:
                query = found[each["label"] - 1]
                query["frames"] += 1
                query["uncertain"] += each["uncertain"]
                if (other := each["taken_from"]) is not None:
                    query["taken_from"][str(other)] = query["taken_from"].get(str(other), 0) + 1
                query["first"] = record["frame"] if query["first"] is None else query["first"]
                query["last"] = record["frame"]
        summary["queries"] = found
        self.folder.finish(summary)
        return summary

    def _plan(self, video: VideoSegmenter) -> dict[str, Any]:
        """What the results depend on, as plain data."""
        segmenter, frames = video.segmenter, self.frames
        first = next((frame.image for frame in frames.read() if frame.image is not None), None)
        return plain(
            {
                "version": __version__,
                "film": {
                    "name": frames.name,
                    "size": frames.size,
                    "frames": frames.length,
                    "first_frame": None if first is None else digest_of(first).tobytes().hex(),
                },
                "queries": self.track.queries,
                "video": vars(video.settings),
                "model": segmenter.name,
                "weights": {role: weights_hash(network) for role, network in segmenter.networks.items()},
                "config": segmenter.config.to_dict(),
                "overlay_fps": self.fps if self.overlay else None,
            }
        )


def doubts(objects: Sequence[Mapping[str, Any]]) -> dict[int, int | None]:
    """The queries that are marked in a frame's record, and whose object each seems to have taken over, if anybody's."""
    return {
        each["label"] - 1: None if each["taken_from"] is None else each["taken_from"] - 1
        for each in objects
        if each["uncertain"]
    }


def add_doubt(total: dict[str, Any], record: Mapping[str, Any]) -> None:
    """Count the marks of a frame in `doubt` of the summary."""
    marked, number, spans = doubts(record["objects"]), record["frame"], total["frames"]
    total["masks"] += len(marked)
    total["taken"] += sum(other is not None for other in marked.values())
    if marked and spans and spans[-1][1] == number - 1:
        spans[-1][1] = number
    elif marked:
        spans.append([number, number])
