"""One row of the benchmark: an image, queries and models, measured stage by stage."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from car.bench import floors, inputs
from car.bench.figures import COLD, DISK, Answer, Case, Row, Runs, largest, stages
from car.bench.meter import Meter
from car.bench.models import ModelPair
from car.classify.scores import mask_key
from car.device import DTYPES
from car.export import save
from car.io import read_image
from car.prepared import Asked, PreparedImage, resized
from car.recurrence import Turn
from car.referring.recurrent import DEFAULTS as REFERRING

DISTINCT = 1e-4
"""Scores that differ by a smaller share may change places by rounding."""
ENOUGH = 60.0
"""Seconds after which a rival is not measured once more."""


class Rival(Protocol):
    """Another way to do the same, stage by stage."""

    def __call__(
        self, prepared: PreparedImage, queries: Sequence[str], turns: Sequence[Turn], *, together: bool
    ) -> Answer:
        """Work on `prepared.working` with the models and settings of `prepared.segmenter`. `turns` is how the loop
        went for us, `together` as of `PreparedImage.ask`."""
        ...


def measure(
    models: ModelPair,
    case: Case,
    *,
    repeats: int,
    rival: Rival | None = None,
    tell: Callable[[str], None] = lambda part: None,
) -> Row:
    """Measure one case, and the floors of its stages; see `car.bench.floors`.

    A first pass, of which only the cold texts count, finds theta and leaves nothing to be done for the first time. Then
    everything is done `repeats` times, from the file to the files, on an image prepared anew, with texts read from the
    disk. The rival works as often, but not again once it has taken a minute.

    Args:
        models: what `case.models` names.
        case: what to measure.
        repeats: how often, at least 1.
        rival: what to measure beside it.
        tell: is told what is measured now.

    Raises:
        InputError: more queries than there are words.
    """
    with tempfile.TemporaryDirectory(prefix="car-bench-") as folder:
        return _Measurement(models, case, Path(folder), tell).row(repeats, rival)


class _Measurement:
    def __init__(self, models: ModelPair, case: Case, folder: Path, tell: Callable[[str], None]) -> None:
        self.models, self.case, self.folder, self.tell = models, case, folder, tell
        self.together = not case.referring
        self.queries = (inputs.words if self.together else inputs.expressions)(case.queries)
        settings = {} if self.together else REFERRING
        self.config = models.config.replace(**settings | {"theta": 0.0, "cascade": case.cascade})
        self.picture = folder / "picture.jpg"
        inputs.write_picture(self.picture, case.size)

    def row(self, repeats: int, rival: Rival | None) -> Row:
        self.tell("texts, and theta")
        cold = self.warm_up()
        runs, resident = Runs(), cold.resident
        for turn in range(repeats):
            self.tell(f"run {turn + 1} of {repeats}")
            meter, prepared, turns, masks = self.once()
            runs.add(meter.seconds, meter.peaks)
            resident = largest(resident, meter.resident)
        runs.rename("text", DISK)
        runs.seconds[COLD], runs.peaks[COLD] = [cold.seconds["text"]], cold.peaks["text"]
        drawn = new_masks(turns, self.config.eta)
        self.tell("floors")
        least = self.floors(prepared, turns, drawn, repeats)
        others, answer = self.others(rival, prepared, turns, repeats)
        return Row(
            case=self.case,
            dtype=next(name for name, dtype in DTYPES.items() if dtype == self.models.proposer.dtype),
            device=str(self.models.proposer.device),
            working=(prepared.working.shape[0], prepared.working.shape[1]),
            theta=self.config.theta,
            entered=tuple(len(turn.queries) for turn in turns),
            kept=len(turns[-1].survivors),
            drawn=tuple(drawn),
            stages=stages(runs, least, others, answer.estimated if answer else frozenset()),
            resident=resident,
            rival_entered=tuple(answer.entered) if answer else (),
            rival_dtype=answer.dtype if answer else None,
            agreement=agreement(masks, answer.masks) if answer else None,
        )

    def warm_up(self) -> Meter:
        """Set theta; the meter knows how long texts take that were never encoded before."""
        self.models.segmenter(self.config, self.folder / "else").proposer_text.encode("something else")
        prepared, asked, meter = self.ask()
        if not self.case.all_kept:
            self.config = self.config.replace(theta=theta_for(asked.turns(max_steps=1)[0].scores))
        prepared.config = self.config
        self.finish(prepared, asked, meter)
        return meter

    def once(self) -> tuple[Meter, PreparedImage, Sequence[Turn], np.ndarray]:
        """The whole way once; the masks at the size worked on, as of `Answer`."""
        prepared, asked, meter = self.ask()
        return meter, prepared, *self.finish(prepared, asked, meter)

    def ask(self) -> tuple[PreparedImage, Asked, Meter]:
        """From the file to what is known before the loop begins."""
        meter = Meter(self.models.proposer.device)
        segmenter = self.models.segmenter(self.config, self.folder / "texts")
        segmenter.mask_proposer = inputs.ellipses
        with meter("decode"):
            image = read_image(self.picture)
        prepared = PreparedImage(segmenter, image)
        prepared.new_clock = lambda: meter
        return prepared, prepared.ask(self.queries, together=self.together), meter

    def finish(self, prepared: PreparedImage, asked: Asked, meter: Meter) -> tuple[Sequence[Turn], np.ndarray]:
        """From the loop to the files."""
        if not self.together:
            turns: Sequence[Turn] = asked.turns()
            masks = np.zeros((len(self.queries), *prepared.working.shape[:2]), bool)
            masks[list(turns[-1].survivors)] = prepared.masks(turns[-1], meter)
            return turns, masks
        result = asked.result()
        turns = [
            Turn(step.indices, step.soft, step.scores, tuple(np.array(step.indices)[step.kept].tolist()))
            for step in result.steps
        ]
        labels = resized(result.labels, prepared.working.shape[:2])
        # The proposals are there before the clock starts: finding them is another model's work.
        assert len(prepared.mask_proposals)
        with meter("sam"):
            prepared.merged(labels, turns[-1])
        with meter("encode"):
            save(result, self.folder / "out", "picture", overwrite=True)
        return turns, labels

    def floors(
        self, prepared: PreparedImage, turns: Sequence[Turn], drawn: Sequence[int], repeats: int
    ) -> dict[str, float]:
        """As of `floors.of_stages`."""
        return floors.of_stages(
            prepared,
            self.queries,
            turns,
            drawn,
            together=self.together,
            read=self.picture.stat().st_size,
            written=sum(path.stat().st_size for path in (self.folder / "out").rglob("*") if path.is_file()),
            repeats=repeats,
        )

    def others(
        self, rival: Rival | None, prepared: PreparedImage, turns: Sequence[Turn], repeats: int
    ) -> tuple[Runs, Answer | None]:
        """The rival's figures, and its last answer."""
        runs, answer, begin = Runs(), None, time.perf_counter()
        for turn in range(repeats if rival else 0):
            if turn and time.perf_counter() - begin > ENOUGH:
                break
            self.tell(f"the other way, run {turn + 1}")
            assert rival
            answer = rival(prepared, self.queries, turns, together=self.together)
            runs.add(answer.seconds, answer.peaks)
        runs.rename("text", COLD)
        return runs, answer


def theta_for(scores: np.ndarray) -> float:
    """A threshold that about a quarter of scores (N,) in [0, 1] reaches, in the widest gap there is near it, so that
    rounding does not move a query to the other side; among equal scores, further away from a quarter.

    >>> round(theta_for(np.array([0.9, 0.1, 0.2, 0.3])), 3)
    0.6
    >>> round(theta_for(np.array([0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])), 3)
    0.5
    >>> theta_for(np.array([0.5]))
    0.0
    """
    ordered = np.sort(scores.astype(np.float64))[::-1]
    if len(ordered) < 2:
        return 0.0
    gaps = ordered[:-1] - ordered[1:]
    quarter, below = len(ordered) / 4, 1
    for reach in (len(ordered) / 20, len(ordered) / 8, len(ordered)):
        near = [kept for kept in range(1, len(ordered)) if abs(kept - quarter) <= max(reach, 0.5)]
        below = max(near, key=lambda kept: gaps[kept - 1])
        if gaps[below - 1] > DISTINCT * ordered[below - 1]:
            break
    return float(ordered[below - 1] + ordered[below]) / 2


def new_masks(turns: Sequence[Turn], eta: float) -> list[int]:
    """How many masks of each turn the classifier had not seen in those before."""
    seen: set[bytes] = set()
    found = []
    for turn in turns:
        before = len(seen)
        seen |= {mask_key(turn.proposals.binary(index, eta)) for index in range(len(turn.proposals))}
        found.append(len(seen) - before)
    return found


def agreement(ours: np.ndarray, other: np.ndarray | None) -> float | None:
    """The share of pixels that are equal, of label maps (h, w); of masks (N, h, w), that of the mask with the least."""
    return None if other is None else float((ours == other).mean(axis=(-2, -1)).min())
