"""What every semantic benchmark looks like to the runner: pictures with their true label maps, and a class list."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from car.wordlists import ClassEntry

IGNORE = 65535
"""The label of pixels that are not counted."""


@dataclass(frozen=True)
class Truth:
    """One annotated picture.

    image: (H, W, 3) uint8 RGB.
    labels: (H, W) uint16; i + 1 is class i, 0 is background (where the benchmark scores it), `IGNORE` is not counted.
    """

    image: np.ndarray
    labels: np.ndarray


class SemanticDataset(Protocol):
    """A benchmark on disk. It holds paths, not pixels, and can be pickled."""

    @property
    def name(self) -> str:
        """As `car data list` shows it."""

    @property
    def split(self) -> str:
        """As the data set calls it: val, train, ..."""

    @property
    def root(self) -> Path:
        """Where it was found."""

    @property
    def classes(self) -> Sequence[ClassEntry]:
        """Its classes; ids are 0, 1, ..., K - 1."""

    @property
    def background(self) -> bool:
        """Whether pixels of no class are a class of their own that is scored."""

    @property
    def keys(self) -> Sequence[str]:
        """What the pictures are called in the split's list, sorted, each once."""

    def read(self, key: str) -> Truth:
        """One picture and its labels.

        Raises:
            InputError: a file is missing, damaged, of another size than its picture, or has labels out of range; one
                line that names the file.
        """
