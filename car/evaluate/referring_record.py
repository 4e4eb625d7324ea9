"""What a referring run keeps of each picture: counts per answer, no pixels; one line of JSON each.

{"key": "COCO_train2014_000000000072", "proposals": 31, "targets": [{"id": "17", "no_target": false, "answers":
 [{"intersection": 812, "union": 1010, "found": true, "flagged": false, "problems": []}]}], "seconds": {"read": 0.01}}
{"key": "COCO_train2014_000000000109", "error": "'train2014/COCO_train2014_000000000109.jpg' is empty (0 bytes)."}
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from car.evaluate.record import line_of, record_in
from car.metrics.referring import Overlap


@dataclass(frozen=True)
class Answer:
    """What came of one expression, or of all expressions of a target where they are answered together.

    intersection, union: pixels of the predicted and the true mask.
    found: whether the method chose anything.
    flagged: whether it says that there is no target: it chose nothing, or a mask without a pixel. A failed expression
        says nothing, so it is not flagged.
    problems: why expressions were not asked ("expression 2: ..."), counted from 1; if none was, the answer is empty.
    """

    intersection: int
    union: int
    found: bool
    flagged: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetRecord:
    """The answers for one target, in the order of its expressions.

    id: as of `car.data.Target`.
    no_target: whether its expressions refer to nothing.
    """

    id: str
    no_target: bool
    answers: tuple[Answer, ...]

    @property
    def overlaps(self) -> Iterator[Overlap]:
        """What is scored of each answer."""
        for each in self.answers:
            yield Overlap(each.intersection, each.union, self.no_target, each.flagged)


@dataclass(frozen=True)
class ReferringRecord:
    """One picture of a run.

    key: the picture.
    proposals: how many mask proposals it has; None for a method without.
    targets: as the benchmark lists them.
    seconds: wall time by stage; no two runs have the same.
    error: why there is no result; everything else is then empty.
    """

    key: str
    proposals: int | None = None
    targets: tuple[TargetRecord, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        return line_of(self, proposals=self.proposals, targets=[asdict(each) for each in self.targets])

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """The record that `to_line` wrote.

        Raises:
            InputError: it is no such line.
        """
        return record_in(line, cls, _fields, "referring records")


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    proposals = values["proposals"]
    return {
        "proposals": None if proposals is None else int(proposals),
        "targets": tuple(_target(each) for each in values["targets"]),
    }


def _target(values: Mapping[str, Any]) -> TargetRecord:
    answers = tuple(
        Answer(
            int(each["intersection"]),
            int(each["union"]),
            bool(each["found"]),
            bool(each["flagged"]),
            tuple(map(str, each["problems"])),
        )
        for each in values["answers"]
    )
    return TargetRecord(str(values["id"]), bool(values["no_target"]), answers)
