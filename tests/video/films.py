"""Films to test with, as files."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def moving(count: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A bright square that crosses a dim texture, (count, H, W, 3) uint8."""
    rng = np.random.default_rng(3)
    pictures = np.repeat(rng.integers(60, 120, (1, *size, 3), np.uint8), count, axis=0)
    for time, picture in enumerate(pictures):
        left = 2 + time % (size[1] - 12)
        picture[8:16, left : left + 8] = (230, 200 - time % 50, 40)
    return pictures


def write_pictures(folder: Path, pictures: Iterable[np.ndarray]) -> Path:
    """A folder of frames, 0.png, 1.png, ..."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def write_film(path: Path, pictures: np.ndarray, codec: str = "FFV1", fps: float = 12) -> Path:
    """A film file; FFV1 loses nothing."""
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path
