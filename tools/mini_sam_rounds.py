"""SAM's way of training: a first prompt, then clicks where the mask is wrong, and a loss on every answer."""

from collections import defaultdict

import torch
import torch.nn.functional as F
from mini_sam_data import Batch
from mini_sam_model import SIDE, decode, embed_prompts, encode
from segment_anything.modeling import Sam
from torch import Tensor, nn

ROUNDS = (1.0, 0.4, 0.2, 0.1)
"""Share of the prompts that are answered once, and once more each after another click."""
FOCAL_WEIGHT, ALPHA, GAMMA = 20.0, 0.25, 2.0
QUALITY_WEIGHT = 1.0
TOGETHER_WEIGHT = 1.0


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Mean focal loss over the pixels of each mask, (N, M), of logits (N, M, h, w) against bool (N, h, w)."""
    true = target[:, None].to(logits.dtype).expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
    missed = 1 - (-cross).exp()
    weight = ALPHA * true + (1 - ALPHA) * (1 - true)
    return (weight * missed**GAMMA * cross).mean(dim=(-2, -1))


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss of each mask, (N, M), of logits (N, M, h, w) against bool (N, h, w)."""
    found, true = logits.sigmoid().flatten(2), target.flatten(1)[:, None].to(logits.dtype)
    shared = (found * true).sum(dim=-1)
    return 1 - (2 * shared + 1) / (found.sum(dim=-1) + true.sum(dim=-1) + 1)


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of each mask, (N, M), of logits (N, M, h, w) with bool (N, h, w)."""
    found, true = logits > 0, target[:, None]
    return (found & true).sum(dim=(-2, -1)) / (found | true).sum(dim=(-2, -1)).clamp(min=1)


def error_click(logits: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random pixel where the mask is wrong, or of the object where nothing is: x, y (N, 2), and its label (N, 1).

    Args:
        logits: (N, h, w) of the masks.
        target: bool (N, h, w).
    """
    wrong = (logits > 0) ^ target
    among = torch.where(wrong.any(dim=(-2, -1), keepdim=True), wrong, target).flatten(1)
    noise = torch.rand(among.shape, generator=generator).to(among.device)
    chosen = torch.where(among, noise, -1.0).argmax(dim=1)
    width = target.shape[-1]
    cells = torch.stack([chosen % width, chosen // width], dim=-1)
    return (cells + 0.5) * (SIDE / width) - 0.5, target.flatten(1).gather(1, chosen[:, None]).float()


class Together(nn.Module):
    """Says of two patches whether they show the same thing, from their embeddings; thrown away after training.

    Every pair of patches teaches the image encoder at once, where a prompt teaches it one mask: masks are learned from
    much fewer images.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.scale, self.shift = nn.Parameter(torch.tensor(5.0)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, embeddings: Tensor, owners: Tensor) -> Tensor:
        """Cross-entropy over pairs, as much of it for those that belong together as for those that do not.

        Args:
            embeddings: (B, C, g, g).
            owners: (B, g, g), see `Batch`.
        """
        features = F.normalize(self.project(embeddings.flatten(2).mT).float(), dim=-1)
        logits = self.scale * (features @ features.mT) + self.shift
        flat = owners.flatten(1)
        same = flat[:, :, None] == flat[:, None, :]
        told = (flat >= 0)[:, :, None] & (flat >= 0)[:, None, :]
        cross = F.binary_cross_entropy_with_logits(logits, same.float(), reduction="none")
        halves = [(cross * (told & half)).sum() / (told & half).sum().clamp(min=1) for half in (same, ~same)]
        return (halves[0] + halves[1]) / 2


def losses(sam: Sam, batch: Batch, generator: torch.Generator, together: Together) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch, and figures to log.

    The single mask learns from every answer. Where there is one point and nothing else, what it means is open: there,
    the best of the three masks learns as well. The predicted IoUs learn from what each of these masks has.

    Args:
        generator: on the CPU; it decides who is asked again, and where.

    Returns:
        The loss, and the means: "focal", "dice", "quality", "together" (the terms, unweighted), "click" and "box" (IoU
        of the answers to the first prompt, of the mask that the model thinks best, at the training resolution).
    """
    embeddings = encode(sam, batch.images)
    target, points, boxes, boxed = batch.masks, batch.points[:, None], batch.boxes, batch.boxed
    owner = torch.arange(len(target), device=target.device) // (len(target) // len(batch.images))
    labels, earlier, answers = torch.ones_like(points[..., 0]), None, 0
    sums: dict[str, Tensor | float] = defaultdict(float)
    figures: dict[str, float] = {}
    for turn, share in enumerate(ROUNDS):
        if turn:
            kept = torch.randperm(len(target), generator=generator)[: max(1, round(share * len(batch.masks)))]
            kept = kept.to(target.device)
            target, points, labels, boxes, boxed, owner, earlier = (
                x[kept] for x in (target, points, labels, boxes, boxed, owner, earlier)
            )
        tokens = embed_prompts(sam, points, labels, boxes, boxed)
        logits, quality = decode(sam, embeddings[owner], tokens, earlier)
        alone = ~boxed if turn == 0 else torch.zeros_like(boxed)
        for name, value in terms(logits, quality, target, alone).items():
            sums[name] = sums[name] + value
        answers += len(target)
        best = chosen(logits.detach(), quality, alone)
        if turn == 0:
            overlap = iou(best, target)[:, 0]
            figures = {"click": float(overlap[~boxed].mean()), "box": float(overlap[boxed].mean())}
        click, label = error_click(best[:, 0], target, generator)
        points, labels = torch.cat([points, click[:, None]], dim=1), torch.cat([labels, label], dim=1)
        earlier = best
    means = {name: value / answers for name, value in sums.items()}
    means["together"] = together(embeddings, batch.owners)
    weights = {"focal": FOCAL_WEIGHT, "dice": 1.0, "quality": QUALITY_WEIGHT, "together": TOGETHER_WEIGHT}
    total = sum(weights[name] * value for name, value in means.items())
    return total, {name: float(value.detach()) for name, value in means.items()} | figures


def terms(logits: Tensor, quality: Tensor, target: Tensor, alone: Tensor) -> dict[str, Tensor]:
    """Sums over the prompts of focal loss, dice loss and the squared error of the predicted IoUs.

    Args:
        logits: (N, 4, h, w).
        quality: (N, 4).
        target: bool (N, h, w).
        alone: bool (N,), prompts of one point and nothing else.
    """
    single, three = logits[:, :1], logits[alone, 1:]
    parts = {"focal": focal(single, target), "dice": dice(single, target)}
    many = {"focal": focal(three, target[alone]), "dice": dice(three, target[alone])}
    best = (FOCAL_WEIGHT * many["focal"] + many["dice"]).argmin(dim=1, keepdim=True)
    out = {name: parts[name].sum() + many[name].gather(1, best).sum() for name in parts}
    with torch.no_grad():
        own, others = iou(single, target), iou(three, target[alone])
    out["quality"] = (quality[:, :1] - own).square().sum() + (quality[alone, 1:] - others).square().mean(dim=1).sum()
    return out


def chosen(logits: Tensor, quality: Tensor, alone: Tensor) -> Tensor:
    """Logits (N, 1, h, w) of the mask that counts: of three the one predicted best where a point is alone."""
    index = torch.where(alone, 1 + quality[:, 1:].argmax(dim=1), 0)
    return logits[torch.arange(len(logits), device=logits.device), index][:, None]
