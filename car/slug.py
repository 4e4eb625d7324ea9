"""File names made of query text."""

import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 60
_MAX_BYTES = 180
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def slug(text: str) -> str:
    """A file name for a query: its letters, digits and combining marks in lower case, the rest as "-".

    Letters of every script are kept. Safe on every common file system: never empty, at most 60 characters and
    180 bytes, no dots, slashes, spaces or control characters, no device name of Windows, and no two slugs
    that differ in case alone. Texts without letters (an emoji, say) are named by their code points.
    `slug(slug(text)) == slug(text)`.

    >>> slug("A black/white Cat!"), slug("猫"), slug("../../etc/passwd"), slug("🐱"), slug("CON")
    ('a-black-white-cat', '猫', 'etc-passwd', 'u1f431', 'con_')
    """
    name = _cut(_plain(text))
    if not name:
        name = _cut("-".join(f"u{ord(char):x}" for char in text if not char.isspace())) or "query"
    return f"{name}_" if name in _RESERVED else name


def unique_slugs(texts: Iterable[str]) -> list[str]:
    """Slugs of several texts, in order; those that would meet are numbered.

    >>> unique_slugs(["cat", "Cat", "cat 2", "cat!"])
    ['cat', 'cat-2', 'cat-2-2', 'cat-3']
    """
    taken: set[str] = set()
    names = []
    next_number: dict[str, int] = {}
    for text in texts:
        base = name = slug(text)
        number = next_number.get(base, 2)
        while name in taken:
            name = f"{_cut(base, spare=len(str(number)) + 1)}-{number}"
            number += 1
        next_number[base] = number
        taken.add(name)
        names.append(name)
    return names


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char if char.isalnum() or unicodedata.category(char)[0] == "M" else "-" for char in folded)


def _cut(name: str, spare: int = 0) -> str:
    words = "-".join(word for word in name.split("-") if word)[: MAX_LENGTH - spare]
    return words.encode()[: _MAX_BYTES - spare].decode(errors="ignore").strip("-")
