"""Plans and records made by hand or from label maps, for the tests of what runs come to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from car.config import resolve
from car.data.dataset import IGNORE
from car.evaluate.plan import Plan, PlannedPass
from car.evaluate.record import Pass, Record, cells_of
from car.metrics.semantic import confusion

NAMES = ("cat", "dog", "sky", "grass")
KINDS = ("thing", "thing", "stuff", "stuff")
SECONDS = {"read": 0.25, "propose": 0.5}


def plan_of(keys: Sequence[str], *, background: bool = True, names: Sequence[str] = NAMES, **changes: Any) -> Plan:
    """The plan of a run over these pictures, one pass over all classes, which have these names."""
    kinds = [KINDS[i % len(KINDS)] for i in range(len(names))]
    plan = Plan(
        benchmark="folder",
        split="val",
        images=len(keys),
        keys_sha256=sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest(),
        background=background,
        classes=tuple(
            {"id": i, "kind": kind, "names": [name]} for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
        ),
        passes=(PlannedPass("all", tuple(range(len(names))), ("ground", "land"), ("circle", "blur")),),
        preset="voc21",
        published={"mIoU": 67.6, "mIoU with SAM": 70.2},
        model="mini",
        weights={"proposer": "ab" * 32, "classifier": "cd" * 32},
        device="cpu",
        dtype="fp32",
        threads=1,
        config=resolve(preset="voc21").to_dict(),
        limit=None,
        seed=0,
        versions={"car": "0.1.0"},
    )
    return replace(plan, **changes)


def in_two_passes(plan: Plan) -> Plan:
    """The same with things and stuff asked apart."""
    ids = {kind: tuple(each["id"] for each in plan.classes if each["kind"] == kind) for kind in ("stuff", "thing")}
    words = {kind: tuple(plan.names[i] for i in ids[kind]) for kind in ids}
    passes = (
        PlannedPass("stuff", ids["stuff"], words["thing"], ("blur", "gray")),
        PlannedPass("thing", ids["thing"], words["stuff"], ("circle",)),
    )
    return replace(plan, passes=passes)


def passes_of(plan: Plan, *steps: Sequence[Sequence[int]]) -> tuple[Pass, ...]:
    """What is left after each step of each pass; where not said, each pass takes one step that keeps all."""
    steps = steps or tuple((each.classes,) for each in plan.passes)
    return tuple(Pass(tuple(map(tuple, each)), (0.5,) * len(each[-1])) for each in steps)


def record_of(
    plan: Plan,
    key: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    *steps: Sequence[Sequence[int]],
    seconds: Mapping[str, float] = SECONDS,
) -> Record:
    """The record of a picture with these label maps: i + 1 is class i, 0 is background, `IGNORE` is not counted."""
    cells = cells_of(confusion(predicted, truth, len(plan.classes) + 1, ignore=IGNORE))
    return Record(key, truth.shape, cells, passes_of(plan, *steps), seconds)


def random_run(seed: int, count: int, *, skill: float = 0.6, **how: Any) -> tuple[Plan, list[str], list[Record]]:
    """A run over pictures of random labels, of which about the share `skill` is right."""
    random = np.random.default_rng(seed)
    keys = [f"{number:03}" for number in range(count)]
    plan = plan_of(keys, **how)
    labels = np.array([*range(len(plan.classes) + 1), IGNORE])
    records = []
    for key in keys:
        truth = random.choice(labels[random.permutation(len(labels))[: 1 + len(labels) // 2]], (6, 8))
        guess = random.integers(0, len(plan.classes) + 1, truth.shape)
        predicted = np.where((random.random(truth.shape) < skill) & (truth != IGNORE), truth, guess)
        left = [sorted(random.permutation(len(plan.classes))[: random.integers(0, 4)].tolist())]
        steps = [list(range(len(plan.classes))), left[0], left[0]][-random.integers(1, 4) :]
        seconds = {"read": float(random.random()), "propose": float(random.random())}
        records.append(record_of(plan, key, truth, predicted, steps, seconds=seconds))
    return plan, keys, records
