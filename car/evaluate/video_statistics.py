"""What a run's records of films come to: J and F over all objects, by every rule, with intervals over sequences."""

from collections.abc import Iterable, Iterator
from math import fsum, nan

from car.evaluate.bootstrap import MeanBootstrap
from car.evaluate.counted import Counted
from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_record import AnnotatorRecord, VideoRecord
from car.metrics.video import RULES, ObjectScores, VideoScores, video_scores

MAIN = "fixed-ids"
"""The rule whose J&F stands first: an expression names its object, so that nothing is to be assigned."""


class VideoTally:
    """J&F by the main rule, of the films so far.

    Attributes:
        measure: what it is called.
    """

    measure = "J&F"

    def __init__(self, plan: VideoPlan) -> None:
        self._sum, self._objects = 0.0, 0

    @property
    def value(self) -> float:
        """The score in [0, 1]; NaN where nothing was counted."""
        return self._sum / self._objects if self._objects else nan

    def add(self, record: VideoRecord) -> None:
        """One more film."""
        found = [j_and_f(each) for each in said_of(record, MAIN)]
        self._sum += fsum(found)
        self._objects += len(found)


class VideoStatistics(Counted):
    """Records of films, whose scores are kept as they are: 3 numbers per rule, annotator, object and frame.

    Attributes:
        frames, objects: how many there are, of the sequences with a result.
        asked, masks, uncertain: as of `AnnotatorRecord`, of all annotators.
        problems: by sequence and annotator, why expressions were not asked, by object.
        films: records by key.
    """

    def __init__(self, plan: VideoPlan, keys: Iterable[str]) -> None:
        super().__init__(plan, keys)
        self.frames = self.objects = self.asked = self.masks = self.uncertain = 0
        self.problems: dict[tuple[str, str], dict[str, str]] = {}
        self.films: dict[str, VideoRecord] = {}
        self._bootstraps = {rule: MeanBootstrap() for rule in RULES}

    def scores(self, rule: str, *, annotator: str | None = None, key: str | None = None) -> VideoScores:
        """Scores by a rule: of all annotators and sequences, or of one."""
        films = self.films.values() if key is None else [self.films[key]]
        return video_scores(each for film in films for each in said_of(film, rule, annotator))

    def interval(self, rule: str) -> tuple[float, float]:
        """The 95 % interval of J&F by a rule over sequences; NaN with fewer than two."""
        return self._bootstraps[rule].interval() if len(self.evaluated) > 1 else (nan, nan)

    @property
    def main(self) -> MeanBootstrap:
        """J&F of each object by the main rule, by film."""
        return self._bootstraps[MAIN]

    def _count(self, record: VideoRecord) -> None:
        self.films[record.key] = record
        self.frames += record.frames
        self.objects += record.objects
        for name, each in record.annotators.items():
            self.asked += each.asked
            self.masks += each.masks
            self.uncertain += each.uncertain
            if each.problems:
                self.problems[record.key, name] = dict(each.problems)
        for rule, bootstrap in self._bootstraps.items():
            bootstrap.add(record.key, [j_and_f(each) for each in said_of(record, rule)])

    def _fits(self, record: VideoRecord) -> bool:
        return list(record.annotators) == list(self.plan.annotators) and all(
            _whole(each, record) for each in record.annotators.values()
        )


def said_of(record: VideoRecord, rule: str, annotator: str | None = None) -> Iterator[ObjectScores]:
    """The scores of a film's objects by a rule, for one annotator or for one after the other."""
    for name, each in record.annotators.items():
        if annotator in (None, name):
            yield from each.scores[rule]


def j_and_f(scores: ObjectScores) -> float:
    """The mean of J and F of one object over the frames."""
    return (fsum(scores.region) + fsum(scores.boundary)) / (2 * len(scores.region))


def _whole(said: AnnotatorRecord, record: VideoRecord) -> bool:
    """Whether there are scores by every rule, of every object, in every frame that the rule counts."""
    fits = said.scores.keys() == RULES.keys() and 0 <= said.uncertain <= said.masks and said.asked >= 0
    for rule, scores in said.scores.items():
        frames = record.frames - 2 * RULES[rule].trimmed if fits else 0
        fits &= frames > 0 and len(scores) == record.objects
        for each in scores:
            fits &= len(each.region) == len(each.boundary) == len(each.changes) + 1 == frames
            fits &= all(0 <= value <= 1 for value in (*each.region, *each.boundary))
    return fits
