"""Models by name: sets of proposer and classifier, OpenAI's checkpoints, and whatever else can stand in for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from os.path import isfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from car.errors import CheckpointError, InputError, MissingError
from car.vlm.checkpoints import read_state_dict
from car.vlm.download import Download, fetch, weights_folder
from car.vlm.model import CLIP

MINI = Path(__file__).parent / "mini.safetensors"
OPEN_CLIP = "open_clip:"
OPENAI = "https://openaipublic.azureedge.net/clip/models/"


def openai(name: str, sha256: str, megabytes: int) -> Download:
    """One of OpenAI's archives; its address holds its hash."""
    file = name.replace("/", "-").replace("@", "-") + ".pt"
    return Download(name, f"{OPENAI}{sha256}/{file}", sha256, megabytes)


CHECKPOINTS = {
    download.name: download
    for download in (
        openai("RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", 256),
        openai("RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", 292),
        openai("RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", 422),
        openai("RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", 661),
        openai("RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", 1354),
        openai("ViT-B/32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 354),
        openai("ViT-B/16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 351),
        openai("ViT-L/14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 933),
        openai("ViT-L/14@336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", 934),
    )
}
"""OpenAI's checkpoints (MIT licence), downloaded on first use."""


@dataclass(frozen=True)
class ModelSet:
    """Proposer and classifier under one name.

    proposer, classifier: names or paths of checkpoints.
    description: one line, with the size of its files and their licence.
    defaults: fields of `Config` that suit these models better than the general defaults.
    """

    proposer: str
    classifier: str
    description: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


MODEL_SETS = {
    # Red circles mean little to so small a model, and it sees patches of 8 pixels: 144 are 18 of them.
    "mini": ModelSet(
        str(MINI),
        str(MINI),
        "comes with the package, knows drawn objects only; 7 MB, Apache-2.0",
        {"prompts": ("blur", "gray"), "background": ("scenes",), "proposer_side": 144},
    ),
    "openai": ModelSet("ViT-B/16", "ViT-L/14", "OpenAI's CLIP, the paper's choice for semantic labels; 1.3 GB, MIT"),
    "openai-b16": ModelSet("ViT-B/16", "ViT-B/16", "OpenAI's CLIP, the paper's choice for RefCOCO; 0.35 GB, MIT"),
}


@dataclass(frozen=True)
class Models:
    """A loaded model set; `defaults` as of `ModelSet`."""

    proposer: CLIP
    classifier: CLIP
    name: str
    defaults: Mapping[str, Any]


def load_model_set(
    spec: Any, *, weights_dir: str | Path | None = None, device: torch.device, dtype: torch.dtype
) -> Models:
    """Proposer and classifier, ready to run.

    Args:
        spec: the name of a model set; anything `load_clip` takes, for both roles; or a pair of those, proposer first (a
            model set in a pair lends its model for that role).
        weights_dir: where checkpoints are kept; see `weights_folder`.
        device, dtype: where the models go, and the type of their weights. Models given as objects of ours are moved and
            converted themselves, those of OpenAI's or open_clip's packages are left as they are.

    Raises:
        InputError, MissingError, CheckpointError: as `load_clip`; or a pair that is not two.
    """
    proposer, classifier, name, defaults = roles(spec)
    first = load_clip(proposer, weights_dir=weights_dir).cast(dtype).to(device)
    if classifier is proposer or (isinstance(classifier, str | Path) and classifier == proposer):
        return Models(first, first, name, defaults)
    return Models(first, load_clip(classifier, weights_dir=weights_dir).cast(dtype).to(device), name, defaults)


def roles(spec: Any) -> tuple[Any, Any, str, Mapping[str, Any]]:
    """What to load as proposer and as classifier, the name of both together, and their defaults."""
    if isinstance(spec, tuple | list):
        if len(spec) != 2:
            raise InputError(f"Expected a pair (proposer, classifier), but got {len(spec)} models.")
        sets = [MODEL_SETS.get(part) if isinstance(part, str) else None for part in spec]
        proposer = sets[0].proposer if sets[0] else spec[0]
        classifier = sets[1].classifier if sets[1] else spec[1]
        return proposer, classifier, "+".join(map(label, spec)), {}
    if isinstance(spec, str) and spec in MODEL_SETS:
        models = MODEL_SETS[spec]
        return models.proposer, models.classifier, spec, models.defaults
    return spec, spec, label(spec), {}


def label(spec: Any) -> str:
    """What results call a model."""
    return str(spec) if isinstance(spec, str | Path) else "custom"


def load_clip(spec: Any, *, weights_dir: str | Path | None = None) -> CLIP:
    """One CLIP, in float32 on the CPU.

    Args:
        spec: one of `CHECKPOINTS`; a model set that has one model for both roles ("mini"); a path;
            "open_clip:ARCHITECTURE/TAG"; or a model made by OpenAI's ``clip.load`` or by open_clip, whose weights are
            used as they are.
        weights_dir: where checkpoints are kept.

    Raises:
        InputError: no such name or file.
        MissingError: weights that are not here and cannot be downloaded, or an extra that is not installed.
        CheckpointError: damaged, or no CLIP in OpenAI's architecture.
    """
    if isinstance(spec, nn.Module):
        return from_module(spec)
    if not isinstance(spec, str | Path):
        raise InputError(f"Expected a model's name, path or object, but got {type(spec).__name__}.")
    name = str(spec)
    if name in MODEL_SETS:
        name, other = MODEL_SETS[name].proposer, MODEL_SETS[name].classifier
        if name != other:
            raise InputError(f"{str(spec)!r} is a set of two models; name one of them: {name} or {other}.")
    if name.startswith(OPEN_CLIP):
        from car.vlm.openclip import load_open_clip

        return load_open_clip(name.removeprefix(OPEN_CLIP), weights_folder(weights_dir))
    if name in CHECKPOINTS:
        path = fetch(CHECKPOINTS[name], weights_dir)
    elif isfile(name):
        path = Path(name)
    elif name == str(MINI):
        raise MissingError(f"The embedded model is not at {name}; install the package again.")
    else:
        raise InputError(unknown(name))
    try:
        return CLIP.from_state_dict(read_state_dict(path))
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{str(path)!r}: {error}") from None


def from_module(module: nn.Module) -> CLIP:
    """A model object made elsewhere: ours, OpenAI's, or open_clip's."""
    if isinstance(module, CLIP):
        return module
    if type(module).__module__.startswith("open_clip"):
        from car.vlm.openclip import convert

        return convert(module)
    return CLIP.from_state_dict({name: tensor.detach().cpu() for name, tensor in module.state_dict().items()})


def unknown(name: str) -> str:
    """What to say of a name that is neither known nor a file."""
    known = [*MODEL_SETS, *CHECKPOINTS]
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Model {name!r} not found.{hint} Available: {', '.join(known)}; or the path of a checkpoint."


def find_checkpoint(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """Where a named checkpoint is on this machine; None if it is not."""
    path = weights_folder(weights_dir) / CHECKPOINTS[name].file_name
    return path if path.is_file() else None
