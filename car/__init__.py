"""Open-vocabulary segmentation by text, without training.

>>> import car
>>> segmenter = car.load("mini")
>>> result = segmenter.segment(car.demo_image(), ["cat", "dog", "unicorn"])
>>> result.masks.shape[0], result.labels.shape == result.image.shape[:2]
(3, True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from car.config import Config as Config
    from car.errors import CarError as CarError
    from car.errors import CheckpointError as CheckpointError
    from car.errors import InputError as InputError
    from car.errors import MissingError as MissingError
    from car.referring.load import load_referrer as load_referrer
    from car.referring.referral import Referral as Referral
    from car.result import Segmentation as Segmentation
    from car.result import Step as Step
    from car.scenes.demo import demo_image as demo_image
    from car.segmenter import Segmenter as Segmenter
    from car.segmenter import load as load

__version__ = "0.1.0"

# The public names are imported when first used: `car --help` must not wait for torch.
_HOMES = {
    "Config": "car.config",
    "CarError": "car.errors",
    "CheckpointError": "car.errors",
    "InputError": "car.errors",
    "MissingError": "car.errors",
    "Segmentation": "car.result",
    "Step": "car.result",
    "Segmenter": "car.segmenter",
    "load": "car.segmenter",
    "Referral": "car.referring.referral",
    "load_referrer": "car.referring.load",
    "demo_image": "car.scenes.demo",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'car' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
