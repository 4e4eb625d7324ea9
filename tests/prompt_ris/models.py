"""Small models of Prompt-RIS with random weights."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from car.prompt_ris.model import PromptRIS
from car.prompt_ris.settings import PromptRISSettings
from car.vlm.model import CLIP
from car.vlm.tokenizer import tokenize
from car.vlm.vit import VisionTransformer

needs_sam = pytest.mark.skipif(find_spec("segment_anything") is None, reason="the extra [sam] is not installed")
TEXTS = ("left dog", "the big red cup on the table", "cat", "a dog")


def small_clip(layers: int = 4, text_layers: int = 2, seed: int = 0) -> CLIP:
    """32 and 24 wide, 8-pixel patches."""
    torch.manual_seed(seed)
    visual = VisionTransformer(resolution=32, patch=8, width=32, layers=layers, heads=2, hidden=64, embed_dim=16)
    clip = CLIP(visual, embed_dim=16, text_width=24, text_layers=text_layers, text_heads=2, context_length=32)
    for p in clip.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return clip.eval()


def small_sam(seed: int = 0) -> nn.Module:
    """64 pixels, 8 x 8 patches, 32 wide."""
    from car.refine.sam_checkpoint import import_package

    import_package("segment_anything")
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=8, embed_dim=32, depth=1, num_heads=2, out_chans=32, use_rel_pos=True
    )
    two_way = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=32)
    decoder = MaskDecoder(transformer_dim=32, transformer=two_way, iou_head_hidden_dim=32)
    sam = Sam(encoder, PromptEncoder(32, (8, 8), (64, 64), 16), decoder)
    for p in sam.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return sam.eval()


def small_model(*, layers: int = 4, text_layers: int = 2, **settings: object) -> PromptRIS:
    """Four heads, three prompts per layer, 48 pixels for CLIP."""
    chosen = PromptRISSettings(**{"clip_side": 48, "prompts": 3, "heads": 4} | settings)
    clip = small_clip(layers, text_layers)
    torch.manual_seed(1)
    return PromptRIS(clip, small_sam() if chosen.sam_prompts else None, chosen)


def inputs(model: PromptRIS, images: int = 2, texts: tuple[str, ...] = TEXTS) -> tuple[Tensor, Tensor, Tensor]:
    """Images, texts and which image each is about: the texts in turn."""
    torch.manual_seed(2)
    side = model.settings.clip_side
    return torch.randn(images, 3, side, side), tokenize(texts, context_length=32), torch.arange(len(texts)) % images


def views(count: int = 2, side: int = 64) -> np.ndarray:
    """uint8 squares."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
