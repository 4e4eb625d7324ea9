"""Softmax gradCAM the slow way: one backward pass per query, on a graph built for every set of queries."""

from collections.abc import Sequence

import torch
from torch import Tensor

from car.vlm.vit import VisionTransformer


def block_from_norm(visual: VisionTransformer, tokens: Tensor, normed: Tensor) -> Tensor:
    """Mean patch embedding (E,) given the last block's input and the output of its ln_1."""
    block = visual.blocks[-1]
    x = tokens + block.attn(normed[None])[0]
    x = x + block.mlp(block.ln_2(x))
    return visual.project(x)[1:].mean(dim=0)


def probabilities(visual: VisionTransformer, tokens: Tensor, normed: Tensor, texts: Tensor, scale: float) -> Tensor:
    pooled = block_from_norm(visual, tokens, normed)
    return (scale * texts @ (pooled / pooled.norm())).softmax(0)


@torch.enable_grad()
def channel_weights(
    visual: VisionTransformer,
    tokens: Tensor,
    queries: Tensor,
    background: Tensor,
    kept: Sequence[int],
    scale: float,
) -> Tensor:
    """Mean over patches of dp_c/dA for each kept query c, (n, D)."""
    texts = torch.cat([queries[list(kept)], background])
    rows = []
    for c in range(len(kept)):
        normed = visual.blocks[-1].ln_1(tokens).detach().requires_grad_()
        (grad,) = torch.autograd.grad(probabilities(visual, tokens, normed, texts, scale)[c], normed)
        rows.append(grad[1:].mean(dim=0))
    return torch.stack(rows)
