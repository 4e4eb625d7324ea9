"""A run as a folder of files, to read from.

    out/run.json              the plan, the shard if it is one, and where the data was; written first
    out/keys.txt              keys of the plan's pictures, one per line; of all of them, also where this is a shard
    out/records.jsonl         a record per picture, in the order they were done
    out/predictions/KEY.png   on request, the predicted label map: palette PNG in the colours of PASCAL VOC, or 16-bit
                              grey with more than 254 classes; 0 is background, i + 1 is class i
    out/report.md, ...        in the end; see `car.evaluate.report`

A record is appended when its picture is done, after its prediction, and reaches the disk before the next one does. If
a picture is recorded twice (it failed before, or its prediction had been removed), the later record counts. A kill can
leave a torn last line, which is cut off when the run goes on, and never half of any other file.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from car.errors import InputError
from car.evaluate.kinds import AnyPlan, AnyRecord, plan_from, record_from
from car.evaluate.plan import key_lines
from car.evaluate.shards import Shard

RUN, KEYS, RECORDS, PREDICTIONS = "run.json", "keys.txt", "records.jsonl", "predictions"


class Settings(NamedTuple):
    """What a run does: its plan, the part of it or None for all, and where the data was."""

    plan: AnyPlan
    shard: Shard | None
    data_root: str


class RunDirectory:
    """A run on disk, finished or not; knows where each record lies, and holds none.

    Args:
        folder: as `car eval` wrote it; see the top of this module for the files.

    Attributes:
        plan: what it computes.
        shard: which part of that, or None for all of it.
        data_root: where the data was.
        keys: of all pictures of the plan, sorted.
        failed: of the pictures whose record says why there is no result.

    Raises:
        InputError: there is no run, or one of its files is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.plan, self.shard, self.data_root = read_settings(self.folder)
        self.keys = read_keys(self.folder / KEYS)
        if sha256(key_lines(self.keys)).hexdigest() != self.plan.keys_sha256:
            raise InputError(
                f"{str(self.folder / KEYS)!r} is damaged: it does not list the {self.plan.unit} of the run's plan."
            )
        self.failed: set[str] = set()
        self._offsets: dict[str, int] = {}
        self._end = 0
        self._index()

    @property
    def own_keys(self) -> Sequence[str]:
        """Keys of the pictures this run is to do: all, or its shard's."""
        return self.keys if self.shard is None else self.shard.of(self.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def records(self) -> Iterator[AnyRecord]:
        """The record of every picture that has one, in the order of keys, read one by one."""
        return map(self.parse, self.lines(sorted(self._offsets)))

    def parse(self, line: str | bytes) -> AnyRecord:
        """The record that a line of this run holds.

        Raises:
            InputError: it holds none.
        """
        return record_from(self.plan, line)

    def lines(self, keys: Iterable[str]) -> Iterator[bytes]:
        """The lines, with their ends, that hold the records of these pictures."""
        path = self.folder / RECORDS
        with readable(path), path.open("rb") as file:
            for key in keys:
                file.seek(self._offsets[key])
                yield file.readline()

    def prediction(self, key: str) -> Path:
        """Where the predicted label map of a picture is kept, if it is."""
        return self.folder / PREDICTIONS / f"{key}.png"

    def has_prediction(self, key: str) -> bool:
        """Whether it is."""
        try:
            return self.prediction(key).stat().st_size > 0
        except OSError:
            return False

    def _index(self) -> None:
        """Note where each record lies, up to a torn last line."""
        path, known = self.folder / RECORDS, set(self.own_keys)
        with readable(path), path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                record = self._record(line)
                if record is None or record.key not in known:
                    raise InputError(
                        f"{str(path)!r} is damaged: line {number} is no record of this run. Without that line, what it "
                        "was of is done again."
                    )
                self._note(record, len(line))

    def _record(self, line: bytes) -> AnyRecord | None:
        try:
            return self.parse(line)
        except InputError:
            return None

    def _note(self, record: AnyRecord, length: int) -> None:
        """Note a record that begins where the last one ended."""
        self._offsets[record.key] = self._end
        self._end += length
        if record.error is None:
            self.failed.discard(record.key)
        else:
            self.failed.add(record.key)


def read_settings(folder: Path) -> Settings:
    """What the run in a folder does.

    Raises:
        InputError: there is no run, or its file is damaged.
    """
    path = folder / RUN
    if not path.exists():
        raise InputError(f"There is no run in {str(folder)!r}: it has no {RUN}.")
    with readable(path):
        content = path.read_bytes()
    try:
        values = json.loads(content)
        shard = None if values["shard"] is None else Shard.parse(values["shard"])
        return Settings(plan_from(values["plan"]), shard, str(values["data_root"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{str(path)!r} is damaged, or of another version of car.") from None


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys that `key_lines` wrote to a file; InputError where it cannot be read."""
    with readable(path):
        return tuple(path.read_bytes().decode(errors="surrogateescape").splitlines())


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError into an InputError that names what could not be read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
