"""The small SAM as it is trained: segment-anything's own modules, run on many prompts of many images at once."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from car.refine.sam_checkpoint import import_package

import_package("segment_anything")  # with a torchvision that works
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer  # noqa: E402

SIDE = 256
"""Pixels along each side of what the model sees; prompts are in its coordinates whatever size training runs at."""
DECODER_HEADS = 8
"""As `car.refine.sam_checkpoint` builds every SAM: no weight's shape tells."""
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of every SAM, for pixels in [0, 255]."""


def new_sam(
    *,
    side: int = SIDE,
    patch: int = 8,
    width: int = 192,
    depth: int = 6,
    heads: int = 3,
    window: int = 8,
    everywhere: tuple[int, ...] = (2, 5),
    prompt_width: int = 128,
    hidden: int = 256,
) -> Sam:
    """A SAM with random weights.

    Args:
        side, patch: pixels along the sides of the image and of a patch.
        width, depth, heads: of the image encoder, a ViT.
        window: patches along the sides of the windows that its attention is kept to.
        everywhere: indexes of the blocks whose attention is not.
        prompt_width: width of the prompts and of the mask decoder.
        hidden: width within the mask decoder's perceptrons.
    """
    grid = side // patch
    encoder = ImageEncoderViT(
        img_size=side,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        out_chans=prompt_width,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=everywhere,
    )
    nn.init.normal_(encoder.pos_embed, std=0.02)
    decoder = MaskDecoder(
        transformer_dim=prompt_width,
        transformer=TwoWayTransformer(depth=2, embedding_dim=prompt_width, num_heads=DECODER_HEADS, mlp_dim=hidden),
        iou_head_hidden_dim=hidden,
    )
    return Sam(encoder, PromptEncoder(prompt_width, (grid, grid), (side, side), 16), decoder, list(MEAN), list(STD))


def encode(sam: Sam, images: Tensor) -> Tensor:
    """Embeddings (B, C, g, g) of uint8 images (B, S, S, 3); S is any multiple of the windows' side in pixels.

    At another size than the model's own its positions are interpolated, so that training can begin small.
    """
    encoder = sam.image_encoder
    pixels = (images.permute(0, 3, 1, 2) - sam.pixel_mean) / sam.pixel_std
    x = encoder.patch_embed(pixels)
    table = encoder.pos_embed
    if table.shape[1:3] != x.shape[1:3]:
        table = F.interpolate(table.permute(0, 3, 1, 2), x.shape[1:3], mode="bilinear").permute(0, 2, 3, 1)
    x = (x + table).to(stream_dtype(x))
    for block in encoder.blocks:
        x = block(x)
    return encoder.neck(x.permute(0, 3, 1, 2))


def stream_dtype(x: Tensor) -> torch.dtype:
    """The autocast type where autocast is on: the residual stream stays in it."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def embed_prompts(sam: Sam, points: Tensor, labels: Tensor, boxes: Tensor, boxed: Tensor) -> Tensor:
    """Tokens (N, k + 1, C) of N prompts: k points, or a box and the points after the first.

    Args:
        points: (N, k, 2), x and y in pixels of the model's own side; the first of a box's row means nothing.
        labels: (N, k), 1 inside the object, 0 outside.
        boxes: (N, 4), x0, y0, x1, y1; the rows without a box mean nothing.
        boxed: (N,) bool, which rows are given by a box.
    """
    encoder, clicked = sam.prompt_encoder, ~boxed
    by_points, _ = encoder(points=(points[clicked], labels[clicked]), boxes=None, masks=None)
    more = (points[boxed, 1:], labels[boxed, 1:]) if points.shape[1] > 1 else None
    by_boxes, _ = encoder(points=more, boxes=boxes[boxed], masks=None)
    tokens = by_points.new_empty(len(points), *by_points.shape[1:])
    tokens[clicked], tokens[boxed] = by_points, by_boxes
    return tokens


def decode(sam: Sam, embeddings: Tensor, tokens: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mask logits (N, 4, 4 g, 4 g) and predicted IoUs (N, 4), float32: the single mask, then the three.

    What `MaskDecoder.predict_masks` computes for one image, for prompts of any images.

    Args:
        embeddings: (N, C, g, g), each prompt's image.
        tokens: (N, t, C), the prompts.
        masks: (N, 1, 4 g, 4 g), logits of earlier masks; None where there are none.
    """
    decoder, encoder = sam.mask_decoder, sam.prompt_encoder
    dense = encoder.no_mask_embed.weight[..., None, None] if masks is None else encoder.mask_downscaling(masks)
    grid = embeddings.shape[-1]
    positions = encoder.pe_layer((grid, grid)).expand(len(tokens), -1, -1, -1)
    asked = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(tokens), -1, -1)
    answers, pixels = decoder.transformer(embeddings + dense, positions, torch.cat([asked, tokens], dim=1))
    kernels = [mlp(answers[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    logits = torch.stack(kernels, dim=1) @ enlarge(decoder.output_upscaling, pixels).mT
    # The tokens of one cell lie together, halves within quarters: rows of all of them first, then columns.
    logits = logits.reshape(len(tokens), -1, grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    quality = decoder.iou_prediction_head(answers[:, 0])
    return logits.reshape(*logits.shape[:2], 4 * grid, 4 * grid).float(), quality.float()


def enlarge(upscaling: nn.Sequential, pixels: Tensor) -> Tensor:
    """Both transposed convolutions on cells (N, g^2, C), as products: (N, 16 g^2, C / 8), each cell's 16 together.

    A kernel as large as its stride is a product with each cell by itself, whose backward pass is faster on a CPU.
    """
    first, norm, act, second, last = upscaling
    x = cells(first, pixels)
    x = act(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
    return last(cells(second, x))


def cells(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A 2 x 2 transposed convolution of stride 2 on cells (N, n, C): (N, 4 n, D), each cell's four together."""
    width_in, width_out = layer.weight.shape[:2]
    weight = layer.weight.permute(2, 3, 1, 0).reshape(4 * width_out, width_in)
    return F.linear(x, weight, layer.bias.repeat(4)).reshape(len(x), -1, width_out)


def export(state: Mapping[str, Tensor], grid: int | None = None) -> dict[str, Tensor]:
    """The state dict of `new_sam` in float16, as `car.refine.sam_checkpoint.load_sam` reads it.

    Args:
        state: the weights.
        grid: patches along the sides of the image that the file is for; by default the model's own. Tables of positions
            are interpolated as they are while training at another size, so that nothing else changes.
    """
    positions = state["image_encoder.pos_embed"]
    own, grid = positions.shape[1], grid or positions.shape[1]
    out = dict(state)
    if grid != own:
        resized = F.interpolate(positions.permute(0, 3, 1, 2), (grid, grid), mode="bilinear")
        out["image_encoder.pos_embed"] = resized.permute(0, 2, 3, 1)
        for name, table in state.items():
            if ".rel_pos_" in name and len(table) == 2 * own - 1:
                out[name] = F.interpolate(table.T[None], 2 * grid - 1, mode="linear")[0].T
    return {name: value.half().contiguous() for name, value in out.items()}


def options_of(sam: Sam) -> dict[str, Any]:
    """The sizes of a model, for the card and the file's metadata."""
    encoder, decoder = sam.image_encoder, sam.mask_decoder
    return {
        "side": encoder.img_size,
        "patch": encoder.patch_embed.proj.kernel_size[0],
        "width": encoder.pos_embed.shape[-1],
        "depth": len(encoder.blocks),
        "heads": encoder.blocks[0].attn.num_heads,
        "prompt_width": decoder.transformer_dim,
        "decoder_heads": DECODER_HEADS,
    }
