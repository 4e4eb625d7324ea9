"""A job on films at work: sequences with expressions in, records out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from car.data import Frame, VideoDataset, find_referring, open_video
from car.errors import InputError, MissingError
from car.evaluate.evaluator import Outcome, drawn, reason, set_threads
from car.evaluate.job import VideoJob
from car.evaluate.label_maps import LabelMaps
from car.evaluate.method import check_method, load, planned, prepare
from car.evaluate.video_methods import Found, RecurrentFilm, ReferredFilm, painted
from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_record import AnnotatorRecord, VideoRecord
from car.metrics.video import RULES, VOID, ObjectScores, score_sequence
from car.prepared import Clock
from car.referring.recurrent import Recurrent
from car.video import Frame as FilmFrame
from car.video import VideoSegmenter

_OF_CAR = ("mode", "check_every")


class VideoEvaluator:
    """A referring benchmark of films that has been found, and a method that has been loaded.

    Every film is gone through once, for all annotators together, and each of them has a label map of their own in every
    frame (`painted`). CaR goes from frame to frame as the job says; the other methods take every frame alone. On a CPU
    the number of threads is set for the whole process, for rounding depends on it.

    Args:
        job: what to evaluate with what.

    Attributes:
        dataset: the benchmark.
        keys: its sequences, or those drawn by `job.limit`, sorted.
        video: what segments films, of CaR alone.
        plan: what is computed, whole.

    Raises:
        InputError: an unknown benchmark, split, method, mode, preset, model or setting, or one that the method does not
            have.
        MissingError: data, weights or a package are not where they should be.
        CheckpointError: a file that is no CLIP checkpoint.
    """

    def __init__(self, job: VideoJob) -> None:
        self.job = job
        check(job)
        self.dataset: VideoDataset = open_video(
            job.benchmark, job.data_root, split=job.split, annotations=job.annotations
        )
        self.keys = drawn(self.dataset.keys, job.limit, job.seed)
        self.threads = set_threads(job.threads)
        self.referrer = load(job)
        self.video: VideoSegmenter | None = None
        if isinstance(self.referrer, Recurrent):
            given = {name: getattr(job, name) for name in _OF_CAR if getattr(job, name) is not None}
            self.video = VideoSegmenter(self.referrer.segmenter, together=False, **given)
            self.video.track("anything")  # refuses settings that expressions cannot have, before the first film
        self.plan = VideoPlan(
            sequences=len(self.keys),
            annotators=list(self.dataset.annotators),
            film={} if self.video is None else asdict(self.video.settings),
            threads=self.threads,
            **planned(job, self.dataset, self.keys, self.referrer),
        )

    def __call__(self, key: str) -> Outcome:
        """One sequence of the benchmark; a bad one gives a record that says what is wrong with it."""
        try:
            return Outcome(self.evaluate(key))
        except (InputError, MissingError) as error:
            return Outcome(VideoRecord(key, error=reason(error, self.dataset.root)))

    def evaluate(self, key: str) -> VideoRecord:
        """One sequence, read frame by frame.

        Raises:
            InputError: a frame or label map is damaged.
            MissingError: files of mask proposals or captions are not there.
        """
        said = {name: self.dataset.expressions(key, name) for name in self.dataset.annotators}
        clock = Clock()
        with ExitStack() as stack:
            truth = stack.enter_context(LabelMaps())
            speakers = {name: self.speaker(each, stack) for name, each in said.items()}
            frames, objects = 0, max(max(each, default=0) for each in said.values())
            for frames, frame in enumerate(timed(self.dataset.frames(key), clock), start=1):
                if frames == 1:
                    objects = max(objects, int(frame.labels.max(initial=0, where=frame.labels != VOID)))
                with clock("segment"):
                    picture = self.picture(key, frames - 1, frame)
                    for speaker in speakers.values():
                        speaker.step(picture, frame.labels.shape)
                truth.append(frame.labels)
            with clock("score"):
                records = {name: speaker.record(truth, objects) for name, speaker in speakers.items()}
        rounded = {stage: round(seconds, 4) for stage, seconds in clock.seconds.items()}
        return VideoRecord(key, frames, records, rounded)

    def speaker(self, said: Mapping[int, str], stack: ExitStack) -> "Speaker":
        """What answers one annotator's expressions in one film; its files are gone with the stack."""
        film = ReferredFilm(said) if self.video is None else RecurrentFilm(self.video, said)
        return Speaker(film, len(said), stack.enter_context(LabelMaps()))

    def picture(self, key: str, number: int, frame: Frame) -> Any:
        """A frame as the method takes it; what depends on it alone is done once for all annotators, except by CaR."""
        if self.video is None:
            return prepare(self.referrer, f"{key}-{frame.name}", frame.image)
        return FilmFrame(number, frame.name, frame.labels.shape, frame.image)


class Speaker:
    """One annotator's expressions in one film: answered frame by frame, then compared with the truth.

    Args:
        film: what answers.
        expressions: how many there are.
        labels: where label maps are put aside.
    """

    def __init__(self, film: Any, expressions: int, labels: LabelMaps) -> None:
        self.film, self.expressions, self.labels = film, expressions, labels
        self.counts: Counter[str] = Counter()

    def step(self, picture: Any, shape: tuple[int, ...]) -> None:
        """The next frame, as the film takes it, and its height and width."""
        found: list[Found] = self.film.step(picture)
        self.counts["masks"] += len(found)
        self.counts["uncertain"] += sum(each.uncertain for each in found)
        self.labels.append(painted(found, shape))

    def record(self, truth: LabelMaps, objects: int) -> AnnotatorRecord:
        """What is kept, once all frames were seen; raises as `score_sequence`."""
        problems = {str(object): problem for object, problem in self.film.problems.items()}
        asked = self.expressions - len(problems)
        scores: dict[str, tuple[ObjectScores, ...]] = {
            rule: score_sequence(zip(self.labels, truth, strict=True), rule, objects=objects) for rule in RULES
        }
        return AnnotatorRecord(asked, self.counts["masks"], self.counts["uncertain"], problems, scores)


def timed(frames: Iterator[Frame], clock: Clock) -> Iterator[Frame]:
    """Frames; the seconds that reading them takes are counted."""
    while True:
        with clock("read"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def check(job: VideoJob) -> None:
    """Refuse what a benchmark or method does not have, before anything is read.

    Raises:
        InputError: a benchmark of pictures, or a choice that is of other methods.
    """
    if find_referring(job.benchmark).unit != "sequences":
        raise InputError(f"{job.benchmark} is a benchmark of pictures, which takes a `ReferringJob`.")
    check_method(job)
    if job.method != "car" and (given := [name for name in _OF_CAR if getattr(job, name) is not None]):
        raise InputError(f"`{given[0]}` is of the method 'car'; {job.method!r} takes every frame alone.")
