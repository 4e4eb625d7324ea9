"""Softmax gradCAM (CLIP-ES, section 3.2) whose gradients are taken once for the whole recurrence."""

from collections.abc import Sequence

import torch
from torch import Tensor

from car.propose.backward import LastBlock
from car.propose.dense import Dense
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
        self._texts = queries, background, logit_scale
        background_logits = logit_scale * background @ image
        self.background_logit = background_logits.logsumexp(0)
        # Without background texts the logit is -inf and its (empty) mixture the zero vector, which drops out.
        texts = torch.cat([queries, (background_logits.softmax(0) @ background)[None]])
        self._last = last
        self._cotangents = logit_scale * (texts - (texts @ image)[:, None] * image) / norm
        self._products: dict[int, Tensor] = {}

    def presence(self) -> Tensor:
        """As of `Dense`, by the patches' embeddings behind the last block."""
        queries, background, logit_scale = self._texts
        return Dense(self._last.patches, queries, background, logit_scale=logit_scale, grid=self.grid).presence()

    def products(self, kept: Sequence[int]) -> tuple[Tensor, Tensor]:
        """V of the kept queries (n, D) and V_bg (D,); each is taken once, when it is first asked for."""
        background = len(self._cotangents) - 1
        if missing := [row for row in (*kept, background) if row not in self._products]:
            self._products.update(zip(missing, self._pulled_back(self._cotangents[missing]), strict=True))
        return torch.stack([self._products[row] for row in kept]), self._products[background]

    def weights(self, kept: Sequence[int], *, with_background: bool = True) -> Tensor:
        """Channel weights (n, D) of the kept queries, competing with each other and with the background."""
        background = self.background_logit if with_background else torch.full_like(self.background_logit, -torch.inf)
        p = torch.cat([self.logits[list(kept)], background[None]]).softmax(0)
        products, background_product = self.products(kept)
        mean = p[:-1] @ products + p[-1] * background_product
        return p[:-1, None] * (products - mean)

    def weights_apart(self, kept: Sequence[int]) -> Tensor:
        """Channel weights (n, D) of the kept queries, each competing with the background alone."""
        against = self.logits[list(kept)] - self.background_logit
        products, background_product = self.products(kept)
        return (against.sigmoid() * (-against).sigmoid())[:, None] * (products - background_product)

    def maps(self, kept: Sequence[int], *, eps: float = 1e-15, together: bool = True) -> Tensor:
        """CAMs (n, h, w) in [0, 1] of the kept queries: ReLU(sum_k w_k A_k), min-max normalised.

        A map that is zero everywhere is taken again without the background texts, as published. A query that is then
        alone has a softmax of 1 and so no gradient; its map is that of its logit instead.
        """
        alone = not together or len(kept) == 1
        cams = self._cams(self.weights(kept) if together else self.weights_apart(kept))
        if (empty := cams.amax(dim=1) <= 0).any():
            without = self.products(kept)[0] if alone else self.weights(kept, with_background=False)
            cams[empty] = self._cams(without[empty])
        return min_max(cams, eps).unflatten(1, self.grid)

    def _pulled_back(self, cotangents: Tensor) -> Tensor:
        if len(cotangents) <= cotangents.shape[1]:
            return self._last.pull_back(cotangents)
        basis = torch.eye(cotangents.shape[1], device=cotangents.device)
        return cotangents @ self._last.pull_back(basis)

    def _cams(self, weights: Tensor) -> Tensor:
        return (weights @ self.activations.T).clamp_(min=0)
