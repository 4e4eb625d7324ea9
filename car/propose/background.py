"""Background queries: what a proposal competes with besides the other queries (CaR, appendix D)."""

from collections.abc import Iterable, Sequence


def without_queries(background: Iterable[str], queries: Sequence[str]) -> list[str]:
    """Background queries, each once, less those that the user asks for (letter case ignored)."""
    asked = {query.casefold() for query in queries}
    return list({word.casefold(): word for word in background if word.casefold() not in asked}.values())
