"""Tiny sources of every benchmark that needs preparation, in the formats they are distributed in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from scipy.io import savemat

COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
DETAIL_EXTRAS: dict[str, Any] = {
    "info": {"description": "PASCAL in Detail", "version": "4.0"},
    "annos_boundary": [{"image_id": 2008000001, "boundary_mask": {"size": [3, 4], "counts": "<"}}],
    "annos_occlusion": [{"image_id": 2008000001, "ne": 1, "edges": {"indices": [[1, 2]], "edgelabel": [[1, 2]]}}],
    "annos_joints": [],
    "parts": [{"part_id": 1, "name": "head", "superpart": "none"}],
}


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's own tools write it."""
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(found["size"]), "counts": found["counts"].decode()}


def box(shape: tuple[int, int], top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """A mask that is set in a box."""
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def detail_image(number: int, shape: tuple[int, int], phase: str = "val") -> dict[str, Any]:
    names = {"file_name": f"2008_{number:06}.jpg", "image_id": 2008000000 + number, "phase": phase}
    return {**names, "height": shape[0], "width": shape[1], "date_captured": "31-May-2015 17:44:04"}


def detail_region(number: int, category: Any, segmentation: Any) -> dict[str, Any]:
    part = {"part_id": 1, "area": 1, "segmentation": {"size": [1, 1], "counts": "01"}}
    rest = {"id": 7, "area": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0, "parts": [part]}
    return {**rest, "image_id": 2008000000 + number, "category_id": category, "segmentation": segmentation}


def write_detail(root: Path, images: list[Any], regions: list[Any], base: str = "VOCdevkit/VOC2010") -> Path:
    """trainval_merged.json; the folder it is in."""
    folder = root / base
    folder.mkdir(parents=True, exist_ok=True)
    data = {**DETAIL_EXTRAS, "images": images, "annos_segmentation": regions, "categories": []}
    (folder / "trainval_merged.json").write_text(json.dumps(data))
    return folder


def write_many(root: Path, count: int, shape: tuple[int, int] = (40, 50)) -> Path:
    """Pascal Context with pictures 1, 2, ..., each with two regions."""
    rng = np.random.default_rng(0)
    images, regions = [], []
    for number in range(1, count + 1):
        images.append(detail_image(number, shape))
        masks = [compressed(rng.random(shape) < 0.3) for _ in range(2)]
        regions += [detail_region(number, int(rng.choice([2, 9, 458, 68])), mask) for mask in masks]
    return write_detail(root, images, regions)


def coco_image(number: int, shape: tuple[int, int]) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number:012}.jpg", "height": shape[0], "width": shape[1], "license": 1}


def coco_region(number: int, category: Any, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    rest = {"id": 1, "area": 1.5, "bbox": [0, 0, 1, 1], "iscrowd": crowd}
    return {**rest, "image_id": number, "category_id": category, "segmentation": segmentation}


def write_instances(root: Path, images: list[Any], regions: list[Any], ids: list[int] | None = None) -> Path:
    """annotations/instances_val2017.json; its path."""
    path = root / "coco/annotations/instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": i, "name": f"thing {i}", "supercategory": "any"} for i in ids or COCO_IDS]
    path.write_text(json.dumps({"images": images, "annotations": regions, "categories": categories, "licenses": []}))
    return path


def write_map(root: Path, number: int, values: np.ndarray, base: str = "coco") -> Path:
    """A pixel map of COCO-Stuff."""
    path = root / base / f"annotations/val2017/{number:012}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def write_ade(
    root: Path, name: str, objects: np.ndarray, image: np.ndarray, scene: str = "urban/street", **options: Any
) -> Path:
    """A picture of the full release, its objects given by id, and what lies beside it; the picture's path."""
    split = "validation" if "_val_" in name else "training"
    folder = root / "ADE20K_2021_17_01/images/ADE" / split / scene
    (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.jpg", quality=95, **options)
    seg = np.zeros((*objects.shape, 3), np.uint8)
    seg[:, :, 0], seg[:, :, 1], seg[:, :, 2] = objects // 256 * 10, objects % 256, 77
    Image.fromarray(seg).save(folder / f"{name}_seg.png")
    Image.fromarray(seg).save(folder / f"{name}_parts_1.png")
    Image.fromarray(image).save(folder / name / "instance_000.jpg")
    (folder / f"{name}.json").write_text("{}")
    return folder / f"{name}.jpg"


def write_mat(root: Path, key: str, values: Any, name: str = "LabelMap", **options: Any) -> Path:
    """trainval/KEY.mat."""
    path = root / f"VOCdevkit/VOC2010/trainval/{key}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: values}, **options)
    return path


def write_list(root: Path, keys: list[str], name: str = "pascalcontext_val.txt") -> Path:
    path = root / "VOCdevkit/VOC2010" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}\n" for key in keys))
    return path


def read(path: Path) -> np.ndarray:
    """The values of a written label map, of the format that its name says."""
    with Image.open(path, formats=["TIFF" if path.suffix == ".tif" else "PNG"]) as image:
        assert image.mode == ("I;16" if path.suffix == ".tif" else "L")
        return np.asarray(image)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones as well."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
