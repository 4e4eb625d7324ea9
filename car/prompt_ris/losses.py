"""What Prompt-RIS is trained on: masks one by one, and the masks of one image against each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 1e-6


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice loss, a scalar: means over masks.

    Args:
        logits: (P, H, W).
        target: (P, H, W), bool or shares in [0, 1].
    """
    true = target.to(logits.dtype)
    cross = F.binary_cross_entropy_with_logits(logits, true)
    return cross + (1 - dice(logits.sigmoid(), true)).mean()


def dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice coefficients (...) of masks (..., H, W) in [0, 1]; 1 of two empty ones."""
    shared, total = (a * b).sum(dim=(-2, -1)), a.sum(dim=(-2, -1)) + b.sum(dim=(-2, -1))
    return (2 * shared + LEAST) / (total + LEAST)


def overlaps(masks: Tensor) -> Tensor:
    """O_ij (Eq. 7), the Dice coefficient of each pair of an image's masks: (B, b, b) of (B, b, H, W) in [0, 1]."""
    flat = masks.flatten(2)
    area = flat.sum(dim=-1)
    return (2 * flat @ flat.mT + LEAST) / (area[:, :, None] + area[:, None, :] + LEAST)


def instance_contrast(logits: Tensor, target: Tensor) -> Tensor:
    """The instance contrastive loss (Eq. 8), a scalar: the mean over images and ordered pairs of their sentences.

    Masks of sentences that mean one object should lie on each other, masks of different objects apart: the
    cross-entropy of their overlap O_ij with what the true masks have, which is 1 and 0 there (and between, where a
    sentence means several objects of which another means one). Each row is weighted by w_i = IoU(S_i, truth), which no
    gradient passes through: a mask that is wrong itself does not draw others to it.

    Args:
        logits: (B, b, H, W), the masks of b sentences for each of B images.
        target: (B, b, H, W), bool or shares in [0, 1].

    Returns:
        0 where b is 1.
    """
    sentences = logits.shape[1]
    if sentences < 2:
        return logits.sum() * 0
    found, wanted = overlaps(logits.sigmoid()), overlaps(target.to(logits.dtype))
    found = found.clamp(LEAST, 1 - LEAST)
    cross = -(wanted * found.log() + (1 - wanted) * (1 - found).log())
    apart = 1 - torch.eye(sentences, device=logits.device)
    weighted = iou(logits, target)[:, :, None] * cross * apart
    return weighted.sum() / (len(logits) * sentences * (sentences - 1))


@torch.no_grad()
def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU (...) of masks (..., H, W), where logits are above 0, with those above one half; 0 of two empty ones."""
    found, true = logits > 0, target > 0.5
    union = (found | true).sum(dim=(-2, -1))
    return (found & true).sum(dim=(-2, -1)) / union.clamp(min=1)
