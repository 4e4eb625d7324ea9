"""What referring benchmarks look like to the runner: pictures, or sequences of frames, with expressions and masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

OVERLAPS = ("union", "exactly-one")
"""What becomes of pixels that two polygons of one annotation cover: "union" counts them; "exactly-one" does not, as in
the code of Global-Local CLIP, HybridGL and CaR."""
INSTANCES = ("merged", "first-instance")
"""What an expression for several objects means: all of them, or, as in CaR's code, only the first."""
SENTENCES = ("sent", "raw")
"""Which of the two spellings in the RefCOCO family is taken: "sent", without marks and capitals, or "raw", as typed."""


@dataclass(frozen=True)
class Target:
    """What one group of expressions refers to: an annotated object, several of them, or nothing.

    id: as the benchmark numbers it, unique in the split.
    expressions: what is said of it, in the benchmark's order, at least one.
    mask: (H, W) bool, its pixels; none where there is no target.
    no_target: whether the expressions refer to nothing in the picture.
    category: the annotated class, where it is one.
    """

    id: str
    expressions: tuple[str, ...]
    mask: np.ndarray
    no_target: bool
    category: str | None


@dataclass(frozen=True)
class ReferringTruth:
    """One picture and what is said of it.

    image: (H, W, 3) uint8 RGB.
    targets: in the order of the benchmark's files, at least one.
    """

    image: np.ndarray
    targets: tuple[Target, ...]


class ReferringDataset(Protocol):
    """A benchmark of expressions for pictures. It holds paths and polygons, no pixels, and can be pickled."""

    @property
    def name(self) -> str:
        """As `car data list` shows it."""

    @property
    def split(self) -> str:
        """As the data set calls it: val, testA, ..."""

    @property
    def variant(self) -> str:
        """Who split it: unc, umd, google; empty where there is one way."""

    @property
    def root(self) -> Path:
        """The data root."""

    @property
    def keys(self) -> Sequence[str]:
        """One per picture, sorted."""

    def read(self, key: str) -> ReferringTruth:
        """One picture and its targets.

        Raises:
            InputError: no such key, or the picture or an annotation of it is damaged or does not fit; one line that
                names the file.
        """


@dataclass(frozen=True)
class Frame:
    """One frame of a sequence.

    name: of its files, without suffix: 00000.
    image: (H, W, 3) uint8 RGB.
    labels: (H, W) uint8; the object of a pixel, 0 for background, 255 where it is not counted.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray


class VideoDataset(Protocol):
    """A benchmark of expressions for video. It holds paths and texts, no pixels, and can be pickled."""

    @property
    def name(self) -> str:
        """As `car data list` shows it."""

    @property
    def split(self) -> str:
        """As the data set calls it: train or val."""

    @property
    def variant(self) -> str:
        """Which annotations: unsupervised or semi-supervised."""

    @property
    def root(self) -> Path:
        """The data root."""

    @property
    def keys(self) -> Sequence[str]:
        """The sequences, sorted."""

    @property
    def annotators(self) -> Sequence[str]:
        """Those who worded every object, each by one expression."""

    def expressions(self, key: str, annotator: str) -> Mapping[int, str]:
        """What an annotator says of the objects of a sequence, by object id, ascending.

        Raises:
            InputError: no such sequence or annotator.
        """

    def frames(self, key: str) -> Iterator[Frame]:
        """The frames of a sequence in order, one in memory at a time.

        Raises:
            InputError: no such sequence (when the first frame is asked for), or a frame or label map is damaged, or of
                another size; one line that names the file.
        """
