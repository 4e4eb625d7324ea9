"""A look at every picture of a benchmark: can it be read, and does what it shows make sense."""

from collections import Counter

import numpy as np

from car.data.dataset import IGNORE, SemanticDataset
from car.data.referring import ReferringDataset, VideoDataset
from car.errors import InputError
from car.metrics.video import VOID


class Tally:
    """What was found in the pictures that were looked at so far.

    Attributes:
        pixels: (K + 1,) int64, pixels by label; of class i at i + 1, of background at 0.
        pictures: (K + 1,) int64, in how many pictures a label occurs.
        uncounted: how many pixels are not counted.
        good: how many pictures could be read.
        empty: keys of pictures in which no pixel is counted.
        problems: by key, a line that says why a picture cannot be read.
    """

    def __init__(self, dataset: SemanticDataset) -> None:
        self.dataset = dataset
        self.pixels = np.zeros(len(dataset.classes) + 1, np.int64)
        self.pictures = np.zeros_like(self.pixels)
        self.uncounted = self.good = 0
        self.empty: list[str] = []
        self.problems: dict[str, str] = {}

    def look(self, key: str) -> str | None:
        """Read a picture; the line that says why it cannot be read, if it cannot."""
        try:
            labels = self.dataset.read(key).labels
        except InputError as error:
            self.problems[key] = str(error)
            return self.problems[key]
        counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)
        pixels = counts[: len(self.pixels)]
        self.good += 1
        self.pixels += pixels
        self.pictures += pixels > 0
        self.uncounted += int(counts[IGNORE])
        if not pixels.any():
            self.empty.append(key)
        return None

    @property
    def never_seen(self) -> list[str]:
        """Queries of the classes of which no pixel was seen."""
        return [entry.query for entry in self.dataset.classes if not self.pixels[entry.id + 1]]

    @property
    def shares(self) -> list[tuple[str, float, int]]:
        """What was seen, most of it first: query or "background", share of the counted pixels, number of pictures."""
        names = ["background", *(entry.query for entry in self.dataset.classes)]
        order = np.argsort(-self.pixels, kind="stable")
        total = max(int(self.pixels.sum()), 1)
        return [(names[i], float(self.pixels[i] / total), int(self.pictures[i])) for i in order if self.pixels[i]]


class ReferringTally:
    """What was found in the pictures of a referring benchmark that were looked at so far.

    Attributes:
        good: how many pictures could be read.
        targets, no_targets, expressions: how many there are.
        pixels, picture_pixels: of the masks of all targets, and of a picture for each of them.
        categories: targets by category; those without or of several are not counted.
        empty: ids of targets that have no pixel though they are somewhere in the picture.
        blank: ids of targets of which an expression has no letter or digit.
        problems: by key, a line that says why a picture cannot be read.
    """

    def __init__(self, dataset: ReferringDataset) -> None:
        self.dataset = dataset
        self.good = self.targets = self.no_targets = self.expressions = self.pixels = self.picture_pixels = 0
        self.categories = Counter[str]()
        self.empty: list[str] = []
        self.blank: list[str] = []
        self.problems: dict[str, str] = {}

    def look(self, key: str) -> str | None:
        """Read a picture; the line that says why it cannot be read, if it cannot."""
        try:
            truth = self.dataset.read(key)
        except InputError as error:
            self.problems[key] = str(error)
            return self.problems[key]
        self.good += 1
        for target in truth.targets:
            pixels = int(np.count_nonzero(target.mask))
            self.targets += 1
            self.no_targets += target.no_target
            self.expressions += len(target.expressions)
            self.pixels += pixels
            self.picture_pixels += target.mask.size
            self.categories.update([target.category] if target.category is not None else [])
            if not pixels and not target.no_target:
                self.empty.append(target.id)
            if not all(any(map(str.isalnum, text)) for text in target.expressions):
                self.blank.append(target.id)
        return None


class VideoTally:
    """What was found in the sequences of a referring benchmark of video that were looked at so far.

    Attributes:
        good: how many sequences could be read.
        frames, objects: how many there are; an object of a sequence counts once.
        expressions: how many, by annotator.
        unworded: sequence, object and annotator where an object has no expression.
        absent: the same where there is no object for an expression.
        problems: by key, a line that says why a sequence cannot be read.
    """

    def __init__(self, dataset: VideoDataset) -> None:
        self.dataset = dataset
        self.good = self.frames = self.objects = 0
        self.expressions = Counter[str]()
        self.unworded: list[tuple[str, int, str]] = []
        self.absent: list[tuple[str, int, str]] = []
        self.problems: dict[str, str] = {}

    def look(self, key: str) -> str | None:
        """Read a sequence; the line that says why it cannot be read, if it cannot."""
        found, frames = set[int](), 0
        try:
            for frame in self.dataset.frames(key):
                found.update(np.unique(frame.labels).tolist())
                frames += 1
        except InputError as error:
            self.problems[key] = str(error)
            return self.problems[key]
        found -= {0, VOID}
        self.good += 1
        self.frames += frames
        self.objects += len(found)
        for annotator in self.dataset.annotators:
            said = self.dataset.expressions(key, annotator)
            self.expressions[annotator] += len(said)
            self.unworded += [(key, number, annotator) for number in sorted(found - said.keys())]
            self.absent += [(key, number, annotator) for number in sorted(said.keys() - found)]
        return None
