import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.propose import backward
from car.propose.backward import LastBlock
from car.propose.gradcam import GradCAM
from car.propose.proposals import min_max
from car.vlm.model import CLIP
from tests.golden import golden, golden_path
from tests.models import random_vit, unit
from tests.propose.oracle import block_from_norm, channel_weights

SCALE = 14.29


def cam_of(clip: CLIP, n: int, m: int, *, scale: float = SCALE, size: tuple[int, int] = (48, 64)) -> tuple:
    torch.manual_seed(n * 31 + m)
    taps = clip.visual.taps(torch.randn(1, 3, *size))
    queries, background = unit(n, clip.embed_dim, seed=n), unit(m, clip.embed_dim, seed=100 + m)
    cam = GradCAM(clip.visual, taps.tokens[0], queries, background, logit_scale=scale, grid=taps.grid)
    return cam, taps, queries, background


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_weights_and_maps_match_the_reference():
    z = golden("clip_es_cam")
    clip = CLIP.from_state_dict(torch.load(golden_path("tiny_vit.pt"), weights_only=True))
    taps = clip.visual.taps(torch.from_numpy(z["image"]))
    fg, bg = (torch.from_numpy(z[f"{kind}_text_features"]) for kind in ("fg", "bg"))
    scale = clip.logit_scale.exp().item()
    cam = GradCAM(clip.visual, taps.tokens[0], fg, bg, logit_scale=scale, grid=taps.grid)
    assert scale == pytest.approx(float(z["logit_scale_exp"]), rel=1e-6)
    np.testing.assert_allclose(cam.activations.T.unflatten(1, taps.grid)[None], z["activations_ln1"], atol=1e-4)
    assert relative(cam.weights([0, 1, 2]), torch.from_numpy(z["channel_weights"])) < 1e-5
    # CLIP-ES normalises twice with an epsilon large enough to be seen.
    maps = min_max(cam.maps([0, 1, 2], eps=1e-7), 1e-7)
    np.testing.assert_allclose(maps, z["cam"], atol=1e-5)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_pull_back_is_the_gradient(activation):
    visual = random_vit(activation=activation).visual
    tokens = visual.taps(torch.randn(1, 3, 40, 56)).tokens[0]
    last = LastBlock(visual, tokens)
    normed = visual.blocks[-1].ln_1(tokens).requires_grad_()
    torch.testing.assert_close(last.pooled, block_from_norm(visual, tokens, normed).detach(), atol=1e-6, rtol=1e-4)
    cotangents = torch.randn(3, 24)
    products = last.pull_back(cotangents)
    for cotangent, product in zip(cotangents, products, strict=True):
        (grad,) = torch.autograd.grad(block_from_norm(visual, tokens, normed) @ cotangent, normed)
        assert relative(product, grad[1:].mean(dim=0)) < 1e-5


@pytest.mark.parametrize("n_background", [0, 1, 5])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3], [2, 0]])
def test_every_subset_has_the_weights_of_its_own_backward_passes(kept, n_background):
    clip = random_vit()
    cam, taps, queries, background = cam_of(clip, 4, n_background)
    slow = channel_weights(clip.visual, taps.tokens[0], queries, background, kept, SCALE)
    assert relative(cam.weights(kept), slow) < 1e-5


def test_more_queries_than_embedding_dimensions():
    clip = random_vit(embed_dim=8)
    cam, taps, queries, background = cam_of(clip, 20, 3)
    kept = list(range(0, 20, 3))
    slow = channel_weights(clip.visual, taps.tokens[0], queries, background, kept, SCALE)
    assert relative(cam.weights(kept), slow) < 1e-5


def test_pull_back_does_not_depend_on_its_chunks(monkeypatch):
    visual = random_vit().visual
    last = LastBlock(visual, visual.taps(torch.randn(1, 3, 40, 56)).tokens[0])
    cotangents = torch.randn(5, 24)
    whole = last.pull_back(cotangents)
    monkeypatch.setattr(backward, "CHUNK_ELEMENTS", 1)
    torch.testing.assert_close(last.pull_back(cotangents), whole)


@given(st.integers(1, 6), st.integers(0, 4), st.data())
def test_maps_are_in_the_unit_interval_and_follow_the_order_of_the_queries(n, m, data):
    cam, *_ = cam_of(random_vit(), n, m)
    order = data.draw(st.permutations(range(n)))
    maps = cam.maps(order)
    assert maps.shape == (n, 6, 8)
    assert maps.min() >= 0
    assert maps.max() <= 1
    torch.testing.assert_close(maps, cam.maps(sorted(order))[list(order)], atol=1e-4, rtol=1e-3)


def test_a_lone_query_without_background_still_has_a_map():
    cam, *_ = cam_of(random_vit(), 1, 0)
    assert cam.weights([0]).abs().max() == 0
    torch.testing.assert_close(cam.maps([0]).amax(), torch.tensor(1.0))


def test_a_map_of_zeros_is_taken_again_without_background(monkeypatch):
    cam, *_ = cam_of(random_vit(), 3, 2)
    alone = cam._cams(cam.weights([0, 1, 2], with_background=False))
    original = cam.weights

    def silenced(kept, *, with_background=True):
        weights = original(kept, with_background=with_background)
        if with_background:
            weights[1] = 0
        return weights

    monkeypatch.setattr(cam, "weights", silenced)
    maps = cam.maps([0, 1, 2])
    torch.testing.assert_close(maps[1], min_max(alone[1:2], 1e-15)[0].view(6, 8))


def test_one_patch_is_enough():
    cam, *_ = cam_of(random_vit(), 2, 1, size=(8, 8))
    assert cam.maps([0, 1]).shape == (2, 1, 1)


def test_no_product_is_taken_twice_or_for_nothing(monkeypatch):
    cam, *_ = cam_of(random_vit(), 5, 2)
    taken = []
    original = cam._last.pull_back
    monkeypatch.setattr(cam._last, "pull_back", lambda rows: taken.append(len(rows)) or original(rows))
    cam.maps([4, 1])
    cam.maps([1])
    cam.maps([1, 3])
    assert taken == [3, 1]
