"""Where each pixel was one frame before: dense optical flow (Kroeger et al. 2016, DIS), and what it carries along."""

import cv2
import numpy as np

FLOW_SIDE = 320
"""Longest side in pixels that flow is computed at: motion is smooth, and the time grows with the area."""
SMALLEST = 16
"""Shortest side in pixels that flow is computed for; on less, everything is taken to stand still."""


def shrunk(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB as flow and cut detection see it: its longest side at most `FLOW_SIDE`."""
    height, width = image.shape[:2]
    scale = FLOW_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def flow(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Flow from a frame back to the one before it.

    Args:
        now, before: (h, w, 3) uint8 RGB, of one size.

    Returns:
        (h, w, 2) float32: what is at (x, y) now was at (x, y) + flow before, in pixels, columns first.
    """
    still = np.zeros((*now.shape[:2], 2), np.float32)
    if min(now.shape[:2]) < SMALLEST:
        return still
    # A fresh one each time: a used one starts from the flow it found before.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (now, before)]
    return np.asarray(dis.calc(grays[0], grays[1], still), np.float32)


def carried(masks: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Masks of the frame before as they lie in this one.

    Args:
        masks: (n, H, W) bool, of the proportions of the frame.
        field: (h, w, 2), as of `flow`, of any size.

    Returns:
        (n, H, W) float32 in [0, 1], soft at the edges; 0 where something comes in from outside the picture.
    """
    height, width = masks.shape[1:]
    scale = np.array([width / field.shape[1], height / field.shape[0]], np.float32)
    sources = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    columns, rows = columns + sources[:, :, 0], rows + sources[:, :, 1]
    maps = [cv2.remap(mask.astype(np.float32), columns, rows, cv2.INTER_LINEAR) for mask in masks]
    return np.array(maps, np.float32).reshape(masks.shape)
