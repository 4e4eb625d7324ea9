"""Prompt-RIS: a frozen CLIP and a frozen SAM, and the prompts that bridge them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from car.errors import InputError
from car.prompt_ris.decoder import CoarseDecoder
from car.prompt_ris.prompting import PromptedCLIP
from car.prompt_ris.sam_decoder import first_mask
from car.prompt_ris.sam_prompts import PointPrompt, TextPrompts
from car.prompt_ris.settings import SAM_PROMPTS, PromptRISSettings
from car.vlm.model import CLIP

FROZEN = ("clip.clip.", "sam.")
"""What the names of the backbones' tensors begin with."""


@dataclass(frozen=True)
class Answer:
    """Masks of P pairs of an image and a text, as logits; an image is whole in them, whatever its aspect.

    coarse: S_C, (P, 4 g, 4 g) float32, where SAM sees g x g patches (CLIP, where there is no SAM).
    final: (P, S, S) float32, SAM's first mask at the side that SAM sees, four times as large for the published models
        (Eq. 4); None where SAM was not asked.
    """

    coarse: Tensor
    final: Tensor | None

    @property
    def best(self) -> Tensor:
        """The final masks, or where there are none, the coarse ones."""
        return self.coarse if self.final is None else self.final


class PromptRIS(nn.Module):
    """Referring segmentation by learned prompts (Prompt-RIS, CVPR 2024).

    Args:
        clip: with a ViT (published: ViT-B/16); it is frozen.
        sam: a model of segment-anything (published: ViT-B), frozen, too; None where the settings want none.
        settings: the rest.

    Raises:
        InputError: models that do not fit the settings, or one of another kind.
    """

    def __init__(self, clip: CLIP, sam: nn.Module | None, settings: PromptRISSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or PromptRISSettings()
        self.clip = PromptedCLIP(clip, tokens=settings.prompts, directions=settings.directions, heads=settings.heads)
        patch = self.clip.visual.patch
        if settings.clip_side % patch:
            raise InputError(
                f"Expected argument `clip_side` to be a multiple of this CLIP's patch size {patch}, "
                f"but got {settings.clip_side}."
            )
        self.grid = settings.clip_side // patch
        self.decoder = CoarseDecoder(clip.embed_dim, self.clip.visual.conv1.out_channels, settings.heads)
        self.sam = None
        if settings.sam_prompts:
            self.sam = checked(sam).eval().requires_grad_(False)
            width = self.sam.prompt_encoder.embed_dim
            self.point = PointPrompt(self.sam)
            self.text = TextPrompts(clip.embed_dim, width, settings.text_blocks, settings.heads)

    @property
    def coarse_side(self) -> int:
        """Pixels along the sides of the coarse masks."""
        model: Any = self.sam
        return 4 * (self.grid if model is None else model.prompt_encoder.image_embedding_size[0])

    @property
    def answer_side(self) -> int:
        """Pixels along the sides of the masks that are answered with: SAM's, or without it, the coarse ones."""
        return self.sam_side or self.coarse_side

    @property
    def sam_side(self) -> int | None:
        """Pixels along the sides of what SAM sees; None without SAM."""
        model: Any = self.sam
        return None if model is None else model.image_encoder.img_size

    def learned(self) -> dict[str, nn.Parameter]:
        """The parameters that are not the backbones', by name."""
        return {name: p for name, p in self.named_parameters() if not name.startswith(FROZEN)}

    def of_sam(self) -> Iterable[nn.Parameter]:
        """Those of them that matter for the final masks alone."""
        return () if self.sam is None else self.text.parameters()

    @torch.no_grad()
    def look(self, images: np.ndarray | Tensor) -> Tensor:
        """SAM's features (B, D_S, g, g) of uint8 images (B, S, S, 3) of the side that it sees."""
        sam: Any = self.sam
        x = torch.as_tensor(images).to(sam.pixel_mean.device).permute(0, 3, 1, 2)
        return sam.image_encoder((x - sam.pixel_mean) / sam.pixel_std)

    def forward(
        self,
        images: Tensor,
        texts: Tensor,
        owner: Tensor,
        features: Tensor | None = None,
        *,
        kept: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Answer:
        """Masks of pairs of an image and a text.

        Args:
            images: (B, 3, S, S), CLIP-normalised, S = `settings.clip_side`.
            texts: (P, L) int64, CLIP's tokens.
            owner: (P,) int64, which image each text is about.
            features: (B, D_S, g, g), from `look`; without them the answer is coarse.
            kept: (P, 3) bool, which of `SAM_PROMPTS` each pair asks with; by default all of the settings'.
            noise: (P, 4 g, 4 g) float32, see `PointPrompt`.
        """
        patches, words, end = self.clip(images, texts, owner)
        valid = torch.arange(words.shape[1], device=words.device) <= end[:, None]
        places = self.clip.visual.positions((self.grid, self.grid))[1:]
        response, words = self.decoder(patches, places, words, end, valid)
        square = response.unflatten(-1, (self.grid, self.grid))[:, None]
        coarse = F.interpolate(square, (self.coarse_side,) * 2, mode="bilinear", align_corners=False)[:, 0]
        if features is None or self.sam is None:
            return Answer(coarse, None)
        masks = self.ask_sam(features[owner], coarse, words, valid, kept, noise)
        side = (self.answer_side,) * 2
        return Answer(coarse, F.interpolate(masks[:, None], side, mode="bilinear", align_corners=False)[:, 0])

    def ask_sam(
        self,
        images: Tensor,
        coarse: Tensor,
        words: Tensor,
        valid: Tensor,
        kept: Tensor | None,
        noise: Tensor | None,
    ) -> Tensor:
        """SAM's first masks (P, 4 g, 4 g), asked by mask, point and text."""
        sam: Any = self.sam
        asked = torch.tensor([name in self.settings.sam_prompts for name in SAM_PROMPTS], device=coarse.device)
        asked = asked.expand(len(coarse), -1) if kept is None else kept & asked
        by_mask, by_point, by_text = asked.unbind(dim=1)
        encoder = sam.prompt_encoder
        none = encoder.no_mask_embed.weight[..., None, None]
        dense = torch.where(by_mask[:, None, None, None], encoder.mask_downscaling(coarse[:, None]), none)
        point = self.point(coarse, noise)[:, None]
        text = self.text(words, valid, images, encoder.get_dense_pe())
        there = torch.cat([by_point[:, None], by_text[:, None] & valid], dim=1)
        return first_mask(sam, images + dense, torch.cat([point, text], dim=1), there)


def checked(sam: nn.Module | None) -> Any:
    """A SAM whose parts are where they are expected; raises InputError."""
    if sam is None or not hasattr(sam, "mask_decoder"):
        raise InputError("These settings of Prompt-RIS ask SAM; give a model of segment-anything.")
    if hasattr(sam.mask_decoder, "hf_token"):
        raise InputError("Prompt-RIS asks the mask decoder of SAM; HQ-SAM has another one.")
    return sam
