import numpy as np
import torch

from car.propose.proposals import Proposals
from car.video.proposals import CarriedProposals


def test_carried_proposals_mix_where_there_is_a_mask_and_only_there():
    new = Proposals(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)), (8, 12))
    mask = np.zeros((8, 12), np.float32)
    mask[2:5] = 1
    mixed = CarriedProposals.of(new, [5, 7, 9], {7: mask, 8: mask}, 0.25)
    expected = new.full().clone()
    expected[1] = 0.75 * expected[1] + 0.25 * torch.from_numpy(mask)
    torch.testing.assert_close(mixed.full(), expected)
    torch.testing.assert_close(mixed.full(1), expected[1:])
    torch.testing.assert_close(mixed.full(1, 2), expected[1:2])
    torch.testing.assert_close(mixed.chosen([2, 1]).full(), expected[[2, 1]])
    assert len(mixed.chosen([])) == 0
    assert np.array_equal(mixed.binary(1, 0.4), (expected[1] > 0.4).numpy())


def test_without_carried_masks_proposals_are_the_new_ones():
    new = Proposals(torch.rand(2, 3, 5), (7, 9))
    mixed = CarriedProposals.of(new, [0, 1], {}, 0.5)
    assert torch.equal(mixed.full(), new.full())
    assert torch.equal(mixed.chosen([0, 1]).full(), new.full())
