"""Proposals of a frame with what the frame before has left of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from car.propose.proposals import Proposals


@dataclass(frozen=True)
class CarriedProposals(Proposals):
    """Proposals, some of them mixed with the carried mask of their query, where they are looked at.

    grid, size: the new proposals.
    carried: by position, the mask that was carried here, (H, W) float32 in [0, 1].
    weight: its share in the mixture, in [0, 1].
    """

    carried: Mapping[int, np.ndarray]
    weight: float

    @classmethod
    def of(cls, new: Proposals, queries: Sequence[int], prior: Mapping[int, np.ndarray], weight: float) -> Self:
        """Proposals of these queries, with the carried masks by query."""
        carried = {i: prior[query] for i, query in enumerate(queries) if query in prior}
        return cls(new.grid, new.size, carried, weight)

    def full(self, start: int = 0, stop: int | None = None) -> Tensor:
        """As `Proposals.full`."""
        maps = super().full(start, stop)
        for row, position in enumerate(range(*slice(start, stop).indices(len(self)))):
            if position in self.carried:
                mask = torch.from_numpy(self.carried[position]).to(maps)
                maps[row] = torch.lerp(maps[row], mask, self.weight)
        return maps

    def chosen(self, positions: Sequence[int]) -> Proposals:
        """The mixtures at some positions, at the image's size."""
        maps = [self.full(position, position + 1) for position in positions]
        return Proposals(torch.cat(maps) if maps else self.grid.new_zeros(0, *self.size), self.size)
