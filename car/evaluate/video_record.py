"""What a run over films keeps of each: scores per annotator, rule, object and frame, no pixels; one line of JSON each.

{"key": "camel", "frames": 90, "annotators": {"annot1": {"asked": 1, "masks": 88, "uncertain": 2, "problems": {},
 "scores": {"fixed-ids": [{"proposal": 1, "region": [0.71, ...], "boundary": [...], "changes": [...]}], ...}}, ...},
 "seconds": {"read": 0.9, "segment": 80.5, "score": 7.2}}
{"key": "goat", "error": "'JPEGImages/480p/goat/00003.jpg' is empty (0 bytes)."}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from car.evaluate.record import line_of, record_in
from car.metrics.video import ObjectScores


@dataclass(frozen=True)
class AnnotatorRecord:
    """What came of one annotator's expressions.

    asked: how many expressions were asked.
    masks: how many masks were found, over all frames and expressions; a mask may be empty.
    uncertain: how many of these were marked as perhaps another expression's, by CaR alone.
    problems: why expressions were not asked, by object; these have no mask in any frame.
    scores: by rule of `car.metrics.video.RULES`, of all objects, in order.
    """

    asked: int
    masks: int
    uncertain: int
    problems: Mapping[str, str]
    scores: Mapping[str, tuple[ObjectScores, ...]]


@dataclass(frozen=True)
class VideoRecord:
    """One film of a run.

    key: its sequence.
    frames: how many it has.
    annotators: by name.
    seconds: wall time by stage; no two runs have the same.
    error: why there is no result; everything else is then empty.
    """

    key: str
    frames: int = 0
    annotators: Mapping[str, AnnotatorRecord] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def objects(self) -> int:
        """How many objects are scored."""
        return max((len(scores) for each in self.annotators.values() for scores in each.scores.values()), default=0)

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        said = {name: asdict(each) for name, each in self.annotators.items()}
        return line_of(self, frames=self.frames, annotators=said)

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """The record that `to_line` wrote.

        Raises:
            InputError: it is no such line.
        """
        return record_in(line, cls, _fields, "records of films")


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    said = {str(name): _annotator(each) for name, each in values["annotators"].items()}
    return {"frames": int(values["frames"]), "annotators": said}


def _annotator(values: Mapping[str, Any]) -> AnnotatorRecord:
    return AnnotatorRecord(
        **{name: int(values[name]) for name in ("asked", "masks", "uncertain")},
        problems={str(id): str(problem) for id, problem in values["problems"].items()},
        scores={str(rule): tuple(_object(each) for each in scores) for rule, scores in values["scores"].items()},
    )


def _object(values: Mapping[str, Any]) -> ObjectScores:
    by_frame = (tuple(map(float, values[name])) for name in ("region", "boundary", "changes"))
    return ObjectScores(int(values["proposal"]), *by_frame)
