"""Benchmarks at tiny sizes, in the files and folders that they are distributed in."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from car.data import IGNORE
from car.palette import voc_palette

SIZE = (6, 9)
"""Height and width of what `labels` draws."""

CLASSES = {
    "voc21": 20,
    "voc20": 20,
    "context60": 59,
    "context59": 59,
    "coco-object": 80,
    "ade150": 150,
    "ade847": 847,
    "pc459": 459,
    "folder": 3,
}
WITH_BACKGROUND = {"voc21", "context60", "coco-object"}
"""Where the value 0 is scored."""

BASES = {
    "voc21": ["", "VOCdevkit/VOC2012", "VOC2012"],
    "voc20": ["", "VOCdevkit/VOC2012", "VOC2012"],
    "context60": ["", "VOCdevkit/VOC2010", "VOC2010"],
    "context59": ["", "VOCdevkit/VOC2010", "VOC2010"],
    "coco-object": ["", "coco", "coco_stuff164k"],
    "ade150": ["", "ADEChallengeData2016"],
    "ade847": ["", "ADE20K_2021_17_01"],
    "pc459": ["", "VOCdevkit/VOC2010", "VOC2010"],
    "folder": [""],
}

FILES = {
    "voc21": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "ImageSets/Segmentation/val.txt"),
    "voc20": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "ImageSets/Segmentation/val.txt"),
    "context60": ("JPEGImages/{}.jpg", "SegmentationClassContext/{}.png", "ImageSets/SegmentationContext/val.txt"),
    "context59": ("JPEGImages/{}.jpg", "SegmentationClassContext/{}.png", "ImageSets/SegmentationContext/val.txt"),
    "coco-object": ("images/val2017/{}.jpg", "annotations/val2017/{}_instanceTrainIds.png", None),
    "ade150": ("images/validation/{}.jpg", "annotations/validation/{}.png", None),
    "ade847": ("images_detectron2/validation/{}.jpg", "annotations_detectron2/validation/{}.tif", None),
    "pc459": ("JPEGImages/{}.jpg", "annotations_detectron2/pc459_val/{}.tif", None),
    "folder": ("images/{}.png", "labels/{}.png", None),
}
"""Names of a picture, of its label map, and of the list."""


def labels(name: str, seed: int = 0) -> np.ndarray:
    """(H, W) uint16 labels in which everything that a benchmark can say occurs: first and last class, and the rest."""
    there = [1, 2, CLASSES[name], IGNORE, *([0] if name in WITH_BACKGROUND else [])]
    return (
        np.random.default_rng(seed).permutation(np.resize(np.array(there, np.uint16), SIZE[0] * SIZE[1])).reshape(SIZE)
    )


def truth_image(name: str, truth: np.ndarray) -> Image.Image:
    """A label map as the benchmark has it on disk."""
    if name in ("ade847", "pc459"):
        return Image.fromarray(np.where(truth == IGNORE, IGNORE, truth - np.uint16(1)).astype(np.uint16))
    void = 0 if name == "ade150" else 255
    image = Image.fromarray(np.where(truth == IGNORE, void, truth).astype(np.uint8))
    if name in ("voc21", "voc20", "folder"):
        image.putpalette(voc_palette().tobytes())
    return image


def write_image(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def write_benchmark(name: str, root: Path, truths: Mapping[str, np.ndarray]) -> Path:
    """Writes pictures, label maps and the list of the val split; `root` is the base folder itself."""
    image_name, truth_name, list_name = FILES[name]
    for seed, (key, truth) in enumerate(truths.items()):
        write_image(root / image_name.format(key), picture(seed, truth.shape))
        write_image(root / truth_name.format(key), truth_image(name, truth))
    if list_name is not None:
        (root / list_name).parent.mkdir(parents=True, exist_ok=True)
        (root / list_name).write_text("".join(f"{key}\n" for key in truths))
    if name == "folder":
        (root / "classes.txt").write_text("cat\ndog\nred car\n")
    return root
