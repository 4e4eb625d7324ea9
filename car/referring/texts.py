"""Sentences as the mask-proposal methods give them to CLIP, and their features before any normalisation."""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from car.errors import InputError
from car.vlm.model import CLIP
from car.vlm.tokenizer import tokenize

MAX_KEPT = 20_000
"""Features kept per model; those of the texts first seen go first."""

_CUTS = {
    "i": "m|d|ve",
    "he": "s|d",
    "she": "s",
    "it": "d|ll",
    "we": "d|ve",
    "you|they": "d|ll|re|ve",
    "that|there|this|what|when|where|who|why|how|these|those": "s|d|ll|ve",
    "could|might|must|should|would": "ve",
    "ai|are|ca|could|did|do|does|had|has|have|is|might|must|need|should|was|were|wo|would": "n['’]?t",
    "can": "not",
    "gon": "na",
    "got": "ta",
}
"""Beginnings of words and the ends that are words of their own: "dont" is "do nt"."""
_JOINED = re.compile(r"\b(?:" + "|".join(rf"(?:{word})(?=(?:{end})\b)" for word, end in _CUTS.items()) + ")")
_PUNCTUATION = re.compile(r"([^\w\s])(?=[^\w\s])(?!(?<=\.)\.|(?<=-)-)")


def tidy(expression: str) -> str:
    """An expression with single spaces between its words.

    Raises:
        InputError: it is blank, or no string.
    """
    if not isinstance(expression, str):
        raise InputError(f"Expected an expression to be a string, but got {type(expression).__name__}.")
    if not (text := " ".join(expression.split())):
        raise InputError("The expression is blank; say what to look for.")
    return text


def word_splitter() -> str:
    """What takes sentences apart here: "spacy" where it is installed (no pipeline is needed), else "rules"."""
    return "rules" if importlib.util.find_spec("spacy") is None else "spacy"


def rejoined(sentence: str) -> str:
    """A sentence in lower case with a space between any two tokens of spaCy's, as the published code words it.

    CLIP's tokenizer takes most of them apart anyway. Without spaCy, what it does not is done by rules: contractions
    ("dont" is "do nt") and punctuation in a row ("!?" is "! ?").
    """
    text = " ".join(sentence.lower().split())
    return by_spacy(text) if word_splitter() == "spacy" else by_rules(text)


def by_rules(text: str) -> str:
    """A text in lower case, with the spaces that spaCy would put where CLIP's tokenizer puts none.

    >>> by_rules("she isn't there, thats all!!")
    "she is n't there, that s all! !"
    """
    return _PUNCTUATION.sub(r"\1 ", _JOINED.sub(r"\g<0> ", text))


def by_spacy(text: str) -> str:
    """The tokens of spaCy's English tokenizer, a space between them."""
    return " ".join(token.text for token in _spacy()(text) if token.text != " ")


@cache
def _spacy() -> Any:
    import spacy

    return spacy.blank("en").tokenizer


class TextVectors:
    """Text features of a CLIP as its projection leaves them, with a memory.

    Sums of these are what Global-Local CLIP and HybridGL compare with images, so their lengths matter;
    `car.vlm.text.TextEncoder` keeps directions alone. Every text is encoded by itself: its feature is the same to the
    last bit whatever else is asked.

    Args:
        clip: the model.
        truncate: cut texts that are too long instead of refusing them.
    """

    def __init__(self, clip: CLIP, *, truncate: bool = False) -> None:
        self.clip, self.truncate = clip, truncate
        self._known: dict[str, Tensor] = {}

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Features (B, E) float32, not normalised.

        Raises:
            InputError: a text has more tokens than the model reads.
        """
        if not texts:
            return torch.zeros(0, self.clip.embed_dim, device=self.clip.device)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        tokens = tokenize(new, context_length=self.clip.context_length, truncate=self.truncate)
        for text, row in zip(new, tokens, strict=True):
            self._known[text] = self.clip.encode_text(row[None].to(self.clip.device))[0]
        found = torch.stack([self._known[text] for text in texts])
        for text in list(self._known)[: max(0, len(self._known) - MAX_KEPT)]:
            del self._known[text]
        return found


def ensemble(sentence: Tensor, phrase: Tensor, beta: float) -> Tensor:
    """beta * sentence + (1 - beta) * noun phrase, features (..., E) that may or may not be normalised."""
    return beta * sentence + (1 - beta) * phrase
