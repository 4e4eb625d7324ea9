"""What the methods that choose among mask proposals show CLIP: pictures of masks, and masks on its token grid.

Every tensor is resized bilinearly (align_corners=False) and by default without antialiasing: that is what the published
code got from the torchvision of its time. Later versions antialias, which moves features by much more than rounding.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""The published code normalises with these, though CLIP was trained with statistics of its own."""
MOST_PIXELS = 2**24
"""Where an image is enlarged by its short side, it is not enlarged beyond this."""


def resized(images: Tensor, size: tuple[int, int], *, antialias: bool = False) -> Tensor:
    """Images (B, C, H, W) float at another size (h, w), whatever the aspect."""
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def short_side(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) uint8 RGB at `short_side_size` (Pillow, bilinear, antialiased)."""
    height, width = short_side_size(image.shape[0], image.shape[1], side)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width that make the shorter one `side`, the longer rounded down.

    An image so long and narrow that this would be more than `MOST_PIXELS` is brought to about that number instead.

    >>> short_side_size(150, 200, 800)
    (800, 1066)
    """
    short, long = min(height, width), max(height, width)
    side = max(1, min(side, int((MOST_PIXELS * short / long) ** 0.5)))
    other = int(side * long / short)
    return (other, side) if width < height else (side, other)


def unit_range(images: np.ndarray) -> Tensor:
    """(B, 3, H, W) float32 in [0, 1] of uint8 RGB images (B, H, W, 3)."""
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255


def imagenet_normalised(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1], normalised with ImageNet's mean and standard deviation."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def filled(images: Tensor, masks: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Normalised images with what lies outside their masks replaced by a colour.

    Args:
        images: (B, 3, H, W), or one for all masks.
        masks: (B, H, W) in [0, 1].
        colour: taken as it is, in the images' normalised units.
    """
    inside = masks.unsqueeze(1).to(images.dtype)
    return images * inside + (1 - inside) * images.new_tensor(colour).view(3, 1, 1)


def on_background(image: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The image inside a mask (H, W) bool and another one outside it, (H, W, 3) uint8 RGB."""
    return np.where(mask[..., None], image, background)


def blurred(image: np.ndarray, kernel: int) -> np.ndarray:
    """An image (H, W, 3) uint8 after a Gaussian of `kernel` x `kernel` pixels, odd; its sigma is OpenCV's choice."""
    return cv2.GaussianBlur(image, (kernel, kernel), 0)


def pad_square(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 on black, half the difference of its sides, rounded down, added at both ends of the
    shorter: an odd difference leaves it one pixel from a square.
    """
    height, width = image.shape[:2]
    half = abs(height - width) // 2
    rows, columns = (half, 0) if width > height else (0, half)
    return np.pad(image, ((rows, rows), (columns, columns), (0, 0)))


def soft_masks(masks: Tensor, grid: tuple[int, int], *, antialias: bool = False) -> Tensor:
    """Masks (M, H, W) bool on a coarse grid (h, w): (M, h, w) float32 in [0, 1].

    Without antialiasing a cell is what the image shows around its centre, so small masks can vanish.
    """
    return resized(masks.unsqueeze(1).float(), grid, antialias=antialias).squeeze(1)


def mask_tokens(tokens: Tensor, weights: Tensor) -> Tensor:
    """Tokens (B, 1 + P, D) with the patches multiplied by weights (B, P); the class token, which is first, is not."""
    return torch.cat([tokens[:, :1], tokens[:, 1:] * weights.unsqueeze(-1).to(tokens.dtype)], dim=1)
