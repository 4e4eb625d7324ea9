"""Models of the package open_clip that have OpenAI's architecture (extra [openclip])."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from car.errors import CheckpointError, InputError, MissingError
from car.vlm.model import CLIP, VOCABULARY
from car.vlm.preprocess import MEAN, STD

EXTRA = "pip install 'car-segmentation[openclip]'"
FOREIGN = "it is not a plain ViT or ModifiedResNet with a plain text transformer, as OpenAI's models are"


def load_open_clip(name: str, cache: Path) -> CLIP:
    """A pretrained model by "ARCHITECTURE/TAG", such as "ViT-B-16/laion2b_s34b_b88k", or "ARCHITECTURE/FILE".

    Args:
        name: as open_clip names them.
        cache: folder open_clip downloads to.

    Raises:
        InputError: no such architecture or tag.
        MissingError: open_clip is not installed, or the weights cannot be downloaded.
        CheckpointError: another architecture.
    """
    open_clip = package()
    architecture, _, tag = name.partition("/")
    known = open_clip.list_models()
    if architecture not in known:
        raise InputError(unknown("architecture", architecture, known))
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags and not Path(tag).is_file():
        raise InputError(unknown(f"{architecture} weights", tag, tags, list_all=True))
    try:
        with quiet():
            model = open_clip.create_model(architecture, pretrained=tag, cache_dir=str(cache))
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingError(f"The weights of open_clip:{name} cannot be read or downloaded: {reason}") from None
    return convert(model)


def convert(model: nn.Module) -> CLIP:
    """Our model, in float32 on the CPU, with the weights of an open_clip model.

    Raises:
        CheckpointError: another architecture.
    """
    state = {key: tensor.detach().float().cpu() for key, tensor in model.state_dict().items() if key != "attn_mask"}
    visual, mean, std = model.visual, *normalisation(model)
    try:
        if len(state["token_embedding.weight"]) != VOCABULARY:
            raise CheckpointError(f"its vocabulary is not CLIP's {VOCABULARY} tokens")
        if (mean, std) != (MEAN, STD):
            renormalise(state, mean, std)
        text: Any = model.transformer
        clip = CLIP.from_state_dict(
            state,
            activation=activation_of(text.resblocks[0]),
            vision_heads=heads_of(visual),
            text_heads=text.resblocks[0].attn.num_heads,
        )
        check_same(model, clip, mean, std)
    except (CheckpointError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(f"This open_clip model cannot be used: {FOREIGN} ({reason}).") from None
    return clip


def normalisation(model: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels a model was trained on; CLIP's where it does not say."""
    visual = model.visual
    return tuple(getattr(visual, "image_mean", None) or MEAN), tuple(getattr(visual, "image_std", None) or STD)


def renormalise(state: dict[str, Tensor], mean: Sequence[float], std: Sequence[float]) -> None:
    """Change a ViT's weights, in place, to take pixels normalised with CLIP's mean and deviation instead of its own.

    Its input is a * ours + b per channel. The factor goes into the patch convolution, and the constant, the same for
    every patch, into the positions; both without rest, as that convolution has no padding.
    """
    ours_mean, ours_std, theirs_mean, theirs_std = (torch.tensor(v) for v in (MEAN, STD, mean, std))
    weight, positions = state["visual.conv1.weight"], state["visual.positional_embedding"].clone()
    positions[1:] += torch.einsum("ochw,c->o", weight, (ours_mean - theirs_mean) / theirs_std)
    state["visual.positional_embedding"] = positions
    state["visual.conv1.weight"] = weight * (ours_std / theirs_std).view(1, 3, 1, 1)


def heads_of(visual: Any) -> int:
    """Attention heads of an image encoder."""
    if hasattr(visual, "transformer"):
        return visual.transformer.resblocks[0].attn.num_heads
    return visual.attnpool.num_heads


def activation_of(block: Any) -> str:
    """Name of a block's activation: OpenAI's weights, and some of open_clip's, use QuickGELU, most others GELU."""
    return "quick_gelu" if type(block.mlp.gelu).__name__ == "QuickGELU" else "gelu"


@torch.no_grad()
def check_same(model: Any, clip: CLIP, mean: Sequence[float], std: Sequence[float]) -> None:
    """Both must give the same features: a switch we do not know (another pooling, say) leaves no trace in the weights.

    Raises:
        CheckpointError: they do not.
    """
    device, dtype = model.logit_scale.device, model.visual.conv1.weight.dtype
    pixels = torch.rand(2, 3, clip.input_resolution, clip.input_resolution, generator=torch.Generator().manual_seed(0))
    theirs, ours = ((pixels - column(m)) / column(s) for m, s in ((mean, std), (MEAN, STD)))
    tokens = torch.zeros(2, clip.context_length, dtype=torch.int64)
    tokens[0, :4], tokens[1, :6] = torch.tensor([49406, 320, 2368, 49407]), torch.tensor([49406, 1929, 1, 2, 3, 49407])
    was_training = model.training
    model.eval()
    pairs = (
        (model.encode_image(theirs.to(device, dtype)), clip.encode_image(ours)),
        (model.encode_text(tokens.to(device)), clip.encode_text(tokens)),
    )
    model.train(was_training)
    if any(torch.cosine_similarity(a.float().cpu(), b).min() < 0.999 for a, b in pairs):
        raise CheckpointError("its features differ")


def column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def unknown(kind: str, name: str, known: Sequence[str], *, list_all: bool = False) -> str:
    """What to say of a name that open_clip does not know."""
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = f" There are: {', '.join(known)}; or the path of a file." if list_all else ""
    return f"open_clip has no {kind} {name!r}.{hint}{listed} Expected open_clip:ARCHITECTURE/TAG."


def package() -> Any:
    """The package open_clip, imported next to whatever torchvision there is.

    Raises:
        MissingError: it is not installed.
    """
    from car.refine.nms_shim import import_torchvision

    try:
        import_torchvision()
        import open_clip
    except (MissingError, ImportError):
        raise MissingError(f"Models of open_clip need the package of that name; run: {EXTRA}") from None
    return open_clip


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the retries and warnings that a download logs: an error that matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
