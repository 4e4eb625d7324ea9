"""`instances.json` as COCO writes it: of all annotations, those that a split refers to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from car.data.json_files import read_json
from car.data.prepare.annotations import region_mask
from car.data.prepare.polygons import fill_polygon
from car.data.prepare.preparation import check_pixels
from car.errors import InputError

Segmentation = tuple[np.ndarray, ...] | Mapping[str, Any]
"""Polygons, each (2 * N,) float64 as of `fill_polygon`; or a run-length mask."""


@dataclass(frozen=True)
class Photo:
    """A picture: its file name, and its size in pixels."""

    file: str
    height: int
    width: int


@dataclass(frozen=True)
class Instance:
    """An annotated object.

    id, image, category: its number, and those of its picture and its category.
    crowd: whether it stands for many that were not told apart.
    segmentation: its pixels; whether they make sense is not yet checked.
    """

    id: int
    image: int
    category: int
    crowd: bool
    segmentation: Segmentation


@dataclass(frozen=True)
class Instances:
    """What was asked for of an annotation file, by id; and the names of all categories."""

    photos: Mapping[int, Photo]
    instances: Mapping[int, Instance]
    categories: Mapping[int, str]


def read_instances(path: Path, photos: Collection[int], instances: Collection[int]) -> Instances:
    """Read an annotation file; of the annotations that are not asked for, nothing is kept even while it is read.

    Args:
        photos, instances: the ids that are asked for. Those that are not in the file are not in the result.

    Raises:
        InputError: it cannot be read, or is not laid out as such files are; one line that names the file.
    """
    found_photos: dict[int, Photo] = {}
    found_instances: dict[int, Instance] = {}

    def keep(item: dict[str, Any]) -> dict[str, Any] | None:
        number = item.get("id")
        if "segmentation" in item:
            if type(number) is int and number in instances:
                found_instances[number] = _instance(number, item)
            return None
        if "file_name" in item:
            if type(number) is int and number in photos:
                found_photos[number] = _photo(number, item)
            return None
        return item

    data = read_json(path, keep)
    parts = ("images", "annotations", "categories")
    if not isinstance(data, dict) or not all(isinstance(data.get(part), list) for part in parts):
        raise InputError(f"{str(path)!r} is no annotation file: expected lists {', '.join(parts)}.")
    named = [each for each in data["categories"] if isinstance(each, dict)]
    categories = {each["id"]: each["name"] for each in named if type(each.get("id")) is int and "name" in each}
    return Instances(found_photos, found_instances, {id: str(name) for id, name in categories.items()})


def instance_mask(segmentation: Segmentation, height: int, width: int, overlap: str) -> np.ndarray:
    """The pixels of an annotation: (height, width) bool.

    Args:
        overlap: one of `car.data.referring.OVERLAPS`.

    Raises:
        InputError: a polygon or run-length mask that makes no sense, or not in this picture.

    >>> squares = (np.array([0.0, 0, 2, 0, 2, 2, 0, 2]), np.array([1.0, 0, 3, 0, 3, 2, 1, 2]))
    >>> instance_mask(squares, 1, 4, "union").tolist(), instance_mask(squares, 1, 4, "exactly-one").tolist()
    ([[True, True, True, False]], [[True, False, True, False]])
    """
    if not isinstance(segmentation, tuple):
        return region_mask(segmentation, height, width)
    layers = np.zeros((height, width), np.int32)
    for polygon in segmentation:
        layers += fill_polygon(polygon, height, width)
    return layers == 1 if overlap == "exactly-one" else layers > 0


def _photo(number: int, item: dict[str, Any]) -> Photo:
    file, height, width = (item.get(key) for key in ("file_name", "height", "width"))
    if type(file) is not str or type(height) is not int or type(width) is not int:
        raise InputError(f"has an image {number} without file name, height and width.")
    try:
        check_pixels(height, width)
    except InputError as error:
        raise InputError(f"has an image {number} that {error}") from None
    return Photo(file, height, width)


def _instance(number: int, item: dict[str, Any]) -> Instance:
    image, category = item.get("image_id"), item.get("category_id")
    if type(image) is not int or type(category) is not int:
        raise InputError(f"has an annotation {number} without image_id and category_id.")
    return Instance(number, image, category, bool(item.get("iscrowd")), _segmentation(number, item["segmentation"]))


def _segmentation(number: int, value: Any) -> Segmentation:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(polygon, list) for polygon in value):
        numbers = {type(each) for polygon in value for each in polygon}
        try:
            if numbers <= {int, float}:
                return tuple(np.array(polygon, np.float64) for polygon in value)
        except OverflowError:
            pass
    raise InputError(f"has an annotation {number} whose segmentation is neither polygons of numbers nor a mask.")
