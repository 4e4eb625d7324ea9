"""Eq. 7 and 8 on cases made by hand, and what must hold of any masks."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.prompt_ris.losses import dice, instance_contrast, iou, mask_loss, overlaps

SURE = 20.0
"""A logit whose probability is 1 or 0 to eight digits."""


def logits(*rows: str) -> torch.Tensor:
    """Masks of one row each, as sure logits: "#" is inside."""
    return torch.tensor([[[SURE if c == "#" else -SURE for c in row]] for row in rows])


def truth(*rows: str) -> torch.Tensor:
    return logits(*rows) > 0


def test_overlap_is_dice_of_each_pair() -> None:
    masks = truth("##..", ".##.", "...#").float()[None]
    assert torch.allclose(overlaps(masks)[0], torch.tensor([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1.0]]), atol=1e-6)


def test_nothing_to_gain_where_masks_are_right() -> None:
    rows = ("##..", "##..", "..##")
    assert instance_contrast(logits(*rows)[None], truth(*rows)[None]) < 1e-5


def test_by_hand() -> None:
    """Two sentences for different objects whose masks share half: -log(1 - 1/2) for each, weighted by their IoU."""
    found, true = logits("##..", ".##.")[None], truth("##..", "..##")[None]
    # IoU of the first with its truth is 1, of the second 1/3.
    assert math.isclose(float(instance_contrast(found, true)), (1 + 1 / 3) * math.log(2) / 2, rel_tol=1e-4)
    # The same masks for one object: -log(1/2) for each, weighted by IoU 1 and 1/3.
    true = truth("##..", "##..")[None]
    assert math.isclose(float(instance_contrast(found, true)), (1 + 1 / 3) * math.log(2) / 2, rel_tol=1e-4)


def test_a_wrong_mask_draws_no_other_to_it() -> None:
    found, true = logits("..##", "##..")[None], truth("##..", "##..")[None]
    asked = found.clone().requires_grad_()
    instance_contrast(asked, true).backward()
    weights = iou(found, true)[0]
    assert weights.tolist() == [0, 1]


def test_no_gradient_through_the_weight() -> None:
    """Masks at the threshold of the IoU: moving them changes the weight, and the loss's gradient does not know."""
    found = torch.full((1, 2, 1, 4), 1e-3)
    true = truth("##..", "..##")[None]
    asked = found.clone().requires_grad_()
    instance_contrast(asked, true).backward()
    fixed = found.clone().requires_grad_()
    o = overlaps(fixed.sigmoid())[0, 0, 1]
    (0.5 * -(1 - o).log()).backward()
    assert torch.allclose(asked.grad, fixed.grad, atol=1e-6)


def test_one_sentence_has_nothing_to_be_contrasted_with() -> None:
    found = logits("##..")[None].requires_grad_()
    loss = instance_contrast(found, truth("..##")[None])
    loss.backward()
    assert loss == 0
    assert not found.grad.any()


def test_mean_over_images() -> None:
    a, b = ("##..", ".##."), ("##..", "##..")
    true = (truth("##..", "..##"), truth("##..", "##.."))
    each = [float(instance_contrast(logits(*rows)[None], t[None])) for rows, t in zip((a, b), true, strict=True)]
    both = float(instance_contrast(torch.stack([logits(*a), logits(*b)]), torch.stack(true)))
    assert math.isclose(both, sum(each) / 2, rel_tol=1e-5, abs_tol=1e-6)


@given(seed=st.integers(0, 10**6), sentences=st.integers(2, 5))
def test_symmetric_in_the_order_of_sentences(seed: int, sentences: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    found = torch.randn(1, sentences, 3, 4, generator=rng)
    true = torch.rand(1, sentences, 3, 4, generator=rng) > 0.5
    order = torch.randperm(sentences, generator=rng)
    loss = instance_contrast(found, true)
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.allclose(loss, instance_contrast(found[:, order], true[:, order]), rtol=1e-4)


@pytest.mark.parametrize(("row", "target", "expected"), [("##..", "##..", 0.0), ("##..", "..##", 1 + SURE)])
def test_mask_loss(row: str, target: str, expected: float) -> None:
    assert math.isclose(float(mask_loss(logits(row), truth(target))), expected, abs_tol=1e-4)


def test_dice_of_two_empty_masks_is_one() -> None:
    assert dice(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)).tolist() == [1, 1]
    assert iou(torch.full((1, 2, 2), -1.0), torch.zeros(1, 2, 2)).tolist() == [0]
