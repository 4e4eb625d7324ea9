"""A run as a folder of files, to write to; `car.evaluate.run_directory` has the files."""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np

from car.errors import InputError
from car.evaluate.kinds import AnyPlan, AnyRecord
from car.evaluate.plan import Plan, differences, key_lines
from car.evaluate.report import FILES
from car.evaluate.run_directory import KEYS, PREDICTIONS, RECORDS, RUN, RunDirectory, read_keys, read_settings
from car.evaluate.shards import Shard
from car.export import dumps, make_folder, reported, write_atomically, write_labels

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)

ADVICE = "Add `--overwrite`, or choose another `--out`."
_SHOWN = 3
_APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would write other line ends
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""What a kill leaves of `write_atomically`."""


class RunWriter(RunDirectory):
    """A run on disk to go on with: a new one, or the one that is there. Only one process at a time can have it.

    Args:
        folder: made when absent.
        plan, keys, shard: as of `RunDirectory`.
        data_root: noted for the reader; data that has moved is the same data.
        overwrite: begin anew, whatever run is there.

    Raises:
        InputError: a run of another plan is there (the message says what differs), or files that no run wrote; or
            another process is writing this one; or the folder cannot be made; or a key is no file name.
        CarError: writing failed.
    """

    def __init__(
        self,
        folder: str | Path,
        plan: AnyPlan,
        keys: Sequence[str],
        *,
        data_root: str | Path,
        shard: Shard | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        for key in keys:
            self._check_key(key)
        self._refuse_others(plan, shard, overwrite)
        make_folder(self.folder)
        with reported(self.folder):
            self._file = os.open(self.folder / RECORDS, _APPENDING, 0o666)
            try:
                lock(self._file, self.folder)
                self._refuse_others(plan, shard, overwrite)  # again: another process may have begun one meanwhile
                if overwrite:
                    self._clear()
                self._write_settings(plan, keys, shard, data_root)
                super().__init__(self.folder)
                os.truncate(self._file, self._end)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write the run."""
        os.close(self._file)

    def append(self, record: AnyRecord) -> None:
        """Add the record of a picture; on return, it is on the disk.

        Raises:
            CarError: writing failed.
        """
        self.append_line(f"{record.to_line()}\n".encode())
        self.sync()

    def append_line(self, line: bytes) -> None:
        """Add a record by the line that holds it, with its end; on the disk after `sync`.

        Raises:
            CarError: writing failed; nothing was added.
        """
        record = self.parse(line)
        with reported(self.folder / RECORDS):
            try:
                if os.write(self._file, line) < len(line):
                    raise OSError("the disk is full")
            except BaseException:
                os.truncate(self._file, self._end)
                raise
        self._note(record, len(line))

    def sync(self) -> None:
        """Wait until all that was added is on the disk.

        Raises:
            CarError: writing failed.
        """
        with reported(self.folder / RECORDS):
            os.fsync(self._file)

    def write_prediction(self, key: str, labels: np.ndarray) -> None:
        """Keep a predicted label map (H, W), 0 is background, i + 1 is class i; the picture's record is to follow.

        Raises:
            InputError: the run is of another kind.
            CarError: writing failed.
        """
        if not isinstance(self.plan, Plan):
            raise InputError("Label maps are kept of semantic benchmarks alone.")
        path = self.prediction(key)
        make_folder(path.parent)
        write_labels(path, labels, len(self.plan.classes))

    def missing(self, *, predictions: bool = False) -> list[str]:
        """Keys of this run's pictures that have no result yet; with `predictions`, also those without a label map."""
        return [
            key
            for key in self.own_keys
            if key not in self or key in self.failed or (predictions and not self.has_prediction(key))
        ]

    def _check_key(self, key: str) -> None:
        """A key is a file name, and a line."""
        if key in (".", "..") or Path(key).name != key or key.splitlines() != [key] or "\0" in key:
            raise InputError(f"Nothing can be called {key!r} in a run: results could not be kept under that name.")

    def _refuse_others(self, plan: AnyPlan, shard: Shard | None, overwrite: bool) -> None:
        """InputError where something else is in the folder than a run, or one of this plan and shard."""
        if not (self.folder / RUN).exists():
            files = [self.folder / name for name in (RECORDS, KEYS, PREDICTIONS, *FILES)]
            if foreign := [path for path in files if os.path.lexists(path) and not _empty(path)]:
                raise InputError(f"{str(foreign[0])!r} is of no run: there is no {RUN}. Choose another `--out`.")
        elif not overwrite:
            self._refuse_other_run(plan, shard)

    def _refuse_other_run(self, plan: AnyPlan, shard: Shard | None) -> None:
        there, part, _ = read_settings(self.folder)
        if part != shard:
            raise InputError(f"{str(self.folder)!r} holds {named(part)}, not {named(shard)}. {ADVICE}")
        if found := differences(there, plan):
            raise InputError(f"{str(self.folder)!r} holds another run: {in_short(found)}. {ADVICE}")

    def _write_settings(self, plan: AnyPlan, keys: Sequence[str], shard: Shard | None, data_root: str | Path) -> None:
        """Say what is to be done, after clearing what a kill left of unfinished files."""
        for path in (*self.folder.glob(".*.tmp"), *(self.folder / PREDICTIONS).glob(".*.tmp")):
            if _UNFINISHED.fullmatch(path.name):
                path.unlink()
        part = None if shard is None else str(shard)
        values = {"data_root": str(data_root), "shard": part, "plan": plan.to_dict()}
        write_atomically(self.folder / RUN, f"{dumps(values)}\n".encode())
        write_atomically(self.folder / KEYS, key_lines(keys))

    def _clear(self) -> None:
        """Remove what an earlier run wrote but its settings, and nothing that a user may have put beside it."""
        os.truncate(self._file, 0)
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        listed = self.folder / KEYS
        for key in read_keys(listed) if listed.exists() else ():
            self._check_key(key)
            self.prediction(key).unlink(missing_ok=True)
        with suppress(OSError):  # where a user has put something into it
            os.rmdir(self.folder / PREDICTIONS)


def lock(file: int, folder: Path) -> None:
    """Lock an open file for this process; the system lets go of it when the process ends, however it ends.

    Raises:
        InputError: another process has the lock.
    """
    if fcntl is None:
        logger.warning("This system has no file locks: see that nothing else writes to %s.", folder)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"Another process is writing the run in {str(folder)!r}; wait for it, or choose another `--out`."
        ) from None
    except OSError as error:  # some network file systems
        logger.warning("Cannot lock %s (%s): see that nothing else writes to it.", folder, error.strerror)


def in_short(texts: Sequence[str]) -> str:
    """The first few texts, and how many there are beside them.

    >>> in_short(["a", "b", "c", "d", "e"])
    'a; b; c; and 2 more'
    """
    more = len(texts) - _SHOWN
    return "; ".join([*texts[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def named(shard: Shard | None) -> str:
    """Which part of a run a folder holds, in words."""
    return "a whole run" if shard is None else f"shard {shard}"


def _empty(path: Path) -> bool:
    """Whether a file is what a run that was killed at its very beginning leaves."""
    return path.name == RECORDS and path.is_file() and path.stat().st_size == 0
