"""Annotations in JSON as COCO and the Detail API write them: pictures, and regions as runs of pixels or as polygons."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from car import rle
from car.data.prepare.polygons import fill_polygon
from car.data.prepare.preparation import check_pixels, unreadable
from car.errors import InputError

MAX_BYTES = 4 * 1024**3
_KEPT = frozenset((
    *("images", "annotations", "annos_segmentation", "categories"),
    *("image_id", "id", "file_name", "height", "width", "phase"),
    *("category_id", "segmentation", "iscrowd", "size", "counts"),
))  # fmt: skip
"""The rest of these files, more than half, is dropped while they are read."""


@dataclass(frozen=True)
class Photo:
    """A picture of the file: its name without suffix, its size in pixels, its id, and its phase if it has one."""

    key: str
    id: int
    height: int
    width: int
    phase: str | None


@dataclass(frozen=True)
class Annotations:
    """An annotation file.

    photos: its pictures, in its order.
    regions: by id of a picture, what is annotated in it, in the file's order; not yet checked.
    categories: ids of its categories.
    digest: SHA-256 of the file.
    """

    path: Path
    photos: tuple[Photo, ...]
    regions: Mapping[int, list[dict[str, Any]]]
    categories: frozenset[Any]
    digest: str


def read_annotations(path: Path, regions: str) -> Annotations:
    """Read an annotation file.

    Args:
        regions: the key of its list of regions.

    Raises:
        InputError: it cannot be read, is too large, is not JSON, or is not laid out as such files are.
    """
    data, digest = _load(path)
    images, found = _lists(data, "images", path), _lists(data, regions, path)
    photos = tuple(_photo(item, f"{str(path)!r}, images[{i}]") for i, item in enumerate(images))
    by_image: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    known = {photo.id for photo in photos}
    if len(known) < len(photos):
        raise InputError(f"{str(path)!r} has two pictures with the same id.")
    for i, item in enumerate(found):
        if type(item.get("image_id")) is not int or item["image_id"] not in known:
            raise InputError(f"{str(path)!r}, {regions}[{i}]: no picture has its `image_id`.")
        by_image[item["image_id"]].append(item)
    categories = _lists(data, "categories", path) if "categories" in data else []
    ids = frozenset(each["id"] for each in categories if type(each.get("id")) is int)
    return Annotations(path, photos, by_image, ids, digest)


def region_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """The pixels of a region: (height, width) bool.

    Args:
        segmentation: a run-length mask, compressed or not, or a list of polygons (see `fill_polygon`), whose union is
            meant.

    Raises:
        InputError: neither, or a broken one, or of another size than the picture.
    """
    if not isinstance(segmentation, list):
        mask = rle.decode(segmentation, max_pixels=height * width)
        if mask.shape != (height, width):
            raise InputError(
                f"a mask of {mask.shape[0]} x {mask.shape[1]} pixels, but the picture has {height} x {width}."
            )
        return mask
    if not segmentation or not all(isinstance(polygon, np.ndarray) for polygon in segmentation):
        raise InputError("a segmentation that is neither a run-length mask nor polygons of numbers.")
    mask = fill_polygon(segmentation[0], height, width)
    for polygon in segmentation[1:]:
        mask |= fill_polygon(polygon, height, width)
    return mask


def _load(path: Path) -> tuple[dict[str, Any], str]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"has {size:,} bytes, more than the limit of {MAX_BYTES:,}.")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        text = path.read_text(encoding="utf-8")
        data = json.loads(text, object_hook=_kept, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable(path, error) from error
    if not isinstance(data, dict):
        raise InputError(f"{str(path)!r} is no annotation file: it holds no object.")
    return data, digest


def _kept(item: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in item.items() if key in _KEPT}
    if isinstance(polygons := kept.get("segmentation"), list):
        kept["segmentation"] = [_numbers(polygon) for polygon in polygons]
    return kept


def _numbers(polygon: Any) -> Any:
    """A polygon in a quarter of the memory; whatever else it is, as it is."""
    if isinstance(polygon, list) and all(type(number) in (int, float) for number in polygon):
        try:
            return np.array(polygon, np.float64)
        except OverflowError:
            pass
    return polygon


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number that annotations may have")


def _lists(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InputError(f"{str(path)!r} is no such annotation file: it has no list `{key}` of objects.")
    return found


def _photo(item: dict[str, Any], where: str) -> Photo:
    name, height, width = (item.get(key) for key in ("file_name", "height", "width"))
    number, phase = item.get("image_id", item.get("id")), item.get("phase")
    if type(name) is not str or type(number) is not int or type(height) is not int or type(width) is not int:
        raise InputError(f"{where} is no picture with file name, id, height and width.")
    try:
        check_pixels(height, width)
    except InputError as error:
        raise InputError(f"{where} {error}") from None
    return Photo(name.rpartition(".")[0] or name, number, height, width, phase if isinstance(phase, str) else None)
