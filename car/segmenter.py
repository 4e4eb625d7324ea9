"""Models and a configuration, ready to turn images and queries into masks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from car.config import Config, resolve
from car.device import choose_device, choose_dtype
from car.errors import InputError
from car.io import ImageSource, read_image
from car.prepared import PreparedImage
from car.queries import Query, clean_synonyms
from car.refine.sam import MaskProposer, SamProposer, default_settings, load_mask_proposer
from car.result import Segmentation
from car.vlm.model import CLIP
from car.vlm.registry import load_model_set
from car.vlm.text import TextEncoder
from car.vlm.text_store import text_folder
from car.vlm.tokenizer import tokenize
from car.vlm.vit import VisionTransformer
from car.wordlists import background_words, read_templates


class Segmenter:
    """A proposer, a classifier and a `Config`.

    Args:
        proposer: CLIP with a ViT image encoder (f of the paper).
        classifier: any CLIP (g).
        config: what to do with them.
        name: what results call this model set.
        weights_dir: where segment-anything's weights are kept, if `config.sam` names some.

    Raises:
        InputError: the proposer is a ResNet, which has no tokens to take maps from.
    """

    def __init__(
        self,
        proposer: CLIP,
        classifier: CLIP,
        config: Config,
        *,
        name: str = "custom",
        weights_dir: str | Path | None = None,
    ) -> None:
        if not isinstance(proposer.visual, VisionTransformer):
            raise InputError("The proposer must be a ViT: proposals are read from a ViT's last block.")
        self.proposer, self.classifier = proposer, classifier
        self.config, self.name = config, name
        self.proposer_text, self.classifier_text = (
            TextEncoder(clip, truncate=config.truncate, folder=text_folder()) for clip in (proposer, classifier)
        )
        if classifier is proposer:
            self.classifier_text = self.proposer_text
        self.templates = read_templates(config.templates)
        self.background = background_words(config.background)
        self.mask_proposer: MaskProposer | None = None
        if config.sam is not None:
            self.mask_proposer = load_mask_proposer(
                config.sam,
                proposer.device,
                weights_dir=None if weights_dir is None else Path(weights_dir),
                settings=replace(default_settings(config.sam), **config.sam_settings),
            )

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks at work, by role: "proposer", "classifier", and where SAM makes mask proposals, "sam"."""
        found: dict[str, nn.Module] = {"proposer": self.proposer, "classifier": self.classifier}
        return found | ({"sam": self.mask_proposer.model} if isinstance(self.mask_proposer, SamProposer) else {})

    def segment(self, image: ImageSource, queries: str | Sequence[Query]) -> Segmentation:
        """Segment one image by text.

        Args:
            image: path, PIL image, or numpy array; see `car.io.read_image`.
            queries: what to look for, each a text or a list of synonyms, the first of which names it. White space is
                tidied and repetitions (letter case ignored) are dropped. The proposer is asked the mean of the
                synonyms' features; to the classifier, any synonym's share of a softmax is the query's.

        Returns:
            The label map, masks, scores, and every step of the loop. Queries that are not in the image have no mask;
            all of them may be absent.

        Raises:
            InputError: an unreadable image, no query, a blank one, or one too long for the text encoder.
        """
        return self.prepare(image).segment(queries)

    def check(self, queries: Sequence[Query]) -> None:
        """Refuse queries that the text encoders cannot read, before any image is worked on.

        Raises:
            InputError: as `segment` does for queries.
        """
        longest = max([self.config.cam_template, *self.templates], key=len)
        context = min(self.proposer.context_length, self.classifier.context_length)
        texts = [longest.replace("{}", text) for names in clean_synonyms(queries) for text in names]
        tokenize(texts, context_length=context, truncate=self.config.truncate)

    def prepare(self, image: ImageSource) -> PreparedImage:
        """Do once what depends on the image alone; the object returned answers any number of query lists."""
        return PreparedImage(self, read_image(image))


def load(
    model: Any = "mini",
    *,
    preset: str | Path | None = None,
    config_file: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    weights_dir: str | Path | None = None,
    **options: Any,
) -> Segmenter:
    """Load a model set and configure it.

    Args:
        model: a model set ("mini", "openai", "openai-b16"), a checkpoint's name or path, a model made by OpenAI's
            ``clip.load``, or a pair (proposer, classifier) of any of these.
        preset: a named configuration; see `car presets`.
        config_file: a YAML file of settings, which override the preset's.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        dtype: "auto", "fp32", "bf16" or "fp16".
        weights_dir: where checkpoints are kept; default $CAR_CACHE, else ~/.cache/clip.
        options: fields of `Config`, which override both.

    Raises:
        InputError: an unknown model, preset or option.
        MissingError: weights that are not here and cannot be downloaded.
        CheckpointError: a file that is no CLIP checkpoint.
    """
    chosen = choose_device(device)
    models = load_model_set(model, weights_dir=weights_dir, device=chosen, dtype=choose_dtype(dtype, chosen))
    config = resolve(preset=preset, config_file=config_file, model_defaults=models.defaults, **options)
    return Segmenter(models.proposer, models.classifier, config, name=models.name, weights_dir=weights_dir)
