"""The ablation in tools/: its measure, its columns against the library's own answers, its resuming."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from car.config import Config
from car.errors import InputError
from car.scenes import TEST, concepts
from car.vlm.registry import MINI
from car.wordlists import background_words

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import ablate_measure as measure
import ablate_scenes as ablate
import ablate_settings as settings
import ablate_tables as tables
from ablate_pictures import choose
from ablate_records import Records, Task
from mini_words import vocabulary

ROW = TEST[1]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The tool sets how many threads there are."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    ablate.single_thread()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(scope="module")
def bench() -> measure.Bench:
    return measure.Bench(MINI, "cpu", "fp32")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(ablate.main, ["--device", "cpu", "--dtype", "fp32", *map(str, arguments)])


def test_perfect_labels_have_miou_1() -> None:
    truth = np.array([[0, 1], [2, 2]])
    assert measure.scene_miou(truth, truth, 5) == 1


def test_a_wrongly_kept_query_counts_as_0_and_one_without_pixels_does_not_count() -> None:
    truth, found = np.array([[0, 0], [1, 1]]), np.array([[3, 0], [1, 1]])
    assert measure.scene_miou(found, truth, 3) == 0.5
    assert measure.scene_miou(found * (found < 3), truth, 3) == 1
    assert measure.scene_miou(np.zeros((2, 2), int), truth, 3) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1).filter(lambda p: any(map(any, p))))
def test_miou_is_the_mean_over_labels_in_either_map(pixels: list[tuple[int, int]]) -> None:
    found, truth = np.array(pixels).T
    ious = [
        ((found == i) & (truth == i)).sum() / ((found == i) | (truth == i)).sum()
        for i in range(1, 5)
        if (found == i).any() or (truth == i).any()
    ]
    assert measure.scene_miou(found, truth, 4) == pytest.approx(np.mean(ious))


@pytest.mark.parametrize("proposer", ["caa", "dense"])
@torch.inference_mode()
def test_columns_are_what_the_library_answers(bench: measure.Bench, proposer: str) -> None:
    visit = measure.Visit(bench, ROW.name, 1)
    asked = visit.ask(visit.queries, proposer=proposer)
    turns = asked.turns()
    maps = measure.label_maps(visit, asked, turns)

    def answer(queries: list[str], **changes: object) -> np.ndarray:
        segmenter = bench.under(proposer=proposer, **changes)
        labels = segmenter.segment(visit.scene.image, queries).labels
        return np.array([0, *(visit.queries.index(query) + 1 for query in queries)])[labels]

    there = [query for query in visit.queries if query in visit.scene.concepts]
    expected = {
        measure.ALL: answer(visit.queries, theta=0, crf="none"),
        measure.FILTERED: answer(visit.queries, max_steps=1, crf="none"),
        measure.RECURRENT: answer(visit.queries, crf="none"),
        measure.CRF: answer(visit.queries),
        measure.REGIONS: answer(visit.queries, sam="regions"),
        measure.TOLD: answer(there, theta=0, crf="none"),
        measure.TOLD_CRF: answer(there, theta=0),
    }
    assert list(expected) == sorted(maps, key=measure.COLUMNS.index)
    differ = {column: float(np.mean(maps[column] != labels)) for column, labels in expected.items()}
    assert max(differ.values()) < 1e-3, differ
    assert len(turns) > 1
    assert turns[0].survivors
    assert not np.array_equal(maps[measure.ALL], maps[measure.FILTERED])
    assert proposer == "caa" or not np.array_equal(maps[measure.FILTERED], maps[measure.RECURRENT])


def test_told_keeps_everything_and_nothing_else(bench: measure.Bench) -> None:
    visit = measure.Visit(bench, ROW.name, 0)
    with torch.inference_mode():
        turn = measure.told(visit.ask(visit.queries, proposer="gradcam"), (4, 2))
    assert turn.queries == turn.survivors == (4, 2)
    assert len(turn.proposals) == 2


def test_another_theta_gives_what_a_segmenter_with_it_gives(bench: measure.Bench) -> None:
    tasks = [Task("tuning", ROW.name, 3, str(x), (("proposer", "dense"), ("theta", x))) for x in (0.6, 0.0, 0.99)]
    for task, found in zip(tasks, measure.measure(bench, tasks), strict=True):
        alone = bench.under(**dict(task.changes), crf="none").segment(ROW.scene(3).image, ROW.queries(3))
        assert found["kept"] == len(alone.found)
        assert found["right"] == len(set(alone.found) & set(ROW.scene(3).concepts))


def test_unknown_words_are_unknown() -> None:
    known = {word for names in vocabulary() for word in names}
    known |= set(background_words(["scenes", "coco23", "terrestrial", "aquatic", "manmade"]))
    assert set(concepts()) <= known
    assert not known & set(measure.UNKNOWN)


def test_interval_holds_the_mean_and_is_always_the_same() -> None:
    values = np.random.default_rng(1).normal(0.4, 0.2, 200)
    low, high = tables.interval(values)
    assert (low, high) == tables.interval(values.copy())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(200), rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.005)
    assert tables.interval(np.full(7, 0.25)) == pytest.approx((0.25, 0.25))


def test_precision_and_recall_are_over_all_scenes_together() -> None:
    found = [{"present": 4, "kept": 1, "right": 1}, {"present": 1, "kept": 3, "right": 1}]
    assert tables.kept(found) == ["0.50", "0.40"]
    assert tables.kept([{"present": 2, "kept": 0, "right": 0}]) == ["-", "0.00"]


@pytest.mark.parametrize("eta", [0.4, 0.45])
def test_sweeps_change_one_setting_and_measure_the_defaults_once(eta: float) -> None:
    config = Config(eta=eta)
    found = settings.settings_around("caa", config)
    assert found["caa"] == {"proposer": "caa"}
    for name, changes in found.items():
        assert name == "caa" or len(changes) == 2
        config.replace(**changes)
    assert len(found) == len(settings.swept("caa", config)) - len(settings.SWEEPS) + 1
    assert ("eta", eta) in settings.swept("caa", config)
    assert not any("lam" in changes for changes in settings.settings_around("dense", config).values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5], {"worst": 0, "median": 0, "best": 0}),
        ([0.5, 0.1, 0.9, 0.7], {"worst": 1, "median": 0, "best": 2}),
        ([0.2, 0.2, 0.2, 0.2], {"worst": 0, "median": 1, "best": 0}),
    ],
)
def test_pictures_are_chosen_by_rule(values: list[float], expected: dict[str, int]) -> None:
    assert choose(values) == expected


def test_a_line_cut_short_is_measured_again(tmp_path: Path) -> None:
    tasks = [Task("main", "row", i, "caa", ()) for i in range(3)]
    records = Records(tmp_path, {"dtype": "x"})
    records.add([{"table": t.table, "row": t.row, "name": t.name, "index": t.index, "é": 1} for t in tasks[:2]])
    whole = records.file.read_bytes()
    records.file.write_bytes(whole[:-3])
    again = Records(tmp_path, {"dtype": "x"})
    assert again.missing(tasks) == tasks[1:]
    again.add([{"table": "main", "row": "row", "name": "caa", "index": 1, "é": 1}])
    assert records.file.read_bytes() == whole
    assert [record["index"] for record in again.of("main", "row", "caa", 2)] == [0, 1]


def test_records_of_other_settings_are_refused(tmp_path: Path) -> None:
    Records(tmp_path, {"dtype": "x", "scenes": 2})
    with pytest.raises(InputError, match="another scenes; name another folder"):
        Records(tmp_path, {"dtype": "x", "scenes": 3})


def test_a_resumed_run_ends_with_the_same_tables(tmp_path: Path) -> None:
    asked = ["--tables", "proposers,unknown", "--proposer", "dense", "--proposer", "maskclip"]
    assert run("--out", tmp_path / "a", "--scenes", 1, *asked).exit_code == 0
    for out, jobs in (("a", 1), ("b", 2)):
        result = run("--out", tmp_path / out, "--scenes", 2, "--jobs", jobs, *asked)
        assert result.exit_code == 0, result.output
    resumed, unbroken = ((tmp_path / out / "tables.md").read_text() for out in "ab")
    assert resumed == unbroken
    assert "| dense |" in resumed
    assert "| maskclip |" in resumed


def test_one_command_measures_and_draws(tmp_path: Path) -> None:
    arguments = ["--out", tmp_path, "--scenes", 2, "--tables", "main", "--proposer", "dense"]
    result = run(*arguments, "--pictures", tmp_path / "drawn", "--contact", 2)
    assert result.exit_code == 0, result.output
    for split in TEST:
        assert f"| dense | {split.name} |" in result.output
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {
        "worst.png",
        "median.png",
        "best.png",
        "contact.jpg",
    }
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2 * len(TEST)
    refused = CliRunner().invoke(ablate.main, [*map(str, arguments), "--device", "cpu", "--dtype", "bf16"])
    assert refused.exit_code == 1
    assert "made with another dtype" in refused.output
    assert "no table 'mian'" in run("--out", tmp_path, "--tables", "mian").output
