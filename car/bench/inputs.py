"""What is measured on: a picture, words to ask for, mask proposals. The same every time."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from car.errors import InputError
from car.scenes.scene import scene
from car.scenes.sprites import concepts
from car.wordlists import read_classes

LISTS = ("ade847", "pc459", "coco_object80")
PROPOSALS = 128
"""About as many as segment-anything finds in a photograph."""
_SEED = 10**6


def write_picture(path: Path, size: tuple[int, int]) -> None:
    """A scene of (width, height) pixels as JPEG."""
    Image.fromarray(scene(_SEED, size=size[::-1]).image).save(path, quality=95)


def words(count: int) -> list[str]:
    """So many different queries, of the vocabularies that come with the package; first those that mini knows, to which
    all other words are the same.

    Raises:
        InputError: there are not so many.
    """
    listed = [entry.query for name in LISTS for entry in read_classes(name)]
    known = list({word.casefold(): word for word in [*concepts(), *listed]}.values())
    if not 1 <= count <= len(known):
        raise InputError(f"Expected 1 to {len(known)} queries to measure, but got {count}.")
    return known[:count]


def expressions(count: int) -> list[str]:
    """So many different referring expressions."""
    return [f"the {word} on the left" for word in words(count)]


def ellipses(image: np.ndarray) -> np.ndarray:
    """Mask proposals (PROPOSALS, H, W) bool of an image (H, W, 3), as of `MaskProposer`."""
    height, width = image.shape[:2]
    random = np.random.default_rng(0)
    masks = np.zeros((PROPOSALS, height, width), np.uint8)
    for mask in masks:
        x, y = random.integers(0, (width, height)).tolist()
        axes = random.integers(1, (max(2, width // 3), max(2, height // 3))).tolist()
        cv2.ellipse(mask, (x, y), axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
    return masks > 0
