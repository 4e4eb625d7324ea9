"""Softmax gradCAM (CLIP-ES, section 3.2) whose gradients are taken once for the whole recurrence."""

from collections.abc import Sequence

import torch
from torch import Tensor

from car.propose.backward import LastBlock
from car.propose.proposals import min_max
from car.vlm.vit import VisionTransformer


class GradCAM:
    """Class activation maps of any subset of the queries, from one backward product per query.

    With l_k = s cos(F, t_k), V_k the mean over patches of dl_k/dA, and the background texts folded into one
    pseudo-logit l_bg = logsumexp of theirs, the channel weight of query c among a subset S is
    w_c = p_c (V_c - sum_{k in S} p_k V_k - p_bg V_bg), p being the softmax over S and l_bg. Pruning therefore only
    re-weights; nothing passes through the network again.

    Args:
        visual: the proposer's image encoder.
        tokens: (1 + P, D), the input of its last block.
        queries: (N, E) normalised text features.
        background: (M, E) normalised text features; M may be 0.
        logit_scale: s, the exponential of the model's temperature.
        grid: (h, w), P = h * w.
    """

    def __init__(
        self,
        visual: VisionTransformer,
        tokens: Tensor,
        queries: Tensor,
        background: Tensor,
        *,
        logit_scale: float,
        grid: tuple[int, int],
    ) -> None:
        self.grid = grid
        last = LastBlock(visual, tokens)
        self.activations = last.activations
        norm = last.pooled.norm()
        image = last.pooled / norm
        self.logits = logit_scale * queries @ image
        background_logits = logit_scale * background @ image
        self.background_logit = background_logits.logsumexp(0)
        # Without background texts the logit is -inf and its (empty) mixture the zero vector, which drops out.
        texts = torch.cat([queries, (background_logits.softmax(0) @ background)[None]])
        cotangents = logit_scale * (texts - (texts @ image)[:, None] * image) / norm
        if len(cotangents) > cotangents.shape[1]:
            basis = torch.eye(cotangents.shape[1], device=cotangents.device)
            products = cotangents @ last.pull_back(basis)
        else:
            products = last.pull_back(cotangents)
        self.products, self.background_product = products[:-1], products[-1]

    def weights(self, kept: Sequence[int], *, with_background: bool = True) -> Tensor:
        """Channel weights (n, D) of the kept queries, competing with each other and with the background."""
        index = torch.as_tensor(kept, device=self.logits.device)
        background = self.background_logit if with_background else torch.full_like(self.background_logit, -torch.inf)
        p = torch.cat([self.logits[index], background[None]]).softmax(0)
        products = self.products[index]
        mean = p[:-1] @ products + p[-1] * self.background_product
        return p[:-1, None] * (products - mean)

    def maps(self, kept: Sequence[int], *, eps: float = 1e-15) -> Tensor:
        """CAMs (n, h, w) in [0, 1] of the kept queries: ReLU(sum_k w_k A_k), min-max normalised.

        A map that is zero everywhere is taken again without the background texts, as published. A query that is then
        alone has a softmax of 1 and so no gradient; its map is that of its logit instead.
        """
        cams = self._cams(self.weights(kept))
        if (empty := cams.amax(dim=1) <= 0).any():
            cams[empty] = self._cams(self.weights(kept, with_background=False)[empty])
        if len(kept) == 1 and cams.amax() <= 0:
            cams = self._cams(self.products[list(kept)])
        return min_max(cams, eps).unflatten(1, self.grid)

    def _cams(self, weights: Tensor) -> Tensor:
        return (weights @ self.activations.T).clamp_(min=0)
