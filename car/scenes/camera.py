"""What a camera does to a scene: uneven light, soft focus, noise, JPEG."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Light:
    """A tinted light that falls off to one side.

    towards: radians, the side it comes from.
    strength: share by which it is brighter there, and darker opposite.
    tint: gain of red, green and blue.
    """

    towards: float
    strength: float
    tint: tuple[float, ...]


@dataclass(frozen=True)
class Camera:
    """The defects of a camera; None where it has not that one.

    light: uneven light.
    blur: deviation of the soft focus as a share of the picture's short side.
    noise: (seed, deviation) of the noise, in steps of 8-bit values.
    quality: JPEG quality, 1 to 100.
    """

    light: Light | None
    blur: float | None
    noise: tuple[int, float] | None
    quality: int | None

    def take(self, image: np.ndarray) -> np.ndarray:
        """The picture as this camera takes it, uint8 RGB (H, W, 3)."""
        if self.light is not None:
            image = lit(image, self.light)
        if self.blur is not None:
            image = cv2.GaussianBlur(image, (0, 0), min(image.shape[:2]) * self.blur)
        if self.noise is not None:
            seed, deviation = self.noise
            noise = np.zeros(image.shape, np.int16)
            cv2.setRNGSeed(seed)
            cv2.randn(noise, np.zeros(3), np.full(3, deviation))
            image = cv2.add(image, noise, dtype=cv2.CV_8U)
        if self.quality is not None:
            data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, self.quality))[1]
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return image


def draw_camera(rng: np.random.Generator) -> Camera:
    """A camera at random: each defect with one chance in two."""
    light, soft, grainy, compressed = rng.random(4) < 0.5
    return Camera(
        Light(rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.35), tuple(rng.uniform(0.85, 1.1, 3).tolist()))
        if light
        else None,
        rng.uniform(0.002, 0.008) if soft else None,
        (int(rng.integers(2**31)), rng.uniform(2, 8)) if grainy else None,
        int(rng.integers(30, 95)) if compressed else None,
    )


def lit(image: np.ndarray, light: Light) -> np.ndarray:
    """The picture under a light."""
    height, width = image.shape[:2]
    across, down = (np.linspace(-1, 1, n, dtype=np.float32) for n in (width, height))
    gain = 1 + light.strength * (np.cos(light.towards) * across[None] + np.sin(light.towards) * down[:, None])
    return cv2.multiply(image, cv2.merge([gain * float(t) for t in light.tint]), dtype=cv2.CV_8U)
