"""Pixels in, normalised tensors out: the proposer's whole image and the classifier's square views."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from car.errors import InputError

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
VIEWS = ("crop", "pad", "squash")


def normalise(images: np.ndarray) -> Tensor:
    """CLIP-normalised (B, 3, H, W) float32 of uint8 RGB images (B, H, W, 3)."""
    x = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).div_(255)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return x.sub_(mean).div_(std)


def proposer_input(image: np.ndarray, patch: int, side: int | None = None) -> Tensor:
    """The whole image for the proposer: each side goes up to the next multiple of the patch size (bicubic).

    Args:
        image: uint8 RGB (H, W, 3).
        patch: patch size in pixels.
        side: longest side in pixels the image is first scaled to, up or down; None keeps its own size (CLIP-ES).

    Returns:
        (1, 3, H', W') float32.
    """
    height, width = image.shape[:2]
    scale = 1.0 if side is None else side / max(height, width)
    # The tolerance keeps a side that is a multiple already from rounding up through float error.
    rows, columns = (max(1, int(np.ceil(n * scale / patch - 1e-6))) * patch for n in (height, width))
    resized = Image.fromarray(image).resize((columns, rows), Image.Resampling.BICUBIC)
    return normalise(np.asarray(resized)[None])


def classifier_views(images: Sequence[np.ndarray], resolution: int, view: str) -> Tensor:
    """Square views of prompted images, (B, 3, R, R) float32.

    Args:
        images: uint8 RGB images (H, W, 3).
        resolution: R, the classifier's side in pixels.
        view: "crop" resizes the short side to R and takes the centre (CLIP's own preprocessing, the published
            choice; an object near the end of a long side is cut off), "pad" fits the long side and pads with CLIP's
            mean colour, "squash" ignores the aspect.
    """
    if view not in VIEWS:
        raise InputError(f"Expected argument `view` to be one of {', '.join(VIEWS)}, but got {view!r}.")
    make = {"crop": centre_crop, "pad": pad, "squash": squash}[view]
    return normalise(np.stack([make(Image.fromarray(image), resolution) for image in images]))


def centre_crop(image: Image.Image, side: int) -> np.ndarray:
    """Short side to `side`, then the central square.

    Only the pixels of the square are computed (the resampling box is the crop), so a 1 x 5000 image costs no more
    than any other.
    """
    width, height = image.size
    short = min(width, height)
    box = []
    for length in (width, height):
        scaled = side * length // short
        start = round((scaled - side) / 2)
        box.append((start * length / scaled, (start + side) * length / scaled))
    (left, right), (top, bottom) = box
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, right, bottom)))


def pad(image: Image.Image, side: int) -> np.ndarray:
    """Long side to `side`, centred on a square of CLIP's mean colour."""
    scale = side / max(image.size)
    width, height = (max(1, round(n * scale)) for n in image.size)
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = np.round(np.multiply(MEAN, 255)).astype(np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    canvas[top : top + height, left : left + width] = resized
    return canvas


def squash(image: Image.Image, side: int) -> np.ndarray:
    """Both sides to `side`, whatever the aspect."""
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
