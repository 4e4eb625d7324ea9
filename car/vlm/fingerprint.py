"""What identifies weights: a hash of their content, wherever they came from."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from car.vlm.model import CLIP

_VISUAL = "visual."


def weights_hash(model: nn.Module) -> str:
    """SHA-256, hexadecimal, over names, types, shapes and values of all parameters, as loaded."""
    return _hash(model.state_dict().items())


def text_hash(clip: CLIP) -> str:
    """The same over what a text feature depends on: the text encoder's parameters and vocabulary, and the device."""
    state = [(name, value) for name, value in clip.state_dict().items() if not name.startswith(_VISUAL)]
    rows = [] if clip.token_rows is None else [("token_rows", clip.token_rows)]
    return _hash([*state, *rows, (clip.device.type, torch.empty(0))])


def _hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # Bytes of any type: numpy knows no bfloat16.
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
