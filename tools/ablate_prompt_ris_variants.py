"""What the ablations of Prompt-RIS train: the rows of the paper's Tables 3, 4 and 5."""

from dataclasses import dataclass

from car.cli.train import MINI
from car.prompt_ris.settings import SAM_PROMPTS
from car.prompt_ris.training_settings import TrainingSettings

IMAGES = 16
"""In a step, unless an epoch has fewer."""


@dataclass(frozen=True)
class Variant:
    """A model that leaves out some of the paper's parts; without arguments, the whole.

    directions, sam_prompts: as of `PromptRISSettings`.
    contrast: weight of the instance contrastive loss.
    """

    directions: str = "both"
    sam_prompts: tuple[str, ...] = SAM_PROMPTS
    contrast: float = 1.0

    @property
    def name(self) -> str:
        """A name for files: variants of the same parts have the same."""
        parts = [f"prompting-{self.directions}", "+".join(self.sam_prompts) or "coarse"]
        return "-".join(parts + (["contrast"] if self.contrast else []))

    def epochs(self, coarse: int, joint: int) -> tuple[int, int]:
        """Epochs of both stages; where there is no SAM, stage 1 has those of stage 2 as well."""
        return (coarse, joint) if self.sam_prompts else (coarse + joint, 0)


@dataclass(frozen=True)
class Budget:
    """What all variants have in common.

    scenes: in an epoch.
    coarse_epochs, joint_epochs: of the two stages; a variant without SAM has them all in the first.
    seed: of weights, scenes and all else that is drawn.
    """

    scenes: int = 800
    coarse_epochs: int = 3
    joint_epochs: int = 2
    seed: int = 0

    @property
    def images(self) -> int:
        """In a step."""
        return min(IMAGES, self.scenes)

    def settings(self, variant: Variant) -> TrainingSettings:
        """How a variant is trained."""
        coarse, joint = variant.epochs(self.coarse_epochs, self.joint_epochs)
        return TrainingSettings(
            coarse_epochs=coarse,
            joint_epochs=joint,
            images=self.images,
            rate=MINI["rate"],
            contrast=variant.contrast,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    title: what it is about.
    column: what its rows differ in.
    rows: variants by what the table calls them, in its order.
    """

    title: str
    column: str
    rows: dict[str, Variant]


FULL = Variant()
TABLES = {
    "3": Table(
        "Table 3: the parts, one by one",
        "model",
        {
            "baseline (coarse masks)": Variant("none", (), 0.0),
            "+ CMP": Variant("both", (), 0.0),
            "+ SAM prompts": Variant("both", SAM_PROMPTS, 0.0),
            "+ ICL (full)": FULL,
        },
    ),
    "4": Table(
        "Table 4: directions of cross-modal prompting",
        "prompting",
        {
            "none": Variant("none"),
            "V2LP": Variant("v2l"),
            "L2VP": Variant("l2v"),
            "both (full)": FULL,
        },
    ),
    "5": Table(
        "Table 5: prompts for SAM",
        "prompts",
        {
            "mask": Variant(sam_prompts=("mask",)),
            "point": Variant(sam_prompts=("point",)),
            "text": Variant(sam_prompts=("text",)),
            "mask + point": Variant(sam_prompts=("mask", "point")),
            "mask + text": Variant(sam_prompts=("mask", "text")),
            "point + text": Variant(sam_prompts=("point", "text")),
            "mask + point + text (full)": FULL,
        },
    ),
}


def variants(tables: list[str]) -> list[Variant]:
    """The variants of some tables, each once, the full model first: differences are to it."""
    return [*dict.fromkeys([FULL, *(each for name in tables for each in TABLES[name].rows.values())])]
