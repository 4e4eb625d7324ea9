"""What `ablate_scenes` has measured so far, in a folder, so that a run that was stopped goes on where it was."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from car.errors import InputError


@dataclass(frozen=True)
class Task:
    """One scene to measure under one set of settings.

    table: "main", "tuning" or "unknown"; what is measured.
    row: name of the split.
    index: number of the scene in it.
    name: of the settings, unique within a table.
    changes: the settings that differ from the model set's defaults, pairs of field and value.
    """

    table: str
    row: str
    index: int
    name: str
    changes: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.table, self.row, self.name, self.index


class Records:
    """Records of scenes in `folder`/records.jsonl, one line each, made under the settings in `folder`/settings.json.

    A record is a mapping with at least table, row, name and index, as of `Task`.

    Raises:
        InputError: what the folder holds was made under other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        check_settings(folder, settings)
        self.file = folder / "records.jsonl"
        self._known: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        # What a killed run wrote of its last line is no record, and the next one must not be appended to it.
        whole = self.file.read_bytes() if self.file.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]
        self.file.write_bytes(whole)
        self._remember(map(json.loads, whole.splitlines()))

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Keep records, in memory and in the file."""
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        self._remember(records)

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """The tasks that have no record yet."""
        return [task for task in tasks if task.key not in self._known]

    def of(self, table: str, row: str, name: str, scenes: int) -> list[dict[str, Any]]:
        """Records of the first `scenes` scenes of a row, in order; each must be there."""
        return [self._known[table, row, name, index] for index in range(scenes)]

    def _remember(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            self._known[record["table"], record["row"], record["name"], record["index"]] = record


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings, or refuse a folder that holds others."""
    file = folder / "settings.json"
    text = json.dumps(settings, indent=1)
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
        return
    written = json.loads(file.read_text(encoding="utf-8"))
    for key, value in json.loads(text).items():
        if written.get(key) != value:
            raise InputError(f"The records in {str(folder)!r} were made with another {key}; name another folder.")
