"""The mini CLIP as it is trained: OpenAI's layout with dropped patches and a value path."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from car.vlm.preprocess import MEAN, STD

QUICK = 1.702
"""QuickGELU(x) = SiLU(1.702 x) / 1.702, so SiLU weights convert exactly."""


class Attention(nn.Module):
    """Self-attention by plain products, whose backward pass is the fastest on a CPU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Attention over tokens (B, T, D), and each token's own value through the output projection."""
        batch, tokens, width = x.shape
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q, k, w = (
            y.reshape(batch, tokens, self.heads, -1).transpose(1, 2).reshape(batch * self.heads, tokens, -1)
            for y in (q * (width // self.heads) ** -0.5, k, v)
        )
        logits = torch.bmm(q, k.mT)
        if mask is not None:
            logits = logits + mask.to(logits.dtype)
        mixed = torch.bmm(logits.softmax(dim=-1).to(w.dtype), w)
        mixed = mixed.reshape(batch, self.heads, tokens, -1).transpose(1, 2).reshape(batch, tokens, width)
        return self.out_proj(mixed), v


class Block(nn.Module):
    """One pre-norm residual block with SiLU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mixed, values = self.attn(self.ln_1(x), mask)
        x = x + mixed
        return x + self.mlp["c_proj"](F.silu(self.mlp["c_fc"](self.ln_2(x)))), values


class Stack(nn.Module):
    """The blocks under OpenAI's name for them."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, width // 64) for _ in range(layers))
        for block in self.resblocks:
            for weight in (block.attn.out_proj.weight, block.mlp["c_proj"].weight):
                nn.init.normal_(weight, std=width**-0.5 * (2 * layers) ** -0.5)


class Visual(nn.Module):
    """The image encoder on a random part of the patches."""

    def __init__(self, resolution: int, patch: int, width: int, layers: int, embed: int) -> None:
        super().__init__()
        self.patch, self.grid = patch, resolution // patch
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(self.grid**2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Stack(width, layers)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed))

    def positions(self, side: int) -> Tensor:
        """Position table (1 + side^2, D), bilinear where the grid is not the native one."""
        table = self.positional_embedding
        if side == self.grid:
            return table
        square = table[1:].T.reshape(1, -1, self.grid, self.grid)
        resized = F.interpolate(square, size=(side, side), mode="bilinear", align_corners=False)
        return torch.cat([table[:1], resized[0].flatten(1).T])

    def forward(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of the class token (B, E), the kept patches (B, n, E), and their values (B, n, E).

        Args:
            images: uint8 (B, S, S, 3).
            kept: int64 (B, n), which patches the encoder sees.
        """
        batch, side, p = len(images), images.shape[1] // self.patch, self.patch
        patches = images.reshape(batch, side, p, side, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(batch, side**2, -1)
        patches = patches.gather(1, kept.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        mean, std = (torch.tensor(v, device=images.device).repeat_interleave(p * p) for v in (MEAN, STD))
        x = F.linear((patches / 255 - mean) / std, self.conv1.weight.flatten(1))
        table = self.positions(side)
        first = (self.class_embedding + table[0]).expand(batch, 1, -1)
        x = self.ln_pre(torch.cat([first, x + table[1:][kept]], dim=1))
        x = x.to(stream_dtype(x))
        values = x
        for block in self.transformer.resblocks:
            x, values = block(x)
        own = self.transformer.resblocks[-1].attn.out_proj(values[:, 1:])
        x, own = self.ln_post(x), self.ln_post(own)
        return x[:, 0] @ self.proj, x[:, 1:] @ self.proj, own @ self.proj


def stream_dtype(x: Tensor) -> torch.dtype:
    """The autocast type where autocast is on: the residual stream stays in it."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class Mini(nn.Module):
    """The trainable model; its parameters carry OpenAI's names."""

    def __init__(
        self,
        rows: int,
        *,
        resolution: int = 112,
        patch: int = 8,
        width: int = 192,
        layers: int = 6,
        text_width: int = 128,
        text_layers: int = 3,
        embed: int = 128,
        context: int = 77,
    ) -> None:
        super().__init__()
        self.visual = Visual(resolution, patch, width, layers, embed)
        self.token_embedding = nn.Embedding(rows, text_width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context, text_width))
        self.transformer = Stack(text_width, text_layers)
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(text_width**-0.5 * torch.randn(text_width, embed))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def encode_text(self, rows: Tensor) -> Tensor:
        """Embeddings (B, E) of token rows (B, L); the end token is the last row of the table."""
        end = rows.argmax(dim=-1)
        rows = rows[:, : int(end.max()) + 1]
        x = self.token_embedding(rows) + self.positional_embedding[: rows.shape[1]]
        causal = torch.full((rows.shape[1],) * 2, -math.inf, device=x.device).triu(1)
        for block in self.transformer.resblocks:
            x, _ = block(x, causal)
        return self.ln_final(x)[torch.arange(len(x), device=x.device), end] @ self.text_projection


def rescale(key: str) -> float:
    """What a weight is multiplied by to turn SiLU into QuickGELU."""
    return 1 / QUICK if ".c_fc." in key else QUICK if key.endswith(".c_proj.weight") else 1.0


def export(state: Mapping[str, Tensor], token_ids: Tensor) -> dict[str, Tensor]:
    """The state dict in OpenAI's layout, float16, with QuickGELU; `token_ids` names the rows of the token table."""
    out = {key: (value.float() * rescale(key)).half().contiguous() for key, value in state.items()}
    return out | {"token_ids": token_ids.to(torch.int32)}
