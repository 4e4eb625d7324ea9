"""Pascal Context from trainval_merged.json, the annotations of the Detail API; it serves context60 and context59.

The label map of a picture is painted in the order of the file, each region with its category's id. What is written is
the place of the id among the 60 that count, ascending; 0 is everything else.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from car.data.benchmark import Benchmark
from car.data.prepare.annotations import Photo, read_annotations, region_mask
from car.data.prepare.ledger import digest
from car.data.prepare.outputs import KeyList, LabelMap, Output
from car.data.prepare.preparation import Preparation, find_base, missing, places
from car.errors import InputError

FILE = "trainval_merged.json"
# fmt: off
CATEGORIES = (
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)
# fmt: on
"""Ids of the 59 classes among Pascal Context's categories, after 0 for none."""

_VERSION = b"context 1"
_UNKNOWN = 255


class Context(Preparation):
    """Label maps SegmentationClassContext/KEY.png and the list ImageSets/SegmentationContext/SPLIT.txt."""

    def __init__(self, benchmark: Benchmark, root: Path, split: str) -> None:
        base = find_base(benchmark, root, FILE)
        if base is None:
            raise missing(benchmark, places(benchmark, root), repr(FILE))
        self._annotations = read_annotations(base / FILE, "annos_segmentation")
        self._photos = {photo.key: photo for photo in self._annotations.photos if photo.phase == split}
        self._table = np.full(CATEGORIES[-1] + 1, _UNKNOWN, np.uint8)
        self._table[list(CATEGORIES)] = np.arange(len(CATEGORIES))
        keys = [photo.key for photo in self._annotations.photos if photo.phase == split]
        super().__init__(benchmark, split, base, keys, source=base / FILE)

    def origin(self, key: str) -> str:
        return digest(_VERSION, self._annotations.digest.encode())

    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        photo = self._photos[key]
        label_map = self.label_map(key, self._paint(photo))
        return [label_map], label_map

    def lists(self) -> list[KeyList]:
        assert self.benchmark.layout.keys is not None
        return [KeyList(self.base / self.benchmark.layout.keys.format(split=self._on_disk), tuple(self.keys))]

    def _paint(self, photo: Photo) -> np.ndarray:
        painted = np.zeros((photo.height, photo.width), np.uint16)
        for number, region in enumerate(self._annotations.regions.get(photo.id, ()), 1):
            category = region.get("category_id")
            if type(category) is not int or not 0 <= category < len(self._table):
                raise InputError(f"region {number}: {str(category)[:40]!r} is no category of Pascal Context.")
            try:
                painted[region_mask(region.get("segmentation"), photo.height, photo.width)] = category
            except InputError as error:
                raise InputError(f"region {number}: {error}") from None
        values = self._table[painted]
        if (values == _UNKNOWN).any():
            category = painted[values == _UNKNOWN][0]
            raise InputError(f"category {category} is not among the 59 that count.")
        return values
