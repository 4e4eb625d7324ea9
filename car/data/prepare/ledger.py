"""What a preparation has finished, kept beside it: `.car-prepare-SPLIT.jsonl` in the folder of label maps.

A line per picture says what it was made from and what its files then were, both as SHA-256. A file that still is what
its line says needs no second look; anything else is made again and compared. The list may be deleted at any time: it
saves work, nothing else depends on it.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from car.export import dumps, reported


@dataclass(frozen=True)
class Record:
    """A finished picture.

    origin: digest of what it was made from.
    files: digests of its files, in the order they were written.
    seen: ids of the classes in it.
    """

    key: str
    origin: str
    files: tuple[str, ...]
    seen: tuple[int, ...]


class Ledger:
    """The records of a split, in a file; each is in it as soon as `add` returns. A context manager."""

    def __init__(self, path: Path) -> None:
        self._records: dict[str, Record] = {}
        with reported(path):
            for record in _read(path):
                self._records[record.key] = record
            self._file = path.open("ab")
        self._path = path

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def add(self, record: Record) -> None:
        if self._records.get(record.key) != record:
            self._records[record.key] = record
            with reported(self._path):
                self._file.write(f"{dumps(asdict(record), indent=None)}\n".encode())
                self._file.flush()


def digest(*contents: bytes) -> str:
    """SHA-256 of some contents, their borders included."""
    total = hashlib.sha256()
    for content in contents:
        total.update(len(content).to_bytes(8, "big"))
        total.update(content)
    return total.hexdigest()


def digests(paths: Iterable[Path]) -> tuple[str, ...] | None:
    """SHA-256 of files; None where one cannot be read."""
    try:
        return tuple(digest(path.read_bytes()) for path in paths)
    except OSError:
        return None


def _read(path: Path) -> list[Record]:
    """Records of a file, after what a kill left of a last one is cut off; lines that are none are left out."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return [record for line in whole.splitlines() if (record := _record(line)) is not None]


def _record(line: bytes) -> Record | None:
    try:
        data: Any = json.loads(line)
        key, origin, files, seen = data["key"], data["origin"], tuple(data["files"]), tuple(data["seen"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not all(type(text) is str for text in (key, origin, *files)) or not all(type(each) is int for each in seen):
        return None
    return Record(key, origin, files, seen)
