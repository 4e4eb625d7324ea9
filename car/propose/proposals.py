"""Soft masks on the patch grid, brought to the image's size only where they are looked at."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Proposals:
    """One soft mask per query.

    grid: (N, h, w) float32 in [0, 1] on the patch grid.
    size: (H, W) of the image; a proposal at that size is the bilinear resize of its grid (align_corners=False).
    """

    grid: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.grid)

    def full(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Proposals `start` to `stop` at the image's size, (n, H, W) float32 in [0, 1]."""
        part = self.grid[start:stop].unsqueeze(1)
        if len(part) == 0:
            return part.new_zeros(0, *self.size)
        return F.interpolate(part, size=self.size, mode="bilinear", align_corners=False).squeeze(1)

    def binary(self, index: int, eta: float) -> np.ndarray:
        """Mask y > eta of one proposal, bool (H, W)."""
        return (self.full(index, index + 1)[0] > eta).cpu().numpy()


def min_max(maps: Tensor, eps: float) -> Tensor:
    """Each map (N, ...) shifted to start at 0 and divided by its maximum plus `eps`; a constant map becomes 0."""
    flat = maps.flatten(1)
    flat = flat - flat.amin(dim=1, keepdim=True)
    return (flat / (flat.amax(dim=1, keepdim=True) + eps)).view_as(maps)
