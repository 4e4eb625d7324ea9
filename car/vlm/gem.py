"""GEM (Bousselham et al., CVPR 2024): heat maps of a text from CLIP's patches, by self-self attention.

Beside the ordinary stream of tokens runs a second one. It starts from the first where the last blocks begin, and
collects there what attention of tokens to their like gives: queries to queries, keys to keys, values to values. The
ordinary stream goes on as ever and feeds each of those blocks; the second one has no feed-forward part and feeds
nothing.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from car.vlm.vit import Attention, VisionTransformer

DEPTH = 7
"""The published depth: of so many last blocks, all but the first are given self-self attention."""
SCALE = 2
"""The published input is so many times the side of the images that the model was trained on."""


@dataclass(frozen=True)
class GemTokens:
    """One pass of both streams, projected into the joint embedding, not normalised.

    gem, ordinary: (B, 1 + P, E) float32, class token first.
    grid: (h, w) patches, P = h * w.
    """

    gem: Tensor
    ordinary: Tensor
    grid: tuple[int, int]


def gem_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A position table (1 + side * side, D) for another grid, (1 + h * w, D): bicubic, antialiased, class row as it is.

    CLIP-ES resizes the same table in another way (`VisionTransformer.positions`).
    """
    side = math.isqrt(len(table) - 1)
    if grid == (side, side):
        return table
    square = table[1:].T.reshape(1, -1, side, side).float()
    resized = F.interpolate(square, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([table[:1], resized[0].flatten(1).T.to(table.dtype)])


def self_self_attention(attention: Attention, x: Tensor) -> Tensor:
    """What tokens read from their like, (B, T, D): the mean over attention among queries, among keys, among values.

    Each is first replaced, once, by the mean of its like. The softmax has the temperature that GEM derives from the
    data: the root of a head's width over the mean length of the tokens.

    Args:
        attention: whose projections are used.
        x: tokens (B, T, D), as the block's attention gets them.
    """
    parts = attention.split_heads(x)
    values = parts[2]
    sharpness = (x.float().norm(dim=-1).mean(dim=-1) * values.shape[-1] ** -0.5).to(x.dtype).view(-1, 1, 1, 1)
    mixed = torch.zeros_like(values)
    for part in parts:
        likeness = F.normalize(part, dim=-1)
        likeness = F.normalize(among_like(likeness, sharpness, likeness), dim=-1)
        mixed += among_like(likeness, sharpness, values)
    return attention.out_proj((mixed / len(parts)).transpose(1, 2).flatten(2))


def among_like(z: Tensor, sharpness: Tensor, values: Tensor) -> Tensor:
    """Values (B, heads, T, d) mixed by softmax(z z^T * sharpness)."""
    return F.scaled_dot_product_attention(z * sharpness, z, values, scale=1.0)


def gem_tokens(visual: VisionTransformer, images: Tensor, *, depth: int = DEPTH) -> GemTokens:
    """Both streams of images.

    Args:
        visual: CLIP's ViT.
        images: (B, 3, H, W), normalised, H and W multiples of the patch size.
        depth: the last depth - 1 blocks get self-self attention (all, if there are fewer).
    """
    patches = visual.conv1(images.to(visual.conv1.weight.dtype))
    grid = (patches.shape[-2], patches.shape[-1])
    cls = visual.class_embedding.expand(len(patches), 1, -1)
    tokens = torch.cat([cls, patches.flatten(2).mT], dim=1)
    x = visual.ln_pre(tokens + gem_positions(visual.positional_embedding, grid))
    first = max(0, len(visual.blocks) - (depth - 1))
    for block in visual.blocks[:first]:
        x = block(x)
    gem = x
    for block in visual.blocks[first:]:
        gem = gem + self_self_attention(block.attn, block.ln_1(x))
        x = block(x)
    return GemTokens(visual.project(gem).float(), visual.project(x).float(), grid)


def heat_maps(tokens: Tensor, grid: tuple[int, int], texts: Tensor, size: tuple[int, int]) -> Tensor:
    """Cosines of an image's patches with texts, bilinear at some size: (N, H, W) float32 in [-1, 1].

    Args:
        tokens: (1 + P, E) of one image, class token first; of any length.
        grid: (h, w), P = h * w.
        texts: (N, E), of any length.
        size: (H, W), pixels; GEM's is that of the model's input.
    """
    cosines = F.normalize(texts, dim=-1) @ F.normalize(tokens[1:], dim=-1).T
    return F.interpolate(cosines.view(1, -1, *grid), size=size, mode="bilinear", align_corners=False)[0]


def min_max(maps: Tensor) -> Tensor:
    """Maps (..., H, W), each shifted and scaled to [0, 1]; a flat one, which tells nothing, becomes all ones."""
    low = maps.amin(dim=(-2, -1), keepdim=True)
    spread = maps.amax(dim=(-2, -1), keepdim=True) - low
    return torch.where(spread > 0, (maps - low) / spread, 1.0)
