import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.propose.affinity import Affinity, box_mask, boxes
from car.propose.proposals import Proposals, min_max
from tests.golden import golden


def attention(patches: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randn(patches + 1, patches + 1, generator=generator).softmax(-1)
    return whole[1:, 1:]


def test_affinity_matches_the_reference():
    z = golden("clip_es_cam")
    affinity = Affinity(torch.from_numpy(z["attn_mean_last8"]))
    identity = torch.eye(70)
    np.testing.assert_allclose(affinity.apply(identity), z["affinity_sym"], atol=1e-6)
    np.testing.assert_allclose(affinity.apply(affinity.apply(identity)), z["affinity"], atol=1e-6)


@pytest.mark.parametrize(("lam", "key"), [(0.4, "t04"), (0.7, "t07")])
def test_boxes_and_refined_maps_match_the_reference(lam, key):
    z = golden("clip_es_cam")
    for cam, reference, count in zip(z["cam"], z[f"boxes_{key}"], z[f"boxes_{key}_count"], strict=True):
        np.testing.assert_array_equal(boxes(cam, lam), reference[:count])
    refined = Affinity(torch.from_numpy(z["attn_mean_last8"])).refine(torch.from_numpy(z["cam"]), lam)
    np.testing.assert_allclose(refined, z[f"refined_{key}"], atol=1e-5)
    proposals = Proposals(min_max(refined, 1e-7), tuple(z["ori_hw"].tolist()))
    np.testing.assert_allclose(proposals.full(), z[f"refined_highres_{key}"], atol=1e-4)


@pytest.mark.parametrize(("lam", "key"), [(0.4, "t04"), (0.7, "t07")])
def test_box_masks_of_edge_cases_match_the_reference(lam, key):
    z = golden("clip_es_cam")
    for cam, reference in zip(z["edge_scoremaps"], z[f"edge_boxmask_{key}"], strict=True):
        np.testing.assert_array_equal(box_mask(cam, lam), reference.astype(bool))


@given(st.integers(2, 40), st.integers(0, 5))
def test_affinity_is_symmetric_and_keeps_constants_nearly_constant(patches, seed):
    affinity = Affinity(attention(patches, seed))
    matrix = affinity.apply(torch.eye(patches))
    torch.testing.assert_close(matrix, matrix.T, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(matrix.sum(1), torch.ones(patches), atol=0.05, rtol=0)


def test_lambda_at_its_ends():
    cam = np.zeros((5, 6), np.float32)
    cam[1:3, 1:4] = [[0.2, 0.5, 0.2], [0.1, 1.0, 0.1]]
    assert box_mask(cam, 0.0).sum() == 6
    # Nothing lies above the maximum, so the threshold goes down until something does.
    assert box_mask(cam, 1.0).sum() == 1
    assert not box_mask(np.zeros((5, 6), np.float32), 0.4).any()
