"""HybridGL's features of masks: local and global in one.

Each mask has two pictures: the object alone, and the object sharp in its blurred surroundings. Both go through CLIP's
first blocks as they are; in the last ones the tokens of one are added to those of the other before each block.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from car.referring.mask_features import distinct
from car.referring.preprocess import (
    blurred,
    filled,
    imagenet_normalised,
    mask_tokens,
    on_background,
    resized,
    soft_masks,
    unit_range,
)
from car.vlm.preprocess import MEAN
from car.vlm.vit import Block, VisionTransformer

FUSIONS = ("g2l", "l2g", "both")
"""What is added to what: global to local tokens, local to global ones, or the sum of both results."""
BLUR = 15
"""Side in pixels of the Gaussian that blurs a mask's surroundings."""


@torch.inference_mode()
def hybrid_features(
    visual: VisionTransformer,
    image: np.ndarray,
    masks: np.ndarray,
    *,
    fusion: str = "g2l",
    fused_blocks: int = 3,
    beta: float = 2.0,
    antialias: bool = False,
    batch_size: int = 16,
) -> Tensor:
    """Features (M, E) float32, not normalised, of an image's masks; equal masks share theirs.

    Args:
        visual: the image encoder.
        image: (H, W, 3) uint8 RGB.
        masks: (M, H, W) bool.
        fusion: one of `FUSIONS`.
        fused_blocks: in how many of the last blocks tokens are added.
        beta: weight of the global tokens.
        antialias: bring masks to the token grid with antialiasing.
        batch_size: masks that are worked on at once, two pictures each.
    """
    side, device = visual.resolution, visual.proj.device
    grid = (side // visual.patch, side // visual.patch)
    surroundings = blurred(image, BLUR)
    first, which = distinct(masks)
    found = [torch.zeros(0, visual.proj.shape[1], device=device)]
    for start in range(0, len(first), batch_size):
        part = masks[first[start : start + batch_size]]
        soft = soft_masks(torch.from_numpy(part), grid, antialias=antialias).flatten(1).to(device)
        pictures = torch.cat([local_pictures(image, part, side), global_pictures(image, part, side, surroundings)])
        found.append(fused(visual, pictures.to(device), soft, fusion=fusion, fused_blocks=fused_blocks, beta=beta))
    return torch.cat(found)[which]


def local_pictures(image: np.ndarray, masks: np.ndarray, side: int) -> Tensor:
    """Masks alone, the whole frame, (M, 3, side, side): normalised with ImageNet's statistics, as published.

    What lies outside a mask has the values of CLIP's mean colour, taken as if they were normalised, as published; the
    paper has zeros there.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (M, H, W) bool.
    """
    normalised = imagenet_normalised(unit_range(image[None]))
    alone = (resized(filled(normalised, torch.from_numpy(mask[None]), MEAN), (side, side)) for mask in masks)
    return torch.cat(list(alone))


def global_pictures(image: np.ndarray, masks: np.ndarray, side: int, surroundings: np.ndarray) -> Tensor:
    """Masks in their blurred surroundings (H, W, 3) uint8, (M, 3, side, side); all else as of `local_pictures`."""
    inside = (unit_range(on_background(image, mask, surroundings)[None]) for mask in masks)
    return imagenet_normalised(torch.cat([resized(picture, (side, side)) for picture in inside]))


def class_row_mask(soft: Tensor) -> Tensor:
    """An additive attention mask (M, 1, 1 + P, 1 + P) by which the class token sees a mask's patches and itself.

    Any share of a mask makes a patch one of its own; a mask too small for the grid has none. All other rows are free.

    Args:
        soft: (M, P) in [0, 1], the masks' share of the patches.
    """
    masks, patches = soft.shape
    hidden = soft.new_zeros(masks, 1, 1 + patches, 1 + patches)
    hidden[:, 0, 0, 1:] = torch.where(soft > 0, 0.0, -torch.inf)
    return hidden


def fused(
    visual: VisionTransformer, pictures: Tensor, soft: Tensor, *, fusion: str, fused_blocks: int, beta: float
) -> Tensor:
    """Hybrid features (M, E) float32 of the pictures of masks.

    Args:
        visual: the image encoder.
        pictures: (2 M, 3, side, side), the local ones first.
        soft: (M, P) in [0, 1], the masks on the token grid.
        fusion, fused_blocks, beta: as of `hybrid_features`.
    """
    x, _ = visual.embed(pictures)
    first = len(visual.blocks) - fused_blocks
    for block in visual.blocks[:first]:
        x = block(x)
    local, globe = x.chunk(2)
    blocks, hidden = visual.blocks[first:], class_row_mask(soft)
    ends = []
    if fusion != "l2g":
        ends.append(global_to_local(blocks, local, globe, soft, hidden, beta))
    if fusion != "g2l":
        ends.append(local_to_global(blocks, local, globe, hidden, beta))
    return torch.stack([visual.project(end).float() for end in ends]).sum(dim=0)


def global_to_local(
    blocks: Sequence[Block], local: Tensor, globe: Tensor, soft: Tensor, hidden: Tensor, beta: float
) -> Tensor:
    """The class token (M, D) of a local stream to which a global one, on the mask's patches, is added in every block.

    The global stream goes on beside it, its class token looking at the mask alone; that token is added, too.
    """
    for block in blocks[:-1]:
        local, globe = block(local + beta * mask_tokens(globe, soft)), block(globe, hidden)
    return blocks[-1](local + beta * mask_tokens(globe, soft))[:, 0]


def local_to_global(blocks: Sequence[Block], local: Tensor, globe: Tensor, hidden: Tensor, beta: float) -> Tensor:
    """The class token (M, D) of a global stream, looking at the mask alone, to which a local one is added.

    It is the global stream, the one that goes on, that beta weighs here, too.
    """
    for block in blocks[:-1]:
        local, globe = block(local), block(local + beta * globe, hidden)
    return blocks[-1](local + beta * globe, hidden)[:, 0]
