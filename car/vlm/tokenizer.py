"""CLIP's byte-pair encoding.

The table of merges is OpenAI's; it comes with the package `openai-clip`, whose code is neither imported nor used.
"""

import gzip
import html
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

from car.errors import InputError, MissingError

START, END = 49406, 49407
CONTEXT = 77
MAX_CHARACTERS = 4096
"""No text of more characters fits; joining the pieces of one endless word would take seconds."""
TABLE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = END + 1 - 256 * 2 - 2
WORD_END = "</w>"
WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def tokenize(texts: str | Sequence[str], *, context_length: int = CONTEXT, truncate: bool = False) -> Tensor:
    """Token ids of texts.

    Args:
        texts: one text or several.
        context_length: L.
        truncate: cut what is too long (the end token stays last) instead of refusing it.

    Returns:
        (B, L) int64: the start token, the text's, the end token, zeros.

    Raises:
        InputError: a text has more than L tokens, counting start and end.
        MissingError: the table of merges is not installed.

    >>> tokenize("a cat")[0, :5].tolist()
    [49406, 320, 2368, 49407, 0]
    """
    texts = [texts] if isinstance(texts, str) else texts
    rows = torch.zeros(len(texts), context_length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        if len(text) > MAX_CHARACTERS and not truncate:
            raise too_long(text, f"{len(text)} characters", context_length)
        ids = [START, *encode(text[:MAX_CHARACTERS]), END]
        if len(ids) > context_length:
            if not truncate:
                raise too_long(text, f"{len(ids)} tokens", context_length)
            ids = [*ids[: context_length - 1], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def too_long(text: str, size: str, context_length: int) -> InputError:
    begin = text if len(text) <= 40 else text[:37] + "..."
    return InputError(
        f"The text {begin!r} has {size}, more than the {context_length} tokens the model reads; "
        "shorten it, or set `truncate` to cut it."
    )


@lru_cache(maxsize=2**16)
def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text, without start and end."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    ids, bytes_, _ = tables()
    words = WORDS.findall(" ".join(text.split()).lower())
    return tuple(ids[piece] for word in words for piece in merged("".join(bytes_[b] for b in word.encode("utf-8"))))


@lru_cache(maxsize=2**16)
def merged(word: str) -> tuple[str, ...]:
    """The pieces of one word: adjacent pieces are joined, earliest learnt pair first, until no learnt pair is left."""
    if word in ("<|startoftext|>", "<|endoftext|>"):
        return (word,)
    _, _, ranks = tables()
    pieces = [*word[:-1], word[-1] + WORD_END]
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, MERGES))
        if best not in ranks:
            break
        joined: list[str] = []
        for piece in pieces:
            # A piece that has just been joined cannot be joined again in the same pass.
            if joined and (joined[-1], piece) == best:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return tuple(pieces)


@cache
def tables() -> tuple[dict[str, int], dict[int, str], dict[tuple[str, str], int]]:
    """Ids of pieces, printable letters of bytes, and ranks of merges."""
    lines = gzip.decompress(table_path().read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = byte_letters()
    pieces = [*letters.values(), *(letter + WORD_END for letter in letters.values())]
    pieces += [left + right for left, right in merges]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return {p: i for i, p in enumerate(pieces)}, letters, {pair: i for i, pair in enumerate(merges)}


def byte_letters() -> dict[int, str]:
    """A printable letter for each byte: itself where it prints, else one from 256 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in prints]
    return {b: chr(b) for b in prints} | {b: chr(256 + i) for i, b in enumerate(rest)}


def table_path() -> Path:
    """Where `openai-clip` keeps the table."""
    try:
        files = distribution("openai-clip").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == TABLE:
            return Path(str(file.locate()))
    raise MissingError("CLIP's vocabulary is not installed: pip install openai-clip==1.0.1")
