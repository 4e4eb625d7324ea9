"""HybridGL's spatial guidance: which of the masks that look right is also in the right place.

A mask's final score weighs two terms, (1 - alpha) * relation + alpha * heat:

    relation  sum over the likeliest landmarks j of p_i * q_j * [mask i relates to mask j as the expression says]
    heat      mean of the target's heat inside the mask - lam * its mean outside, on a heat map of mean 1 that was
              weighted by the direction the expression names

where p are the masks' softmax scores for the expression and q those for the other things it names (p again where it
names none). Without a relation, the first is p_i times the number of landmarks.

The released code departs from the paper's description. The paper's rule is the default; `as_released` is the code's, in
all these points together:

| point | default | as_released |
|---|---|---|
| relation "right" | as all others | never found: a word is compared with a set of words |
| directions "up", "down" | a ramp, as for left and right | change nothing |
| lam | 9; for the relation "big" 3, "small" 14 | 9; 39; 3 |
| heat score | in - lam * out | that times 2 / (1 + lam): 0.2, 0.05 or 0.5 |
| terms | soft-maxed over the masks | relation soft-maxed over the k1 likeliest, heat as it is |
| who can win | any mask that has pixels | the k1 likeliest by p |
| few masks | k1, k2 are cut to them for this image | and stay so for all later ones: answers depend on the order |
| boxes | as many pixels wide as the mask | SAM's, one less: a line has no area |
| mask of the whole image | outside it is as hot as everywhere, 1 | NaN, and NaN wins |
| empty mask | cannot win | NaN, and NaN wins |
| flat heat map, or none left where the direction looks | is 1 everywhere | NaN |
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from car.errors import InputError
from car.vlm.gem import min_max

RELATIONS = ("left", "right", "up", "down", "big", "small", "within")
"""Relations that have a rule; any other word is as none."""
DIRECTIONS = ("left", "right", "middle", "up", "down")
"""Directions that have a rule; any other word is as none."""

# The more the outside weighs, the larger the masks that win: the paper's values pull against their words.
PAPER_LAM = {"big": 3.0, "small": 14.0}
RELEASED_LAM = {"big": 39.0, "small": 3.0}


@dataclass(frozen=True)
class GuidanceSettings:
    """What HybridGL's guidance depends on; the paper's values.

    alpha: share of the heat term in the final score, in [0, 1].
    k1: landmarks where the expression names no other things; with `as_released` also how many masks can win.
    k2: landmarks where it does.
    lam: weight of the heat outside a mask, but for the relations "big" and "small".
    as_released: follow the released code where it departs from the paper; see the table of this module.

    Raises:
        InputError: out of range.
    """

    alpha: float = 0.6
    k1: int = 3
    k2: int = 6
    lam: float = 9.0
    as_released: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise InputError(f"Expected argument `alpha` to be in [0, 1], but got {self.alpha}.")
        if not 0 <= self.lam < math.inf:
            raise InputError(f"Expected argument `lam` to be at least 0, but got {self.lam}.")
        for name in ("k1", "k2"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"Expected argument `{name}` to be at least 1, but got {value}.")

    def weight(self, relation: str | None) -> float:
        """lam under a relation."""
        return (RELEASED_LAM if self.as_released else PAPER_LAM).get(relation or "", self.lam)


@dataclass(frozen=True, eq=False)
class Guided:
    """The final scores of M masks and their parts, each (M,) float32.

    p: softmax of the scores for the expression.
    q: softmax of the scores for the other things it names; None where it names none.
    relation_score: sums over the landmarks.
    relation_share: their softmax; with `as_released` 0 for masks that cannot win.
    heat_score: mean inside minus weighted mean outside.
    heat_share: its softmax; with `as_released` the score as it is.
    final: what the masks are ranked by.
    able: (W,) int64, the masks that can win; of equal ones the first does.
    """

    p: Tensor
    q: Tensor | None
    relation_score: Tensor
    relation_share: Tensor
    heat_score: Tensor
    heat_share: Tensor
    final: Tensor
    able: Tensor

    @property
    def order(self) -> Tensor:
        """The masks that can win, best first; NaN is best."""
        return ranked(self.final, self.able)

    @classmethod
    def of_nothing(cls) -> Self:
        """That of no masks."""
        none = torch.zeros(0)
        return cls(none, None, none, none, none, none, none, torch.zeros(0, dtype=torch.long))


def holds(boxes: Tensor, relation: str, *, as_released: bool = False) -> Tensor:
    """How far each box relates to each other one, (M, M) float32 in [0, 1]: [i, j] is i to j.

    Centres decide left, right, up and down, areas big and small, strictly; "within" is the share of box i that box j
    covers. With `as_released` that is NaN for a box without area.

    Args:
        boxes: (M, 4), left, top, width, height.
        relation: one of `RELATIONS`.
    """
    x, y, width, height = boxes.unbind(dim=1)
    if relation == "within":
        across = shared(x, x + width)
        down = shared(y, y + height)
        area = (width * height).unsqueeze(1)
        return across * down / (area if as_released else area.clamp(min=1))
    values = {"left": x + width / 2, "right": -x - width / 2, "up": y + height / 2, "down": -y - height / 2}
    values |= {"small": width * height, "big": -width * height}
    value = values[relation]
    return (value.unsqueeze(1) < value).float()


def shared(first: Tensor, last: Tensor) -> Tensor:
    """Lengths (M, M) that intervals [first, last), each (M,), have in common."""
    return (torch.minimum(last.unsqueeze(1), last) - torch.maximum(first.unsqueeze(1), first)).clamp(min=0)


def relation_terms(boxes: Tensor, relation: str | None, p: Tensor, q: Tensor, *, as_released: bool = False) -> Tensor:
    """What each mask as a landmark (second index) adds to each mask's relation score (first), (M, M) float32.

    Args:
        boxes: (M, 4), left, top, width, height.
        relation: one of `RELATIONS`; None or any other: p alone.
        p, q: (M,), how likely each mask is what is meant, and the landmark.
    """
    if relation not in RELATIONS:
        return p.unsqueeze(1).expand(-1, len(p))
    return p.unsqueeze(1) * q * holds(boxes, relation, as_released=as_released)


def direction_mask(direction: str | None, size: tuple[int, int], *, as_released: bool = False) -> Tensor:
    """Weights (H, W) float32 in [0, 1] that fall linearly from where a direction points; ones without a direction.

    "middle" falls from the middle column to both sides. With `as_released`, "up" and "down" are as no direction.
    """
    height, width = size
    ramps = {
        "left": lambda: torch.linspace(1, 0, width),
        "right": lambda: torch.linspace(0, 1, width),
        "middle": lambda: torch.cat([torch.linspace(0, 1, width // 2), torch.linspace(1, 0, width - width // 2)]),
    }
    if not as_released:
        ramps["up"] = lambda: torch.linspace(1, 0, height).unsqueeze(1)
        ramps["down"] = lambda: torch.linspace(0, 1, height).unsqueeze(1)
    ramp = ramps[direction]() if direction in ramps else torch.ones(())
    return ramp.expand(height, width)


def position_heat(heat: Tensor, direction: str | None, size: tuple[int, int], *, as_released: bool = False) -> Tensor:
    """A heat map (h, w) at the image's size (bilinear, antialiased), in a direction, with mean 1: (H, W) float32.

    Where nothing is told apart - the map is flat, or cold wherever the direction looks - it is 1 everywhere; with
    `as_released` NaN.
    """
    full = F.interpolate(heat[None, None], size=size, mode="bilinear", align_corners=False, antialias=True)[0, 0]
    weights = direction_mask(direction, size, as_released=as_released).to(heat.device)
    if as_released:
        weighted = (full - full.min()) / (full.max() - full.min()) * weights
        return weighted / weighted.mean()
    weighted = min_max(full) * weights
    mean = weighted.mean()
    return weighted / mean if mean > 0 else torch.ones_like(weighted)


def heat_scores(heat: Tensor, masks: Tensor, lam: float, *, as_released: bool = False) -> Tensor:
    """How much hotter it is inside each mask than outside: mean inside - lam * mean outside, (M,) float32.

    Args:
        heat: (H, W) of mean 1.
        masks: (M, H, W) bool. An empty one has no heat inside, and outside one of the whole image it is 1.
        lam: weight of what is outside.
        as_released: times 2 / (1 + lam), and NaN for empty and whole masks.
    """
    whole = heat.double()
    sums = torch.stack([whole[mask].sum() for mask in masks])
    areas = masks.flatten(1).sum(dim=1)
    left = heat.numel() - areas
    if as_released:
        scores = (sums / areas - lam * (whole.sum() - sums) / left) * (2 / (1 + lam))
        return scores.float()
    inside = sums / areas.clamp(min=1)
    outside = torch.where(left > 0, (whole.sum() - sums) / left.clamp(min=1), 1.0)
    return (inside - lam * outside).float()


def guide(
    logits: Tensor,
    other_logits: Tensor | None,
    boxes: Tensor,
    masks: Tensor,
    heat: Tensor,
    relation: str | None,
    settings: GuidanceSettings,
    *,
    reach: tuple[int, int] | None = None,
) -> Guided:
    """Final scores of M masks, at least one.

    Args:
        logits: (M,), scaled cosines of the masks with the expression.
        other_logits: (M,), with the other things it names; None where it names none.
        boxes: (M, 4), left, top, width, height, pixels.
        masks: (M, H, W) bool.
        heat: (H, W), of `position_heat`.
        relation: one of `RELATIONS`, or any other or None for none.
        settings: see `GuidanceSettings`.
        reach: k1 and k2 instead of those of the settings; cut to M.
    """
    released = settings.as_released
    k1, k2 = reach or (settings.k1, settings.k2)
    p = logits.softmax(dim=0)
    q = None if other_logits is None else other_logits.softmax(dim=0)
    best = likeliest(p, k1)
    landmarks = best if q is None else likeliest(q, k2)
    terms = relation_terms(boxes, relation, p, p if q is None else q, as_released=released)
    sums = terms[:, landmarks].sum(dim=1)
    warmth = heat_scores(heat, masks, settings.weight(relation), as_released=released)
    able = best if released else torch.nonzero(masks.flatten(1).any(dim=1)).squeeze(1)
    share, heat_share = sums.softmax(dim=0), warmth.softmax(dim=0)
    if released:
        share = torch.zeros_like(sums).index_copy(0, able, sums[able].softmax(dim=0))
        heat_share = warmth
    final = (1 - settings.alpha) * share + settings.alpha * heat_share
    return Guided(p, q, sums, share, warmth, heat_share, final, able)


def ranked(scores: Tensor, able: Tensor) -> Tensor:
    """Indices `able` of scores (M,) from best to worst; of equal ones as they come, NaN first."""
    return able[scores[able].argsort(descending=True, stable=True)]


def likeliest(scores: Tensor, k: int) -> Tensor:
    """Indices of the k largest, best first, all if there are fewer; of equal ones the earlier first."""
    return scores.argsort(descending=True, stable=True)[:k]
