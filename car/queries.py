"""What users ask for, tidied."""

import logging
from collections.abc import Sequence

from car.errors import InputError

log = logging.getLogger(__name__)


def clean_queries(queries: str | Sequence[str]) -> tuple[str, ...]:
    """Queries with tidy white space, each once (letter case ignored: CLIP's tokenizer ignores it too).

    Raises:
        InputError: there are none, or one is blank or no string.
    """
    asked = [queries] if isinstance(queries, str) else list(queries)
    if not asked:
        raise InputError("No queries: name at least one thing to look for.")
    tidy: dict[str, str] = {}
    for position, query in enumerate(asked, start=1):
        if not isinstance(query, str):
            raise InputError(f"Expected query {position} to be a string, but got {type(query).__name__}.")
        text = " ".join(query.split())
        if not text:
            raise InputError(f"Query {position} is blank; remove it or name what to look for.")
        if tidy.setdefault(text.casefold(), text) is not text:
            log.warning("Query %d repeats %r and is dropped.", position, tidy[text.casefold()])
    return tuple(tidy.values())
