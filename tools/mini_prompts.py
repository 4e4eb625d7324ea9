"""Visual prompts on training scenes: which one, around what, and how carelessly."""

import cv2
import numpy as np

from car.scenes import Scene

PROMPTS = (
    *("gray", "gray", "black", "blur", "blur", "circle", "circle", "circle+blur", "circle+blur"),
    *("blur+gray", "blur+gray", "blur+gray", "crop"),
)
"""What a prompted image gets, one drawn per image; the model set's own (blur and gray) most often."""


def jitter(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a proposal might have it: grown or shrunk, or just a blob about there; shifted; never empty."""
    reach = max(1, int(mask.shape[0] * rng.uniform(0.01, 0.09)))
    if rng.random() < 0.3:
        changed = blob(mask, rng)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        changed = (cv2.dilate if rng.random() < 0.65 else cv2.erode)(mask.astype(np.uint8), kernel)
    moved = np.roll(changed, rng.integers(-reach, reach + 1, 2), axis=(0, 1)) > 0
    return moved if moved.any() else mask


def blob(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ellipse about where a mask is, uint8."""
    ys, xs = np.nonzero(mask)
    centre = (int(xs.mean()), int(ys.mean()))
    axes = tuple(int(1 + np.ptp(n) / 2 * rng.uniform(0.6, 1.2)) for n in (xs, ys))
    return cv2.ellipse(np.zeros(mask.shape, np.uint8), centre, axes, 0, 0, 360, 1, -1)


def stuff_mask(made: Scene, rng: np.random.Generator) -> tuple[np.ndarray, str] | None:
    """A disc of nothing but one kind of stuff, and its name; None where no try found one."""
    height, width = made.image.shape[:2]
    if len(made.background) > 1:
        return None
    for _ in range(4):
        disc = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(disc, centre, int(height * rng.uniform(0.12, 0.3)), 1, -1)
        if not (disc.astype(bool) & made.masks.any(0)).any():
            return disc > 0, made.background[0]
    return None


def draw_prompt(image: np.ndarray, mask: np.ndarray, prompt: str, rng: np.random.Generator) -> np.ndarray:
    """CaR's visual prompts (appendix B) and a crop, at the size of the training images."""
    out, side = image.copy(), len(image)
    outside = ~mask
    if "blur" in prompt:
        kernel = 2 * int(rng.integers(1, max(3, side // 14))) + 1
        out[outside] = cv2.GaussianBlur(image, (kernel, kernel), 0)[outside]
    if "gray" in prompt:
        out[outside] = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)[outside][:, None]
    if prompt == "black":
        out[outside] = 0
    ys, xs = np.nonzero(mask)
    if "circle" in prompt:
        axes = ((xs.max() - xs.min()) // 2, (ys.max() - ys.min()) // 2)
        out = circled(out, (int(xs.mean()), int(ys.mean())), (int(axes[0]), int(axes[1])), rng)
    if prompt == "crop":
        margin = int(side * rng.uniform(0, 0.08))
        part = out[max(0, ys.min() - margin) : ys.max() + 1 + margin, max(0, xs.min() - margin) : xs.max() + 1 + margin]
        out = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    return out


def circled(image: np.ndarray, centre: tuple[int, int], axes: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The image with a red ellipse, (x, y) each, drawn one or two pixels wide on it or on a larger one it came from.

    The classifier sees pictures reduced to its own side, and with them the line that was drawn on them.
    """
    scale, thickness = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    height, width = image.shape[:2]
    ring = np.zeros((scale * height, scale * width), np.uint8)
    grown = [(scale * x, scale * y) for x, y in (centre, axes)]
    cv2.ellipse(ring, grown[0], grown[1], 0, 0, 360, 255, thickness)
    alpha = cv2.resize(ring, (width, height), interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
    return np.round(image * (1 - alpha) + np.array((255, 0, 0), np.float32) * alpha).astype(np.uint8)
