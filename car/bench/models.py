"""Models to measure: the embedded one, and OpenAI's architectures with random weights, for speed does not care."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from car.config import Config
from car.device import choose_device, choose_dtype
from car.errors import InputError
from car.segmenter import Segmenter
from car.vlm.model import CLIP
from car.vlm.registry import load_model_set
from car.vlm.text import TextEncoder
from car.vlm.vit import VisionTransformer

VITS = {
    "ViT-B/32": {"patch": 32, "width": 768, "layers": 12, "embed_dim": 512, "text_width": 512},
    "ViT-B/16": {"patch": 16, "width": 768, "layers": 12, "embed_dim": 512, "text_width": 512},
    "ViT-L/14": {"patch": 14, "width": 1024, "layers": 24, "embed_dim": 768, "text_width": 768},
}
"""OpenAI's ViTs by name."""
MODELS = ("mini", "ViT-B/16+ViT-L/14")
"""What is measured unless something else is asked for: the embedded model, and the paper's pair."""


@dataclass(frozen=True)
class ModelPair:
    """Proposer and classifier under one name, and the settings they run with."""

    name: str
    proposer: CLIP
    classifier: CLIP
    config: Config

    def segmenter(self, config: Config, folder: Path) -> Segmenter:
        """A segmenter that has encoded no text yet; `folder` is where it finds those encoded before, and keeps new
        ones."""
        made = Segmenter(self.proposer, self.classifier, config, name=self.name)
        made.proposer_text, made.classifier_text = (
            TextEncoder(clip, folder=folder) for clip in (self.proposer, self.classifier)
        )
        if self.proposer is self.classifier:
            made.classifier_text = made.proposer_text
        return made


def load_models(name: str, *, device: str = "auto", dtype: str = "auto") -> ModelPair:
    """The models of a row.

    Args:
        name: "mini", or two names out of `VITS` joined by +, proposer first.
        device, dtype: as of `car.load`.

    Raises:
        InputError: an unknown name, device or dtype.
    """
    check_name(name)
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    if name == "mini":
        models = load_model_set("mini", device=place, dtype=precision)
        return ModelPair(name, models.proposer, models.classifier, Config().replace(**models.defaults))
    proposer, classifier = (random_clip(part).cast(precision).to(place) for part in name.split("+"))
    return ModelPair(name, proposer, classifier, Config())


def check_name(name: str) -> None:
    """Refuse what `load_models` does not know.

    Raises:
        InputError: it does not.
    """
    parts = name.split("+")
    if name != "mini" and (len(parts) != 2 or not set(parts) <= set(VITS)):
        raise InputError(f"No models {name!r} to measure. Available: mini; or two of {', '.join(VITS)}, joined by +.")


def random_clip(name: str) -> CLIP:
    """A CLIP of OpenAI's architecture with random weights, the same every time, in float32 on the CPU."""
    torch.manual_seed(0)
    shape = VITS[name]
    width, text_width = shape["width"], shape["text_width"]
    visual = VisionTransformer(
        resolution=224,
        patch=shape["patch"],
        width=width,
        layers=shape["layers"],
        heads=width // 64,
        hidden=4 * width,
        embed_dim=shape["embed_dim"],
    )
    clip = CLIP(
        visual,
        embed_dim=shape["embed_dim"],
        text_width=text_width,
        text_layers=12,
        text_heads=text_width // 64,
    )
    # Trained models end at 100, the most that was allowed.
    clip.logit_scale.data.fill_(math.log(100))
    return clip.eval().requires_grad_(False)
