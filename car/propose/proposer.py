"""f by name: what every way of proposing answers, and how each is put together."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from car.errors import InputError
from car.propose.affinity import Affinity
from car.propose.dense import Dense, output_embeddings, value_embeddings
from car.propose.gradcam import GradCAM
from car.propose.proposals import min_max
from car.vlm.vit import VisionTaps, VisionTransformer

EMBEDDINGS = {"dense": output_embeddings, "maskclip": value_embeddings}
PROPOSERS = ("caa", "gradcam", *EMBEDDINGS)


class Proposer(Protocol):
    """One image and N queries, answering for any subset of them without another pass through the network."""

    def maps(self, kept: Sequence[int], *, eps: float, together: bool = True) -> Tensor:
        """Soft masks (n, h, w) float32 in [0, 1] on the patch grid, of the queries at the positions `kept`.

        Together, they compete with each other and with the background queries; apart, each has these alone as rivals.
        `eps` is added to a map's maximum wherever one is divided by it.
        """

    def presence(self) -> Tensor:
        """How likely each query is anywhere, (N,) in [0, 1]: by its best patch, among all and the background."""


class CAA:
    """gradCAM spread along the encoder's attention, each map min-max normalised: the paper's f.

    Args:
        cam: the maps to refine.
        affinity: the same image's attention.
        lam: as in `Affinity.refine`.
    """

    def __init__(self, cam: GradCAM, affinity: Affinity, lam: float) -> None:
        self.cam, self.affinity, self.lam = cam, affinity, lam

    def maps(self, kept: Sequence[int], *, eps: float = 1e-15, together: bool = True) -> Tensor:
        """Refined maps (n, h, w) in [0, 1] of the kept queries."""
        return min_max(self.affinity.refine(self.cam.maps(kept, eps=eps, together=together), self.lam), eps)

    def presence(self) -> Tensor:
        """As of `Dense`, by the patches' embeddings behind the last block."""
        return self.cam.presence()


def shortlist(presence: Tensor, most: int, floor: float) -> list[int]:
    """Positions of the `most` queries with the highest presence (N,), and of all with at least `floor`, ascending.

    >>> import torch
    >>> shortlist(torch.tensor([0.1, 0.6, 0.2, 0.7, 0.3]), 1, 0.5)
    [1, 3]
    """
    best = presence.argsort(descending=True, stable=True)[:most]
    chosen = presence >= floor
    chosen[best] = True
    return chosen.nonzero()[:, 0].tolist()


def tap(name: str, visual: VisionTransformer, images: Tensor) -> VisionTaps:
    """The one pass over images (B, 3, H, W) that a proposer needs; only "caa" needs attention maps."""
    return visual.taps(images) if name == "caa" else visual.taps(images, attention_blocks=0)


def make_proposer(
    name: str,
    visual: VisionTransformer,
    taps: VisionTaps,
    queries: Tensor,
    background: Tensor,
    *,
    logit_scale: float,
    lam: float,
) -> Proposer:
    """The proposer of one image.

    Args:
        name: one of `PROPOSERS`.
        visual: the proposer's image encoder.
        taps: what `tap` kept of the image, which is the first of its batch.
        queries: (N, E) normalised text features.
        background: (M, E) normalised text features; M may be 0.
        logit_scale: the exponential of the model's temperature.
        lam: threshold of the affinity's boxes, in [0, 1].

    Raises:
        InputError: an unknown name.
    """
    if name not in PROPOSERS:
        raise InputError(f"Expected argument `proposer` to be one of {', '.join(PROPOSERS)}, but got {name!r}.")
    tokens = taps.tokens[0]
    if name in EMBEDDINGS:
        patches = EMBEDDINGS[name](visual, tokens)
        return Dense(patches, queries, background, logit_scale=logit_scale, grid=taps.grid)
    cam = GradCAM(visual, tokens, queries, background, logit_scale=logit_scale, grid=taps.grid)
    if name == "gradcam":
        return cam
    assert taps.attention is not None
    return CAA(cam, Affinity(taps.attention[0]), lam)
