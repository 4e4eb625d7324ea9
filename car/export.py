"""Results as files: pictures, label maps, masks and JSON, written whole or not at all.

For an image called `photo`, a result in `out` is

    out/photo.overlay.png   the picture to look at (`car.draw.overlay`)
    out/photo.labels.png    the label map: 0 is background, i + 1 is query i; palette PNG in the colours of PASCAL VOC,
                            or 16-bit grey when more than 254 queries were asked
    out/photo.masks/cat.png one mask per present query, 0 and 255, named by the query's slug
    out/photo.json          scores, boxes, COCO RLE masks, absent queries, every step, the effective configuration

The JSON is written last: where it stands, the others are complete and belong to it.
"""

import io
import json
import math
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from car import rle
from car.errors import CarError, InputError
from car.palette import voc_palette
from car.slug import unique_slugs

if TYPE_CHECKING:
    from car.result import Segmentation, Step

FORMATS = ("overlay", "labels", "masks", "json")
"""What `save` can write, in the order it does."""

_MOST_PALETTE_LABELS = 254  # 255 means "void" to the readers of palette label maps
_MOST_GREY_LABELS = 65535
_PALETTE = voc_palette().tobytes()
_MASK_LEVELS = np.array([0, 255], np.uint8)
_LONGEST_STEM = 240
_DIGITS = 6


def save(
    result: "Segmentation",
    out_dir: str | Path,
    stem: str,
    *,
    image_path: str | None = None,
    overwrite: bool = False,
    formats: Collection[str] = FORMATS,
) -> dict[str, Any]:
    """Write a result; see the top of this module for the files.

    Args:
        out_dir: folder to write to; made when absent.
        stem: name of the image in the file names.
        image_path: the image as the JSON names it; the stem by default.
        overwrite: replace the result that is there, masks of queries no longer present included.
        formats: which of `FORMATS` to write.

    Returns:
        Paths by format: "overlay", "labels", "json" are paths, "masks" is a list in the order of the queries.

    Raises:
        InputError: results are there already (found before anything is computed or written); the stem is no file
            name; an unknown format; more queries than a label map holds; or the folder cannot be made.
        CarError: writing failed.
    """
    out = Path(out_dir)
    paths = _paths(out, stem, formats)
    if not overwrite and (there := existing_outputs(out, stem, formats)):
        raise InputError(f"{str(there[0])!r} exists already; choose another folder or overwrite it (overwrite=True).")
    if "labels" in paths and len(result.queries) > _MOST_GREY_LABELS:
        raise InputError(f"A label map holds at most {_MOST_GREY_LABELS} queries, not {len(result.queries)}.")
    make_folder(out)
    with reported(out):
        if "json" in paths:
            paths["json"].unlink(missing_ok=True)
        written: dict[str, Any] = {}
        for kind, path in paths.items():
            written[kind] = path
            if kind == "overlay":
                from car.draw import overlay

                write_png(path, overlay(result))
            elif kind == "labels":
                write_labels(path, result.labels, len(result.queries))
            elif kind == "masks":
                written[kind] = _write_masks(path, result)
            else:
                write_atomically(path, dumps(to_json(result, image_path or stem)).encode())
    return written


def existing_outputs(out_dir: str | Path, stem: str, formats: Collection[str] = FORMATS) -> list[Path]:
    """Files and folders of an earlier result that `save` would have to overwrite.

    Raises:
        InputError: the stem is no file name, or an unknown format.
    """
    return [path for path in _paths(Path(out_dir), stem, formats).values() if os.path.lexists(path)]


def to_json(result: "Segmentation", image_path: str) -> dict[str, Any]:
    """A result as plain data for JSON.

    Args:
        image_path: how to name the image.

    Returns:
        `annotations` has one entry per present query: query, label (its value in the label map), slug
        (the name of its mask file), score, bbox in pixels as [x, y, width, height], area in pixels and segmentation
        (COCO RLE). `absent` has query and score of the others; `skipped` those of them that a cascade did not show to
        the classifier; `steps` the queries, scores and verdicts of every step.
        Scores are rounded to 6 digits; what is not finite is null.
    """
    from car import __version__

    height, width = result.labels.shape
    return {
        "image_path": image_path,
        "img_width": width,
        "img_height": height,
        "model": result.model,
        "version": __version__,
        "config": plain(result.config),
        "box_format": "xywh",
        "annotations": list(_annotations(result)),
        "absent": [
            {"query": query, "score": _score(score)}
            for query, score, present in zip(result.queries, result.scores, result.present, strict=True)
            if not present
        ],
        "skipped": list(result.skipped),
        "steps": [_step(step) for step in result.steps],
    }


def dumps(data: Any, *, indent: int | None = 2) -> str:
    """Strict JSON text in UTF-8: other scripts stay readable, halves of surrogate pairs are escaped."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
    return text.encode(errors="backslashreplace").decode()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a picture as PNG; a reader never sees half of it.

    Args:
        pixels: (H, W, 3) uint8 RGB, (H, W) uint8 or (H, W) uint16.

    Raises:
        CarError: writing failed.
    """
    with reported(path):
        _write_image(path, Image.fromarray(pixels))


def write_labels(path: Path, labels: np.ndarray, most: int) -> None:
    """Write a label map as PNG, whole or not at all.

    Args:
        labels: (H, W) integers in [0, most].
        most: the greatest label there can be; to 254 the file is a palette PNG in the colours of PASCAL VOC, above
            that it is 16-bit grey.

    Raises:
        CarError: writing failed.
    """
    if most > _MOST_PALETTE_LABELS:
        write_png(path, labels.astype(np.uint16))
        return
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(_PALETTE)
    with reported(path):
        _write_image(path, image)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name, then give it its own; raises OSError."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they are not there; InputError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {str(folder)!r}: {error.strerror}.") from error


@contextmanager
def reported(out: Path) -> Iterator[None]:
    """Turns an OSError into a CarError that names what could not be written."""
    try:
        yield
    except OSError as error:
        raise CarError(f"Cannot write to {str(out)!r}: {error.strerror or error}.") from error


def _annotations(result: "Segmentation") -> Iterator[dict[str, Any]]:
    for i, name in enumerate(unique_slugs(result.queries)):
        if result.present[i]:
            mask = result.labels == i + 1
            yield {
                "query": result.queries[i],
                "label": i + 1,
                "slug": name,
                "score": _score(result.scores[i]),
                "bbox": list(cv2.boundingRect(mask.view(np.uint8))),
                "area": int(mask.sum()),
                "segmentation": rle.encode(mask),
            }


def _step(step: "Step") -> dict[str, Any]:
    return {
        "queries": list(step.queries),
        "scores": [_score(score) for score in step.scores],
        "kept": [bool(kept) for kept in step.kept],
    }


def _score(score: float) -> float | None:
    return round(float(score), _DIGITS) if math.isfinite(score) else None


def plain(value: Any) -> Any:
    """Nested data as JSON holds it: tuples as lists, numpy's scalars as Python's, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _paths(out: Path, stem: str, formats: Collection[str]) -> dict[str, Path]:
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"Unknown format {name!r}. Available: {', '.join(FORMATS)}.")
    if stem in ("", ".", "..") or Path(stem).name != stem or "\0" in stem or len(os.fsencode(stem)) > _LONGEST_STEM:
        raise InputError(
            f"Expected argument `stem` to be a file name of at most {_LONGEST_STEM} bytes, but got {stem[:300]!r}."
        )
    endings = {"overlay": "overlay.png", "labels": "labels.png", "masks": "masks", "json": "json"}
    return {kind: out / f"{stem}.{endings[kind]}" for kind in FORMATS if kind in formats}


def _write_masks(folder: Path, result: "Segmentation") -> list[Path]:
    """One PNG per present query, in place of those of an earlier result; no folder when there is none."""
    for old in list(folder.glob("*.png")):
        old.unlink()
    names = unique_slugs(result.queries)
    present = np.flatnonzero(result.present).tolist()
    if present:
        make_folder(folder)
    elif folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    for i in present:
        write_png(folder / f"{names[i]}.png", _MASK_LEVELS[(result.labels == i + 1).astype(np.uint8)])
    return [folder / f"{names[i]}.png" for i in present]


def _write_image(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
