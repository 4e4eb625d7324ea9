"""The transformer of CLIP, written out once, with taps into its attention."""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from car.vlm.init import normal

ATTENTION_ELEMENTS, CACHED_ELEMENTS = 2**27, 2**21
"""Attention maps are formed for as many heads at a time as fit in so many elements: on a CPU, as stay in its cache."""


class LayerNorm(nn.LayerNorm):
    """Layer norm computed in float32 whatever the dtype of its input, as OpenAI's half-precision models do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's models."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)

    def slope(self, x: Tensor) -> Tensor:
        """Derivative at x."""
        gate = torch.sigmoid(1.702 * x)
        return gate * (1 + 1.702 * x * (1 - gate))


class GELU(nn.GELU):
    """x * Phi(x), the activation of most models trained since."""

    def slope(self, x: Tensor) -> Tensor:
        """Derivative at x."""
        return torch.special.ndtr(x) + x * torch.exp(-x * x / 2) * (2 * math.pi) ** -0.5


ACTIVATIONS: dict[str, type[QuickGELU | GELU]] = {"quick_gelu": QuickGELU, "gelu": GELU}


def resized_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A position table (1 + side * side, D) for another grid, (1 + h * w, D): bilinear (align_corners=False).

    The first row, which belongs to no place, is left alone; the table of the native grid is returned as it is.
    """
    side = math.isqrt(len(table) - 1)
    if grid == (side, side):
        return table
    square = table[1:].T.reshape(1, -1, side, side).float()
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], resized[0].flatten(1).T.to(table.dtype)])


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of ``torch.nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def split_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (B, T, D), each (B, heads, T, D // heads)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend over tokens (B, T, D); `mask` is additive, broadcast to (B, heads, T, T)."""
        q, k, v = self.split_heads(x)
        mask = None if mask is None else mask.to(q.dtype)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def first(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `forward` gives the first token, (B, 1, D)."""
        width = x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q = F.linear(x[:, :1], weight[:width], bias[:width]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = F.linear(x, weight[width:], bias[width:]).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if mask is None else mask[..., :1, :].to(q.dtype)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def own_values(self, x: Tensor) -> Tensor:
        """What each token (..., D) would read if it attended to itself alone, (..., D)."""
        start = 2 * x.shape[-1]
        return self.out_proj(F.linear(x, self.in_proj_weight[start:], self.in_proj_bias[start:]))

    def with_map(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, and also the head-averaged attention (B, T, T), float32, rows summing to one."""
        q, k, v = self.split_heads(x)
        batch, heads, tokens, dim = q.shape
        elements = CACHED_ELEMENTS if x.device.type == "cpu" else ATTENTION_ELEMENTS
        step = max(1, elements // (batch * tokens * tokens))
        mean = x.new_zeros(batch, tokens, tokens, dtype=torch.float32)
        mixed = torch.empty_like(v)
        for h in range(0, heads, step):
            part = slice(h, h + step)
            logits = q[:, part] @ k[:, part].mT * dim**-0.5
            if mask is not None:
                logits = logits + mask.to(q.dtype)
            attention = logits.softmax(dim=-1, dtype=torch.float32)
            mean += attention.sum(dim=1)
            mixed[:, part] = attention.to(v.dtype) @ v[:, part]
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), mean / heads


class MLP(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.gelu = ACTIVATIONS[activation]()
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """One pre-norm residual block."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = MLP(width, hidden, activation)
        self.ln_2 = LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))

    def first(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `forward` gives the first token, (B, 1, D); of the others, keys and values alone are computed."""
        x = x[:, :1] + self.attn.first(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))

    def with_map(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, and also the head-averaged attention (B, T, T)."""
        mixed, attention = self.attn.with_map(self.ln_1(x), mask)
        x = x + mixed
        return x + self.mlp(self.ln_2(x)), attention


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, hidden, activation) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


@dataclass(frozen=True)
class VisionTaps:
    """What the proposer reads from one pass through the image encoder.

    tokens: (B, 1 + P, D), the input of the last block, class token first.
    attention: (B, P, P) float32, patch-to-patch attention averaged over heads and over the last blocks; the class
        row and column are dropped and the rows are not renormalised (CLIP-ES, section 3.3). None if not asked for.
    grid: (h, w) patches, P = h * w.
    """

    tokens: Tensor
    attention: Tensor | None
    grid: tuple[int, int]


class VisionTransformer(nn.Module):
    """CLIP's ViT on images of any size that is a multiple of the patch size."""

    def __init__(
        self,
        *,
        resolution: int,
        patch: int,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        embed_dim: int,
        activation: str = "quick_gelu",
    ) -> None:
        super().__init__()
        self.resolution, self.patch = resolution, patch
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = normal(width, std=scale)
        self.positional_embedding = normal((resolution // patch) ** 2 + 1, width, std=scale)
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, hidden, activation)
        self.ln_post = LayerNorm(width)
        self.proj = normal(width, embed_dim, std=scale)

    @property
    def blocks(self) -> list[Block]:
        return cast(list[Block], list(self.transformer.resblocks))

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Position table (1 + h * w, D) for a patch grid: bilinear, align_corners=False, class row untouched."""
        table = resized_positions(self.positional_embedding, grid)
        if table is self.positional_embedding:
            return table
        # CLIP-ES rounds a resized table to half precision in every run; its numbers are the reference.
        return torch.cat([table[:1], table[1:].half().to(table.dtype)])

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, 1 + P, D) entering the first block, and the patch grid, of images (B, 3, H, W)."""
        patches = self.conv1(images.to(self.conv1.weight.dtype))
        grid = (patches.shape[-2], patches.shape[-1])
        patches = patches.flatten(2).mT
        cls = self.class_embedding.expand(len(patches), 1, -1)
        return self.ln_pre(torch.cat([cls, patches], dim=1) + self.positions(grid)), grid

    def project(self, tokens: Tensor) -> Tensor:
        """ln_post and the projection into the joint embedding: (..., D) -> (..., E)."""
        return self.ln_post(tokens) @ self.proj

    def forward(
        self,
        images: Tensor,
        *,
        skip_last: bool = False,
        token_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask_from: int = 0,
    ) -> Tensor:
        """Class-token embedding of normalised images.

        Args:
            images: (B, 3, H, W), H and W multiples of the patch size.
            skip_last: leave out the last block, as CaR's released classifier does.
            token_mask: (B, P) in [0, 1]; patch tokens are multiplied by it before each masked block.
            attention_mask: (B, 1 + P, 1 + P) additive mask of the masked blocks.
            mask_from: index of the first masked block (masks reach from there to the last block).

        Returns:
            (B, E), not normalised.
        """
        x, _ = self.embed(images)
        blocks = self.blocks[: len(self.blocks) - skip_last]
        for i, block in enumerate(blocks):
            mask = None
            if i >= mask_from:
                if token_mask is not None:
                    x = torch.cat([x[:, :1], x[:, 1:] * token_mask.unsqueeze(-1).to(x.dtype)], dim=1)
                mask = None if attention_mask is None else attention_mask.unsqueeze(1)
            # The class token is all that is read of the last block.
            x = block(x, mask) if i + 1 < len(blocks) else block.first(x, mask)
        return self.project(x[:, 0])

    def taps(self, images: Tensor, *, attention_blocks: int = 8) -> VisionTaps:
        """One pass that keeps what the proposer needs.

        Args:
            images: (B, 3, H, W), H and W multiples of the patch size.
            attention_blocks: how many of the last blocks the attention is averaged over (all, if there are fewer);
                0 for no attention.
        """
        x, grid = self.embed(images)
        *blocks, last = self.blocks
        first = max(0, len(self.blocks) - attention_blocks)
        for block in blocks[:first]:
            x = block(x)
        if attention_blocks == 0:
            return VisionTaps(tokens=x, attention=None, grid=grid)
        total = x.new_zeros((), dtype=torch.float32)
        for block in blocks[first:]:
            x, attention = block.with_map(x)
            total = total + attention[:, 1:, 1:]
        _, attention = last.attn.with_map(last.ln_1(x))
        total = total + attention[:, 1:, 1:]
        return VisionTaps(tokens=x, attention=total / (len(self.blocks) - first), grid=grid)
