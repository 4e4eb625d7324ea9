"""The dense CRF and its lattices, compiled: what `car.refine.lattice` does in torch, several times as fast on a CPU.

The extension is optional: it is built on installation where there is a C++ compiler, and `AVAILABLE` says whether it is
here. Its results are the same to the bit for any number of threads, which torch's setting decides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from car.refine.lattice import Packing, check_features, check_values

try:
    from car.refine import _native
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

CHANNELS = 16
"""Channels of small sets filtered at a time: rows of one line of the cache."""

POINTS_PER_THREAD = 1 << 12
"""Fewer are not worth a thread."""


class NativeLattice:
    """As `car.refine.lattice.Lattice`, of features on the CPU with at most 8 dimensions.

    Raises:
        InputError: as there.
    """

    def __init__(self, features: Tensor) -> None:
        check_features(features)
        self.points, self.dimensions = features.shape
        (self._lattice,) = _build([features], symmetric=False)
        self.vertices = _native.vertices(self._lattice)

    def filter(self, values: Tensor) -> Tensor:
        """Filter each channel of `values`, (L, P) float32; the kernel's weights are not normalised."""
        return self.filter_points(values.transpose(0, -1)).T.contiguous()

    def filter_points(self, values: Tensor) -> Tensor:
        """`filter` for channels that lie next to each other, (P, L) float32."""
        check_values(values, self.points)
        values = values.detach().float().contiguous()
        filtered = torch.empty_like(values)
        channels = values.shape[1]
        _native.filter(self._lattice, values.numpy(), filtered.numpy(), channels, _threads(self.points))
        return filtered


class NativeField:
    """Mean field with Potts kernels, symmetrically normalised.

    Args:
        terms: of each kernel its features (P, d) float32 on the CPU, d at most 8, and its weight.
    """

    def __init__(self, terms: Sequence[tuple[Tensor, float]]) -> None:
        for features, _ in terms:
            check_features(features)
        lattices = _build([features for features, _ in terms], symmetric=True)
        self._terms = tuple(zip(lattices, (weight for _, weight in terms), strict=True))

    def __call__(self, unary: Tensor, iterations: int) -> Tensor:
        """Q (E, L, P) of energies (E, L, P), float32."""
        _, labels, points = unary.shape
        if not self._terms or labels == 1:
            return (-unary).softmax(1)
        q = torch.empty_like(unary, memory_format=torch.contiguous_format)
        # Sets are independent: as many at a time as are filtered at a time bound the memory. A label less is filtered.
        sets = max(1, CHANNELS // max(1, labels - 1))
        threads = _threads(points)
        for energies, target in zip(unary.contiguous().split(sets), q.split(sets), strict=True):
            _native.mean_field(
                self._terms, energies.numpy(), target.numpy(), len(energies), labels, iterations, threads
            )
        return q


def _build(features: Sequence[Tensor], *, symmetric: bool) -> "tuple[_native.Lattice, ...]":
    packed = []
    for values in features:
        packing = Packing.of(values)
        flat = values.float().contiguous().numpy()
        packed.append((flat, len(values), tuple(packing.low), tuple(packing.strides), packing.cells))
    return _native.build(tuple(packed), symmetric, _threads(max(map(len, features), default=0)))


def _threads(points: int) -> int:
    return max(1, min(torch.get_num_threads(), points // POINTS_PER_THREAD))
