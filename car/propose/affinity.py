"""Class-aware attention-based affinity (CAA, CLIP-ES section 3.3): maps spread along the encoder's own attention."""

import cv2
import numpy as np
import torch
from torch import Tensor

ROUNDS = 3
"""Sinkhorn rounds: columns, then rows, three times (the last two are CLIP-ES's refinement of the first)."""


class Affinity:
    """The symmetrised, doubly stochastic attention of one image, applied to maps without ever being squared.

    With W the mean attention (P, P), Sinkhorn gives D = diag(r) W diag(c), A = (D + D^T) / 2, and the refinement is
    A^2 (B_c * CAM_c) (CaR, Eq. 8): two products with a vector per map in place of a product of matrices.

    Args:
        attention: (P, P) float32, `VisionTaps.attention` of one image.
    """

    def __init__(self, attention: Tensor) -> None:
        self.attention = attention
        self.rows = attention.new_ones(len(attention))
        self.columns = torch.ones_like(self.rows)
        for _ in range(ROUNDS):
            self.columns = 1 / (self.rows @ attention)
            self.rows = 1 / (attention @ self.columns)

    def apply(self, maps: Tensor) -> Tensor:
        """A @ map for maps (N, P), float32."""
        forward = (maps * self.columns @ self.attention.T) * self.rows
        backward = (maps * self.rows @ self.attention) * self.columns
        return (forward + backward) / 2

    def refine(self, cams: Tensor, lam: float) -> Tensor:
        """Refined maps (N, h, w), not normalised, of CAMs (N, h, w) in [0, 1], within their boxes at `lam`."""
        boxes = np.stack([box_mask(cam, lam) for cam in cams.cpu().numpy()])
        masked = cams * torch.from_numpy(boxes).to(cams)
        return self.apply(self.apply(masked.flatten(1))).view_as(cams)


def boxes(cam: np.ndarray, lam: float) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1), ends exclusive, around what lies above `lam` of a map's maximum.

    The map is compared as bytes, contours are outer and inner ones, and x1 <= w - 1, y1 <= h - 1: a box that touches
    the right or bottom border loses its last column or row. That is how the published numbers were made. Where nothing
    lies above the threshold it is lowered by a tenth at a time; a map of zeros has no boxes.

    Args:
        cam: (h, w) in [0, 1].
        lam: fraction of the maximum, in [0, 1].
    """
    height, width = cam.shape
    bytes_ = (cam * 255).astype(np.uint8)
    top = int(bytes_.max())
    binary = bytes_ > int(lam * top)
    while top > 0 and not binary.any():
        lam -= 0.1
        binary = bytes_ > int(lam * top)
    contours, _ = cv2.findContours(binary.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        found.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    return found


def box_mask(cam: np.ndarray, lam: float) -> np.ndarray:
    """B_c: the union of a map's boxes, bool (h, w)."""
    mask = np.zeros(cam.shape, bool)
    for x0, y0, x1, y1 in boxes(cam, lam):
        mask[y0:y1, x0:x1] = True
    return mask
