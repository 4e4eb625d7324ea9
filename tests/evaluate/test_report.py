import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.data.dataset import IGNORE
from car.errors import CarError, InputError
from car.evaluate.bootstrap import ROUNDS, Bootstrap, draws, interval
from car.evaluate.kinds import write_report
from car.evaluate.record import Pass, Record
from car.evaluate.report import FILES, Report
from car.evaluate.statistics import Statistics
from car.metrics.semantic import semantic_scores
from tests.evaluate.made_runs import NAMES, in_two_passes, passes_of, plan_of, random_run, record_of

KEYS = ["a", "b"]
CELLS = {
    "a": ((0, 0, 50), (0, 1, 10), (1, 0, 10), (1, 1, 30)),
    "b": ((0, 0, 40), (2, 0, 20), (2, 1, 20), (2, 2, 20)),
}
STEPS = {"a": ((0, 1), (0,)), "b": ((0,),)}


def by_hand(**changes):
    """Two pictures, two classes: a cat that is found, a dog that is taken for a cat in part and is pruned."""
    plan = plan_of(KEYS, names=NAMES[:2], **changes)
    seconds = {"a": {"read": 1.0, "propose": 4.0}, "b": {"propose": 2.0}}
    records = [Record(key, (10, 10), CELLS[key], passes_of(plan, STEPS[key]), seconds[key]) for key in KEYS]
    return plan, KEYS, records


def report_of(plan, keys, records):
    return Report.of(Statistics.of(plan, keys, records))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_scores_with_background_by_hand():
    report = report_of(*by_hand())
    background, cat, dog = 90 / 130, 30 / 70, 20 / 60
    expected = {
        "miou": (background + cat + dog) / 3,
        "pixel_accuracy": 140 / 200,
        "mean_accuracy": (90 / 100 + 30 / 40 + 20 / 60) / 3,
        "frequency_weighted_iou": (100 * background + 40 * cat + 60 * dog) / 200,
        "classes": 3,
    }
    scores = report.figures["scores"]
    assert list(scores) == ["mIoU"]
    assert {key: scores["mIoU"][key] for key in expected} == pytest.approx(expected, abs=1e-10)
    assert report.miou == pytest.approx(expected["miou"], abs=1e-10)
    columns = ("name", "kind", "iou", "accuracy", "true_pixels", "predicted_pixels", "correct_pixels")
    assert [[each[key] for key in columns] for each in report.figures["classes"]] == [
        ["background", "background", pytest.approx(background), 0.9, 100, 120, 90],
        ["cat", "thing", pytest.approx(cat), 0.75, 40, 60, 30],
        ["dog", "thing", pytest.approx(dog), pytest.approx(1 / 3), 60, 20, 20],
    ]


def test_scores_without_background_by_hand():
    report = report_of(*by_hand(background=False))
    published, strict = report.figures["scores"].values()
    assert list(report.figures["scores"]) == ["mIoU", "strict mIoU"]
    # The ten cat pixels and twenty dog pixels that were left to background count in the strict figures alone.
    assert published["miou"] == pytest.approx((30 / 50 + 20 / 40) / 2)
    assert published["pixel_accuracy"] == pytest.approx(50 / 70)
    assert published["mean_accuracy"] == pytest.approx((30 / 30 + 20 / 40) / 2)
    assert published["frequency_weighted_iou"] == pytest.approx((30 * 30 / 50 + 40 * 20 / 40) / 70)
    assert strict["miou"] == pytest.approx((30 / 60 + 20 / 60) / 2)
    assert strict["pixel_accuracy"] == pytest.approx(50 / 100)
    assert strict["mean_accuracy"] == pytest.approx((30 / 40 + 20 / 60) / 2)
    assert [(each["name"], each["iou"], each["strict_iou"]) for each in report.figures["classes"]] == [
        ("cat", 0.6, 0.5),
        ("dog", 0.5, pytest.approx(1 / 3)),
    ]
    assert "in the strict mIoU they count as missed" in report.page


def test_the_loop_by_hand():
    report = report_of(*by_hand())
    (loop,) = report.figures["passes"]
    assert loop["steps"] == [
        {"step": 1, "images": 2, "stopped": 1, "mean_entered": 2.0, "mean_left": 1.5, "mean_pruned": 0.5},
        {"step": 2, "images": 1, "stopped": 1, "mean_entered": 2.0, "mean_left": 1.0, "mean_pruned": 1.0},
    ]
    # Present are the cat of a, which stays, and the dog of b, which goes; of the absent, b's cat stays.
    assert {key: loop[key] for key in ("present", "present_dropped", "absent", "absent_kept")} == {
        "present": 2,
        "present_dropped": 1,
        "absent": 2,
        "absent_kept": 1,
    }
    assert (loop["present_dropped_share"], loop["absent_kept_share"], loop["mean_steps"]) == (0.5, 0.5, 1.5)
    counts = ("present", "kept_present", "kept_absent")
    assert [[each[key] for key in counts] for each in report.figures["classes"]] == [
        [None, None, None],
        [1, 1, 1],
        [1, 0, 0],
    ]


def test_two_passes_are_counted_apart():
    plan = in_two_passes(plan_of(KEYS))
    truth = {"a": np.array([[1, 3]]), "b": np.array([[2, 0]])}
    steps = {"a": (((2, 3), (2,)), ((0,),)), "b": (((3,),), ((0, 1), (0,), ()))}
    records = [record_of(plan, key, truth[key], truth[key], *steps[key]) for key in KEYS]
    stuff, thing = report_of(plan, KEYS, records).figures["passes"]
    assert [each["kind"] for each in (stuff, thing)] == ["stuff", "thing"]
    assert [each["mean_steps"] for each in (stuff, thing)] == [1.5, 2.0]
    assert [each["absent_kept"] for each in (stuff, thing)] == [1, 0]
    assert [each["present_dropped"] for each in (stuff, thing)] == [0, 1]
    assert [each["present"] for each in (stuff, thing)] == [1, 2]
    assert thing["steps"][2] == {
        "step": 3,
        "images": 1,
        "stopped": 1,
        "mean_entered": 1.0,
        "mean_left": 0.0,
        "mean_pruned": 1.0,
    }


def test_seconds_by_hand():
    report = report_of(*by_hand())
    assert report.timing == {
        "images": 2,
        "seconds_per_image": {
            "propose": {"sum": 6.0, "mean": 3.0, "median": 3.0},
            "read": {"sum": 1.0, "mean": 0.5, "median": 0.5},
            "all": {"sum": 7.0, "mean": 3.5, "median": 3.5},
        },
    }
    assert report.summary.splitlines()[-1] == "3.500 s per image: propose 86 %, read 14 %"


@given(st.integers(0, 10**6), st.booleans())
def test_scores_are_those_of_all_pixels_together(seed, background):
    """Counted pixel by pixel, class by class, from the label maps laid end to end."""
    random = np.random.default_rng(seed)
    keys = ["a", "b", "c"]
    plan = plan_of(keys, background=background)
    truth = random.choice([*range(5), IGNORE], (3, 4, 5))
    predicted = random.integers(0, 5, truth.shape)
    records = [record_of(plan, key, *maps) for key, *maps in zip(keys, truth, predicted, strict=True)]
    scores = Statistics.of(plan, keys, records).scores()
    counted = {"mIoU": (truth != IGNORE)}
    if not background:
        counted = {"strict mIoU": (truth != IGNORE) & (truth > 0)}
        counted["mIoU"] = counted["strict mIoU"] & (predicted > 0)
    assert set(scores) == set(counted)
    for name, chosen in counted.items():
        true, found = truth[chosen], predicted[chosen]
        ious = [
            ((true == i) & (found == i)).sum() / ((true == i) | (found == i)).sum()
            for i in range(0 if background else 1, 5)
            if (true == i).any()
        ]
        assert scores[name].miou == pytest.approx(np.mean(ious) if ious else np.nan, nan_ok=True)
        right = (true == found).mean() if true.size else np.nan
        assert scores[name].pixel_accuracy == pytest.approx(right, nan_ok=True)


@given(st.integers(0, 10**6), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(seed, background, random):
    plan, keys, records = random_run(seed, 6, background=background)
    records[1], records[4] = (Record(keys[number], error=f"{number}.jpg is empty (0 bytes).") for number in (1, 4))
    shuffled = random.sample(records, len(records))
    one, other = report_of(plan, keys, records), report_of(plan, keys, shuffled)
    assert (one.page, one.classes_csv) == (other.page, other.classes_csv)
    assert json.dumps([one.figures, one.timing]) == json.dumps([other.figures, other.timing])


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_halves_add_up_to_the_whole(seed, cut):
    plan, keys, records = random_run(seed, 6)
    first, second, whole = (Statistics.of(plan, keys, part) for part in (records[:cut], records[cut:], records))
    assert np.array_equal(first.confusion + second.confusion, whole.confusion)
    assert first.evaluated | second.evaluated == whole.evaluated
    for one, other, both in zip(first.passes, second.passes, whole.passes, strict=True):
        assert one.pictures + other.pictures == both.pictures
        for name in ("steps", "entered", "left"):
            assert getattr(one, name) + getattr(other, name) == +getattr(both, name)
        for name in ("present", "found", "wrong"):
            assert np.array_equal(getattr(one, name) + getattr(other, name), getattr(both, name))


@given(st.integers(0, 10**6), st.booleans())
def test_each_round_of_the_bootstrap_is_a_dataset_of_its_own(seed, background):
    plan, keys, records = random_run(seed, 5, background=background)
    statistics = Statistics.of(plan, keys, records)
    drawn = {key: draws(key) for key in keys}
    for name, rule in statistics.rules.items():
        mious = statistics.rounds(name)
        assert mious.shape == (ROUNDS,)
        for number in (0, 1, ROUNDS - 1):
            matrix = np.zeros_like(statistics.confusion)
            for record in records:
                for row, column, count in record.cells:
                    if row >= rule.row and column >= rule.column:
                        matrix[row, column] += count * drawn[record.key][number]
            assert mious[number] == pytest.approx(semantic_scores(matrix).miou, nan_ok=True)


def test_the_interval_is_that_of_a_classical_bootstrap():
    plan, keys, records = random_run(3, 60)
    statistics = Statistics.of(plan, keys, records)
    matrices = np.zeros((len(keys), 5, 5), np.int64)
    for number, record in enumerate(records):
        for row, column, count in record.cells:
            matrices[number, row, column] = count
    weights = np.random.default_rng(0).multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=2000)
    mious = [semantic_scores(np.tensordot(each, matrices, 1)).miou for each in weights]
    expected = np.percentile(mious, (2.5, 97.5))
    low, high = statistics.interval()
    assert low < statistics.scores()["mIoU"].miou < high
    assert (low, high) == pytest.approx(expected, abs=0.15 * np.ptp(expected))


def test_draws_are_poisson_and_belong_to_the_key():
    drawn = np.stack([draws(f"{number:06}") for number in range(300)])
    assert np.array_equal(drawn[7], draws("000007"))
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.var() == pytest.approx(1, abs=0.01)
    assert (drawn == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    # Pictures are drawn independently of each other, and so are rounds.
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.15
    # Pinned: reports of one version are to be compared with those of another.
    assert draws("a")[:12].tolist() == [1, 2, 0, 1, 0, 2, 1, 1, 3, 1, 0, 1]


def test_equal_pictures_leave_no_doubt():
    keys = [f"{number}" for number in range(20)]
    plan = plan_of(keys)
    maps = np.array([[0, 1, 2]]), np.array([[0, 1, 1]])
    figures = report_of(plan, keys, [record_of(plan, key, *maps) for key in keys]).figures
    assert figures["scores"]["mIoU"]["miou_interval"] == [figures["scores"]["mIoU"]["miou"]] * 2


def test_one_picture_has_no_interval():
    plan, keys, records = random_run(1, 1)
    report = report_of(plan, keys, records)
    assert report.figures["scores"]["mIoU"]["miou_interval"] == [None, None]
    assert f"{100 * report.miou:.2f} mIoU; published" in report.summary


def test_an_empty_bootstrap_has_no_interval():
    assert np.isnan(Bootstrap(3).mious()).all()
    assert np.isnan(interval(Bootstrap(3).mious())).all()


def test_the_page_puts_the_published_number_beside_ours():
    page = report_of(*by_hand()).page
    assert page.startswith("# folder val: 48.47 mIoU\n\n**2 of 2 images.**\n")
    assert "| **mIoU** | **48.47** | [" in page
    assert "] | 67.6 | -19.1 |\n" in page
    assert "| published only: mIoU with SAM |  |  | 70.2 |  |" in page
    assert "| pixel accuracy | 70.00 |  |  |  |" in page
    assert "| all | 2 | 1.50 | 50.0 % of 2 | 50.0 % of 2 |" in page
    assert "| cat | 42.9 | 75.0 | 20.00 | 1 | 1 | 1 |" in page
    assert "| config.theta | `0.6` |" in page
    assert "| weights.proposer | `abababababab` |" in page


def test_a_run_with_sam_is_compared_to_the_published_one_with_sam():
    plan, keys, records = by_hand()
    report = report_of(replace(plan, config={**plan.config, "sam": "regions"}), keys, records)
    assert "| 70.2 (with SAM) | -21.7 |" in report.page
    assert "| published only: mIoU |  |  | 67.6 |  |" in report.page
    assert report.summary.splitlines()[0].endswith("; published: 70.2 mIoU with SAM")


def test_nothing_published_nothing_beside():
    plan, keys, records = by_hand(published={}, preset=None)
    report = report_of(plan, keys, records)
    assert re.search(r"\| \*\*48.47\*\* \| \[.*\] \| - \| - \|", report.page)
    assert "published" not in report.summary


def test_failed_and_missing_pictures_are_said():
    plan, keys, records = random_run(5, 1449)
    for number, reason in ((3, "'003.jpg' is empty (0 bytes)."), (2, "a|b `c`\n<d>")):
        records[number] = Record(keys[number], error=reason)
    report = report_of(plan, keys, records)
    assert not report.complete
    assert report.figures["images"] == {"all": 1449, "evaluated": 1447, "failed": 2, "missing": 0}
    assert report.page.split("\n")[2].startswith("**1 447 of 1 449 images.** Failed: 2,")
    assert "1 447 of 1 449 images; 2 failed" in report.summary.splitlines()
    assert "## Failures\n\n- `002`: a\\|b \\`c\\` \\<d\\>\n- `003`: '003.jpg' is empty (0 bytes).\n" in report.page
    assert list(report.figures["failures"]) == ["002", "003"]
    partial = report_of(plan, keys, records[4:])
    assert partial.figures["missing"] == keys[:4]
    assert "Not evaluated yet: 4; the run is incomplete." in partial.page
    assert not partial.complete
    assert report_of(*random_run(5, 4)).complete


def test_failed_pictures_are_in_no_score():
    plan, keys, records = random_run(8, 6)
    failed = [*records[:5], Record(keys[5], error="gone")]
    few, all_but_one = report_of(plan, keys, failed), report_of(plan_of(keys[:5]), keys[:5], records[:5])
    for part in ("scores", "classes", "passes"):
        assert few.figures[part] == all_but_one.figures[part]
    assert few.timing == all_but_one.timing


def test_nothing_evaluated_has_no_score():
    plan = plan_of(KEYS)
    for records in ([], [Record(key, error="gone") for key in KEYS]):
        report = report_of(plan, KEYS, records)
        assert report.miou is None
        assert report.page.startswith("# folder val: no result\n")
        assert "0 of 2 images" in report.summary
        assert report.timing == {"images": 0, "seconds_per_image": {}}
        json.dumps([report.figures, report.timing], allow_nan=False)


def test_a_shard_says_that_it_is_a_part():
    plan, keys, records = random_run(4, 6)
    report = report_of(plan, keys[::2], records[::2])
    assert report.complete
    assert "**3 of 3 images.** This is a part of a run of 6." in report.page


def test_a_class_without_true_pixels_is_in_no_mean():
    plan = plan_of(KEYS, names=NAMES[:2])
    maps = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 1, 2]])
    report = report_of(plan, KEYS, [record_of(plan, key, *maps) for key in KEYS])
    assert report.miou == 0.75
    assert [each["iou"] for each in report.figures["classes"]] == [None, 0.75, 0]
    assert "| dog | - | - | 0.00 | 0 | 0 | 2 |" in report.page
    assert "the 1 of 3 classes that have true pixels" in report.page


def test_large_vocabularies_are_cut_in_the_page_but_not_in_the_tables():
    names = [f"class {number}" for number in range(200)]
    plan, keys, records = random_run(2, 30, names=names, background=False)
    report = report_of(plan, keys, records)
    parts = re.split(r"The 40 (?:best|worst) of .* `classes.csv` has all\.\n\n\| class \|", report.page)[1:]
    rows = list(csv.DictReader(io.StringIO(report.classes_csv)))
    assert [row["name"] for row in rows] == names
    ious = [each["iou"] for each in report.figures["classes"] if each["true_pixels"]]
    best, worst = ([line.split(" | ")[1] for line in part.splitlines() if "class " in line] for part in parts)
    listed = sorted(ious, reverse=True)
    assert best == [f"{100 * iou:.1f}" for iou in listed[:40]]
    assert worst == [f"{100 * iou:.1f}" for iou in listed[-40:]]
    assert report.miou == pytest.approx(np.mean(ious), abs=1e-9)


def test_files_are_the_same_bytes_wherever_they_are_written(tmp_path):
    plan, keys, records = random_run(6, 8)
    report = write_report(tmp_path / "one", plan, keys, records)
    later = [replace(record, seconds={"read": 9.0}) for record in reversed(records)]
    write_report(tmp_path / "deep/other", plan, keys, iter(later))
    one, other = contents(tmp_path / "one"), contents(tmp_path / "deep/other")
    assert set(one) == set(other) == set(FILES)
    assert one.pop("timing.json") != other.pop("timing.json")
    assert one == other
    assert one["report.md"].decode() == report.page
    assert json.loads(one["report.json"]) == json.loads(json.dumps(report.figures))


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot make the folder"):
        write_report(tmp_path / "file/run", *random_run(6, 2))
    (tmp_path / "run/report.md").mkdir(parents=True)
    with pytest.raises(CarError, match=r"Cannot write to .*report\.md"):
        write_report(tmp_path / "run", *random_run(6, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "c"}, "'c', which is not among its images"),
        ({"key": "a"}, "two records of 'a'"),
        ({"cells": ((0, 3, 1),)}, "'b' does not fit"),
        ({"cells": ((-1, 0, 1),)}, "'b' does not fit"),
        ({"cells": ((0, 0, -1),)}, "'b' does not fit"),
        ({"passes": ()}, "'b' does not fit"),
        ({"passes": (Pass((), ()),)}, "'b' does not fit"),
        ({"passes": (Pass(((0, 2),), (0.5, 0.5)),)}, "'b' does not fit"),
    ],
)
def test_records_of_another_run_are_refused(change, message):
    plan, keys, (first, second) = by_hand()
    statistics = Statistics.of(plan, keys, [first])
    before = statistics.confusion.copy()
    with pytest.raises(InputError, match=message):
        statistics.add(replace(second, **change))
    assert np.array_equal(statistics.confusion, before)
    assert statistics.missing == ["b"]
