"""What users ask for, tidied."""

import logging
from collections.abc import Sequence
from typing import Any

from car.errors import InputError

log = logging.getLogger(__name__)

Query = str | Sequence[str]
"""What to look for: a text, or synonyms, the first of which names it."""


def clean_queries(queries: str | Sequence[Query]) -> tuple[str, ...]:
    """The names of queries, as `clean_synonyms` tidies them.

    >>> clean_queries([" big  cat", ("sofa", "couch"), "Big Cat"])
    ('big cat', 'sofa')
    """
    return tuple(names[0] for names in clean_synonyms(queries))


def clean_synonyms(queries: str | Sequence[Query]) -> tuple[tuple[str, ...], ...]:
    """Queries, each with its synonyms, with tidy white space, each once (letter case ignored: CLIP's tokenizer ignores
    it too).

    Args:
        queries: texts, or lists of synonyms.

    Returns:
        One tuple per query: its name and further synonyms.

    Raises:
        InputError: there are none, or one is blank or neither a string nor a list of strings.
    """
    asked = [queries] if isinstance(queries, str) else list(queries)
    if not asked:
        raise InputError("No queries: name at least one thing to look for.")
    tidy: dict[str, tuple[str, ...]] = {}
    for position, query in enumerate(asked, start=1):
        synonyms = {text.casefold(): text for text in reversed([_tidy(text, position) for text in _texts(query)])}
        if not synonyms:
            raise InputError(f"Query {position} has no synonym; name what to look for.")
        names = tuple(reversed(synonyms.values()))
        if tidy.setdefault(names[0].casefold(), names) is not names:
            log.warning("Query %d repeats %r and is dropped.", position, tidy[names[0].casefold()][0])
    return tuple(tidy.values())


def _texts(query: Any) -> Sequence[Any]:
    return list(query) if isinstance(query, list | tuple) else [query]


def _tidy(text: Any, position: int) -> str:
    if not isinstance(text, str):
        raise InputError(f"Expected query {position} to be a string, but got {type(text).__name__}.")
    tidy = " ".join(text.split())
    if not tidy:
        raise InputError(f"Query {position} is blank; remove it or name what to look for.")
    return tidy
