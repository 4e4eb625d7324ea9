"""Small models with random weights: no meaning, but the real architecture."""

import torch

from car.vlm.model import CLIP
from car.vlm.resnet import ModifiedResNet
from car.vlm.vit import VisionTransformer


def random_vit(seed: int = 0, *, activation: str = "quick_gelu", layers: int = 3, embed_dim: int = 24) -> CLIP:
    torch.manual_seed(seed)
    visual = VisionTransformer(
        resolution=48,
        patch=8,
        width=128,
        layers=layers,
        heads=2,
        hidden=256,
        embed_dim=embed_dim,
        activation=activation,
    )
    return finish(visual, embed_dim, activation)


def random_resnet(seed: int = 0) -> CLIP:
    torch.manual_seed(seed)
    return finish(ModifiedResNet(layers=(1, 2, 1, 1), width=8, resolution=64, embed_dim=24, heads=4), 24, "quick_gelu")


def finish(visual: VisionTransformer | ModifiedResNet, embed_dim: int, activation: str) -> CLIP:
    """Add a text encoder, and shake every parameter so that no bias is zero and no norm is the identity."""
    clip = CLIP(visual, embed_dim=embed_dim, text_width=64, text_layers=2, text_heads=1, activation=activation)
    for parameter in clip.parameters():
        if parameter.ndim:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return clip.eval().requires_grad_(False)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random vectors of length one along the last axis."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)
