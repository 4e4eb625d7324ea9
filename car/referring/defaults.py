"""Defaults of the ways of referring, in a room of their own: the help of commands must not wait for torch."""

from typing import Any

REGIONS = "regions"
PROPOSALS_HELP = (
    "Mask proposals: mini, sam_vit_b|l|h, regions, a file or folder.  [default: regions; with the embedded CLIP: mini]"
)


def default_proposals(model: Any) -> str:
    """Where the mask proposals of those that choose among them come from.

    With the embedded CLIP that is the embedded SAM: both know drawn scenes. Other models are asked of photographs, of
    which the embedded SAM knows nothing; regions need no weights either.

    Args:
        model: of `car.load_referrer`.
    """
    return "mini" if model == "mini" else REGIONS
