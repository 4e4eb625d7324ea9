import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError, MissingError
from car.refine import crf as module
from car.refine import lattice, native
from car.refine.crf import DenseCRF, make_crf, unary_from_probabilities, with_background
from tests.golden import golden

CLASSIC = {"sxy_gaussian": 3, "compat_gaussian": 3, "sxy_bilateral": 80, "srgb": 13, "compat_bilateral": 10}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small images gain nothing from a second thread, and on a busy machine wait for it at every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module", params=["torch", "compiled"])
def _engine(request):
    if request.param == "compiled" and not native.AVAILABLE:
        pytest.skip("the extension is not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", request.param == "compiled")
        yield


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with edges and sensor noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(0, 255, (4, 5, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    flat = cv2.resize(rng.uniform(0, 255, (5, 4, 3)), (width, height), interpolation=cv2.INTER_NEAREST)
    image = np.where(smooth[..., :1] > 128, smooth, flat) + rng.normal(0, 3, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def soft(labels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth probabilities, float32 (L, H, W), summing to one."""
    rng = np.random.default_rng(seed)
    maps = [cv2.resize(rng.normal(0, 2, (4, 4)), (width, height)) for _ in range(labels)]
    p = np.exp(np.reshape(maps, (labels, height, width)))
    return (p / p.sum(0)).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    return golden("densecrf")


@pytest.mark.parametrize("iterations", [1, 5, 10])
@pytest.mark.parametrize(("name", "params"), [("car", {}), ("classic", CLASSIC)])
def test_q_matches_the_published_implementation(reference, name, params, iterations):
    q = DenseCRF(reference["image"], **params).infer(reference["prob"], iterations).numpy()
    expected = reference[f"Q_{name}_{iterations}"]
    np.testing.assert_allclose(q, expected, rtol=1e-3, atol=5e-5)
    np.testing.assert_array_equal(q.argmax(0), expected.argmax(0))


@pytest.mark.parametrize(("name", "key"), [("rgb", "image"), ("wrapped", "two_image_wrapped_bgr")])
def test_two_labels_match_the_published_implementation(reference, name, key):
    p = with_background(reference["two_heat"][None])
    q = DenseCRF(reference[key]).infer(p).numpy()
    np.testing.assert_allclose(q, reference[f"two_Q_{name}"], rtol=1e-3, atol=5e-5)
    np.testing.assert_array_equal(q.argmax(0), reference[f"two_label_{name}"])


def test_unary_matches_the_published_implementation(reference):
    unary = unary_from_probabilities(reference["prob"])
    np.testing.assert_allclose(unary, reference["unary"], rtol=1e-6, atol=1e-6)
    crf = DenseCRF(reference["image"])
    torch.testing.assert_close(
        crf.infer(reference["unary"], 5, unary=True), crf.infer(reference["prob"], 5), rtol=0, atol=1e-5
    )


def test_exact_gaussians_are_another_model(reference):
    q = DenseCRF(reference["image"]).infer(reference["prob"]).numpy()
    assert np.abs(q - reference["Q_car_10_exact_kernel"]).max() > 0.1


@pytest.mark.parametrize("labels", [2, 5, 21])
@pytest.mark.parametrize("params", [{}, CLASSIC], ids=["car", "classic"])
def test_engines_agree(labels, params):
    pytest.importorskip("pydensecrf", reason="the oracle is the extra [crf]")
    image, p = photo(90, 121), soft(labels, 90, 121)
    ours, theirs = (make_crf(engine, image, **params).infer(p) for engine in ("lattice", "pydensecrf"))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)
    assert torch.equal(ours.argmax(0), theirs.argmax(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (2, 2), (3, 200)])
def test_engines_agree_on_images_of_odd_sizes(size):
    pytest.importorskip("pydensecrf", reason="the oracle is the extra [crf]")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for labels in (1, 2, 4):
        p = np.random.default_rng(1).random((labels, *size))
        ours, theirs = (make_crf(engine, image).infer(p) for engine in ("lattice", "pydensecrf"))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_pydensecrf_takes_many_label_sets_and_read_only_images():
    pytest.importorskip("pydensecrf", reason="the oracle is the extra [crf]")
    image = photo(20, 30)
    image.flags.writeable = False
    p = np.stack([soft(3, 20, 30, seed) for seed in range(3)])
    crf = make_crf("pydensecrf", image)
    together = crf.infer_many(p, 4)
    assert torch.equal(crf.infer(soft(2, 20, 30), 4).sum(0).round(), torch.ones(20, 30))
    for one, q in zip(p, together, strict=True):
        assert torch.equal(make_crf("pydensecrf", image).infer(one, 4), q)


def test_an_absent_engine_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[crf\]'"):
        make_crf("pydensecrf", photo(4, 4))


def test_an_unknown_engine_names_the_choices():
    with pytest.raises(InputError, match="one of lattice, pydensecrf, but got 'fast'"):
        make_crf("fast", photo(4, 4))


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(sizes, st.integers(1, 6), st.integers(0, 100), st.integers(0, 6))
def test_q_sums_to_one(size, labels, seed, iterations):
    q = DenseCRF(photo(*size, seed)).infer(soft(labels, *size, seed), iterations)
    assert q.shape == (labels, *size)
    assert q.dtype == torch.float32
    assert (q >= 0).all()
    torch.testing.assert_close(q.sum(0), torch.ones(size))


@given(sizes, st.integers(2, 6), st.integers(0, 100))
def test_relabelling_commutes_with_inference(size, labels, seed):
    crf, p = DenseCRF(photo(*size, seed)), soft(labels, *size, seed)
    order = np.random.default_rng(seed).permutation(labels)
    torch.testing.assert_close(crf.infer(p[order], 5), crf.infer(p, 5)[order], rtol=1e-3, atol=1e-5)


@given(sizes, st.integers(1, 4), st.integers(1, 5), st.integers(0, 100))
def test_independent_sets_share_one_call(size, sets, labels, seed):
    crf = DenseCRF(photo(*size, seed))
    p = np.stack([soft(labels, *size, seed + i) for i in range(sets)])
    together = crf.infer_many(p, 5)
    assert together.shape == p.shape
    for one, q in zip(p, together, strict=True):
        torch.testing.assert_close(crf.infer(one, 5), q, rtol=1e-5, atol=1e-6)


@given(sizes, st.integers(2, 5), st.integers(0, 100), st.integers(0, 255))
def test_constant_inputs_stay_constant_in_their_labels(size, labels, seed, grey):
    image = np.full((*size, 3), grey, np.uint8)
    ranking = np.random.default_rng(seed).permutation(labels)
    p = np.broadcast_to((1.0 + ranking).reshape(-1, 1, 1), (labels, *size)) / (labels * (labels + 1) / 2)
    q = DenseCRF(image).infer(p)
    assert (q.argmax(0) == int(ranking.argmax())).all()
    uniform = DenseCRF(photo(*size, seed)).infer(np.full((labels, *size), 1 / labels))
    torch.testing.assert_close(uniform, torch.full((labels, *size), 1 / labels))


def test_zero_iterations_and_zero_weights_only_normalise():
    image, p = photo(9, 11), soft(3, 9, 11)
    torch.testing.assert_close(DenseCRF(image).infer(p, 0), torch.from_numpy(p), rtol=1e-4, atol=1e-5)
    still = DenseCRF(image, compat_gaussian=0, compat_bilateral=0)
    torch.testing.assert_close(still.infer(p, 3), torch.from_numpy(p), rtol=1e-4, atol=1e-5)


def test_labels_follow_the_edges_of_the_image():
    image = np.full((40, 60, 3), (200, 40, 40), np.uint8)
    image[:, 30:] = (40, 40, 200)
    p = with_background(np.full((1, 40, 60), 0.3, np.float32))
    # The proposal stops two pixels short of the edge on one row in two.
    p[1, :, 30:], p[1, ::2, 30:32] = 0.8, 0.4
    p[0] = 1 - p[1]
    labels = DenseCRF(image).infer(p).argmax(0).numpy()
    np.testing.assert_array_equal(labels, np.tile(np.arange(60) >= 30, (40, 1)))


def test_results_do_not_depend_on_chunks_and_runs(monkeypatch):
    image, p = photo(31, 23), np.stack([soft(21, 31, 23, seed) for seed in range(2)])
    q = DenseCRF(image).infer_many(p)
    assert torch.equal(DenseCRF(image).infer_many(p), q)
    monkeypatch.setattr(lattice, "CHANNELS", 4)
    torch.testing.assert_close(DenseCRF(image).infer_many(p), q, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(native, "CHANNELS", 1000)
    torch.testing.assert_close(DenseCRF(image).infer_many(p), q, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(module, "CHANNELS", 1000)
    torch.testing.assert_close(DenseCRF(image).infer_many(p), q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [2, 3, 30])
def test_q_does_not_depend_on_the_number_of_threads(labels):
    # Enough pixels for the compiled engine to share them out.
    image, p = photo(120, 160), soft(labels, 120, 160)
    q = DenseCRF(image).infer(p, 3)
    try:
        torch.set_num_threads(2)
        assert torch.equal(DenseCRF(image).infer(p, 3), q)
    finally:
        torch.set_num_threads(1)


def test_inputs_of_any_kind_give_the_same_result_and_are_left_alone():
    image, p = photo(12, 15), soft(3, 12, 15)
    before = p.copy()
    crf = DenseCRF(image)
    q = crf.infer(p)
    np.testing.assert_array_equal(p, before)
    tensor = torch.from_numpy(p).requires_grad_()
    for same in (p.astype(np.float64), np.ascontiguousarray(p[::-1])[::-1], tensor, tensor.detach().clone()):
        assert torch.equal(crf.infer(same), q)
    with torch.inference_mode():
        inside = DenseCRF(image)
        assert torch.equal(inside.infer(p), q)
    assert torch.equal(inside.infer(tensor), q)
    mirrored = DenseCRF(np.ascontiguousarray(image[:, ::-1])[:, ::-1]).infer(p)
    assert torch.equal(mirrored, q)


@given(st.integers(0, 4), st.floats(0, 3), st.integers(0, 100))
def test_background_is_what_no_proposal_claims(count, factor, seed):
    proposals = np.random.default_rng(seed).random((count, 3, 4)).astype(np.float32)
    p = with_background(proposals, factor)
    np.testing.assert_array_equal(p[1:], proposals)
    expected = (1 - proposals.max(0, initial=0)) ** factor
    np.testing.assert_allclose(p[0], expected, rtol=1e-5, atol=1e-6)


def test_background_survives_rounding_above_one():
    assert with_background(torch.tensor([[[1 + 1e-6]]]), 0.5)[0].item() == 0


def test_unary_is_clipped_at_both_ends():
    unary = unary_from_probabilities(torch.tensor([0.0, 1e-7, 0.5, 1.0, 1.0001]))
    np.testing.assert_allclose(unary, [11.512925, 11.512925, 0.6931472, 0, 0], rtol=1e-6)


nan_map = np.full((2, 4, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (np.zeros((4, 4)), r"to be \(L, H, W\), but got \(4, 4\)"),
        (np.zeros((2, 4, 5)), r"to be \(E, L, 4, 4\), but got \(1, 2, 4, 5\)"),
        (np.zeros((0, 4, 4)), "but got"),
        (nan_map, r"in \[0, 1\], but got values from nan"),
        (np.full((2, 4, 4), 1.5), "but got values from 1.5 to 1.5"),
        (np.full((2, 4, 4), -3.0), "but got values from -3"),
    ],
    ids=["no labels", "other size", "zero labels", "nan", "above", "below"],
)
def test_bad_probabilities_are_refused(p, message):
    with pytest.raises(InputError, match=message):
        DenseCRF(photo(4, 4)).infer(p)


def test_bad_arguments_of_infer_are_refused():
    crf, p = DenseCRF(photo(4, 4)), soft(2, 4, 4)
    for iterations in (-1, 2.5, True):
        with pytest.raises(InputError, match="`iterations`"):
            crf.infer(p, iterations)
    with pytest.raises(InputError, match="unary energies to be finite"):
        crf.infer(nan_map, unary=True)
    with pytest.raises(InputError, match="but got"):
        crf.infer_many(p)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[0]],
    ],
    ids=["float", "grey", "rgba", "empty", "list"],
)
def test_bad_images_are_refused(image):
    with pytest.raises(InputError, match="`image`"):
        DenseCRF(image)


@pytest.mark.parametrize("name", ["sxy_gaussian", "sxy_bilateral", "srgb", "compat_gaussian", "compat_bilateral"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_bad_constants_are_refused(name, value):
    with pytest.raises(InputError, match=f"`{name}`"):
        DenseCRF(photo(4, 4), **{name: value})


def test_deviations_too_small_for_the_lattice_are_refused():
    with pytest.raises(InputError, match="larger standard deviations"):
        DenseCRF(photo(4, 4), sxy_bilateral=1e-6)
    with pytest.raises(InputError, match="above 0, but got 0"):
        DenseCRF(photo(4, 4), srgb=0)


@pytest.mark.parametrize(
    ("proposals", "factor", "message"),
    [
        (np.zeros((3, 4)), 1, r"to be \(N, H, W\)"),
        (nan_map, 1, r"in \[0, 1\]"),
        (np.full((1, 2, 2), 7.0), 1, r"in \[0, 1\]"),
        (np.zeros((1, 2, 2)), -1, "`factor`"),
        (np.zeros((1, 2, 2)), float("nan"), "`factor`"),
    ],
)
def test_bad_proposals_are_refused(proposals, factor, message):
    with pytest.raises(InputError, match=message):
        with_background(proposals, factor)
