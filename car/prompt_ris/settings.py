"""What a Prompt-RIS model is made of, besides its two frozen backbones."""

from dataclasses import asdict, dataclass

from car.errors import InputError

DIRECTIONS = ("both", "v2l", "l2v", "none")
"""Cross-modal prompting (Table 4): "both" ways, vision to language alone, language to vision alone, or not at all."""
SAM_PROMPTS = ("mask", "point", "text")


@dataclass(frozen=True)
class PromptRISSettings:
    """The architecture of Prompt-RIS (CVPR 2024); the defaults are the paper's.

    clip_side: side in pixels of the square image that CLIP sees, a multiple of its patch size.
    prompts: n, learnable tokens of each layer and direction.
    directions: which of the two encoders is prompted by the other, one of `DIRECTIONS`.
    sam_prompts: what SAM is asked with, any of `SAM_PROMPTS`; without any there is no SAM, and the coarse mask is the
        answer.
    heads: attention heads of every learned part.
    text_blocks: blocks of self- and cross-attention that make the text prompts.

    Raises:
        InputError: a value out of range.
    """

    clip_side: int = 480
    prompts: int = 16
    directions: str = "both"
    sam_prompts: tuple[str, ...] = SAM_PROMPTS
    heads: int = 8
    text_blocks: int = 2

    def __post_init__(self) -> None:
        for name in ("clip_side", "prompts", "heads", "text_blocks"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"Expected argument `{name}` to be a whole number from 1, but got {value!r}.")
        if self.directions not in DIRECTIONS:
            raise InputError(
                f"Expected argument `directions` to be one of {', '.join(DIRECTIONS)}, but got {self.directions!r}."
            )
        object.__setattr__(self, "sam_prompts", tuple(self.sam_prompts))
        if unknown := [name for name in self.sam_prompts if name not in SAM_PROMPTS]:
            raise InputError(
                f"Expected argument `sam_prompts` to be any of {', '.join(SAM_PROMPTS)}, but got {unknown[0]!r}."
            )

    def to_dict(self) -> dict[str, object]:
        """Plain data, for a file."""
        return asdict(self) | {"sam_prompts": list(self.sam_prompts)}
