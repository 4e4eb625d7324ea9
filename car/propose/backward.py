"""The gradient of CLIP's pooled patch embedding with respect to the last block's input norm, in closed form.

Every step of the recurrence needs only the mean of that gradient over the patches, so the sums over positions are
taken as early as the algebra allows: rows of an attention map sum to one, and rows of its gradient to zero, so of the
three paths through attention only one needs a product with the map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from car.vlm.vit import LayerNorm, VisionTransformer

CHUNK_ELEMENTS = 2**26
"""Cotangents are taken through the block in groups whose hidden activations fit in this many elements."""


class LastBlock:
    """The last block of a ViT on one image, ready to pull cotangents back to its ln_1 output.

    Args:
        visual: the image encoder.
        tokens: (1 + P, D), the input of its last block.

    Attributes:
        activations: A, (P, D) float32, the patch rows of the ln_1 output: the layer gradCAM looks at.
        patches: (P, E) float32, ln_post(x) @ proj of each patch.
        pooled: F, (E,) float32, their mean.
    """

    def __init__(self, visual: VisionTransformer, tokens: Tensor) -> None:
        block = visual.blocks[-1]
        self.visual, self.block = visual, block
        normed = block.ln_1(tokens)
        self.activations = normed[1:].float()
        self.q, self.k, self.v = (x[0] for x in block.attn.split_heads(normed[None]))
        # The class token's own output never reaches the pooled patches, so only patch rows attend.
        mixed = F.scaled_dot_product_attention(self.q[None, :, 1:], self.k[None], self.v[None])[0]
        self.mixed = mixed.float()
        residual = tokens[1:] + block.attn.out_proj(mixed.transpose(0, 1).flatten(1))
        self.middle = residual.float()
        hidden = block.mlp.c_fc(block.ln_2(residual))
        self.slope = block.mlp.gelu.slope(hidden.float())
        output = residual + block.mlp.c_proj(block.mlp.gelu(hidden))
        self.patches = visual.project(output).float()
        self.pooled = self.patches.mean(dim=0)
        self.standard, self.inverse = standardized(visual.ln_post, output.float())
        self.spread = product(self.standard, block.mlp.c_proj.weight)

    def pull_back(self, cotangents: Tensor) -> Tensor:
        """Mean over patches of d(cotangent . F)/dA for each cotangent: (K, E) -> (K, D), float32."""
        hidden = self.block.mlp.c_fc.out_features
        step = max(1, CHUNK_ELEMENTS // (len(self.middle) * hidden))
        parts = [self._pull_back(part) for part in cotangents.split(step)]
        return torch.cat(parts) if parts else cotangents.new_zeros(0, self.activations.shape[1])

    def _pull_back(self, cotangents: Tensor) -> Tensor:
        # F is a mean over P patches; its 1 / P is left to the end, where half precision cannot lose it.
        block, patches = self.block, len(self.middle)
        # All patches receive the same vector, so behind ln_post a gradient is one vector per cotangent less a multiple
        # of one per patch: no product with all their pairs is needed until the slopes of the MLP tell pairs apart.
        received = (cotangents @ self.visual.proj.float().T) * self.visual.ln_post.weight.float()
        centred = (received - received.mean(dim=-1, keepdim=True)).unsqueeze(1)
        along = (received @ self.standard.T / received.shape[-1]).unsqueeze(-1)
        through = torch.addcmul(product(centred, block.mlp.c_proj.weight), along, self.spread, value=-1)
        through = product(through.mul_(self.slope * self.inverse), block.mlp.c_fc.weight)
        grad = self.inverse * torch.addcmul(centred, along, self.standard, value=-1)
        grad = grad + norm_backward(block.ln_2, self.middle, through)
        heads = product(grad, block.attn.out_proj.weight).unflatten(-1, (block.attn.heads, -1)).transpose(1, 2)
        projected = self._attention_sums(heads)
        return projected @ block.attn.in_proj_weight.float() / patches**2

    def _attention_sums(self, grad: Tensor) -> Tensor:
        """Gradients (K, heads, P, d) of the heads' outputs to summed gradients (K, 3 D) of queries, keys, values."""
        scale = self.q.shape[-1] ** -0.5
        sums = []
        for h in range(self.q.shape[0]):
            q, k, v = self.q[h, 1:].float(), self.k[h].float(), self.v[h].float()
            attention = (q @ k.T * scale).softmax(dim=-1)
            g = grad[:, h]
            inner = (g * self.mixed[h]).sum(dim=-1)
            columns = ((attention.T @ g) * v).sum(dim=-1) - inner @ attention
            to_class = attention[:, 0] * (g @ v[0] - inner)
            sums.append(
                (
                    scale * columns @ k,
                    -scale * to_class @ q,
                    torch.einsum("p,kpd->kd", 1 - attention[:, 0], g),
                )
            )
        return torch.cat([torch.cat(path, dim=-1) for path in zip(*sums, strict=True)], dim=-1)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight in the weight's dtype, returned in float32."""
    return (x.to(weight.dtype) @ weight).float()


def standardized(norm: LayerNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of x (P, D) less their mean, over their standard deviation, and one over that deviation, (P, 1)."""
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    inverse = (variance + norm.eps).rsqrt()
    return (x - mean) * inverse, inverse


def norm_backward(norm: LayerNorm, x: Tensor, grad: Tensor) -> Tensor:
    """Gradient with respect to the input x (P, D) of a layer norm whose output receives `grad` (K, P, D)."""
    standard, inverse = standardized(norm, x)
    grad = grad * norm.weight.float()
    along = (grad * standard).mean(dim=-1, keepdim=True)
    return inverse * (grad - grad.mean(dim=-1, keepdim=True) - standard * along)
