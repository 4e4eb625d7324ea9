"""CLIP in OpenAI's architecture: two encoders and the temperature, rebuilt from a state dict's shapes."""

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from car.errors import CheckpointError, InputError
from car.vlm.init import normal
from car.vlm.resnet import ModifiedResNet
from car.vlm.vit import LayerNorm, Transformer, VisionTransformer

METADATA_KEYS = ("input_resolution", "context_length", "vocab_size")
VOCABULARY = 49408
TEXT_BLOCK = 8


class CLIP(nn.Module):
    """An image encoder and a text encoder that share an embedding.

    Attributes:
        visual: `VisionTransformer` or `ModifiedResNet`.
        embed_dim: E, the width of the joint embedding.
        input_resolution: side in pixels of the square images the encoder was trained on.
        patch_size: patch side in pixels; None for a ResNet.
        context_length: number of text positions.
    """

    def __init__(
        self,
        visual: VisionTransformer | ModifiedResNet,
        *,
        embed_dim: int,
        text_width: int,
        text_layers: int,
        text_heads: int,
        context_length: int = 77,
        vocabulary: int = VOCABULARY,
        activation: str = "quick_gelu",
    ) -> None:
        super().__init__()
        self.visual = visual
        self.embed_dim, self.context_length = embed_dim, context_length
        self.transformer = Transformer(text_width, text_layers, text_heads, 4 * text_width, activation)
        self.token_embedding = nn.Embedding.from_pretrained(normal(vocabulary, text_width), freeze=False)
        self.positional_embedding = normal(context_length, text_width, std=0.01)
        self.ln_final = LayerNorm(text_width)
        self.text_projection = normal(text_width, embed_dim, std=text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.token_rows: Tensor | None
        self.register_buffer("token_rows", None, persistent=False)

    @property
    def input_resolution(self) -> int:
        return self.visual.resolution

    @property
    def patch_size(self) -> int | None:
        return self.visual.patch if isinstance(self.visual, VisionTransformer) else None

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        return self.visual.conv1.weight.dtype

    def encode_image(self, images: Tensor, *, skip_last: bool = False) -> Tensor:
        """Embeddings (B, E) float32, not normalised, of CLIP-normalised images (B, 3, H, W).

        `skip_last` leaves out the last block of a ViT (CaR's released classifier); a ResNet refuses it.
        """
        if not skip_last:
            return self.visual(images).float()
        if not isinstance(self.visual, VisionTransformer):
            raise InputError("`classifier_skip_last` needs a ViT classifier; a ResNet has no last block to skip.")
        return self.visual(images, skip_last=True).float()

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embeddings (B, E) float32, not normalised, of CLIP token ids (B, L), L at most `context_length`.

        The embedding is read at the end-of-text token, the largest id of the vocabulary.
        """
        end = tokens.argmax(dim=-1)
        # The mask is causal, so nothing behind the last end-of-text token can matter.
        tokens = tokens[:, : int(self.blocks(end.max() + 1))]
        rows = tokens if self.token_rows is None else self.token_rows[tokens]
        x = self.token_embedding(rows) + self.positional_embedding[: tokens.shape[1]]
        causal = torch.full((tokens.shape[1],) * 2, -math.inf, device=x.device).triu(1)
        x = self.ln_final(self.transformer(x, causal))
        return (x[torch.arange(len(x), device=x.device), end] @ self.text_projection).float()

    @staticmethod
    def blocks(lengths: Tensor) -> Tensor:
        """Text lengths in tokens, rounded up to whole blocks of TEXT_BLOCK: the lengths that `encode_text` works at."""
        return (lengths + TEXT_BLOCK - 1) // TEXT_BLOCK * TEXT_BLOCK

    def cast(self, dtype: torch.dtype) -> Self:
        """Convert the weights to `dtype`; norms and the temperature stay in float32."""
        self.to(dtype)
        for module in self.modules():
            if isinstance(module, LayerNorm):
                module.float()
        self.logit_scale.data = self.logit_scale.data.float()
        return self

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        *,
        activation: str = "quick_gelu",
        vision_heads: int | None = None,
        text_heads: int | None = None,
    ) -> Self:
        """Rebuild a model from a state dict in OpenAI's key layout, in float32, in evaluation mode.

        A reduced vocabulary is accepted: `token_ids` (R,) names the CLIP token of each row of
        `token_embedding.weight`; row 0 (id -1) stands for every token not named.

        Raises:
            CheckpointError: keys or shapes are not those of an OpenAI-architecture CLIP.
        """
        weights = {k: v for k, v in state.items() if k not in METADATA_KEYS and not k.endswith("attn_mask")}
        token_ids = weights.pop("token_ids", None)
        try:
            with torch.device("meta"):
                model = cls(
                    build_visual(weights, activation, vision_heads),
                    embed_dim=weights["text_projection"].shape[1],
                    text_width=(width := weights["ln_final.weight"].shape[0]),
                    text_layers=count_children(weights, "transformer.resblocks."),
                    text_heads=text_heads or max(1, width // 64),
                    context_length=weights["positional_embedding"].shape[0],
                    vocabulary=weights["token_embedding.weight"].shape[0],
                    activation=activation,
                )
            model.load_state_dict(weights, assign=True)
        except KeyError as missing:
            raise CheckpointError(f"Not a CLIP checkpoint in OpenAI's layout: it lacks {missing}.") from None
        except (RuntimeError, IndexError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"Not a CLIP checkpoint in OpenAI's layout: {reason}.") from None
        if token_ids is not None:
            model.token_rows = rows_of(token_ids)
        return model.float().eval().requires_grad_(False)


def rows_of(token_ids: Tensor) -> Tensor:
    """Row of the reduced embedding for each of CLIP's tokens, (49408,) int64; 0 where there is none."""
    rows = torch.zeros(VOCABULARY, dtype=torch.int64)
    known = token_ids >= 0
    rows[token_ids[known].long()] = torch.arange(len(token_ids))[known]
    return rows


def count_children(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of numbered sub-modules under `prefix`."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def build_visual(state: Mapping[str, Tensor], activation: str, heads: int | None) -> VisionTransformer | ModifiedResNet:
    """The image encoder that a state dict's shapes describe, with uninitialised weights."""
    if "visual.proj" in state:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        return VisionTransformer(
            resolution=patch * math.isqrt(len(state["visual.positional_embedding"]) - 1),
            patch=patch,
            width=width,
            layers=count_children(state, "visual.transformer.resblocks."),
            heads=heads or max(1, width // 64),
            hidden=state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            embed_dim=state["visual.proj"].shape[1],
            activation=activation,
        )
    width = state["visual.layer1.0.conv1.weight"].shape[0]
    positions = state["visual.attnpool.positional_embedding"].shape[0] - 1
    return ModifiedResNet(
        layers=tuple(count_children(state, f"visual.layer{i}.") for i in range(1, 5)),
        width=width,
        resolution=ModifiedResNet.patch * math.isqrt(positions),
        embed_dim=state["visual.attnpool.c_proj.weight"].shape[0],
        heads=heads or max(1, width * 32 // 64),
    )
