"""Text features, computed once per text and kept."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from car.vlm.fingerprint import text_hash
from car.vlm.model import CLIP
from car.vlm.text_store import TextStore, text_key
from car.vlm.tokenizer import tokenize

BATCH_SIZE = 32
MAX_KEPT = 100_000
"""Features kept per model; those of the texts first seen go first."""
LISTS_KEPT = 8
"""Lists of queries kept per model; those first seen go first."""


class TextEncoder:
    """The text side of a CLIP with a memory.

    A feature is the same to the last bit in whatever company its text is encoded: every batch has BATCH_SIZE rows and a
    length in whole blocks, for rounding depends on the shape of a product. So what was kept may stand for what would be
    computed.

    Args:
        clip: the model.
        truncate: cut texts that are too long instead of refusing them.
        folder: where features are kept on disk, too; None keeps them in memory alone.
    """

    def __init__(self, clip: CLIP, *, truncate: bool = False, folder: Path | None = None) -> None:
        self.clip, self.truncate, self.folder = clip, truncate, folder
        self._known: dict[str, Tensor] = {}
        self._lists: dict[tuple[tuple[str, ...], tuple[str, ...]], Tensor] = {}

    @cached_property
    def store(self) -> TextStore | None:
        """Where features are kept on disk."""
        if self.folder is None:
            return None
        return TextStore(self.folder, text_hash(self.clip), self.clip.embed_dim)

    @torch.inference_mode()
    def encode(self, texts: str | Sequence[str]) -> Tensor:
        """Normalised features (B, E) float32 of one text or several; new ones go through the model in batches.

        Raises:
            InputError: a text has more tokens than the model reads.
        """
        texts = [texts] if isinstance(texts, str) else texts
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            tokens = tokenize(new, context_length=self.clip.context_length, truncate=self.truncate)
            self._known.update(zip(new, self._features(tokens), strict=True))
        if not texts:
            return torch.zeros(0, self.clip.embed_dim, device=self.clip.device)
        found = torch.stack([self._known[text] for text in texts])
        for text in list(self._known)[: max(0, len(self._known) - MAX_KEPT)]:
            del self._known[text]
        return found

    def templated(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Normalised features (T, N, E) of every query in every template; {} stands for the query.

        The same lists are answered at once: for a thousand queries, putting known features together takes its time.
        """
        asked = tuple(queries), tuple(templates)
        if asked not in self._lists:
            texts = [template.replace("{}", query) for template in templates for query in queries]
            for oldest in list(self._lists)[: len(self._lists) + 1 - LISTS_KEPT]:
                del self._lists[oldest]
            self._lists[asked] = self.encode(texts).view(len(templates), len(queries), self.clip.embed_dim)
        return self._lists[asked]

    def _features(self, tokens: Tensor) -> Tensor:
        """Features (B, E) of token ids (B, L), from the disk where they are."""
        features = torch.empty(len(tokens), self.clip.embed_dim, device=self.clip.device)
        missing = torch.arange(len(tokens))
        if self.store is not None:
            keys = [text_key(row) for row in tokens]
            there = self.store.get(keys)
            for row, key in enumerate(keys):
                if key in there:
                    features[row] = torch.from_numpy(there[key].copy())
            missing = torch.tensor([row for row, key in enumerate(keys) if key not in there], dtype=torch.long)
        for rows in batches(tokens, missing):
            padded = torch.cat([rows, rows[:1].expand(BATCH_SIZE - len(rows))])
            encoded = self.clip.encode_text(tokens[padded].to(self.clip.device))[: len(rows)]
            features[rows.to(features.device)] = encoded / encoded.norm(dim=-1, keepdim=True)
        if self.store is not None and len(missing):
            values = features[missing.to(features.device)].cpu().numpy()
            self.store.put({keys[row]: value for row, value in zip(missing.tolist(), values, strict=True)})
        return features


def batches(tokens: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """Rows of tokens (B, L) in batches of at most BATCH_SIZE, each of texts that the encoder works on at one length."""
    lengths = CLIP.blocks(tokens[rows].argmax(dim=-1) + 1)
    for length in lengths.unique():
        yield from rows[lengths == length].split(BATCH_SIZE)
