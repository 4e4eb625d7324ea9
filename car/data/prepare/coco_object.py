"""COCO-Object: the 80 things of COCO 2017 as label maps, from COCO-Stuff's pixel maps or from the instances.

GroupViT, which introduced the benchmark, starts from the pixel maps: things become their class, everything else is
background, the pixels without any label included. Where there are no pixel maps, the instances are painted in the order
of their file, later ones over earlier ones, after the regions that are marked as crowds.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from car.data.benchmark import Benchmark
from car.data.labels import map_values, open_map
from car.data.prepare.annotations import Photo, read_annotations, region_mask
from car.data.prepare.ledger import digest
from car.data.prepare.outputs import LabelMap, Output
from car.data.prepare.preparation import Preparation, check_pixels, find_base, missing, places, unreadable
from car.errors import InputError

GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids between 1 and 90 that COCO's categories leave out."""
CATEGORIES = tuple(i for i in range(1, 91) if i not in GAPS)
"""Ids of the 80 things, in the order of the classes."""
STUFF, UNLABELLED = range(91, 182), 255
"""Values of pixel maps that are no thing. A thing has its category's id - 1."""

_MAP = re.compile(r"(\d{12})\.png")
_VERSION = b"coco-object 1"
_UNKNOWN = 255


def open_coco_object(benchmark: Benchmark, root: Path, split: str) -> Preparation:
    """The preparation from pixel maps where there are any, else from instances."""
    folder = f"annotations/{benchmark.splits[split]}"
    instances = f"annotations/instances_{benchmark.splits[split]}.json"
    for base in places(benchmark, root):
        if keys := _maps(base / folder):
            return FromMaps(benchmark, split, base, keys, base / folder)
    found = find_base(benchmark, root, instances)
    if found is None:
        raise missing(benchmark, places(benchmark, root), f"pixel maps '{folder}/*.png' and no {instances!r}")
    return FromInstances(benchmark, split, found, found / instances)


class FromMaps(Preparation):
    """annotations/val2017/KEY_instanceTrainIds.png from annotations/val2017/KEY.png."""

    def __init__(self, benchmark: Benchmark, split: str, base: Path, keys: Sequence[str], folder: Path) -> None:
        rules = ("From COCO-Stuff's pixel maps, as GroupViT does: stuff and unlabelled pixels are background.",)
        super().__init__(benchmark, split, base, keys, source=folder, rules=rules)
        self._table = np.full(256, _UNKNOWN, np.uint8)
        self._table[[i - 1 for i in CATEGORIES]] = np.arange(1, len(CATEGORIES) + 1)
        self._table[[*STUFF, UNLABELLED]] = 0

    def origin(self, key: str) -> str:
        path = self._map(key)
        try:
            return digest(_VERSION, path.read_bytes())
        except OSError as error:
            raise unreadable(path, error) from error

    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        path = self._map(key)
        with open_map(path) as opened:
            check_pixels(opened.height, opened.width)
            found = map_values(opened)
            if found.dtype != np.uint8:
                raise InputError("has 16 bits, but pixel maps have 8.")
        values = self._table[found]
        if (values == _UNKNOWN).any():
            row, column = map(int, np.argwhere(values == _UNKNOWN)[0])
            raise InputError(f"{str(path)!r} has the value {found[row, column]} at row {row}, column {column}.")
        label_map = self.label_map(key, values)
        return [label_map], label_map

    def _map(self, key: str) -> Path:
        return self.source / f"{key}.png"


class FromInstances(Preparation):
    """annotations/val2017/KEY_instanceTrainIds.png from annotations/instances_val2017.json."""

    def __init__(self, benchmark: Benchmark, split: str, base: Path, path: Path) -> None:
        self._annotations = read_annotations(path, "annotations")
        if self._annotations.categories != frozenset(CATEGORIES):
            raise InputError(f"{str(path)!r} does not have COCO's 80 categories with ids from 1 to 90.")
        self._photos = {photo.key: photo for photo in self._annotations.photos}
        keys = [photo.key for photo in self._annotations.photos]
        rules = (
            "From the instances, there being no pixel maps: later annotations over earlier ones, crowd regions first.",
        )
        super().__init__(benchmark, split, base, keys, source=path, rules=rules)

    def origin(self, key: str) -> str:
        return digest(_VERSION, self._annotations.digest.encode())

    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        label_map = self.label_map(key, self._paint(self._photos[key]))
        return [label_map], label_map

    def _paint(self, photo: Photo) -> np.ndarray:
        regions = list(enumerate(self._annotations.regions.get(photo.id, ()), 1))
        values = np.zeros((photo.height, photo.width), np.uint8)
        for number, region in sorted(regions, key=lambda each: not each[1].get("iscrowd")):
            try:
                mask = region_mask(region.get("segmentation"), photo.height, photo.width)
            except InputError as error:
                raise InputError(f"annotation {number}: {error}") from None
            if region.get("category_id") not in CATEGORIES:
                raise InputError(
                    f"annotation {number}: {str(region.get('category_id'))[:40]!r} is no category of COCO."
                )
            values[mask] = CATEGORIES.index(region["category_id"]) + 1
        return values


def _maps(folder: Path) -> list[str]:
    """Keys of the pixel maps in a folder; what is made from them has longer names."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return [match[1] for name in names if (match := _MAP.fullmatch(name))]
