"""The benchmark of speed: what it measures is all there, and consistent."""

import json
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.bench import Case, Plan, floors, inputs, load_models, measure
from car.bench.case import new_masks, theta_for
from car.bench.figures import COLD, DISK, LOOP, TOTAL, Runs, Stage, stage_of
from car.bench.meter import Meter, peak, reset_peak
from car.bench.models import VITS, ModelPair, random_clip
from car.bench.report import caption, cells, title
from car.config import Config
from car.errors import InputError
from car.export import dumps, plain
from car.propose.proposals import Proposals
from car.recurrence import Turn
from tests.models import random_vit

CPU = torch.device("cpu")
CONFIG = Config(background=("coco23",), templates=("a {}.", "the {}."))


@pytest.fixture(scope="module")
def tiny() -> ModelPair:
    clip = random_vit(embed_dim=32)
    return ModelPair("tiny", clip, clip, CONFIG)


def case(**changes) -> Case:
    return Case(**{"models": "tiny", "size": (32, 24), "queries": 3} | changes)


@pytest.mark.parametrize("changes", [{}, {"all_kept": True}, {"queries": 1}, {"referring": True}])
def test_a_row_has_every_stage(tiny, changes) -> None:
    told = []
    row = measure(tiny, case(**changes), repeats=2, tell=told.append)
    names = [stage.name for stage in row.stages]
    steps = [f"{stage} {step}" for step in range(1, len(row.entered) + 1) for stage in ("prompt", "classify")]
    after = [] if row.case.referring else ["sam", "encode"]
    assert names == ["decode", COLD, DISK, "propose", *steps, "crf", TOTAL, *after]
    assert [told[0], told[-1]] == ["texts, and theta", "floors"]
    for stage in row.stages:
        assert len(stage.seconds) == (1 if stage.name == COLD else 2)
        assert min(stage.seconds) > 0
        assert (stage.peak is None) == (stage.name == TOTAL)
        assert (stage.floor is None) == (stage.name == DISK)
    total = row.stage(TOTAL)
    parts = [stage for stage in row.stages if stage_of(stage.name) in LOOP]
    for run in range(2):
        assert total.seconds[run] == pytest.approx(sum(stage.seconds[run] for stage in parts))
    assert total.floor == pytest.approx(sum(stage.floor for stage in parts))
    assert row.entered[0] == row.case.queries
    assert sum(row.drawn) >= 1
    assert row.resident >= max(stage.peak for stage in row.stages if stage.peak is not None)
    assert f"Peak memory of the process: {row.resident / 2**30:.2f} GiB" in caption(row)
    if changes.get("all_kept") or row.case.queries == 1:
        assert (row.theta, len(row.entered), row.kept) == (0, 1, row.case.queries)
    else:
        assert len(row.entered) > 1
        assert row.entered[1] < 3
    assert json.loads(dumps(plain(row.to_dict())))["case"]["queries"] == row.case.queries
    assert str(row.case.queries) in title(row)
    assert "published" not in caption(row)


def test_a_cascade_shows_the_classifier_less(tiny) -> None:
    sharp = ModelPair("tiny", tiny.proposer, tiny.classifier, CONFIG.replace(cascade_floor=1))
    row = measure(sharp, case(queries=8, cascade=3, all_kept=True), repeats=1)
    assert (row.entered, row.kept) == ((3,), 3)
    assert sum(row.drawn) <= 3
    assert "The cascade left 3 of 8 queries" in caption(row)
    assert "cascade" not in caption(measure(sharp, case(), repeats=1))


def test_texts_are_cold_once(tiny, monkeypatch) -> None:
    encoded = []
    encode = type(tiny.proposer).encode_text
    monkeypatch.setattr(type(tiny.proposer), "encode_text", lambda clip, x: encoded.append(1) or encode(clip, x))
    monkeypatch.setattr(floors, "text", lambda *_: 1.0)
    measure(tiny, case(), repeats=1)
    once = len(encoded)
    encoded.clear()
    measure(tiny, case(), repeats=3)
    assert len(encoded) == once


@given(st.lists(st.integers(0, 10**6), min_size=4, max_size=60, unique=True))
def test_theta_leaves_about_a_quarter(scores) -> None:
    values = np.array(scores) / 1e6
    kept = int((values >= theta_for(values)).sum())
    assert 1 <= kept < len(values)
    ordered = np.sort(values)[::-1]
    near = [k for k in range(1, len(values)) if abs(k - len(values) / 4) <= max(0.5, len(values) / 20)]
    if all(ordered[k - 1] - ordered[k] > 1e-3 for k in near):
        assert kept in near


def test_theta_is_never_between_equal_scores() -> None:
    values = np.array([0.9, *[0.2] * 19])
    assert (values >= theta_for(values)).sum() == 1


def test_masks_seen_before_are_not_drawn_again() -> None:
    grid = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    turns = [
        Turn(queries, Proposals(grid[list(queries)], (8, 8)), np.ones(len(queries)), queries)
        for queries in ((0, 1), (0,), (1, 2))
    ]
    assert new_masks(turns, 0.5) == [2, 0, 1]


def test_a_meter_notes_seconds_and_peaks() -> None:
    meter = Meter(CPU)
    with meter("small"):
        time.sleep(0.02)
    with meter("large"):
        held = np.ones(200 * 2**20, np.uint8)
    del held
    with meter("after"):
        pass
    assert meter.seconds["small"] >= 0.02
    assert meter.peaks["large"] - meter.peaks["small"] > 150 * 2**20
    assert meter.resident == max(meter.peaks.values())
    # Where the system cannot forget a peak, there is none of a single stage.
    before = peak(CPU)
    reset_peak(CPU)
    if peak(CPU) < before - 100 * 2**20:
        assert meter.peaks["large"] - meter.peaks["after"] > 150 * 2**20


def test_steps_have_entries_of_their_own() -> None:
    meter = Meter(CPU)
    for _ in range(2):
        with meter.step():
            for _ in range(3):
                with meter("classify"):
                    pass
    assert len(meter.seconds["classify"]) == 2


def test_figures_by_hand() -> None:
    stage = Stage(name="crf", seconds=(1.0, 4.0, 2.0), floor=0.5, peak=2**30, rival=(8.0, 20.0), estimated=True)
    assert (stage.median, stage.spread, stage.ratio, stage.rival_median, stage.speed_up) == (2, 3, 4, 14, 7)
    assert cells(stage) == ["crf", "2.000", "3.000", "0.500", "4.0", "1.00", "~14.0", "~7.0"]
    assert cells(Stage(name="classify 2", rival=(1.0,)))[1:] == ["-", "-", "-", "-", "-", "1.000", "-"]
    runs = Runs()
    runs.add({"propose": 1.0, "classify": [2.0, 3.0], "crf": 4.0, "encode": 5.0}, {"crf": 7})
    runs.add({"propose": 1.0, "classify": [2.0], "crf": 4.0, "encode": 5.0}, {"crf": 6})
    assert runs.seconds[TOTAL] == [10, 7]
    assert runs.peaks == {"crf": 7}


def test_floors_count_what_must_move() -> None:
    assert floors.crf_bytes((10, 20), 3, 5) == 3 * 5 * 3 * 200 * 4
    assert floors.prompt_bytes((10, 20), 7, 2) == 2 * (200 * 4 + 49 * 3 * 4)
    assert floors.sam_bytes((10, 20), 3, 5) == 200 * (3 + 5 + 4)
    assert floors.batches(floors.TEXTS, 3, CPU) == [1]
    assert floors.batches(floors.IMAGES, 0, CPU) == [1]
    assert floors.batches(floors.TEXTS, 40, CPU) == [1, 8, 32]
    assert floors.text(random_vit(), ["a", "a b c d e f g h i j"], 1) > 0


@pytest.mark.parametrize("name", ["mini", "ViT-B/16+ViT-L/14"])
def test_models_have_the_architecture_they_are_named_after(name) -> None:
    if name == "mini":
        assert load_models(name, device="cpu", dtype="fp32").config.proposer_side == 144
        return
    with torch.device("meta"):
        sizes = {part: sum(p.numel() for p in random_clip(part).parameters()) for part in VITS}
    # As OpenAI's checkpoints have.
    assert sizes == {"ViT-B/32": 151277313, "ViT-B/16": 149620737, "ViT-L/14": 427616513}


def test_words_are_different() -> None:
    found = inputs.words(847)
    assert len({word.casefold() for word in found}) == 847
    assert len(inputs.expressions(8)) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ("mini", "vit")},
        {"models": ("ViT-B/16",)},
        {"queries": (1, 10**4)},
        {"queries": (0,)},
        {"cascade": 0},
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(wrong) -> None:
    with pytest.raises(InputError):
        Plan(**wrong)


def test_a_plan_is_a_grid() -> None:
    cases = Plan(sizes=((50, 37), (20, 30)), queries=(1, 2)).cases()
    assert [each.models for each in cases] == ["mini"] * 4 + ["ViT-B/16+ViT-L/14"] * 4
    assert [(each.size, each.queries) for each in cases[:4]] == [
        ((50, 37), 1),
        ((50, 37), 2),
        ((20, 30), 1),
        ((20, 30), 2),
    ]
    assert [each.queries for each in Plan(models=("mini",), referring=True).cases()] == [8]
