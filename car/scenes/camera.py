"""What a camera does to a scene: uneven light, soft focus, noise, JPEG."""

import cv2
import numpy as np


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera might have taken it: each defect with one chance in two. uint8 RGB (H, W, 3)."""
    light, soft, grainy, compressed = rng.random(4) < 0.5
    if light:
        image = lit(image, rng)
    if soft:
        image = cv2.GaussianBlur(image, (0, 0), min(image.shape[:2]) * rng.uniform(0.002, 0.008))
    if grainy:
        noise = np.zeros(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(2, 8)))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if compressed:
        data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))))[1]
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture under a tinted light that falls off to one side."""
    height, width = image.shape[:2]
    towards, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.35)
    tint = rng.uniform(0.85, 1.1, 3)
    across, down = (np.linspace(-1, 1, n, dtype=np.float32) for n in (width, height))
    gain = 1 + strength * (np.cos(towards) * across[None] + np.sin(towards) * down[:, None])
    return cv2.multiply(image, cv2.merge([gain * float(t) for t in tint]), dtype=cv2.CV_8U)
