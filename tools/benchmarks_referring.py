"""Pictures and what is said of them as files, each referring benchmark laid out as it is distributed."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import cv2
import numpy as np
from benchmarks_annotations import COCO_CATEGORIES, coco_annotation, cut, cut_polygons, described, measures
from benchmarks_layouts import Layout
from benchmarks_pictures import SPLITS
from benchmarks_saying import Phrase, Phrased, Said, Told
from benchmarks_words import Wording

from car.export import write_atomically

IMAGES = ("images", "mscoco", "images", "train2014")
CAPITALS = 0.3
"""Share of sentences that were typed with a capital and a full stop."""
GOOGLE_VAL = 3
"""In the split of Google's authors, one object of so many is in val; a picture can be in both splits."""


class RefCoco(Layout[Told]):
    """A pickle of references, the annotations of COCO, and pictures under COCO's names."""

    splits: ClassVar[Mapping[str, int]] = MappingProxyType({"val": 1, "testA": 3, "testB": 3, "train": 5})

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.refs: list[dict[str, Any]] = []
        self.sentences = 0

    def key(self, split: str, index: int) -> str:
        return f"COCO_train2014_{9 + 16 * (index * len(SPLITS) + SPLITS.index(split)):012}"

    def write_picture(self, split: str, key: str, picture: Told) -> None:
        self.write_jpeg(picture.scene.image, *IMAGES, f"{key}.jpg")
        number = int(key.rsplit("_", 1)[1])
        height, width = picture.labels.shape
        self.images.append({"license": 1, "file_name": f"{key}.jpg", "height": height, "width": width, "id": number})
        annotated = self._annotate(picture, number)
        for said in picture.said:
            self.refs.append(self._reference(split, number, [annotated[i] for i in said.objects], said, picture.rng))

    def finish(self) -> None:
        """Write the annotations and the references."""
        categories = [{"supercategory": name, "id": number, "name": name} for number, name in COCO_CATEGORIES]
        listed = {"images": self.images, "licenses": [], "annotations": self.annotations, "categories": categories}
        self.write_json({"info": described("COCO"), **listed}, self.wording.name, "instances.json")
        self.write_refs()

    def write_refs(self) -> None:
        self.write_pickle("unc", self.refs)

    def write_pickle(self, split_by: str, refs: list[dict[str, Any]]) -> None:
        write_atomically(self.path(self.wording.name, f"refs({split_by}).p"), python2_pickle(refs))

    def _annotate(self, picture: Told, number: int) -> dict[int, dict[str, Any]]:
        """The annotations of a picture by object, for each that is of a category."""
        found = {}
        for i, (name, mask) in enumerate(zip(picture.scene.names, picture.scene.masks, strict=True)):
            if name in picture.ids:
                shape = coco_annotation(picture.ids[name], mask, cut_polygons(mask), crowd=False)
                found[i] = {**shape, "image_id": number, "id": len(self.annotations) + 1}
                self.annotations.append(found[i])
        return found

    def _reference(
        self, split: str, number: int, meant: list[dict[str, Any]], said: Said, rng: np.random.Generator
    ) -> dict[str, Any]:
        first, ref = self.sentences, len(self.refs)
        self.sentences += len(said.sentences)
        return {
            "sent_ids": [*range(first, self.sentences)],
            "file_name": f"COCO_train2014_{number:012}_{ref}.jpg",
            **self.meant(meant),
            "ref_id": ref,
            "image_id": number,
            "split": split,
            "sentences": [
                {"tokens": text.split(), "raw": typed(text, rng), "sent_id": first + i, "sent": text}
                for i, text in enumerate(said.sentences)
            ],
        }

    def meant(self, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        """How a reference names its annotation."""
        (annotation,) = annotations
        return {"ann_id": annotation["id"], "category_id": annotation["category_id"]}


class RefCocoG(RefCoco):
    """The same with the splits of two groups of authors."""

    splits: ClassVar[Mapping[str, int]] = MappingProxyType({"val": 1, "test": 2, "train": 5})

    def write_refs(self) -> None:
        self.write_pickle("umd", self.refs)
        google = [{**ref, "split": "train" if ref["ref_id"] % GOOGLE_VAL else "val"} for ref in self.refs]
        self.write_pickle("google", google)


class GrefCoco(RefCoco):
    """The same with lists of annotations, in JSON; nothing is annotation -1."""

    def write_refs(self) -> None:
        self.write_json(self.refs, self.wording.name, "grefs(unc).json")

    def meant(self, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        numbers = {key: [each[key] for each in annotations] or [-1] for key in ("id", "category_id")}
        return {"no_target": not annotations, "ann_id": numbers["id"], "category_id": numbers["category_id"]}


class PhraseCut(Layout[Phrased]):
    """A JSON of phrases with polygons for each split, and one of all pictures' sizes."""

    base = "VGPhraseCut_v0"
    splits: ClassVar[Mapping[str, int]] = MappingProxyType({"test": 1, "val": 3, "miniv": 5})

    def __init__(self, root: Path, wording: Wording) -> None:
        super().__init__(root, wording)
        self.images: list[dict[str, Any]] = []
        self.tasks: dict[str, list[dict[str, Any]]] = {split: [] for split in self.splits}
        self.instances = 0

    def key(self, split: str, index: int) -> str:
        return str(2315353 + 16 * (index * len(SPLITS) + SPLITS.index(split)))

    def write_picture(self, split: str, key: str, picture: Phrased) -> None:
        self.write_jpeg(picture.scene.image, "images", f"{key}.jpg")
        height, width = picture.labels.shape
        size = {"width": width, "height": height}
        self.images.append({"image_id": int(key), "coco_id": None, "flickr_id": None, **size, "split": split})
        for i, phrase in enumerate(picture.phrases):
            self.tasks[split].append({"task_id": f"{key}__{i}", "image_id": int(key), **self._task(phrase)})

    def finish(self) -> None:
        """Write the phrases and the sizes."""
        self.write_json(self.images, "image_data_split.json")
        for split, tasks in self.tasks.items():
            self.write_json(tasks, f"refer_{split}.json")

    def _task(self, phrase: Phrase) -> dict[str, Any]:
        first = self.instances
        self.instances += len(phrase.instances)
        return {
            "ann_ids": [*range(first, self.instances)],
            "instance_boxes": [measures(mask)["bbox"] for mask in phrase.instances],
            "Polygons": [outlines(mask) for mask in phrase.instances],
            "phrase": phrase.text,
            "phrase_structure": {
                "name": phrase.name,
                "attributes": phrase.attributes,
                "relation_ids": [*range(len(phrase.relations))],
                "relation_descriptions": phrase.relations,
                "type": "relation" if phrase.relations else "attribute" if phrase.attributes else "name",
            },
        }


class Python2Pickler(pickle._Pickler):  # the one that is written in Python: only its ways can be changed
    """Writes texts as the byte strings of Python 2, in which these files were made."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str) -> None:
        data = text.encode("latin-1")
        short = len(data) < 256
        self.write(
            (pickle.SHORT_BINSTRING if short else pickle.BINSTRING)
            + len(data).to_bytes(1 if short else 4, "little")
            + data
        )
        self.memoize(text)

    dispatch[str] = save_text


def python2_pickle(data: Any) -> bytes:
    """A pickle of protocol 2, the newest of Python 2."""
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(data)
    return stream.getvalue()


def typed(text: str, rng: np.random.Generator) -> str:
    """A sentence as somebody may have typed it."""
    return f"{text.capitalize()}." if rng.random() < CAPITALS else text


def outlines(mask: np.ndarray) -> list[list[list[int]]]:
    """Polygons through the outermost pixels of a mask's parts: filled and outlined by Pillow, they give the mask."""
    found = []
    for left, part in cut(mask):
        contours = cv2.findContours(part.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        found += [contour[:, 0] + (left, 0) for contour in contours]
    return [np.repeat(each, 2 if len(each) == 1 else 1, axis=0).tolist() for each in found]
