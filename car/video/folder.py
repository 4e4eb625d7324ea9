"""A segmented film as files. Of a film called `cat`, the results in `out` are

    out/cat.json                    what was asked of which film, with every setting; in the end, what was found
    out/cat.frames.jsonl            a line per frame (`FrameResult.record`), in order
    out/Annotations/cat/00000.png   its label map, as DAVIS has it: palette PNG in the colours of PASCAL VOC, or 16-bit
                                    grey with more than 254 queries; 0 is background, i + 1 is query i
    out/cat.mp4                     the film under its masks
    out/.cat.state                  while the film is not finished: what to go on from

The state is kept every few frames. Whatever stops the work, it goes on from there, and ends in the same bytes.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from car.errors import InputError
from car.evaluate.plan import flat, shown
from car.evaluate.run_writer import lock
from car.export import dumps, make_folder, reported, write_atomically, write_labels
from car.video.hidden import Hidden
from car.video.result import FrameResult

logger = logging.getLogger(__name__)

SAVE_EVERY = 16
"""Frames from one state that is kept to the next."""
_OWN_FRAME = re.compile(r"\d{5,}\.png")
_NUMBER_BYTES = 8


class FilmFolder:
    """The files of one film, to write to; goes on with what is there of the same plan. One process at a time can.

    Args:
        out: made when absent.
        name: of the film, as in the names of its files.
        plan: what is asked of which film, as plain data.
        overwrite: begin anew, whatever is there.

    Raises:
        InputError: a film of that name is there, finished or with another plan (the message says what differs);
            another process is writing it; or the folder cannot be made.
        CarError: writing failed.

    Attributes:
        done: how many frames are there.
        hidden: what the last of them has left.
    """

    def __init__(self, out: str | Path, name: str, plan: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.out, self.name, self.plan = Path(out), name, plan
        self.report, self.lines = self.out / f"{name}.json", self.out / f"{name}.frames.jsonl"
        self.labels, self.film = self.out / "Annotations" / name, self.out / f"{name}.mp4"
        self._state = self.out / f".{name}.state"
        self.done, self.hidden = 0, None
        if not overwrite:
            self._refuse_others()
        make_folder(self.labels)
        with reported(self.out):
            self._file: BinaryIO = self.lines.open("ab")
            try:
                lock(self._file.fileno(), self.out)
                if overwrite:
                    self._clear()
                for path in self.labels.glob(".*.tmp"):  # what a kill left of unfinished label maps
                    path.unlink()
                self.done, self.hidden = self._saved()
                self._file.truncate(self._length(self.done))
                write_atomically(self.report, f"{dumps({'plan': plan})}\n".encode())
            except BaseException:
                self._file.close()
                raise

    def close(self) -> None:
        """Let others write the film."""
        self._file.close()

    def write(self, result: FrameResult, hidden: Hidden | None) -> None:
        """Add the next frame, which leaves `hidden`.

        Raises:
            CarError: writing failed.
        """
        line = f"{dumps(result.record(), indent=None)}\n".encode()
        write_labels(self.labels / f"{result.frame.number:05}.png", result.labels, len(result.queries))
        with reported(self.lines):
            self._file.write(line)
            self._file.flush()
        self.done, self.hidden = self.done + 1, hidden
        if self.done % SAVE_EVERY == 0:
            self.save()

    def save(self) -> None:
        """Keep the state, to go on from here."""
        state = b"" if self.hidden is None else self.hidden.to_bytes()
        with reported(self._state):
            os.fsync(self._file.fileno())
            write_atomically(self._state, self.done.to_bytes(_NUMBER_BYTES) + state)

    def records(self) -> Iterator[dict[str, Any]]:
        """What was written of each frame, read one by one."""
        with reported(self.lines), self.lines.open("rb") as file:
            yield from map(json.loads, file)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Say what was found; with that, the film is finished.

        Raises:
            CarError: writing failed.
        """
        with reported(self.report):
            write_atomically(self.report, f"{dumps({'plan': self.plan, **summary})}\n".encode())
            self._state.unlink(missing_ok=True)

    def _refuse_others(self) -> None:
        """InputError where files are there of anything but an unfinished film of the same plan."""
        there = [path for path in (self.report, self.lines, self.film, self.labels) if os.path.lexists(path)]
        if not there or (there == [self.labels] and not any(self.labels.iterdir())):
            return
        advice = "Add `--overwrite`, or choose another `--out`."
        report = _read(self.report)
        if set(report) != {"plan"}:
            raise InputError(f"{str(there[0])!r} exists already. {advice}")
        old, new = dict(flat(report["plan"])), dict(flat(self.plan))
        if different := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
            key = different[0]
            more = f", and {len(different) - 1} more" if len(different) > 1 else ""
            what = f"{key} is {shown(old.get(key))} there, {shown(new.get(key))} here{more}"
            raise InputError(f"{str(self.report)!r} is of another unfinished film: {what}. {advice}")

    def _clear(self) -> None:
        """Remove what there is of the film, and nothing that a user may have put beside it."""
        for path in (self._state, self.report, self.film):
            path.unlink(missing_ok=True)
        self._file.truncate(0)
        for path in self.labels.iterdir():
            if _OWN_FRAME.fullmatch(path.name):
                path.unlink()

    def _saved(self) -> tuple[int, Hidden | None]:
        """How many frames to go on from, and what the last of them has left."""
        if not self._state.exists():
            return 0, None
        state = self._state.read_bytes()
        done, rest = int.from_bytes(state[:_NUMBER_BYTES]), state[_NUMBER_BYTES:]
        try:
            return done, Hidden.from_bytes(rest) if rest else None
        except InputError:
            logger.warning("%s is damaged: the film is begun anew.", self._state)
            return 0, None

    def _length(self, lines: int) -> int:
        """Bytes of the first lines of the records; InputError where there are fewer."""
        with self.lines.open("rb") as file:
            for number in range(lines):
                if not file.readline().endswith(b"\n"):
                    raise InputError(f"{str(self.lines)!r} has lost lines ({number} of {lines}); add `--overwrite`.")
            return file.tell()


def _read(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping, or an empty one where there is none."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
