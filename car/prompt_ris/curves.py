"""Curves of a training: tables that grow row by row and can be cut back to a step."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path


class Curve:
    """A CSV file whose first column is the step.

    Args:
        path: the file; it is made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, float]]:
        """All rows; cells that are empty are left out, and so is a row that a kill cut short."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            whole = [row for row in csv.DictReader(file) if None not in row.values()]
        return [{k: float(v) for k, v in row.items() if k and v} for row in whole]

    def cut(self, step: int) -> None:
        """Leave out the rows after a step: those that a killed run wrote and a resumed one will write again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        self._write(kept)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; one with other columns than the file has makes it anew, with all of them."""
        rows = [] if self._fits(row) else self.rows()
        if rows or not self.path.exists():
            self._write([*rows, row])
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(map(plain, row.values()))

    def _fits(self, row: Mapping[str, float]) -> bool:
        if not self.path.exists():
            return False
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), []) == list(row)

    def _write(self, rows: list[Mapping[str, float]] | list[dict[str, float]]) -> None:
        """Write the whole file under another name, then give it its own; no file of no rows."""
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({name: plain(value) for name, value in row.items()} for row in rows)
        os.replace(temporary, self.path)


def plain(value: float) -> str:
    """A number as it is written: six digits are enough for a curve.

    >>> plain(3.0), plain(0.123456789)
    ('3', '0.123457')
    """
    return f"{value:.6g}"
