"""Mask proposals from a file, whichever program found them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from car.errors import InputError, MissingError
from car.rle import decode

_MOST_PIXELS = 2**32
"""Of all masks together; a byte each."""
_FORMS = (
    "Expected a list of run-length masks, or of annotations with such a mask under 'segmentation', or an object with "
    "such a list under 'annotations'"
)


class FileProposer:
    """Masks of one image, read from JSON.

    Args:
        path: a list of COCO run-length masks; or the annotations of one image, as a list or under "annotations", with
            run-length masks under "segmentation": what segment-anything's amg.py, SA-1B, Grounded-SAM-2 and COCO
            results hold.

    Raises:
        MissingError: there is no such file.
        InputError: it holds something else, or masks of several images.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._rles = self._read()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The masks, (M, H, W) bool.

        Raises:
            InputError: a mask is broken, or not of the image's size (H, W, 3).
        """
        size = image.shape[:2]
        if len(self._rles) * size[0] * size[1] > _MOST_PIXELS:
            raise InputError(
                f"{str(self.path)!r} holds {len(self._rles):,} masks, too many for {size[0]} x {size[1]} pixels each."
            )
        masks = np.zeros((len(self._rles), *size), bool)
        for i, rle in enumerate(self._rles):
            if isinstance(rle, Mapping) and rle.get("size") != list(size):
                raise InputError(
                    f"Mask {i + 1} of {str(self.path)!r} has the size {str(rle.get('size'))[:40]}, "
                    f"but the image has {list(size)} (height, width)."
                )
            try:
                masks[i] = decode(rle, max_pixels=size[0] * size[1])
            except InputError as error:
                raise InputError(f"Mask {i + 1} of {str(self.path)!r}: {error}") from None
        return masks

    def _read(self) -> list[Any]:
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            raise MissingError(f"There is no file {str(self.path)!r} to take mask proposals from.") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Cannot read {str(self.path)!r} as JSON: {' '.join(str(error).split())}.") from None
        entries = content.get("annotations") if isinstance(content, dict) else content
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{_FORMS}, but {str(self.path)!r} holds neither.")
        images = {str(entry["image_id"]) for entry in entries if "image_id" in entry}
        if len(images) > 1:
            raise InputError(f"{str(self.path)!r} holds masks of {len(images)} images; keep those of one.")
        return [entry.get("segmentation", entry) for entry in entries]
