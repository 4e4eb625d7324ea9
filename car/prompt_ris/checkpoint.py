"""Files of trained Prompt-RIS models: the learned weights, and which backbones they belong to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from car.errors import CheckpointError, InputError, MissingError
from car.export import write_atomically
from car.prompt_ris.model import PromptRIS
from car.prompt_ris.settings import PromptRISSettings
from car.refine.sam_checkpoint import load_sam
from car.vlm.fingerprint import weights_hash
from car.vlm.registry import load_clip

KIND = "car.prompt_ris"
MINI = "mini"
"""The name of the trained model that comes with the package."""
MINI_WEIGHTS = Path(__file__).parent / "mini.safetensors"


@dataclass(frozen=True)
class Backbones:
    """The two frozen models: where they come from, and a hash of their weights.

    clip, sam: names or files as `load_clip` and `load_sam` take them; no `sam` where the settings want none.
    clip_sha256, sam_sha256: see `weights_hash`.
    """

    clip: str
    clip_sha256: str
    sam: str | None = None
    sam_sha256: str | None = None


def build_model(
    clip: Any = "mini",
    sam: Any = "mini",
    settings: PromptRISSettings | None = None,
    *,
    weights_dir: str | Path | None = None,
) -> tuple[PromptRIS, Backbones]:
    """A model that has learned nothing yet, in float32 on the CPU.

    Args:
        clip: as of `load_clip`.
        sam: as of `load_sam`, or a model of segment-anything; not looked at where the settings want none.
        settings: its architecture.
        weights_dir: where named checkpoints are kept.

    Raises:
        InputError, MissingError, CheckpointError: as `load_clip`, `load_sam` and `PromptRIS`.
    """
    settings = settings or PromptRISSettings()
    first = load_clip(clip, weights_dir=weights_dir)
    second = None
    if settings.sam_prompts:
        second = load_sam(sam, weights_dir) if isinstance(sam, str | Path) else sam
    model = PromptRIS(first, second, settings)
    return model, Backbones(
        clip=label(clip),
        clip_sha256=weights_hash(first),
        sam=None if second is None else label(sam),
        sam_sha256=None if second is None else weights_hash(second),
    )


def label(spec: Any) -> str:
    """What a file calls a backbone."""
    return str(spec) if isinstance(spec, str | Path) else "custom"


def save_model(path: Path, model: PromptRIS, backbones: Backbones, **facts: object) -> None:
    """Write what a model has learned, in float16, with its settings and backbones; whole or not at all.

    Args:
        facts: plain data about the training, kept for readers.
    """
    # One entry: the order of several would differ from file to file.
    told = {KIND: json.dumps({"settings": model.settings.to_dict(), "backbones": asdict(backbones), "facts": facts})}
    tensors = {name: p.detach().half().cpu().contiguous() for name, p in model.learned().items()}
    write_atomically(path, save(tensors, metadata=told))


def load_prompt_ris(
    source: str | Path = MINI,
    *,
    clip: Any = None,
    sam: Any = None,
    weights_dir: str | Path | None = None,
) -> PromptRIS:
    """Load a trained model, in float32 on the CPU.

    Args:
        source: "mini", or a file that `car train prompt-ris` wrote.
        clip, sam: its backbones, where they are not to be found under the names that they had in training.
        weights_dir: where named checkpoints are kept.

    Raises:
        InputError: no such file.
        MissingError: the package came without the model, or a backbone is not here.
        CheckpointError: a damaged file, one of something else, or backbones other than those of the training.
    """
    path = Path(source)
    if str(source) == MINI:
        path = MINI_WEIGHTS
        if not path.is_file():
            raise MissingError(f"This installation comes without a trained Prompt-RIS ({path.name}); name a file.")
    elif not path.is_file():
        raise InputError(f"There is no file {str(path)!r}; `car train prompt-ris` writes such models.")
    settings, backbones, tensors = read(path)
    model, found = build_model(clip or backbones.clip, sam or backbones.sam, settings, weights_dir=weights_dir)
    for role in ("clip", "sam"):
        if getattr(found, f"{role}_sha256") != getattr(backbones, f"{role}_sha256"):
            raise CheckpointError(
                f"{str(path)!r} was trained on another {role.upper()} than {getattr(found, role)!r}: "
                f"it belongs to {getattr(backbones, role)!r}."
            )
    learned = model.learned()
    if {name: p.shape for name, p in learned.items()} != {name: t.shape for name, t in tensors.items()}:
        raise CheckpointError(f"{str(path)!r} does not hold the tensors that its settings ask for.")
    with torch.no_grad():
        for name, p in learned.items():
            p.copy_(tensors[name])
    return model.eval().requires_grad_(False)


def start_from(model: PromptRIS, path: Path) -> None:
    """Give a model what another one has learned; what the other does not have, as the parts for SAM, stays as it is.

    Raises:
        InputError: no such file, or a model of another CLIP or of other settings.
        CheckpointError: a damaged file.
    """
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r} to start from.")
    _, backbones, tensors = read(path)
    learned = model.learned()
    fits = all(name in learned and learned[name].shape == tensor.shape for name, tensor in tensors.items())
    if not fits or backbones.clip_sha256 != weights_hash(model.clip.clip):
        raise InputError(f"{str(path)!r} is a model of another CLIP or of other settings; nothing can start from it.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            learned[name].copy_(tensor)


def read(path: Path) -> tuple[PromptRISSettings, Backbones, dict[str, torch.Tensor]]:
    """What a file holds; raises CheckpointError."""
    try:
        with safe_open(path, "pt") as file:
            if KIND not in (metadata := file.metadata() or {}):
                raise CheckpointError(f"{str(path)!r} is no model that `car train prompt-ris` wrote.")
            told = json.loads(metadata[KIND])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return PromptRISSettings(**told["settings"]), Backbones(**told["backbones"]), tensors
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())[:160]}") from None
