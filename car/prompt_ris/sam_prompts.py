"""What SAM is asked with: a mask, a point and a text, made of the coarse mask and of the words."""

from typing import Any

import torch
from torch import Tensor, nn

from car.prompt_ris.attention import CrossAttention


class PointPrompt(nn.Module):
    """The point that answers most, as SAM embeds points (Eq. 3).

    The embeddings of a point at the centre of each pixel of the coarse mask are computed once.

    Args:
        sam: a model of segment-anything, g x g patches.
    """

    embeddings: Tensor

    def __init__(self, sam: nn.Module) -> None:
        super().__init__()
        encoder: Any = sam.prompt_encoder
        height, width = encoder.image_embedding_size
        table = encoder.pe_layer((4 * height, 4 * width)).flatten(1).T + encoder.point_embeddings[1].weight
        self.register_buffer("embeddings", table.detach(), persistent=False)

    def forward(self, logits: Tensor, noise: Tensor | None = None) -> Tensor:
        """Embeddings (P, C) of one point each.

        Args:
            logits: S_C, (P, 4 g, 4 g).
            noise: the same shape, from `gumbel`, in training: the point is a sample, and gradients pass as through the
                softmax that it is a sample of (straight-through). Without it the point is the arg-max.
        """
        flat = logits.flatten(1).float()
        if noise is None:
            return self.embeddings[flat.argmax(dim=1)]
        noisy = flat + noise.flatten(1)
        soft = noisy.softmax(dim=1).to(self.embeddings.dtype) @ self.embeddings
        return soft + (self.embeddings[noisy.argmax(dim=1)] - soft).detach()


def gumbel(*shape: int, generator: torch.Generator) -> Tensor:
    """Noise from the standard Gumbel distribution, float32."""
    drawn = torch.empty(shape, device=generator.device).exponential_(generator=generator)
    return -drawn.clamp_min(torch.finfo(drawn.dtype).tiny).log()


class TextPrompts(nn.Module):
    """The words as prompts: blocks of attention among them, and to SAM's features of the image.

    Args:
        words: E, width of the words.
        width: D_S, of SAM's prompts and features.
        blocks, heads: of the attention.
    """

    def __init__(self, words: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(words, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(TextPromptBlock(width, heads) for _ in range(blocks))

    def forward(self, words: Tensor, valid: Tensor, images: Tensor, positions: Tensor) -> Tensor:
        """Prompt tokens (P, T, D_S).

        Args:
            words: F'_T, (P, T, E).
            valid: (P, T) bool, which words are there.
            images: (P, D_S, g, g), SAM's features.
            positions: (1, D_S, g, g), SAM's embedding of where they are.
        """
        x = self.enter(words)
        pixels, places = images.flatten(2).mT, positions.flatten(2).mT
        for block in self.blocks:
            x = block(x, valid, pixels, places)
        return self.leave(x)


class TextPromptBlock(nn.Module):
    """Self-attention of the words, then attention to the pixels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_words, self.before_pixels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.words, self.pixels = CrossAttention(width, width, heads), CrossAttention(width, width, heads)

    def forward(self, x: Tensor, valid: Tensor, pixels: Tensor, places: Tensor) -> Tensor:
        y = self.before_words(x)
        x = x + self.words(y, y, valid=valid)
        return x + self.pixels(self.before_pixels(x), pixels + places, pixels)
