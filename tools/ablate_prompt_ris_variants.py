"""What the ablations of Prompt-RIS train: the rows of the paper's Tables 3, 4 and 5."""

from dataclasses import dataclass, replace

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

    @property
    def first(self) -> "Variant":
        """What stage 1 trains of it: the same for variants that differ in SAM's prompts alone."""
        return replace(self, sam_prompts=())


@dataclass(frozen=True)
class Budget:
    """What all variants have in common.

    scenes: in an epoch.
    coarse_epochs: of stage 1, on the coarse masks.
    joint_epochs: of stage 2, on both; a variant without SAM goes on with its coarse masks.
    seed: of weights, scenes and all else that is drawn in stage 1; stage 2 has the one that follows.
    """

    scenes: int = 1600
    coarse_epochs: int = 6
    joint_epochs: int = 1
    seed: int = 0

    @property
    def images(self) -> int:
        """In a step."""
        return min(IMAGES, self.scenes)

    def settings(self, variant: Variant, stage: int) -> TrainingSettings:
        """How stage 1 or 2 of a variant is trained."""
        epochs = (self.coarse_epochs, self.joint_epochs)[stage - 1]
        joint = stage == 2 and bool(variant.sam_prompts)
        return TrainingSettings(
            coarse_epochs=0 if joint else epochs,
            joint_epochs=epochs if joint else 0,
            images=self.images,
            rate=MINI["rate"] / stage,
            contrast=variant.contrast,
            seed=self.seed + stage - 1,
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
