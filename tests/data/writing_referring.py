"""Referring benchmarks at tiny sizes, in the files and folders that they are distributed in."""

import io
import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from car.palette import voc_palette
from tests.data.writing import picture, write_image


class _Python2Pickler(pickle._Pickler):  # the one that is written in Python: its ways can be changed
    """Writes texts of Latin-1 as Python 2 writes its byte strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        data = text.encode("latin-1")
        if not self.bin:
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch[str] = save_str


def python2_pickle(value: Any, protocol: int = 0) -> bytes:
    """A pickle as Python 2 writes it."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def box(x: float, y: float, width: float, height: float) -> list[float]:
    """The polygon of a rectangle."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def annotation(id: int, image: int, *polygons: Any, category: int = 1, crowd: int = 0, **more: Any) -> dict[str, Any]:
    """An annotation of `instances.json`; a mapping in place of polygons is a run-length mask."""
    segmentation = polygons[0] if polygons and isinstance(polygons[0], Mapping) else list(polygons)
    return {
        "segmentation": segmentation,
        "area": 1.5,
        "iscrowd": crowd,
        "image_id": image,
        "bbox": [0, 0, 1, 1],
        "category_id": category,
        "id": id,
        **more,
    }


def reference(id: int, image: int, instances: Any, *said: str, split: str = "val", **more: Any) -> dict[str, Any]:
    """A reference of `refs(...).p` or `grefs(...).json`."""
    sentences = [
        {"tokens": text.split(), "raw": text.capitalize() + ".", "sent_id": 10 * id + i, "sent": text}
        for i, text in enumerate(said)
    ]
    return {
        "sent_ids": [each["sent_id"] for each in sentences],
        "file_name": f"COCO_train2014_{image:012}_{id}.jpg",
        "ann_id": instances,
        "ref_id": id,
        "image_id": image,
        "split": split,
        "sentences": sentences,
        "category_id": 1,
        **more,
    }


def write_coco(
    root: Path,
    name: str,
    sizes: Mapping[int, tuple[int, int]],
    annotations: Iterable[dict[str, Any]],
    *,
    images: str = "images/mscoco/images/train2014",
) -> None:
    """Writes `instances.json` and the pictures: height and width by number."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "info": {"description": "COCO", "year": 2014},
        "images": [
            {
                "license": 1,
                "file_name": f"COCO_train2014_{id:012}.jpg",
                "coco_url": "http://example.org",
                "height": height,
                "width": width,
                "id": id,
            }
            for id, (height, width) in sizes.items()
        ],
        "licenses": [{"url": "http://example.org", "id": 1, "name": "BY"}],
        "annotations": list(annotations),
        "categories": [
            {"supercategory": "person", "id": 1, "name": "person"},
            {"supercategory": "animal", "id": 18, "name": "dog"},
        ],
    }
    (folder / "instances.json").write_text(json.dumps(data))
    for id, size in sizes.items():
        write_image(root / images / f"COCO_train2014_{id:012}.jpg", picture(id, size))


def write_refs(root: Path, name: str, refs: Any, *, split_by: str = "unc", protocol: int = 0) -> Path:
    """Writes refs(...).p as Python 2 does."""
    path = root / name / f"refs({split_by}).p"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(python2_pickle(refs, protocol))
    return path


def task(id: str, image: int, phrase: str, noun: str, *instances: Any, **more: Any) -> dict[str, Any]:
    """A task of PhraseCut's refer_(...).json; an instance is a list of polygons of [x, y]."""
    return {
        "task_id": id,
        "image_id": image,
        "ann_ids": [1],
        "instance_boxes": [[0, 0, 1, 1] for _ in instances],
        "Polygons": list(instances),
        "phrase": phrase,
        "phrase_structure": {
            "name": noun,
            "attributes": phrase.split()[:-1],
            "relation_ids": [],
            "relation_descriptions": [["on", "table"]],
            "type": "attribute",
        },
        **more,
    }


def write_phrasecut(
    root: Path,
    sizes: Mapping[int, tuple[int, int]],
    tasks: Iterable[dict[str, Any]],
    *,
    split: str = "test",
    pictures: Mapping[int, tuple[int, int]] | None = None,
) -> None:
    """Writes the files of a split: height and width of annotations by number, and of pictures where they differ."""
    root.mkdir(parents=True, exist_ok=True)
    info = [
        {
            "image_id": id,
            "coco_id": None,
            "flickr_id": None,
            "width": width,
            "height": height,
            "url": "http://example.org",
            "split": split,
        }
        for id, (height, width) in sizes.items()
    ]
    (root / "image_data_split.json").write_text(json.dumps(info))
    (root / f"refer_{split}.json").write_text(json.dumps(list(tasks)))
    for id, size in {**sizes, **(pictures or {})}.items():
        write_image(root / "images" / f"{id}.jpg", picture(id, size))


TEXTS = {
    "Davis17_annot1": "utf-8",
    "Davis17_annot1_full_video": "utf-8",
    "Davis17_annot2": "latin-1",
    "Davis17_annot2_full_video": "latin-1",
}


def write_davis(
    root: Path,
    sequences: Mapping[str, list[np.ndarray]],
    *,
    split: str = "val",
    annotations: str = "Annotations_unsupervised",
    texts: Path | None = None,
) -> None:
    """Writes frames and label maps of sequences, their list, and what four say of every object of the first frame."""
    lines = []
    for key, label_maps in sequences.items():
        for number, labels in enumerate(label_maps):
            write_image(root / f"JPEGImages/480p/{key}/{number:05}.jpg", picture(number, labels.shape))
            truth = Image.fromarray(labels.astype(np.uint8))
            truth.putpalette(voc_palette().tobytes())
            write_image(root / f"{annotations}/480p/{key}/{number:05}.png", truth)
        lines += [f'{key} {each} "thing {each} of {key}"\n' for each in np.unique(label_maps[0]) if 0 < each < 255]
    listed = root / f"ImageSets/2017/{split}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{key}\n" for key in sequences))
    folder = texts or root / "davis_text_annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for file, encoding in TEXTS.items():
        (folder / f"{file}.txt").write_text("".join(lines), encoding=encoding)
