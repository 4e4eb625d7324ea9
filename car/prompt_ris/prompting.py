"""Cross-modal prompting: both encoders of a frozen CLIP, each prompted by the other at every layer."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from car.errors import InputError
from car.prompt_ris.attention import CrossAttention
from car.vlm.init import normal
from car.vlm.model import CLIP
from car.vlm.vit import Block, VisionTransformer


class CrossModalPrompts(nn.Module):
    """The prompts of one layer in one direction.

    Learnable tokens attend to the other modality's features of this layer and are projected to the width of the
    encoder that they prompt.

    Args:
        tokens: n.
        source, target: widths of the encoder they are made from, and of the one they are put into.
        heads: of the attention.
    """

    def __init__(self, tokens: int, source: int, target: int, heads: int) -> None:
        super().__init__()
        self.tokens = normal(tokens, source, std=0.02)
        self.norm = nn.LayerNorm(source)
        self.attention = CrossAttention(source, source, heads)
        self.project = nn.Linear(source, target)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Prompts (B, n, target) from features (B, S, source), of which `valid` (B, S) may be read."""
        tokens = self.tokens.expand(len(features), -1, -1)
        return self.project(tokens + self.attention(tokens, self.norm(features), valid=valid))


class PromptedCLIP(nn.Module):
    """CLIP's two encoders run side by side, with prompts from one to the other.

    At layer i each encoder's features make n prompts for the other. These are put before its sequence as input of the
    layer that follows, and what comes out in their places is left away, for the next layer has prompts of its own. Of
    two encoders of unlike depth, the deeper one runs several layers on the same prompts.

    The causal mask of the text encoder reaches over the prompts: a word sees all of them and the words before it, so
    the end-of-text token keeps its place and its meaning, the global feature of the text.

    Args:
        clip: with a ViT; it is frozen.
        tokens: n.
        directions: as of `PromptRISSettings`.
        heads: of the prompts' attention.

    Raises:
        InputError: the image encoder is a ResNet, or the heads do not divide a width.
    """

    def __init__(self, clip: CLIP, *, tokens: int, directions: str, heads: int) -> None:
        super().__init__()
        if not isinstance(clip.visual, VisionTransformer):
            raise InputError("Prompt-RIS prompts the layers of a ViT; this CLIP has a ResNet.")
        self.clip = clip.eval().requires_grad_(False)
        seen, read = clip.visual.proj.shape[0], clip.text_projection.shape[0]
        for width in (seen, read, clip.embed_dim):
            if width % heads:
                raise InputError(f"Expected argument `heads` to divide this CLIP's width {width}, but got {heads}.")
        vision, text = clip.visual.blocks, cast(list[Block], list(clip.transformer.resblocks))
        self.steps = min(len(vision), len(text))
        self.vision_blocks, self.text_blocks = grouped(vision, self.steps), grouped(text, self.steps)
        self.to_text = self._prompts(directions in ("both", "v2l"), tokens, seen, read, heads)
        self.to_vision = self._prompts(directions in ("both", "l2v"), tokens, read, seen, heads)

    @property
    def visual(self) -> VisionTransformer:
        return cast(VisionTransformer, self.clip.visual)

    def _prompts(self, wanted: bool, tokens: int, source: int, target: int, heads: int) -> nn.ModuleList:
        count = self.steps if wanted else 0
        return nn.ModuleList(CrossModalPrompts(tokens, source, target, heads) for _ in range(count))

    def forward(self, images: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of all patches and words in CLIP's joint embedding, for pairs of an image and a text.

        Args:
            images: (B, 3, S, S) normalised, S a multiple of the patch size.
            texts: (P, L) int64, CLIP's tokens.
            owner: (P,) int64, which image each text is about.

        Returns:
            patches: (P, h * w, E).
            words: (P, T, E), T at most L: no text is longer.
            end: (P,) int64, the place of the end-of-text token, whose feature is the text's; what is behind it means
                nothing.
        """
        x, _ = self.visual.embed(images)
        # Images that no text prompts are the same for all their texts: they are run once each.
        paired = len(self.to_vision) > 0
        x = x[owner] if paired else x
        y, end = self._embed_texts(texts)
        valid = torch.arange(y.shape[1], device=y.device) <= end[:, None]
        for step in range(self.steps):
            to_text = self.to_text[step](x) if len(self.to_text) else None
            to_vision = self.to_vision[step](y, valid) if paired else None
            if to_text is not None and not paired:
                to_text = to_text[owner]
            x = run(self.vision_blocks[step], x, to_vision, causal=False)
            y = run(self.text_blocks[step], y, to_text, causal=True)
        patches = self.visual.project(x[:, 1:])
        words = self.clip.ln_final(y) @ self.clip.text_projection
        return patches if paired else patches[owner], words, end

    def _embed_texts(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, D) that enter the text encoder, and the places (P,) of the end-of-text tokens."""
        end = texts.argmax(dim=-1)
        texts = texts[:, : int(end.max()) + 1]
        rows = texts if self.clip.token_rows is None else self.clip.token_rows[texts]
        return self.clip.token_embedding(rows) + self.clip.positional_embedding[: texts.shape[1]], end


def grouped(blocks: Sequence[Block], groups: int) -> list[list[Block]]:
    """Layers in order, in so many groups as alike in length as can be."""
    ends = [round(len(blocks) * i / groups) for i in range(groups + 1)]
    return [list(blocks[first:last]) for first, last in pairwise(ends)]


def run(blocks: Sequence[Block], x: Tensor, prompts: Tensor | None, *, causal: bool) -> Tensor:
    """A sequence (B, T, D) through layers with prompts (B, n, D) before it; the prompts' outputs are left away."""
    count = 0 if prompts is None else prompts.shape[1]
    if prompts is not None:
        x = torch.cat([prompts.to(x.dtype), x], dim=1)
    mask = torch.full((x.shape[1],) * 2, -math.inf, device=x.device).triu(1) if causal else None
    for block in blocks:
        x = block(x, mask)
    return x[:, count:]
