"""What a measurement comes to: seconds of stages beside their floors and a rival's."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LOOP = ("propose", "prompt", "classify", "crf")
"""The stages between a decoded image with encoded texts and its masks."""
TOTAL = "propose to crf"
COLD, DISK = "text, cold", "text, disk"
"""The texts when they are first encoded, and when they are read from the disk."""
ORDER = ("decode", COLD, DISK, "propose", "prompt", "classify", "crf", TOTAL, "sam", "encode")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one row measures.

    models: as of `load_models`.
    size: (width, height) of the image in pixels.
    queries: how many, as of `inputs.words`.
    referring: they are expressions, each with a proposal and a CRF of its own.
    all_kept: theta is 0; otherwise it is such that about a quarter of the queries is left after the first step.
    cascade: as of `Config`; the quarter is then one of the queries that the classifier is shown.
    """

    models: str
    size: tuple[int, int]
    queries: int
    referring: bool = False
    all_kept: bool = False
    cascade: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a rival found, and how long it took.

    seconds: by stage, under the names of `car.prepared.Clock`; a list has an entry per step.
    peaks: bytes by stage, as of `Meter`.
    masks: of the image worked on: a label map (h, w), or in referring mode a mask per query, (N, h, w) bool, empty for
        those that were dropped; None if only a part was worked.
    entered: how many queries entered each step.
    dtype: that it ran in, as of `car.load`.
    estimated: the stages whose seconds were taken from a part of the work.
    """

    seconds: Mapping[str, float | Sequence[float]]
    peaks: Mapping[str, int | None]
    masks: np.ndarray | None
    entered: Sequence[int]
    dtype: str
    estimated: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage in all runs.

    name: of `Clock`, with the number of the step behind it where it has one.
    seconds: of each run; none where only the rival has this stage.
    floor: the seconds it must take at least (`car.bench.floors`); None where there is nothing to say.
    peak: bytes of memory in use at most; None if unknown.
    rival: seconds of each of the rival's runs.
    rival_peak: bytes of memory in use at most while it ran.
    estimated: the rival's seconds were taken from a part of the work.
    """

    name: str
    seconds: tuple[float, ...] = ()
    floor: float | None = None
    peak: int | None = None
    rival: tuple[float, ...] = ()
    rival_peak: int | None = None
    estimated: bool = False

    @property
    def median(self) -> float | None:
        """Of the seconds."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> float | None:
        """The longest run less the shortest, of several."""
        return max(self.seconds) - min(self.seconds) if len(self.seconds) > 1 else None

    @property
    def ratio(self) -> float | None:
        """How many times the floor the median is."""
        return self.median / self.floor if self.median is not None and self.floor else None

    @property
    def rival_median(self) -> float | None:
        return statistics.median(self.rival) if self.rival else None

    @property
    def speed_up(self) -> float | None:
        """How many times the median the rival's is."""
        return self.rival_median / self.median if self.median and self.rival_median is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        derived = ("median", "spread", "ratio", "rival_median", "speed_up")
        return {**vars(self), **{name: getattr(self, name) for name in derived}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case, measured.

    dtype, device: of the models.
    working: (height, width) that was worked on; see `Config.max_side`.
    theta: the threshold, chosen by the case.
    entered: how many queries entered each step.
    kept: how many were left in the end.
    drawn: how many prompted images the classifier saw in each step.
    stages: in the order in which they come.
    resident: bytes of memory that the whole process had at most from the first texts to the last file, models
        included; None where the system does not tell.
    rival_entered: `entered` of the rival; empty without one.
    rival_dtype: that the rival ran in; None without one.
    agreement: the share of the label map's pixels that are as the rival's, in referring mode of the mask where it is
        least; None where it did not work everything, or there is no rival.
    """

    case: Case
    dtype: str
    device: str
    working: tuple[int, int]
    theta: float
    entered: tuple[int, ...]
    kept: int
    drawn: tuple[int, ...]
    stages: tuple[Stage, ...]
    resident: int | None
    rival_entered: tuple[int, ...] = ()
    rival_dtype: str | None = None
    agreement: float | None = None

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError where there is none."""
        return {stage.name: stage for stage in self.stages}[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "case": vars(self.case), "stages": [stage.to_dict() for stage in self.stages]}


@dataclass
class Runs:
    """Seconds and peaks of several runs, stage by stage and step by step."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)

    def add(self, seconds: Mapping[str, float | Sequence[float]], peaks: Mapping[str, int | None]) -> None:
        """One run more, and the sum over its loop."""
        named = flat(seconds)
        named[TOTAL] = sum(value for name, value in named.items() if stage_of(name) in LOOP)
        for name, value in named.items():
            self.seconds.setdefault(name, []).append(value)
        for stage, most in peaks.items():
            self.peaks[stage] = largest(most, self.peaks.get(stage))

    def rename(self, stage: str, name: str) -> None:
        """Call a stage otherwise, if there is one."""
        if stage in self.seconds:
            self.seconds[name] = self.seconds.pop(stage)
        if stage in self.peaks:
            self.peaks[name] = self.peaks.pop(stage)


def stages(ours: Runs, floors: Mapping[str, float], others: Runs, estimated: frozenset[str]) -> tuple[Stage, ...]:
    """The figures by stage, in the order of the work, step by step."""
    names = sorted({*ours.seconds, *others.seconds}, key=place)
    whole = any(stage in estimated for stage in LOOP)
    return tuple(
        Stage(
            name=name,
            seconds=tuple(ours.seconds.get(name, ())),
            floor=floors.get(name),
            peak=ours.peaks.get(stage_of(name)),
            rival=tuple(others.seconds.get(name, ())),
            rival_peak=others.peaks.get(stage_of(name)),
            estimated=whole if name == TOTAL else stage_of(name).split(",")[0] in estimated,
        )
        for name in names
    )


def place(name: str) -> tuple[int, int, int]:
    """Where a stage comes: what steps repeat is sorted by step, then by stage."""
    position = ORDER.index(stage_of(name))
    if stage_of(name) == name:
        return (position, 0, 0)
    return (ORDER.index("prompt"), int(name.rsplit(" ", 1)[1]), position)


def largest(*values: int | None) -> int | None:
    """Of those that are known.

    >>> largest(None, 3, 2)
    3
    """
    return max((value for value in values if value is not None), default=None)


def flat(seconds: Mapping[str, float | Sequence[float]]) -> dict[str, float]:
    """Seconds by stage, those of a stage with steps under its name and the step's number.

    >>> flat({"propose": 0.5, "classify": [2.0, 1.0]})
    {'propose': 0.5, 'classify 1': 2.0, 'classify 2': 1.0}
    """
    found: dict[str, float] = {}
    for stage, value in seconds.items():
        if isinstance(value, float):
            found[stage] = value
        else:
            found.update({f"{stage} {step}": each for step, each in enumerate(value, start=1)})
    return found


def stage_of(name: str) -> str:
    """The stage of a name, without the number of its step."""
    return name.rsplit(" ", 1)[0] if name[-1].isdigit() else name
