"""Small referring benchmarks of scenes, for the tests of this folder."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from car import rle
from tests.data.writing_referring import annotation, box, reference, write_coco, write_refs
from tests.evaluate.pictures import picture

IMAGES = "images/mscoco/images/train2014"
BLANK = 3
"""The picture with a blank sentence."""


def key(index: int) -> str:
    return f"COCO_train2014_{index:012}"


def write_categories(root: Path, *names: str) -> None:
    """Has the objects of `write_refcoco` be of these categories, in turn."""
    path = root / "refcoco/instances.json"
    data = json.loads(path.read_text())
    data["categories"] = [{"supercategory": name, "id": id, "name": name} for id, name in enumerate(names)]
    for number, each in enumerate(data["annotations"]):
        each["category_id"] = number % len(names)
    path.write_text(json.dumps(data))


def write_refcoco(root: Path, count: int) -> Path:
    """RefCOCO of the first scenes, whose objects are their boxes, with the scenes' masks as proposals in `masks`.

    One sentence of picture `BLANK` is blank.
    """
    (root / "masks").mkdir(parents=True)
    sizes, annotations, refs = {}, [], []
    for index in range(1, count + 1):
        made = picture(index)
        sizes[index] = made.image.shape[:2]
        entries = [{"segmentation": rle.encode(mask)} for mask in made.concepts.values()]
        (root / f"masks/{key(index)}.json").write_text(json.dumps({"annotations": entries}))
        for name, mask in made.concepts.items():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            id = len(annotations) + 1
            where = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
            annotations.append(annotation(id, index, box(*map(float, where))))
            blank = index == BLANK and not any(ref["image_id"] == index for ref in refs)
            refs.append(reference(id, index, id, f"the {name}", " " if blank else f"{name} on the left"))
    write_coco(root, "refcoco", sizes, annotations)
    write_refs(root, "refcoco", refs)
    for index in sizes:
        Image.fromarray(picture(index).image).save(root / IMAGES / f"{key(index)}.jpg", quality=95)
    return root
