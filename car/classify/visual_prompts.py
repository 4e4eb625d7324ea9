"""Visual prompts (CaR, Algorithm B): show the classifier which part of the image is meant."""

import difflib
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from car.errors import InputError

PROMPTS = ("blur", "gray", "black", "circle", "rectangle", "contour")
"""Every visual prompt, in the order in which several are applied, however they are listed."""

_BLUR_KERNEL = (15, 15)
_OUTSIDE, _DRAWN = PROMPTS[:3], PROMPTS[3:]
# Which line type draws an ellipse's segments between points finer than pixels, one pixel wide, as the published code's
# OpenCV did by default: 4.13 exchanged the two.
_ELLIPSE_LINE = cv2.LINE_8 if (cv2.getVersionMajor(), cv2.getVersionMinor()) < (4, 13) else cv2.LINE_4


def in_order(prompts: Sequence[str]) -> tuple[str, ...]:
    """The visual prompts in the order they are applied, each once.

    Raises:
        InputError: there is no such visual prompt; the message names the closest one.
    """
    for name in prompts:
        if name not in PROMPTS:
            close = difflib.get_close_matches(str(name).lower(), PROMPTS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"Unknown visual prompt {name!r}.{hint} Available: {', '.join(PROMPTS)}; join with '+'.")
    return tuple(name for name in PROMPTS if name in prompts)


class VisualPrompter:
    """Marks masks on one image; what depends on the image alone is computed once.

    Args:
        image: (H, W, 3) uint8 RGB; never changed.
        prompts: names out of `PROMPTS`. blur, gray and black change what lies outside the mask; circle (an ellipse),
            rectangle and contour are drawn around it. None at all leaves the image as it is.
        color: of what is drawn, RGB in [0, 255].
        thickness: of what is drawn, pixels.

    Raises:
        InputError: any of these is not as described.
    """

    def __init__(
        self,
        image: np.ndarray,
        prompts: Sequence[str],
        *,
        color: tuple[int, int, int] = (255, 0, 0),
        thickness: int = 1,
    ) -> None:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(f"Expected an image (H, W, 3) of uint8, but got shape {image.shape} of {image.dtype}.")
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise InputError(f"Expected argument `color` to be three values in [0, 255], but got {color}.")
        if thickness < 1:
            raise InputError(f"Expected argument `thickness` to be at least 1, but got {thickness}.")
        self.image, self.prompts = image, in_order(prompts)
        self.color, self.thickness = color, thickness
        self._outside = outside(image, [name for name in self.prompts if name in _OUTSIDE])
        self._draw = [_DRAW[name] for name in self.prompts if name in _DRAWN]

    def render(self, mask: np.ndarray) -> np.ndarray:
        """The image with its visual prompts.

        Args:
            mask: (H, W) bool. One pixel or none marks nothing: the image comes back as it is.

        Returns:
            (H, W, 3) uint8 RGB, owned by the caller.

        Raises:
            InputError: the mask is not bool, or not of the image's size.
        """
        if mask.dtype != np.bool_ or mask.shape != self.image.shape[:2]:
            raise InputError(
                f"Expected a mask {self.image.shape[:2]} of bool, but got shape {mask.shape} of {mask.dtype}."
            )
        if np.count_nonzero(mask) <= 1:
            return self.image.copy()
        inside = np.ascontiguousarray(mask).view(np.uint8)
        prompted = self._outside.copy()
        if self._outside is not self.image:
            cv2.copyTo(self.image, inside, prompted)
        for draw in self._draw:
            draw(prompted, inside, self.color, self.thickness)
        return prompted


def outside(image: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """The whole image as it looks outside a mask, uint8 (H, W, 3); `image` itself when no prompt changes it."""
    if "black" in prompts:
        return np.zeros_like(image)
    if "blur" in prompts:
        image = cv2.GaussianBlur(image, _BLUR_KERNEL, 0)
    if "gray" in prompts:
        # The published code reads the RGB image as BGR here, so red weighs 0.114 and blue 0.299.
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return image


def mask_to_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Centre row, centre column, height and width of a mask that is not empty.

    The centre is the mean of the mask's pixels, rounded down, not the middle of its extent: what is drawn around it
    need not enclose the mask.
    """
    (row, height), (column, width) = (_spread(np.count_nonzero(mask, axis=axis)) for axis in (1, 0))
    return row, column, height, width


def _spread(counts: np.ndarray) -> tuple[int, int]:
    """Mean position, rounded down, and extent of pixels counted per position."""
    positions = np.flatnonzero(counts)
    mean = int(np.dot(counts[positions], positions)) // int(counts.sum())
    return mean, int(positions[-1] - positions[0]) + 1


def _circle(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], thickness: int) -> None:
    row, column, height, width = mask_to_box(mask)
    cv2.ellipse(image, (column, row), (width // 2, height // 2), 0, 0, 360, color, thickness, _ELLIPSE_LINE)


def _rectangle(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], thickness: int) -> None:
    row, column, height, width = mask_to_box(mask)
    corners = (column - width // 2, row - height // 2), (column + width // 2, row + height // 2)
    cv2.rectangle(image, *corners, color, thickness)


def _contour(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], thickness: int) -> None:
    """Outer outlines alone: what filling the holes first, as Algorithm B does, comes to."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, outlines, -1, color, thickness)


_DRAW: dict[str, Callable[[np.ndarray, np.ndarray, tuple[int, int, int], int], None]] = {
    "circle": _circle,
    "rectangle": _rectangle,
    "contour": _contour,
}
