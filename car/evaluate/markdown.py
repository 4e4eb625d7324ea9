"""Numbers, tables and texts in Markdown."""

import math
from collections.abc import Iterable, Sequence

NOTHING = "-"
"""What stands where there is no number."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table; all columns but the first are set to the right, as numbers are, or to the left.

    >>> print(table(["class", "IoU"], [["cat", "63.2"]]))
    | class | IoU |
    | --- | --: |
    | cat | 63.2 |
    """
    marks = ["---", *["--:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, marks, *rows))


def text(value: object) -> str:
    r"""Any text as it is, within one cell of a table.

    >>> text("a|b\n*c*")
    'a\\|b \\*c\\*'
    """
    line = " ".join(str(value).split())
    return "".join(f"\\{char}" if char in "\\`*_|<>[]#" else char for char in line)


def code(value: object) -> str:
    """A text as code, within one cell of a table.

    >>> code("a|b")
    '`a\\\\|b`'
    """
    line = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def per_cent(share: float | None, sign: str = "", digits: int = 1) -> str:
    """A share in [0, 1] in per cent, "-" where there is none.

    >>> per_cent(0.6321), per_cent(0.01, "+"), per_cent(-0.0001, "+"), per_cent(None)
    ('63.2', '+1.0', '+0.0', '-')
    """
    return number(None if share is None else 100 * share, digits, sign)


def within(ends: Sequence[float | None], sign: str = "") -> str:
    """An interval of shares in per cent, "-" where there is none.

    >>> within((0.6, 0.65))
    '[60.0, 65.0]'
    """
    return NOTHING if None in ends else f"[{', '.join(per_cent(end, sign) for end in ends)}]"


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """Any number, "-" where there is none.

    >>> number(2.125), number(math.nan)
    ('2.12', '-')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: never "-0.0"


def count(value: int) -> str:
    """A count in groups of three digits.

    >>> count(1449)
    '1 449'
    """
    return f"{value:,}".replace(",", " ")
