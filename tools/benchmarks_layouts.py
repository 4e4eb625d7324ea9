"""Pictures as files, each benchmark laid out as it is distributed."""

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import cv2
import numpy as np
from benchmarks_annotations import COCO_CATEGORIES, DETAIL_CATEGORIES, coco_annotations, described, detail_annotations
from benchmarks_pictures import Picture
from benchmarks_words import Wording
from scipy.io import savemat

from car.data.dataset import IGNORE
from car.data.prepare.ade847 import object_ids
from car.export import dumps, make_folder, write_atomically, write_labels, write_png
from car.scenes.writing import encode_png
from car.wordlists import ClassEntry

Drawn = TypeVar("Drawn")
JPEG_QUALITY = 92
VOID = 255
MAT_HEADER = 116
"""Bytes of text at the beginning of a MAT-file; scipy writes the time there."""


class Layout(ABC, Generic[Drawn]):
    """Writes what was drawn for one benchmark, and when all is written, by `finish`, what is about all of it.

    Args:
        root: folder to write to.
        wording: the benchmark's classes.
    """

    base: ClassVar[str] = "."
    """The folder below the root that a download unpacks to."""
    splits: ClassVar[Mapping[str, int]] = MappingProxyType({"val": 1, "train": 5})
    """One picture for as many of those that are asked for, by split."""

    def __init__(self, root: Path, wording: Wording) -> None:
        self.root, self.wording = root, wording
        self.keys: dict[str, list[str]] = {}
        self._folders: set[Path] = set()

    @abstractmethod
    def key(self, split: str, index: int) -> str:
        """What picture `index` of a split is called."""

    def write(self, split: str, index: int, picture: Drawn) -> None:
        """Write one picture and what is known of it."""
        key = self.key(split, index)
        self.keys.setdefault(split, []).append(key)
        self.write_picture(split, key, picture)

    @abstractmethod
    def write_picture(self, split: str, key: str, picture: Drawn) -> None:
        """Write the files of one picture."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is about all pictures."""

    def path(self, *parts: str) -> Path:
        """A path below the base folder; the folder it is in is made."""
        path = self.root.joinpath(self.base, *parts)
        if path.parent not in self._folders:
            make_folder(path.parent)
            self._folders.add(path.parent)
        return path

    def write_jpeg(self, image: np.ndarray, *parts: str) -> None:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
        write_atomically(self.path(*parts), data.tobytes())

    def write_list(self, keys: list[str], *parts: str) -> None:
        write_atomically(self.path(*parts), "".join(f"{key}\n" for key in sorted(keys)).encode())

    def write_json(self, data: Any, *parts: str) -> None:
        write_atomically(self.path(*parts), dumps(data, indent=None).encode())


class SemanticLayout(Layout[Picture]):
    """A layout of label maps."""

    def key(self, split: str, index: int) -> str:
        number = 2 * index + (split == "train")
        return f"{2007 + number % 3}_{number:06}"

    def finish(self) -> None:
        """Write the class list to ask the embedded model, and the benchmark's own lists."""
        lines = ("\t".join(map(str, entry)) for entry in self.queries)
        write_atomically(self.root / "classes.txt", "".join(f"{line}\n" for line in lines).encode())

    @property
    def queries(self) -> list[ClassEntry]:
        """The class list to ask the embedded model."""
        return self.wording.queries

    def truth(self, picture: Picture) -> np.ndarray:
        """The labels that a reader should find, uint16 (H, W): i + 1 is class i, 0 is none, `IGNORE` is void."""
        return picture.labels


class Voc(SemanticLayout):
    """Palette label maps, 255 along every outline, lists of keys."""

    base = "VOCdevkit/VOC2012"

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        self.write_jpeg(picture.scene.image, "JPEGImages", f"{key}.jpg")
        labels = np.minimum(self.truth(picture), VOID)
        write_labels(self.path("SegmentationClass", f"{key}.png"), labels, len(self.wording.classes))

    def finish(self) -> None:
        super().finish()
        every = [key for keys in self.keys.values() for key in keys]
        for split, keys in {**self.keys, "trainval": every}.items():
            self.write_list(keys, "ImageSets", "Segmentation", f"{split}.txt")

    def truth(self, picture: Picture) -> np.ndarray:
        around = np.ones((3, 3), np.uint8)
        outlines = cv2.dilate(picture.instances, around) != cv2.erode(picture.instances, around)
        return np.where(outlines, np.uint16(IGNORE), picture.labels)


class Context(SemanticLayout):
    """One JSON for all pictures and both splits, in the format of PASCAL in Detail."""

    base = "VOCdevkit/VOC2010"

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        self.write_jpeg(picture.scene.image, "JPEGImages", f"{key}.jpg")
        height, width = picture.labels.shape
        image = int(key.replace("_", ""))
        file = {"file_name": f"{key}.jpg", "height": height, "width": width}
        self.images.append({"image_id": image, **file, "phase": split})
        for found in detail_annotations(picture):
            self.annotations.append({"id": len(self.annotations) + 1, "image_id": image, **found})

    def finish(self) -> None:
        super().finish()
        categories = [
            {
                "category_id": DETAIL_CATEGORIES[entry.id],
                "name": entry.query,
                "onlysemantic": int(entry.kind == "stuff"),
                "parts": [],
            }
            for entry in self.wording.classes
        ]
        listed = {"images": self.images, "annos_segmentation": self.annotations, "categories": categories}
        self.write_json(
            {"info": described("Detail"), **listed, "annos_occlusion": [], "parts": []}, "trainval_merged.json"
        )


class CocoObject(SemanticLayout):
    """One JSON of polygons, run lengths and crowds."""

    splits = MappingProxyType({"val": 1})

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def key(self, split: str, index: int) -> str:
        return f"{139 + 146 * index:012}"

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        self.write_jpeg(picture.scene.image, "images", "val2017", f"{key}.jpg")
        height, width = picture.labels.shape
        self.images.append({"id": int(key), "file_name": f"{key}.jpg", "height": height, "width": width})
        for found in coco_annotations(picture):
            self.annotations.append({"id": len(self.annotations) + 1, "image_id": int(key), **found})

    def finish(self) -> None:
        super().finish()
        categories = [{"id": number, "name": name} for number, name in COCO_CATEGORIES]
        listed = {"images": self.images, "annotations": self.annotations, "categories": categories}
        self.write_json({"info": described("COCO"), "licenses": [], **listed}, "annotations", "instances_val2017.json")


class Ade150(SemanticLayout):
    """Grey label maps, 0 for all else."""

    base = "ADEChallengeData2016"

    def key(self, split: str, index: int) -> str:
        return f"ADE_{split}_{index + 1:08}"

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        folder = {"val": "validation", "train": "training"}[split]
        self.write_jpeg(picture.scene.image, "images", folder, f"{key}.jpg")
        write_png(self.path("annotations", folder, f"{key}.png"), picture.labels.astype(np.uint8))


class Ade847(SemanticLayout):
    """Object ids in the colours of PNGs beside the pictures, in a folder for each kind of place."""

    base = "ADE20K_2021_17_01/images/ADE"
    urban: ClassVar[tuple[str, ...]] = ("road", "brick wall", "facade", "railway")

    key = Ade150.key

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.objects = object_ids()
        self.others = sorted(set(range(1, max(self.objects))) - set(self.objects))

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        place = picture.scene.background[-1]
        kind = "urban" if place in self.urban else "nature_landscape"
        folder = ({"val": "validation", "train": "training"}[split], kind, place.replace(" ", "_"))
        self.write_jpeg(picture.scene.image, *folder, f"{key}.jpg")
        write_atomically(self.path(*folder, f"{key}_seg.png"), encode_png(self.colours(picture)))

    def colours(self, picture: Picture) -> np.ndarray:
        """uint8 RGB (H, W, 3): the object id is R / 10 * 256 + G, B counts the regions; black is nothing."""
        painted = np.zeros((*picture.labels.shape, 3), np.uint8)
        for number, region in enumerate(picture.regions, start=1):
            if region.id is not None:
                painted[region.mask] = colour(self.objects[region.id], number)
            elif region.thing:
                painted[region.mask] = colour(int(picture.rng.choice(self.others)), number)
        return painted


class Pc459(SemanticLayout):
    """A MAT-file for each picture of both splits, and a list of one of them."""

    base = "VOCdevkit/VOC2010"

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        self.write_jpeg(picture.scene.image, "JPEGImages", f"{key}.jpg")
        file = io.BytesIO()
        savemat(file, {"LabelMap": picture.labels}, do_compression=True)
        header = b"MATLAB 5.0 MAT-file, made of scenes".ljust(MAT_HEADER)
        write_atomically(self.path("trainval", f"{key}.mat"), header + file.getvalue()[MAT_HEADER:])

    def finish(self) -> None:
        super().finish()
        self.write_list(self.keys["val"], "pascalcontext_val.txt")


class Folder(SemanticLayout):
    """Pictures as JPEG and PNG in turn, palette label maps, lists of keys; 0 is background, which is scored."""

    @property
    def queries(self) -> list[ClassEntry]:
        classes = (entry._replace(id=entry.id + 1) for entry in self.wording.queries)
        return [ClassEntry(0, "stuff", "background"), *classes]

    def key(self, split: str, index: int) -> str:
        return f"{split} {index}"

    def write_picture(self, split: str, key: str, picture: Picture) -> None:
        if len(self.keys[split]) % 2:
            self.write_jpeg(picture.scene.image, "images", f"{key}.jpg")
        else:
            write_atomically(self.path("images", f"{key}.png"), encode_png(picture.scene.image))
        write_labels(self.path("labels", f"{key}.png"), picture.labels, len(self.wording.classes))

    def finish(self) -> None:
        super().finish()
        for split, keys in self.keys.items():
            self.write_list(keys, f"{split}.txt")


def colour(object_id: int, number: int) -> tuple[int, int, int]:
    """An object id, and the number of an object in its picture, as ADE20K paints them."""
    return object_id // 256 * 10, object_id % 256, number
