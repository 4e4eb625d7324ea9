"""Films in, masks out: CaR as a recurrence over time."""

from car.video.frames import FilmFrames, Frame, PictureFrames, open_frames
from car.video.result import FrameResult
from car.video.segmenter import VideoSegmenter
from car.video.settings import VideoSettings
from car.video.track import Track

__all__ = [
    "FilmFrames",
    "Frame",
    "FrameResult",
    "PictureFrames",
    "Track",
    "VideoSegmenter",
    "VideoSettings",
    "open_frames",
]
