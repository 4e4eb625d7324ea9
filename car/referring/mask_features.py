"""The features of Global-Local CLIP: each mask proposal as part of the image, and as a picture of its own."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from car.errors import InputError
from car.prepared import Clock
from car.referring.preprocess import (
    IMAGENET_MEAN,
    filled,
    imagenet_normalised,
    mask_tokens,
    resized,
    short_side,
    soft_masks,
    unit_range,
)
from car.referring.proposals import MaskProposals, window
from car.vlm.model import CLIP
from car.vlm.resnet import ModifiedResNet
from car.vlm.vit import VisionTransformer

SHORT_SIDE = 800
"""The published code brings every image to this, and to the sizes it needs from there."""


class Encoder(ABC):
    """What differs between a ViT and a ResNet; both take square images (B, 3, S, S) and give features (B, E) float32.

    Attributes:
        side: S.
        grid: (h, w) of the tokens or of the feature map.
    """

    def __init__(self, clip: CLIP, stride: int) -> None:
        self.clip, self.side = clip, clip.input_resolution
        self.grid = (self.side // stride, self.side // stride)

    @property
    def scale(self) -> Tensor:
        """What a cosine is multiplied by."""
        return self.clip.logit_scale.exp().float()

    @abstractmethod
    def start(self, images: Tensor) -> Tensor:
        """What all masks of one image (1, 3, S, S) share."""

    @abstractmethod
    def masked(self, start: Tensor, masks: Tensor) -> Tensor:
        """Global features (M, E) of soft masks (M, h, w), from what `start` gave."""

    @abstractmethod
    def local(self, images: Tensor) -> Tensor:
        """Local features of pictures of masks."""

    @abstractmethod
    def texts(self, features: Tensor) -> Tensor:
        """Text features (B, E) as they are mixed, of those that are not normalised."""

    @abstractmethod
    def scores(self, images: Tensor, text: Tensor) -> Tensor:
        """Scores (M,) of mixed image features (M, E) for a mixed text feature (E,)."""


class ViTEncoder(Encoder):
    """Nothing is normalised until the cosine.

    Args:
        clip: with a ViT.
        masked_blocks: how many of the last blocks see only what is in the mask. The class token is never masked.

    Raises:
        InputError: there are fewer blocks.
    """

    def __init__(self, clip: CLIP, visual: VisionTransformer, masked_blocks: int) -> None:
        super().__init__(clip, visual.patch)
        if masked_blocks > len(visual.blocks):
            raise InputError(
                f"Expected argument `masked_blocks` to be at most {len(visual.blocks)}, the number of the model's "
                f"blocks, but got {masked_blocks}."
            )
        self.visual = visual
        self.shared, self.rest = visual.blocks[:-masked_blocks], visual.blocks[-masked_blocks:]

    def start(self, images: Tensor) -> Tensor:
        x, _ = self.visual.embed(images)
        for block in self.shared:
            x = block(x)
        return x

    def masked(self, start: Tensor, masks: Tensor) -> Tensor:
        weights = masks.flatten(1)
        x = start.expand(len(masks), -1, -1)
        for block in self.rest:
            x = block(mask_tokens(x, weights))
        return self.visual.project(x[:, 0]).float()

    def local(self, images: Tensor) -> Tensor:
        return self.clip.encode_image(images)

    def texts(self, features: Tensor) -> Tensor:
        return features

    def scores(self, images: Tensor, text: Tensor) -> Tensor:
        return self.scale * F.cosine_similarity(images, text.unsqueeze(0))


class ResNetEncoder(Encoder):
    """Local and text features are normalised before they are mixed, global ones never: scores are plain products."""

    def __init__(self, clip: CLIP, visual: ModifiedResNet) -> None:
        super().__init__(clip, visual.patch)
        self.visual = visual

    def start(self, images: Tensor) -> Tensor:
        return F.normalize(self.visual.features(images), dim=1)

    def masked(self, start: Tensor, masks: Tensor) -> Tensor:
        return self.visual.pool_masked(start, masks).float()

    def local(self, images: Tensor) -> Tensor:
        return F.normalize(self.clip.encode_image(images), dim=-1)

    def texts(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1)

    def scores(self, images: Tensor, text: Tensor) -> Tensor:
        return self.scale * (images @ text)


def make_encoder(clip: CLIP, masked_blocks: int) -> Encoder:
    """The encoder of a model; InputError where a ViT has not as many blocks as are to be masked."""
    if isinstance(clip.visual, VisionTransformer):
        return ViTEncoder(clip, clip.visual, masked_blocks)
    return ResNetEncoder(clip, clip.visual)


@torch.inference_mode()
def mask_features(
    encoder: Encoder,
    image: np.ndarray,
    proposals: MaskProposals,
    *,
    antialias: bool,
    batch_size: int,
    clock: Clock,
) -> tuple[Tensor, Tensor]:
    """Global and local features, each (M, E) float32, of an image's mask proposals; equal masks share theirs.

    Args:
        image: (H, W, 3) uint8 RGB.
        antialias: resize tensors with antialiasing.
        batch_size: masks that are worked on at once.
        clock: where "global" and "local" are timed.
    """
    device = encoder.clip.device
    if not len(proposals):
        nothing = torch.zeros(0, encoder.clip.embed_dim, device=device)
        return nothing, nothing
    first, which = distinct(proposals.masks)
    batches = [first[start : start + batch_size] for start in range(0, len(first), batch_size)]
    with clock("global"):
        square, original = network_images(image, encoder.side, device, antialias=antialias)
        start = encoder.start(square)
        masks = (torch.from_numpy(proposals.masks[rows]).to(device) for rows in batches)
        soft = (soft_masks(some, encoder.grid, antialias=antialias) for some in masks)
        whole = torch.cat([encoder.masked(start, some) for some in soft])
    with clock("local"):
        pictures = (local_images(original, proposals, rows, encoder.side, antialias=antialias) for rows in batches)
        alone = torch.cat([encoder.local(some) for some in pictures])
    return whole[which], alone[which]


def distinct(masks: np.ndarray) -> tuple[list[int], list[int]]:
    """Of masks (M, H, W), where each different one is first, and which of these each mask is."""
    first: list[int] = []
    seen: dict[bytes, int] = {}
    which = []
    for i, mask in enumerate(masks):
        key = hashlib.blake2b(np.packbits(mask).tobytes()).digest()
        if key not in seen:
            seen[key] = len(first)
            first.append(i)
        which.append(seen[key])
    return first, which


def network_images(image: np.ndarray, side: int, device: torch.device, *, antialias: bool) -> tuple[Tensor, Tensor]:
    """The image as the encoder sees it, (1, 3, side, side), and what local features are cut from, (1, 3, H, W).

    Both are resized from the normalised image at `SHORT_SIDE`, as published, rather than from the image itself.
    """
    enlarged = imagenet_normalised(unit_range(short_side(image, SHORT_SIDE)[None]).to(device))
    square, original = (
        resized(enlarged, size, antialias=antialias) for size in ((side, side), (image.shape[0], image.shape[1]))
    )
    return square, original


def local_images(
    original: Tensor, proposals: MaskProposals, rows: Sequence[int], side: int, *, antialias: bool
) -> Tensor:
    """Pictures of some of the masks, cut from a normalised image (1, 3, H, W) by their boxes: (B, 3, side, side).

    What is outside the mask becomes ImageNet's mean colour taken as a normalised one, as published: a light grey, not
    the mean. The aspect is not kept.
    """
    pictures = []
    for row in rows:
        cut = window(*proposals.freesolo_boxes[row].tolist())
        mask = torch.from_numpy(proposals.masks[row][cut]).to(original.device)
        picture = filled(original[..., cut[0], cut[1]], mask[None], IMAGENET_MEAN)
        pictures.append(resized(picture, (side, side), antialias=antialias))
    return torch.cat(pictures)
