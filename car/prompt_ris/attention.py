"""Attention of some tokens to others of another width."""

import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Multi-head attention of tokens over a source.

    Args:
        width: of the tokens, and of the result.
        source: width of what they attend to.
        heads: must divide the width.
    """

    def __init__(self, width: int, source: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width)
        self.keys, self.values = nn.Linear(source, width), nn.Linear(source, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """What tokens (B, T, width) read from a source.

        Args:
            keys: (B, S, source).
            values: (B, S, source); by default the keys.
            valid: (B, S) bool, which of them may be attended to, at least one; by default all.
        """
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.queries(x), self.keys(keys), self.values(keys if values is None else values))
        )
        mask = None if valid is None else valid[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))
