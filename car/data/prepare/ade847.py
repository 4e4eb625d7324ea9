"""ADE20K with 847 classes, from the pictures and label pictures of the full release, as MaskFormer prepares it.

A pixel's object is trunc(R / 10) * 256 + G of KEY_seg.png. Where the shorter side of a picture is over 512 pixels, both
are reduced so that it is 512; other pictures are copied, where MaskFormer saves them anew as JPEG. The release's index,
a pickle, is not needed: its folders say the same.
"""

import io
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from car.data.benchmark import Benchmark
from car.data.prepare.ledger import digest
from car.data.prepare.outputs import LabelMap, Output, Picture
from car.data.prepare.preparation import Preparation, check_pixels, find_base, missing, places, unreadable
from car.errors import InputError

SHORTER = 512
"""The shorter side of a picture at most, in pixels."""

_SOURCE = "images/ADE"
_VOID = 65535
_QUALITY = 75
_VERSION = b"ade847 1"
_OBJECTS = 25 * 256 + 256


class ADE847(Preparation):
    """images_detectron2/SPLIT/KEY.jpg and annotations_detectron2/SPLIT/KEY.tif."""

    def __init__(self, benchmark: Benchmark, root: Path, split: str) -> None:
        source = f"{_SOURCE}/{benchmark.splits[split]}"
        base = find_base(benchmark, root, source)
        if base is None:
            raise missing(benchmark, places(benchmark, root), f"folder {source!r}")
        self._paths: dict[str, Path] = {}
        for path in _pictures(base / source):
            if path.stem in self._paths:
                raise InputError(f"{str(path)!r} and {str(self._paths[path.stem])!r} have the same name.")
            self._paths[path.stem] = path
        self._table = np.full(_OBJECTS, _VOID, np.uint16)
        self._table[object_ids()] = np.arange(len(object_ids()))
        super().__init__(benchmark, split, base, self._paths, source=base / source)

    def origin(self, key: str) -> str:
        return digest(_VERSION, *(_read(path) for path in self._sources(key)))

    def make(self, key: str) -> tuple[Sequence[Output], LabelMap]:
        path, label_path = self._sources(key)
        content = _read(path)
        image = _decoded(path, content, "JPEG")
        label_image = _decoded(label_path, _read(label_path), "PNG")
        if label_image.mode != "RGB" or label_image.size != image.size:
            sizes = [f"{each.height} x {each.width} pixels" for each in (label_image, image)]
            raise InputError(f"{str(label_path)!r} is {label_image.mode} of {sizes[0]}; expected RGB of {sizes[1]}.")
        pixels, size = np.asarray(image.convert("RGB")), reduced(image.height, image.width)
        if size != pixels.shape[:2]:
            pixels = _resized(pixels, size)
            content = _jpeg(pixels)
        elif _is_turned(image):  # of which the label picture knows nothing
            content = _jpeg(pixels)
        objects = nearest(np.asarray(label_image), size)
        values = self._table[objects[:, :, 0] // 10 * np.uint16(256) + objects[:, :, 1]]
        label_map = LabelMap(self.truth(key), values, len(self.classes), self.benchmark.coding)
        return [Picture(self.outputs(key)[0], pixels, content), label_map], label_map

    def outputs(self, key: str) -> list[Path]:
        return [self.images()[0] / f"{key}{self.benchmark.layout.image_suffix}", self.truth(key)]

    def _sources(self, key: str) -> tuple[Path, Path]:
        path = self._paths[key]
        return path, path.with_name(f"{key}_seg.png")


def object_ids() -> list[int]:
    """Ids of the objects that are classes 0, 1, ..., 846."""
    text = files("car.data.prepare").joinpath("ade847_objects.txt").read_text(encoding="utf-8")
    return [int(word) for line in text.splitlines() if not line.startswith("#") for word in line.split()]


def reduced(height: int, width: int) -> tuple[int, int]:
    """The size that a picture is prepared in.

    >>> reduced(512, 900), reduced(1024, 1367), reduced(1500, 1000)
    ((512, 900), (512, 684), (768, 512))
    """
    shorter = min(height, width)
    if shorter <= SHORTER:
        return height, width
    longer = round(max(height, width) / shorter * SHORTER)
    return (SHORTER, longer) if height == shorter else (longer, SHORTER)


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (H, W, ...) in another size (h, w), each pixel being the one at its upper left corner, as OpenCV has it.

    >>> nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist()
    [[1, 3]]
    """
    places = [
        np.minimum((np.arange(new) * (1 / (new / old))).astype(np.int64), old - 1)
        for new, old in zip(size, values.shape[:2], strict=True)
    ]
    return values[np.ix_(*places)]


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # what cannot be read turns nothing
        return False


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _pictures(folder: Path) -> Iterator[Path]:
    """Pictures of the release below a folder; those of single objects lie in folders named like a picture."""
    for parent, folders, names in os.walk(folder):
        pictures = {name[:-4] for name in names if name.endswith(".jpg") and name[0] != "."}
        folders[:] = [name for name in folders if name not in pictures]
        yield from (Path(parent, f"{stem}.jpg") for stem in pictures)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _decoded(path: Path, content: bytes, image_format: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=(image_format,))
        check_pixels(image.height, image.width)
        image.load()
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise unreadable(path, error) from error
    return image
