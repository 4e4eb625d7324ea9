from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.refine import lattice, native


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small images gain nothing from a second thread, and on a busy machine wait for it at every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["torch", "compiled"])
def grid_of(request):
    """The lattice of some features, by either engine."""
    if request.param == "torch":
        return lattice.Lattice
    if not native.AVAILABLE:
        pytest.skip("the extension is not built")
    return native.NativeLattice


def cloud(points: int, d: int, seed: int, spread: float = 1.5) -> torch.Tensor:
    return torch.randn(points, d, generator=torch.Generator().manual_seed(seed)) * spread


def simplex(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (d + 1, d + 1) around one point and their weights, by sorting, in double precision."""
    d = len(point)
    elevated = np.zeros(d + 1)
    for i, x in enumerate(point):
        # Column i of the basis: i + 1 ones, then -(i + 1).
        column = np.r_[np.ones(i + 1), -(i + 1), np.zeros(d - i - 1)]
        elevated += x * sqrt(2 / 3) * (d + 1) / sqrt((i + 1) * (i + 2)) * column
    nearest = np.round(elevated / (d + 1)) * (d + 1)
    order = np.argsort(-(elevated - nearest), kind="stable")
    excess = round(nearest.sum() / (d + 1))
    if excess > 0:
        nearest[order[len(order) - excess :]] -= d + 1
    if excess < 0:
        nearest[order[:-excess]] += d + 1
    offset = elevated - nearest
    order = np.argsort(-offset, kind="stable")
    steps = -np.diff(offset[order]) / (d + 1)
    vertices = [nearest + k for k in range(d + 1)]
    for k in range(1, d + 1):
        vertices[k][order[d + 1 - k :]] -= d + 1
    weights = np.r_[1 - steps.sum(), steps[::-1]]
    return np.array(vertices, int), weights


def slow_filter(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The lattice as a dictionary of vertices, one point and one value at a time."""
    d = points.shape[1]
    corners = [simplex(point) for point in points]
    grid: dict[tuple[int, ...], float] = {}
    for (vertices, weights), value in zip(corners, values, strict=True):
        for vertex, weight in zip(map(tuple, vertices.tolist()), weights, strict=True):
            grid[vertex] = grid.get(vertex, 0.0) + weight * value
    for axis in range(d + 1):
        step = np.full(d + 1, -1)
        step[axis] = d
        around = {v: (tuple((np.array(v) + step).tolist()), tuple((np.array(v) - step).tolist())) for v in grid}
        grid = {v: grid[v] + 0.5 * (grid.get(a, 0.0) + grid.get(b, 0.0)) for v, (a, b) in around.items()}
    alpha = 1 / (1 + 2.0**-d)
    return np.array(
        [
            alpha * sum(weight * grid[tuple(vertex)] for vertex, weight in zip(vertices.tolist(), weights, strict=True))
            for vertices, weights in corners
        ]
    )


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 1000))
def test_the_filter_is_the_lattice_written_out(grid_of, d, points, seed):
    features = cloud(points, d, seed)
    values = torch.rand(1, points, generator=torch.Generator().manual_seed(seed))
    expected = slow_filter(features.double().numpy(), values[0].double().numpy())
    np.testing.assert_allclose(grid_of(features).filter(values)[0], expected, rtol=1e-4, atol=1e-5)


def test_the_filter_approaches_the_gaussian_where_points_are_dense(grid_of):
    side, deviation = 40, 4.0
    axis = torch.arange(side).float()
    position = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2) / deviation
    values = torch.zeros(2, side * side)
    values[0, side * side // 2 + side // 2] = 1
    values[1] = 1
    blurred, ones = grid_of(position).filter(values)
    found = (blurred / ones).reshape(side, side)
    distance = (position - position[side * side // 2 + side // 2]).square().sum(1)
    exact = torch.exp(-distance / 2)
    exact = (exact / (2 * np.pi * deviation**2)).reshape(side, side)
    torch.testing.assert_close(found[15:25, 15:25], exact[15:25, 15:25], rtol=0, atol=0.15 * float(exact.max()))
    # The widths agree as well: second moments along both axes.
    offsets = axis - side // 2
    variance = (found.sum(0) * offsets**2).sum() / found.sum()
    assert float(variance) == pytest.approx(deviation**2, rel=0.1)


@given(st.integers(1, 5), st.integers(1, 60), st.integers(0, 1000))
def test_the_filter_is_linear_and_keeps_channels_apart(grid_of, d, points, seed):
    grid = grid_of(cloud(points, d, seed))
    a, b = torch.rand(2, 3, points, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(grid.filter(a + 2 * b), grid.filter(a) + 2 * grid.filter(b))
    torch.testing.assert_close(grid.filter(a)[1:2], grid.filter(a[1:2]))
    assert (grid.filter(a) >= 0).all()


@given(st.integers(2, 5), st.integers(2, 60), st.integers(0, 1000))
def test_the_order_of_the_points_does_not_matter(grid_of, d, points, seed):
    features, generator = cloud(points, d, seed), torch.Generator().manual_seed(seed)
    values, order = torch.rand(2, points, generator=generator), torch.randperm(points, generator=generator)
    shuffled = grid_of(features[order]).filter(values[:, order])
    torch.testing.assert_close(shuffled, grid_of(features).filter(values)[:, order])


def test_results_do_not_depend_on_chunks(grid_of, monkeypatch):
    features, values = cloud(500, 5, 0), torch.rand(7, 500, generator=torch.Generator().manual_seed(1))
    whole = grid_of(features).filter(values)
    assert torch.equal(grid_of(features).filter(values), whole)
    monkeypatch.setattr(lattice, "CHANNELS", 3)
    monkeypatch.setattr(lattice, "POINTS", 11)
    torch.testing.assert_close(grid_of(features).filter(values), whole)


def test_coinciding_points_share_one_simplex(grid_of):
    grid = grid_of(torch.full((9, 4), 0.3))
    assert grid.vertices == 5
    filtered = grid.filter(torch.eye(9))
    torch.testing.assert_close(filtered, filtered[0, 0].expand(9, 9))


def test_a_single_point_answers_with_its_own_value_weighted(grid_of):
    grid = grid_of(torch.zeros(1, 2))
    one, two = grid.filter(torch.tensor([[1.0], [2.0]]))[:, 0]
    # It lies on a vertex. Half of half of half comes back to it, once around the triangle along the three axes.
    assert float(one) == pytest.approx((1 + 1 / 8) / (1 + 2**-2))
    assert float(two) == pytest.approx(2 * float(one))


def test_far_points_do_not_touch(grid_of):
    grid = grid_of(torch.tensor([[0.0, 0.0], [1000.0, 0.0], [2000.0, 1.0]]))
    filtered = grid.filter(torch.eye(3))
    assert torch.equal(filtered > 0, torch.eye(3, dtype=torch.bool))


def test_weight_falls_with_distance(grid_of):
    features = torch.zeros(40, 2)
    features[:, 0] = torch.linspace(0, 4, 40)
    response = grid_of(features).filter(torch.eye(40)[:1])[0].tolist()
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(response))
    assert response[-1] < 0.05 * response[0]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3), r"to be \(P, d\)"),
        (torch.zeros(0, 2), r"to be \(P, d\)"),
        (torch.zeros(2, 0), r"to be \(P, d\)"),
        (torch.tensor([[0.0, float("nan")]]), "finite"),
        (torch.tensor([[0.0, float("inf")]]), "finite"),
        (torch.tensor([[0.0, 0.0], [1e8, 0.0]]), "too far apart"),
        (torch.tensor([[0.0] * 5, [1e4] * 5]), "too many cells"),
    ],
    ids=["vector", "no points", "no dimensions", "nan", "inf", "far", "cells"],
)
def test_bad_features_are_refused(grid_of, features, message):
    with pytest.raises(InputError, match=message):
        grid_of(features)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 2), (3, 2, 3)])
def test_values_of_another_number_of_points_are_refused(grid_of, shape):
    with pytest.raises(InputError, match="values at 3 points"):
        grid_of(torch.zeros(3, 2)).filter(torch.zeros(shape))
