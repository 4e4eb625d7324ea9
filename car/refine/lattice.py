"""The permutohedral lattice: Gaussian filtering of values attached to points of a d-dimensional feature space.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (2010), with the constants of
Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (2011). A value is
splatted onto the d + 1 vertices of the simplex its point lies in, blurred along the d + 1 axes of the lattice, and
sliced back at the points. Vertices exist only where a point touches them; a missing neighbour counts as zero.

All stages are sparse products, and each of them is one `embedding_bag`: a weighted sum of gathered rows, which torch
vectorises over channels and runs on several threads, and on a GPU without change.
"""

from dataclasses import dataclass
from math import ceil, floor, prod, sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from car.errors import InputError

CHANNELS = 32
"""Most channels filtered at a time; it bounds the memory on the lattice, and does not show in the result."""

POINTS = 1 << 12
"""Points placed on the lattice at a time on a CPU: what is computed on the way stays in its cache."""

FARTHEST = 2.0**20
"""Largest coordinate on the lattice: beyond, float32 no longer tells the places within a cell apart."""


class Lattice:
    """The lattice of a set of points, built once and asked many times.

    Args:
        features: (P, d) float32, the points; a distance of one is one standard deviation of the Gaussian. The lattice
            lives on their device.

    Raises:
        InputError: the features are not such a matrix, not finite, or too far apart.
    """

    def __init__(self, features: Tensor) -> None:
        check_features(features)
        self.points, self.dimensions = features.shape
        features = features.float()
        packing = Packing.of(features)
        chunks = features.split(POINTS if features.device.type == "cpu" else self.points)
        keys, weights = zip(*(_corners(chunk, packing) for chunk in chunks), strict=True)
        self._splat, self._slice, vertices = _splat_and_slice(torch.cat(keys), torch.cat(weights))
        self._blurs = [_blur(vertices, step) for step in packing.axes()]
        self.vertices = len(vertices)

    def filter(self, values: Tensor) -> Tensor:
        """Filter each channel of `values`, (L, P) float32; the kernel's weights are not normalised.

        No channel's result depends on the others.
        """
        points_first = values.transpose(0, -1).clone(memory_format=torch.contiguous_format)
        return self.filter_points(points_first).T.contiguous()

    def filter_points(self, values: Tensor) -> Tensor:
        """`filter` for channels that lie next to each other, (P, L) float32: the layout the work is done in."""
        check_values(values, self.points)
        chunks = values.split(CHANNELS, dim=1)
        if len(chunks) == 1:
            return self._filter(values)
        filtered = torch.empty_like(values, memory_format=torch.contiguous_format)
        for chunk, target in zip(chunks, filtered.split(CHANNELS, dim=1), strict=True):
            target.copy_(self._filter(chunk))
        return filtered

    def _filter(self, values: Tensor) -> Tensor:
        on_lattice = self._splat @ values.contiguous()
        for blur in self._blurs:
            on_lattice = blur @ on_lattice
        return self._slice @ on_lattice


@dataclass(frozen=True)
class Rows:
    """A sparse matrix by rows; `@` is its product with a dense one, in one pass.

    columns: (nnz,) int32; weights: (nnz,) float32; offsets: (rows + 1,) int32, where each row begins.
    """

    columns: Tensor
    weights: Tensor
    offsets: Tensor

    def __matmul__(self, dense: Tensor) -> Tensor:
        return embedding_bag(
            self.columns,
            dense,
            self.offsets,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )


@dataclass(frozen=True)
class Packing:
    """Vertices as integers.

    A vertex is known by its first d coordinates; the last one follows from them. They are packed with mixed radix, so
    that a step on the lattice is the addition of a constant.

    low: the smallest value of each coordinate; strides: what one unit of it adds to the key; cells: all keys, those of
    neighbours as well, are below it, and at least 0.
    """

    low: list[int]
    strides: list[int]
    cells: int

    @classmethod
    def of(cls, features: Tensor) -> "Packing":
        """A packing with room for every vertex around these points, and their neighbours; they must be finite."""
        d = features.shape[1]
        # Coordinates are linear in the features, so the corners of the features' box bound them.
        ends = _ends(features.detach())
        # NaN is its own minimum.
        if not ends.isfinite().all():
            raise InputError("Expected features to be finite, but got NaN or infinity.")
        corners = torch.cartesian_prod(*ends.T).reshape(-1, d)
        elevated = _elevate(corners)
        if elevated.abs().max() > FARTHEST:
            raise InputError("The points lie too far apart for a lattice; use larger standard deviations.")
        margin = 4 * (d + 1)
        low = [floor(lowest) - margin for lowest in elevated[:d].amin(1).tolist()]
        extent = [ceil(top) + margin - begin + 1 for begin, top in zip(low, elevated[:d].amax(1).tolist(), strict=True)]
        cells = prod(extent)
        if cells >= 2**63:
            raise InputError("The points span too many cells of the lattice; use larger standard deviations.")
        return cls(low, [prod(extent[i + 1 :]) for i in range(d)], cells)

    def axes(self) -> list[int]:
        """What a step along each of the d + 1 axes adds to a key: -1 everywhere, but +d in one coordinate."""
        d = len(self.strides)
        return [(d + 1) * stride - sum(self.strides) for stride in [*self.strides, 0]]


def _ends(features: Tensor) -> Tensor:
    """The smallest and the largest value of each column, (2, d)."""
    if features.device.type != "cpu":
        return torch.stack(features.aminmax(dim=0))
    # Not by torch: for so little, waking its threads takes longer than the work.
    columns = features.numpy().T
    return torch.from_numpy(np.array([[column.min() for column in columns], [column.max() for column in columns]]))


def check_features(features: Tensor) -> None:
    """Refuse features that are not a matrix (P, d), or too many for indices of 32 bits."""
    if features.ndim != 2 or features.shape[0] < 1 or features.shape[1] < 1:
        raise InputError(f"Expected features to be (P, d), P and d at least 1, but got {tuple(features.shape)}.")
    points, dimensions = features.shape
    if points * (dimensions + 1) >= 2**31:
        raise InputError(f"Cannot build a lattice of {points} points; make the image smaller.")


def check_values(values: Tensor, points: int) -> None:
    """Refuse values that are not (P, L)."""
    if values.ndim != 2 or len(values) != points:
        raise InputError(f"Expected values at {points} points, but got shape {tuple(values.shape)}.")


def _elevate(features: Tensor) -> Tensor:
    """Points on the hyperplane of the lattice, whose coordinates sum to zero: (d + 1, P) float32.

    The scale makes the blur of the lattice, together with splat and slice, a Gaussian of standard deviation one.
    The float32 roundings are the published ones: they decide where points on the border of simplices fall.
    """
    d = features.shape[1]
    deviation = float(np.float32(sqrt(2 / 3) * (d + 1)))
    elevated = features.new_empty(d + 1, len(features))
    total = features.new_zeros(len(features))
    for j in range(d, 0, -1):
        scaled = features[:, j - 1] * float(np.float32(deviation / sqrt(j * (j + 1))))
        elevated[j] = total - j * scaled
        total += scaled
    elevated[0] = total
    return elevated


def _simplex(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex each point lies in.

    Returns:
        its vertex of remainder 0, (d + 1, P) float32 holding multiples of d + 1; the rank of each coordinate by its
        distance from that vertex, largest first, (d + 1, P) int64; the barycentric coordinates, (d + 1, P) float32,
        whose k-th belongs to the vertex of remainder k.
    """
    d = len(elevated) - 1
    inverse = float(np.float32(1 / (d + 1)))
    steps = torch.round(elevated * inverse)
    nearest = steps * (d + 1)
    rank = _ranks(elevated - nearest) + steps.sum(0)
    # The nearest multiples may not sum to zero; the coordinates they moved furthest go back by one step.
    correction = (d + 1) * ((rank < 0).float() - (rank > d).float())
    rank += correction
    nearest += correction
    distance = (elevated - nearest) * inverse
    position = rank.long()
    by_rank = torch.empty_like(distance).scatter_(0, position, distance).flip(0)
    barycentric = torch.diff(by_rank, dim=0, prepend=by_rank[-1:] - 1)
    return nearest, position, barycentric


def _ranks(distance: Tensor) -> Tensor:
    """How many coordinates of a point are larger, (n, P) float32; among equal ones, how many come before."""
    rank = torch.zeros_like(distance)
    for i in range(len(distance) - 1):
        smaller = (distance[i] < distance[i + 1 :]).float()
        rank[i] += smaller.sum(0)
        rank[i + 1 :] += 1 - smaller
    return rank


def _corners(features: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """The d + 1 vertices around each point: keys (P, d + 1) int64, and barycentric weights (P, d + 1) float32."""
    d = features.shape[1]
    nearest, rank, weights = _simplex(_elevate(features))
    stride = torch.tensor([*packing.strides, 0], device=features.device)[:, None].expand_as(rank)
    by_rank = torch.empty_like(rank).scatter_(0, rank, stride)
    low = torch.tensor([*packing.low, 0], device=features.device)[:, None]
    # Vertex k is k steps up in every coordinate, and d + 1 down in the k coordinates of the highest ranks.
    steps = sum(packing.strides) - (d + 1) * by_rank[1:].flip(0)
    origin = ((nearest.long() - low) * stride).sum(0, keepdim=True)
    return torch.cat([origin, steps]).cumsum(0).T, weights.T


def _splat_and_slice(keys: Tensor, weights: Tensor) -> tuple[Rows, Rows, Tensor]:
    """The matrices from points to vertices and back, and the sorted keys of the vertices.

    Sorted keys give the lattice locality: the neighbours of consecutive vertices along an axis are consecutive too.
    """
    points, corners = keys.shape
    ordered, order = keys.flatten().sort(stable=True)
    first = ordered.diff(prepend=ordered[:1] - 1).nonzero()[:, 0]
    offsets = torch.cat([first, first.new_tensor([len(ordered)])])
    splat = Rows((order // corners).int(), weights.flatten()[order], offsets.int())
    numbers = torch.arange(len(first), dtype=torch.int32, device=keys.device).repeat_interleave(offsets.diff())
    columns = torch.empty_like(numbers).scatter_(0, order, numbers)
    alpha = 1 / (1 + 2.0 ** (1 - corners))
    offsets = torch.arange(0, points * corners + 1, corners, dtype=torch.int32, device=keys.device)
    return splat, Rows(columns, weights.flatten() * alpha, offsets), ordered[first]


def _blur(vertices: Tensor, step: int) -> Rows:
    """A vertex plus half of each of its two neighbours along one axis, where they exist."""
    count = len(vertices)
    here = torch.arange(count, device=vertices.device)
    ahead = torch.searchsorted(vertices, vertices + step).clamp_(max=count - 1)
    has_ahead = vertices[ahead] == vertices + step
    # One entry more than there are vertices: it takes what has nothing ahead of it, and is not read.
    behind = torch.full((count + 1,), -1, device=vertices.device)
    behind.scatter_(0, torch.where(has_ahead, ahead, count), here)
    behind = behind[:count]
    has_behind = behind >= 0
    ends = (1 + has_ahead.int() + has_behind.int()).cumsum(0)
    end, starts = int(ends[-1]), torch.cat([ends.new_zeros(1), ends])
    after_ahead = starts[:-1] + 1 + has_ahead
    columns = torch.empty(end + 1, dtype=torch.int32, device=vertices.device)
    columns.scatter_(0, starts[:-1], here.int())
    columns.scatter_(0, torch.where(has_ahead, starts[:-1] + 1, end), ahead.int())
    columns.scatter_(0, torch.where(has_behind, after_ahead, end), behind.int())
    weights = torch.full((end,), 0.5, device=vertices.device).scatter_(0, starts[:-1], 1.0)
    return Rows(columns[:end], weights, starts.int())
