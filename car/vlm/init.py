"""Random weights, of models that are not read from a checkpoint."""

import torch
from torch import nn


def normal(*shape: int, std: float = 1.0) -> nn.Parameter:
    """A parameter of this shape, float32, from a normal distribution of mean 0; without values on the device "meta"."""
    values = torch.empty(shape)
    # Random numbers on "meta" would load torch's compiler, which takes longer than all the rest of a start.
    return nn.Parameter(values if values.is_meta else values.normal_(std=std))
