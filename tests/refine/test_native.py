"""The compiled dense CRF against its twin in torch; what both must do is tested in test_crf.py and test_lattice.py."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.refine import crf as module
from car.refine import native
from car.refine.lattice import Lattice
from tests.refine.test_crf import CLASSIC, photo, soft

if not native.AVAILABLE:
    pytest.skip("the extension is not built", allow_module_level=True)

from car.refine import _native


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small images gain nothing from a second thread, and on a busy machine wait for it at every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def both(image, p, **params):
    """Q by the compiled engine and by torch."""
    compiled = module.DenseCRF(image, **params)
    assert isinstance(compiled._field, native.NativeField)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", False)
        return compiled.infer_many(p), module.DenseCRF(image, **params).infer_many(p)


def check(compiled, twin):
    """The same but for rounding, which mean field may double in each iteration where labels are nearly tied."""
    difference = (compiled - twin).abs()
    assert difference.mean() < 1e-6
    assert (difference > 1e-5).float().mean() < 1e-3
    assert difference.max() < 1e-3


@pytest.mark.parametrize(("sets", "labels"), [(1, 2), (1, 3), (1, 21), (1, 22), (1, 60), (9, 2), (3, 7), (20, 2)])
@pytest.mark.parametrize("params", [{}, CLASSIC, {"compat_gaussian": 0}], ids=["car", "classic", "bilateral"])
def test_the_engines_give_the_same_q(sets, labels, params):
    p = np.stack([soft(labels, 93, 121, seed) for seed in range(sets)])
    compiled, twin = both(photo(93, 121), p, **params)
    check(compiled, twin)


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 25),
    st.integers(0, 1000),
    st.floats(0.2, 4),
    st.floats(0.5, 80),
)
def test_the_engines_agree_on_images_of_any_size(size, labels, seed, sxy_gaussian, srgb):
    p = soft(labels, *size, seed)[None]
    compiled, twin = both(photo(*size, seed), p, sxy_gaussian=sxy_gaussian, srgb=srgb)
    torch.testing.assert_close(compiled, twin, rtol=0, atol=2e-3)


def scattered(shape, deviation, seed=0):
    """Points of a plane: a grid of pixels with some missing, in any order, (P, 2)."""
    rng = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1).reshape(-1, 2)
    kept = points[rng.permutation(len(points))[: int(0.9 * len(points))]]
    return torch.from_numpy(kept.astype(np.float32) / np.float32(deviation))


@pytest.mark.parametrize("deviation", [0.3, 0.9, 1, 3, 20])
@pytest.mark.parametrize("shape", [(40, 50), (300, 200), (1, 300), (300, 1)])
def test_points_of_a_plane_with_and_without_a_grid(shape, deviation):
    features = scattered(shape, deviation)
    values = torch.rand(5, len(features), generator=torch.Generator().manual_seed(1))
    compiled, twin = native.NativeLattice(features), Lattice(features)
    assert compiled.vertices == twin.vertices
    torch.testing.assert_close(compiled.filter(values), twin.filter(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("d", range(1, 9))
def test_the_engines_have_the_same_vertices(d):
    features = torch.randn(3000, d, generator=torch.Generator().manual_seed(d)) * (2 if d < 7 else 0.5)
    values = torch.rand(3, 3000, generator=torch.Generator().manual_seed(1))
    compiled, twin = native.NativeLattice(features), Lattice(features)
    assert compiled.vertices == twin.vertices
    torch.testing.assert_close(compiled.filter(values), twin.filter(values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [2, 8, 30])
def test_avx2_does_not_change_a_bit(labels):
    image, p = photo(70, 90), soft(labels, 70, 90)
    q = module.DenseCRF(image).infer(p)
    try:
        assert not _native.allow_avx2(False)
        assert torch.equal(module.DenseCRF(image).infer(p), q)
    finally:
        _native.allow_avx2(True)


def test_threads_of_python_may_share_an_engine():
    crf, found = module.DenseCRF(photo(60, 80)), {}
    maps = [soft(4, 60, 80, seed) for seed in range(4)]
    threads = [threading.Thread(target=lambda i=i: found.update({i: crf.infer(maps[i])})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, p in enumerate(maps):
        assert torch.equal(found[i], crf.infer(p))


def test_energies_of_any_size_stay_finite():
    unary = np.zeros((3, 8, 9), np.float32)
    unary[1], unary[2, :4] = 1e30, -1e30
    q = module.DenseCRF(photo(8, 9)).infer(unary, 5, unary=True)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(0), torch.ones(8, 9))
    assert (q[2, :4] == 1).all()


features = np.random.default_rng(0).random((6, 2), np.float32)


def built(values=features, points=6, low=(-30, -30), strides=(100, 1), cells=10**4, symmetric=True):
    return _native.build(((values, points, low, strides, cells),), symmetric, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": features[:, :1]},
        {"values": features.astype(np.float64)},
        {"values": features.astype(np.int32)},
        {"values": features.tolist()},
        {"points": 7},
        {"points": -1},
        {"points": 2**40},
        {"strides": (1,)},
        {"low": (), "strides": ()},
        {"low": ("a", "b")},
    ],
    ids=lambda arguments: ", ".join(arguments),
)
def test_what_is_no_features_is_refused(arguments):
    with pytest.raises((ValueError, TypeError, BufferError)):
        built(**arguments)


def energies(*shape):
    return np.zeros(shape, np.float32)


def locked(values):
    values.flags.writeable = False
    return values


@pytest.mark.parametrize(
    ("unary", "q", "counts"),
    [
        (energies(1, 2, 5), energies(1, 2, 6), (1, 2, 1)),
        (energies(1, 2, 6), energies(1, 3, 6), (1, 2, 1)),
        (energies(1, 2, 6), energies(6, 2, 1).T, (1, 2, 1)),
        (energies(1, 2, 6), locked(energies(1, 2, 6)), (1, 2, 1)),
        (energies(1, 2, 6).astype(np.float64), energies(1, 2, 6), (1, 2, 1)),
        (energies(1, 1, 6), energies(1, 1, 6), (1, 1, 1)),
        (energies(0, 2, 6), energies(0, 2, 6), (0, 2, 1)),
        (energies(1, 2, 6), energies(1, 2, 6), (1, 2, -1)),
        (energies(1, 2, 6), energies(1, 2, 6), (2**31 - 1, 2**31 - 1, 1)),
    ],
    ids=["short", "other shape", "strided", "read-only", "double", "one label", "no sets", "iterations", "huge"],
)
def test_what_is_no_energies_is_refused(unary, q, counts):
    (grid,) = built()
    with pytest.raises((ValueError, TypeError, BufferError)):
        _native.mean_field(((grid, 1.0),), unary, q, *counts, 1)


def test_what_is_no_lattice_is_refused():
    (plain,) = built(symmetric=False)
    unary, q = energies(1, 2, 6), energies(1, 2, 6)
    for terms in ((), ((plain, 1.0),), ((object(), 1.0),), ((plain,),), (plain,)):
        with pytest.raises((ValueError, TypeError, SystemError)):
            _native.mean_field(terms, unary, q, 1, 2, 1, 1)
    for lattice in (None, object(), 3):
        with pytest.raises(ValueError, match="PyCapsule"):
            _native.vertices(lattice)
    with pytest.raises((ValueError, BufferError)):
        _native.filter(plain, energies(6, 2), locked(energies(6, 2)), 2, 1)


def test_nan_among_values_ends_as_nan():
    grid = native.NativeLattice(torch.from_numpy(features))
    assert grid.filter(torch.full((1, 6), float("nan"))).isnan().all()
