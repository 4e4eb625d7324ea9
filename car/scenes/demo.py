"""The one scene that documentation, demonstrations and first tries show."""

from pathlib import Path

import cv2
import numpy as np

from car.errors import MissingError
from car.scenes.scene import Scene, scene

DEMO_SEED = 3100
DEMO_PRESENT = ("cat", "dog", "umbrella")
DEMO_QUERIES = ("cat", "dog", "umbrella", "unicorn", "pizza", "bicycle")
"""What demonstrations ask for; the last three are not in the picture."""


def demo_scene() -> Scene:
    """A cat, a dog and an umbrella on grass, 375 by 500 pixels, of a seed that training never saw.

    Examples:
        >>> sorted(demo_scene().names)
        ['cat', 'dog', 'umbrella']
    """
    return scene(
        DEMO_SEED, size=(375, 500), objects=(3, 3), among=DEMO_PRESENT, background=["sky", "grass"], repeats=0, camera=0
    )


def demo_masks() -> dict[str, np.ndarray]:
    """The true mask of each object of the demo, bool (375, 500), by query."""
    made = demo_scene()
    return dict(zip(made.names, made.masks, strict=True))


def demo_path() -> Path:
    """The bundled JPEG of the demo scene."""
    return Path(__file__).parent / "demo.jpg"


def demo_image() -> np.ndarray:
    """The bundled JPEG, uint8 RGB (375, 500, 3).

    Raises:
        MissingError: the package was installed without its picture.
    """
    bgr = cv2.imread(str(demo_path()))
    if bgr is None:
        raise MissingError(f"Cannot read the bundled picture {demo_path()}; install the package again.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
