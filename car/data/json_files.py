"""JSON that benchmarks come with: large, and not to be trusted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from car.data.prepare.preparation import unreadable
from car.errors import InputError

MAX_BYTES = 4 * 1024**3


def read_json(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Read a file.

    Args:
        hook: called with every object as soon as it is complete; what it gives takes the object's place, so that what
            is not needed is gone before the next is read. An InputError of it should begin with what the file has.

    Raises:
        InputError: it cannot be read, is too large, is not JSON in UTF-8, or the hook says so; one line that names the
            file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"has more than {MAX_BYTES:,} bytes, which is the limit.")
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_hook=hook, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable(path, error) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number that annotations may have")
