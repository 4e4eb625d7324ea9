"""Referrals as files.

For an image called `photo`, the answers to one or several expressions in `out` are

    out/photo.refer.png      the picture to look at: every expression with its mask; later ones cover earlier ones
    out/photo.refer.masks/   one mask per expression that was found, 0 and 255, named by the expression's slug
    out/photo.refer.json     scores, COCO RLE masks, the best candidates, how each answer came about; written last
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from car import __version__, rle
from car.draw import overlay
from car.errors import InputError
from car.export import dumps, make_folder, plain, reported, write_atomically, write_png
from car.referring.referral import Referral
from car.result import Segmentation
from car.slug import unique_slugs

SHOWN = 5
"""Candidates of each ranking in the JSON."""
DIGITS = 6


def referral_paths(out: Path, stem: str) -> tuple[Path, Path, Path]:
    """Picture, folder of masks, and JSON."""
    return tuple(out / f"{stem}.refer{ending}" for ending in (".png", ".masks", ".json"))  # type: ignore[return-value]


def existing_referrals(out: Path, stem: str) -> list[Path]:
    """What is there already."""
    return [path for path in referral_paths(out, stem) if path.exists()]


def save_referrals(
    referrals: Sequence[Referral], out: str | Path, stem: str, *, image_path: str | None = None, overwrite: bool = False
) -> Path:
    """Write the answers to one or several expressions about one image; see the top of this module for the files.

    Args:
        referrals: of one image and method, at least one.
        out: folder to write to; made when absent.
        stem: name of the image in the file names.
        image_path: the image as the JSON names it; the stem by default.
        overwrite: replace the answers that are there.

    Returns:
        The picture's path.

    Raises:
        InputError: answers are there already, or the folder cannot be made.
        CarError: writing failed.
    """
    folder = Path(out)
    if not overwrite and (there := existing_referrals(folder, stem)):
        raise InputError(f"{str(there[0])!r} exists already; choose another folder or overwrite it (overwrite=True).")
    picture, masks, report = referral_paths(folder, stem)
    make_folder(folder)
    slugs = unique_slugs(each.expression for each in referrals)
    with reported(folder):
        report.unlink(missing_ok=True)
        for old in masks.glob("*.png"):
            old.unlink()
        write_png(picture, overlay(as_segmentation(referrals)))
        for each, name in zip(referrals, slugs, strict=True):
            if each.found:
                make_folder(masks)
                write_png(masks / f"{name}.png", each.mask.astype(np.uint8) * np.uint8(255))
        write_atomically(report, f"{dumps(referrals_record(referrals, slugs, image_path or stem))}\n".encode())
    return picture


def as_segmentation(referrals: Sequence[Referral]) -> Segmentation:
    """The answers as one label map, to be drawn; later ones cover earlier ones."""
    labels = np.zeros(referrals[0].mask.shape, np.int32)
    for i, each in enumerate(referrals, start=1):
        labels[each.mask] = i
    return Segmentation(
        image=referrals[0].image,
        queries=tuple(each.expression for each in referrals),
        labels=labels,
        scores=np.array([each.score for each in referrals], np.float32),
        present=np.array([each.found for each in referrals]),
        steps=(),
        config={},
        model=referrals[0].method,
    )


def referrals_record(referrals: Sequence[Referral], slugs: Sequence[str], image_path: str) -> dict[str, Any]:
    """The answers as plain data for JSON."""
    height, width = referrals[0].mask.shape
    return {
        "image_path": image_path,
        "img_width": width,
        "img_height": height,
        "method": referrals[0].method,
        "version": __version__,
        "referrals": [
            {
                "expression": each.expression,
                "slug": name,
                "found": each.found,
                "score": rounded(each.score),
                "area": int(each.mask.sum()),
                "segmentation": rle.encode(each.mask) if each.found else None,
                "ranking": [
                    {"index": one.index, "score": rounded(one.score), "segmentation": rle.encode(one.mask)}
                    for one in each.ranking[:SHOWN]
                ],
                "why": plain(each.why),
            }
            for each, name in zip(referrals, slugs, strict=True)
        ],
    }


def rounded(score: float) -> float | None:
    """A score as JSON holds it."""
    return round(float(score), DIGITS) if math.isfinite(score) else None
