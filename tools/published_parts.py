"""The parts of the published loop, each written as plainly as the paper has it: see published_way.py."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from car.config import Config
from car.propose.affinity import box_mask
from car.refine.crf import make_crf
from car.vlm.model import CLIP
from car.vlm.tokenizer import tokenize
from car.vlm.vit import Block, VisionTransformer

ATTENTION_BLOCKS = 8
ROUNDS = 3


def attend(block: Block, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over normed tokens (T, D): what is added to the residual, and the map (T, T), averaged over heads."""
    projected = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias)
    q, k, v = projected.view(len(normed), 3, block.attn.heads, -1).permute(1, 2, 0, 3)
    attention = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return block.attn.out_proj((attention @ v).transpose(0, 1).flatten(1)), attention.mean(dim=0)


def forward(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    """One block over tokens (T, D), and its attention map."""
    mixed, attention = attend(block, block.ln_1(x))
    x = x + mixed
    return x + block.mlp(block.ln_2(x)), attention


class Encoded:
    """One pass of the proposer over an image, its last block with gradients.

    Args:
        visual: in float32 or float16.
        image: (1, 3, H, W).

    Attributes:
        activations: (1 + P, D), the last block's normed input, to which gradients go.
        pooled: (E,) float32, the mean embedding of the patches, normalised.
        attention: the last blocks' patch-to-patch maps, (P, P) float32 each.
    """

    def __init__(self, visual: VisionTransformer, image: Tensor) -> None:
        *blocks, last = visual.blocks
        with torch.no_grad():
            tokens, self.grid = visual.embed(image)
            x, maps = tokens[0], []
            for block in blocks:
                x, attention = forward(block, x)
                maps.append(attention)
            self.activations = last.ln_1(x)
        self.activations.requires_grad_()
        mixed, attention = attend(last, self.activations)
        x = x + mixed
        x = x + last.mlp(last.ln_2(x))
        self.pooled = F.normalize(visual.project(x[1:]).float().mean(dim=0), dim=-1)
        maps.append(attention.detach())
        self.attention = [each[1:, 1:].float() for each in maps[-ATTENTION_BLOCKS:]]

    def cam(self, index: int, queries: Tensor, background: Tensor, scale: float, eps: float) -> Tensor:
        """Softmax gradCAM (h, w) in [0, 1] of one of the queries (N, E) among them and the background (M, E), by a
        backward pass of its own."""
        target = (scale * torch.cat([queries, background]) @ self.pooled).softmax(dim=0)[index]
        cam = self._cam(target)
        if cam.max() <= 0:
            # Without background texts; a query that is then alone has a softmax of 1, and only a logit to go by.
            logits = scale * queries @ self.pooled
            cam = self._cam(logits.softmax(dim=0)[index] if len(queries) > 1 else logits[0])
        return min_max(cam, eps).view(self.grid)

    def _cam(self, target: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(target, self.activations, retain_graph=True)
        return (self.activations.detach()[1:].float() @ gradient[1:].float().mean(dim=0)).relu()


@torch.no_grad()
def spread(cam: Tensor, attention: Sequence[Tensor], lam: float, eps: float) -> Tensor:
    """Class-aware attention-based affinity: a CAM (h, w) refined by the square of the symmetrised, balanced attention,
    within its boxes."""
    balanced = torch.stack(list(attention)).mean(dim=0)
    for _ in range(ROUNDS):
        balanced = balanced / balanced.sum(dim=0, keepdim=True)
        balanced = balanced / balanced.sum(dim=1, keepdim=True)
    affinity = (balanced + balanced.T) / 2
    affinity = affinity @ affinity
    boxes = torch.from_numpy(box_mask(cam.cpu().numpy(), lam)).to(cam)
    return min_max(((affinity * boxes.flatten()) @ cam.flatten()).view_as(cam), eps)


def min_max(values: Tensor, eps: float) -> Tensor:
    """Values shifted to start at 0, divided by their maximum plus `eps`."""
    values = values - values.min()
    return values / (values.max() + eps)


def enlarge(values: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) at the size of the image, bilinear."""
    return F.interpolate(values[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


@torch.no_grad()
def image_feature(visual: VisionTransformer, view: Tensor) -> Tensor:
    """Normalised embedding (E,) float32 of one view (1, 3, R, R), through all blocks for all tokens."""
    x, _ = visual.embed(view)
    for block in visual.blocks:
        x = block(x)
    return F.normalize(visual.project(x[:, 0])[0].float(), dim=-1)


@torch.no_grad()
def text_features(clip: CLIP, texts: Sequence[str]) -> Tensor:
    """Normalised embeddings (B, E) of texts, at all positions of the context."""
    tokens = tokenize(texts, context_length=clip.context_length).to(clip.device)
    rows = tokens if clip.token_rows is None else clip.token_rows[tokens]
    x = clip.token_embedding(rows) + clip.positional_embedding
    causal = torch.full((tokens.shape[1],) * 2, -torch.inf, device=x.device).triu(1)
    x = clip.ln_final(clip.transformer(x, causal))
    ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    return F.normalize(ends @ clip.text_projection, dim=-1)


def verdict(feature: Tensor, row: int, texts: Tensor, scale: float) -> float:
    """P_ii of one prompted image (E,) against texts (T, K, E), the `row`-th of which is its query's: a softmax per
    template, their sum, and a softmax of that where there are several."""
    each = (scale * texts @ feature).softmax(dim=-1)
    return float(each[0, row] if len(each) == 1 else each.sum(dim=0).softmax(dim=-1)[row])


def dense_crf(image: np.ndarray, soft: Tensor, config: Config) -> np.ndarray:
    """Labels (h, w) of soft masks (N, h, w) behind their background: the dense CRF of pydensecrf, built for this one
    call; ours where that is not installed (`CRF_ENGINE`)."""
    background = (1 - soft.amax(dim=0, keepdim=True)).clamp(min=0) ** config.background_factor
    crf = make_crf(
        CRF_ENGINE,
        image,
        sxy_gaussian=config.crf_sxy_gaussian,
        compat_gaussian=config.crf_compat_gaussian,
        sxy_bilateral=config.crf_sxy_bilateral,
        srgb=config.crf_srgb,
        compat_bilateral=config.crf_compat_bilateral,
        device="cpu",
    )
    return crf.infer(torch.cat([background, soft]).cpu(), config.crf_iterations).argmax(dim=0).numpy()


def crf_engine() -> str:
    """ "pydensecrf" where it is installed, else "lattice"."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError:
        return "lattice"
    return "pydensecrf"


CRF_ENGINE = crf_engine()
