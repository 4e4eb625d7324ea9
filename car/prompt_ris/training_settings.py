"""How Prompt-RIS is trained."""

import math
from dataclasses import asdict, dataclass

from car.errors import InputError

LEAST = {
    "coarse_epochs": 0,
    "joint_epochs": 0,
    "images": 1,
    "sentences": 1,
    "at_once": 0,
    "patience": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class TrainingSettings:
    """How Prompt-RIS is trained; the defaults are the paper's where it says.

    coarse_epochs, joint_epochs: of stage 1, the coarse masks alone, and of stage 2, coarse and final masks together.
    images, sentences: in a step, of all processes together: images, and sentences for each.
    at_once: images that a process holds in memory at once; 0 for its share of a step. Gradients are accumulated.
    rate, power: peak learning rate of AdamW, and of its polynomial decay over all steps.
    weight_decay: of AdamW.
    drop: chance of each prompt for SAM to be left out of a pair in training.
    contrast: weight of the instance contrastive loss.
    patience: end in the last stage when the validation's oIoU has not risen for so many epochs; 0 for never.
    seed: of the weights, the data's order, and all that is drawn.

    Raises:
        InputError: a value out of range.
    """

    coarse_epochs: int = 20
    joint_epochs: int = 30
    images: int = 16
    sentences: int = 4
    at_once: int = 0
    rate: float = 1e-4
    power: float = 0.9
    weight_decay: float = 0.01
    drop: float = 0.25
    contrast: float = 1.0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in LEAST:
                if not isinstance(value, int) or isinstance(value, bool) or value < LEAST[name]:
                    raise InputError(
                        f"Expected argument `{name}` to be a whole number from {LEAST[name]}, but got {value!r}."
                    )
            elif not (0 <= value < math.inf) or (name == "drop" and value >= 1):
                most = "in [0, 1)" if name == "drop" else "a number from 0"
                raise InputError(f"Expected argument `{name}` to be {most}, but got {value!r}.")
        if self.epochs == 0:
            raise InputError("Expected at least one epoch in one of the two stages, but got none.")

    @property
    def epochs(self) -> int:
        """Of both stages."""
        return self.coarse_epochs + self.joint_epochs

    def joint(self, epoch: int) -> bool:
        """Whether an epoch, from 0, belongs to stage 2."""
        return epoch >= self.coarse_epochs
