"""Weights from files: OpenAI's TorchScript archives, plain state dicts, safetensors."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from car.errors import CheckpointError, InputError
from car.vlm.torchscript import is_torchscript, read_torchscript

WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU, by name.

    No code of the file is run. The causal mask (`attn_mask`), which some training scripts save with the weights, is
    left out.

    Args:
        path: a TorchScript archive as OpenAI distributes them, a state dict saved by torch (also under "state_dict" or
            "model", also with "module." in front of its names), or a safetensors file.

    Raises:
        InputError: no such file.
        CheckpointError: damaged, or none of these formats; the file is named.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No such checkpoint: {str(path)!r}.")
    try:
        return unwrap(load(path))
    except Exception as error:
        # Damaged files raise whatever the reader stumbled over; for the user they are all one thing.
        reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        raise CheckpointError(f"The checkpoint {str(path)!r} is damaged or no checkpoint: {reason}.") from error


def load(path: Path) -> Any:
    """What a file holds, by its content, whatever its name."""
    if is_safetensors(path):
        from safetensors.torch import load_file

        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError("it is cut short, or holds more than tensors (save its state dict alone)") from None


def is_safetensors(path: Path) -> bool:
    """Whether a file begins like one: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def unwrap(loaded: Any) -> dict[str, Tensor]:
    """The state dict itself, out of what training scripts wrap around it.

    Raises:
        CheckpointError: there are no tensors by name.
    """
    for key in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"it holds a {type(loaded).__name__} instead of a state dict")
    state = {str(name).removeprefix("module."): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError("it holds no tensors by name")
    return {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] != "attn_mask"}
