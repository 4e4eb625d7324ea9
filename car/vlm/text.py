"""Text features, computed once per text and kept."""

from collections.abc import Sequence

import torch
from torch import Tensor

from car.vlm.model import CLIP
from car.vlm.tokenizer import tokenize

BATCH_SIZE = 256
MAX_KEPT = 100_000
"""Features kept per model; those of the texts first seen go first."""


class TextEncoder:
    """The text side of a CLIP with a memory.

    Args:
        clip: the model.
        truncate: cut texts that are too long instead of refusing them.
    """

    def __init__(self, clip: CLIP, *, truncate: bool = False) -> None:
        self.clip, self.truncate = clip, truncate
        self._known: dict[str, Tensor] = {}

    @torch.inference_mode()
    def encode(self, texts: str | Sequence[str]) -> Tensor:
        """Normalised features (B, E) float32 of one text or several; new ones go through the model in batches.

        Raises:
            InputError: a text has more tokens than the model reads.
        """
        texts = [texts] if isinstance(texts, str) else texts
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            tokens = tokenize(new, context_length=self.clip.context_length, truncate=self.truncate)
            # Texts of like length share a batch: the encoder stops at the longest one's end.
            order = tokens.argmax(dim=-1).argsort(stable=True)
            for rows in order.split(BATCH_SIZE):
                features = self.clip.encode_text(tokens[rows].to(self.clip.device))
                features = features / features.norm(dim=-1, keepdim=True)
                self._known.update((new[row], feature) for row, feature in zip(rows.tolist(), features, strict=True))
        if not texts:
            return torch.zeros(0, self.clip.embed_dim, device=self.clip.device)
        found = torch.stack([self._known[text] for text in texts])
        for text in list(self._known)[: max(0, len(self._known) - MAX_KEPT)]:
            del self._known[text]
        return found

    def templated(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Normalised features (T, N, E) of every query in every template; {} stands for the query."""
        texts = [template.replace("{}", query) for template in templates for query in queries]
        return self.encode(texts).view(len(templates), len(queries), self.clip.embed_dim)
