"""The tiny decoder: patches and words read each other once, and the patches answer to the text."""

from torch import Tensor, nn

from car.prompt_ris.attention import CrossAttention


class CoarseDecoder(nn.Module):
    """Cross-attention both ways (Eq. 1) and the response of the patches to the text (Eq. 2).

    It is told where the patches are, by CLIP's own table of positions: that what comes out of CLIP still says so is not
    to be relied on.

    Args:
        width: E, of CLIP's joint embedding.
        places: D_C, width of the table of positions.
        heads: of the attention.
    """

    def __init__(self, width: int, places: int, heads: int) -> None:
        super().__init__()
        self.places = nn.Linear(places, width, bias=False)
        self.from_patches, self.from_words = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_patches, self.to_words = CrossAttention(width, width, heads), CrossAttention(width, width, heads)
        self.patches, self.words = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, patches: Tensor, places: Tensor, words: Tensor, end: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the patches answer, and the words that have seen them.

        Args:
            patches: F_I, (P, N, E).
            places: (N, D_C), CLIP's positions of the patches.
            words: F_T, (P, T, E).
            end: (P,), the place of each text's global feature.
            valid: (P, T) bool, which words are there.

        Returns:
            response: S'_C = F'_I . t_g, (P, N) logits, over the square root of E so that their size is not its.
            words: F'_T, (P, T, E).
        """
        patches = patches + self.places(places)
        seen, read = self.from_patches(patches), self.from_words(words)
        patches = self.patches(patches + self.to_patches(seen, read, valid=valid))
        words = self.words(words + self.to_words(read, seen))
        text = words.gather(1, end[:, None, None].expand(-1, 1, words.shape[-1]))
        response = (patches * text).sum(dim=-1)
        return response.float() * patches.shape[-1] ** -0.5, words
