"""Text features kept on disk between runs, by content: weights and tokens.

One SQLite file per text encoder, `FOLDER/<hash of the encoder>.sqlite`, which any number of processes may share. It is
a convenience: whatever is wrong with it is logged and costs time, nothing else.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from torch import Tensor

log = logging.getLogger(__name__)

WAIT = 20.0
"""Seconds to wait for another process that writes."""
_ROWS = 500


def text_folder() -> Path:
    """Where text features are kept: $CAR_CACHE/text, else in the user's cache folder."""
    if root := os.environ.get("CAR_CACHE"):
        return Path(root).expanduser() / "text"
    from platformdirs import user_cache_path

    return user_cache_path("car") / "text"


def text_key(tokens: Tensor) -> bytes:
    """What identifies a text: a hash of its token ids (L,), without the padding."""
    return hashlib.blake2b(tokens[: int(tokens.argmax()) + 1].numpy().astype("<i4").tobytes(), digest_size=20).digest()


class TextStore:
    """Features of one text encoder.

    Args:
        folder: where the files are; made when something is written.
        encoder: hash of the encoder (`text_hash`).
        width: E, the length of a feature.
    """

    def __init__(self, folder: Path, encoder: str, width: int) -> None:
        self.path, self.width = folder / f"{encoder}.sqlite", width

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Those that are there: features (E,) float32 by key."""
        if not self.path.is_file():
            return {}
        found = {}
        try:
            with closing(self._open()) as store:
                for some in _pieces(keys):
                    marks = ",".join("?" * len(some))
                    for key, value in store.execute(f"SELECT key, value FROM features WHERE key IN ({marks})", some):
                        if len(value) == 4 * self.width:
                            found[key] = np.frombuffer(value, "<f4")
        except (sqlite3.Error, OSError) as error:
            log.info("Text features in %s are not used: %s", self.path, error)
        return found

    def put(self, features: Mapping[bytes, np.ndarray]) -> None:
        """Keep features (E,) float32 by key."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as store, store:
                store.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
                rows = ((key, value.astype("<f4").tobytes()) for key, value in features.items())
                store.executemany("INSERT OR IGNORE INTO features VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            log.info("Text features are not kept in %s: %s", self.path, error)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=WAIT)


def _pieces(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _ROWS):
        yield keys[start : start + _ROWS]
