"""Proposals without gradients: every patch's own softmax over the texts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from car.propose.proposals import min_max
from car.vlm.vit import VisionTransformer


def output_embeddings(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Joint embedding of each patch after the whole last block, (P, E), of that block's input (1 + P, D)."""
    return visual.project(visual.blocks[-1](tokens[None])[0, 1:])


def value_embeddings(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Joint embedding of each patch's value in the last block, (P, E), of that block's input (1 + P, D).

    As in MaskCLIP, of the block's attention only its value and output projections remain. The residual and the
    feed-forward half, which MaskCLIP's released code keeps around them, are left out.
    """
    block = visual.blocks[-1]
    return visual.project(block.attn.own_values(block.ln_1(tokens[1:])))


class Dense:
    """Probability maps of any subset of the queries, from one logit per patch and query.

    At each patch the queries that are kept compete with each other and with the background, whose texts are folded
    into one pseudo-logit, the logsumexp of theirs. Pruning only takes the softmax again.

    Args:
        patches: (P, E) patch embeddings, not normalised.
        queries: (N, E) normalised text features.
        background: (M, E) normalised text features; M may be 0.
        logit_scale: s, the exponential of the model's temperature.
        grid: (h, w), P = h * w.
    """

    def __init__(
        self, patches: Tensor, queries: Tensor, background: Tensor, *, logit_scale: float, grid: tuple[int, int]
    ) -> None:
        self.grid = grid
        patches = F.normalize(patches.float(), dim=-1)
        self.logits = logit_scale * queries @ patches.T
        self.has_background = len(background) > 0
        # Without background texts the logit is -inf everywhere, and has no part in the softmax.
        self.background_logit = (logit_scale * background @ patches.T).logsumexp(0)

    def presence(self) -> Tensor:
        """The highest probability that any patch gives each query, (N,) in [0, 1], among all and the background:
        what ranks queries before the classifier sees any."""
        return torch.cat([self.logits, self.background_logit[None]]).softmax(dim=0)[:-1].amax(dim=1)

    def maps(self, kept: Sequence[int], *, eps: float = 1e-15, together: bool = True) -> Tensor:
        """Probabilities (n, h, w) in [0, 1] of the kept queries at each patch.

        They are not normalised per map, so a query that rivals clearly beat at every patch has no mask. What no text
        names goes to the least wrong one, however wrong. A query without any rival (alone, and without background
        texts) would have probability 1 everywhere; its map is that of its logit, min-max normalised, as gradCAM's is:
        it says where the query is most likely, but not whether it is there.
        """
        logits = self.logits[list(kept)]
        if not self.has_background and (len(kept) == 1 or not together):
            return min_max(logits, eps).unflatten(1, self.grid)
        if not together:
            return (logits - self.background_logit).sigmoid().unflatten(1, self.grid)
        rivals = torch.cat([logits, self.background_logit[None]])
        return rivals.softmax(dim=0)[:-1].unflatten(1, self.grid)
