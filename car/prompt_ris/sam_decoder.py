"""SAM's mask decoder with prompts of unlike number in one batch, which the package's own does not have."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def first_mask(sam: nn.Module, images: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
    """Logits (P, 4 g, 4 g) of the first mask that SAM answers with, the one for prompts that leave nothing open.

    As `MaskDecoder.predict_masks` of segment-anything, but that nothing attends to the tokens that are not valid.

    Args:
        sam: the model; gradients pass through it.
        images: (P, C, g, g), image embeddings with the dense prompt added.
        tokens: (P, t, C), prompt tokens.
        valid: (P, t) bool, which of them are there.
    """
    model: Any = sam
    decoder = model.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(tokens), -1, -1)
    there = torch.cat([valid.new_ones(own.shape[:2]), valid], dim=1)
    positions = model.prompt_encoder.get_dense_pe()
    answers, pixels = two_way(decoder.transformer, images, positions, torch.cat([own, tokens], dim=1), there)
    upscaled = decoder.output_upscaling(pixels.mT.unflatten(-1, images.shape[-2:]))
    kernel = decoder.output_hypernetworks_mlps[0](answers[:, 1])
    return torch.einsum("pc,pchw->phw", kernel, upscaled).float()


def two_way(
    transformer: Any, images: Tensor, positions: Tensor, tokens: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens (P, t, C) and pixels (P, g * g, C) after SAM's two-way transformer.

    Args:
        transformer: a `TwoWayTransformer` of segment-anything.
        images: (P, C, g, g).
        positions: (1, C, g, g), of the pixels.
        tokens: (P, t, C).
        valid: (P, t) bool, which tokens may be attended to.
    """
    pixels, places = images.flatten(2).mT, positions.flatten(2).mT
    x = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            x = attend(layer.self_attn, x, x, x, valid)
        else:
            x = x + attend(layer.self_attn, x + tokens, x + tokens, x, valid)
        x = layer.norm1(x)
        x = layer.norm2(x + attend(layer.cross_attn_token_to_image, x + tokens, pixels + places, pixels))
        x = layer.norm3(x + layer.mlp(x))
        read = attend(layer.cross_attn_image_to_token, pixels + places, x + tokens, x, valid)
        pixels = layer.norm4(pixels + read)
    read = attend(transformer.final_attn_token_to_image, x + tokens, pixels + places, pixels)
    return transformer.norm_final_attn(x + read), pixels


def attend(attention: Any, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None = None) -> Tensor:
    """An `Attention` of segment-anything from (P, T, C) to (P, S, C), of which `valid` (P, S) may be attended to."""
    projections = (attention.q_proj(q), attention.k_proj(k), attention.v_proj(v))
    q, k, v = (y.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for y in projections)
    mask = None if valid is None else valid[:, None, None]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))
