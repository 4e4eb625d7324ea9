"""A look at every picture of a benchmark: can it be read, and does what it shows make sense."""

import numpy as np

from car.data.dataset import IGNORE, SemanticDataset
from car.errors import InputError


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
