import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.evaluate.bootstrap import ROUNDS, interval
from car.evaluate.compare import Comparison, differing
from car.evaluate.compare_runs import FILES
from car.evaluate.record import Record
from car.evaluate.statistics import Statistics
from tests.evaluate.made_runs import NAMES, in_two_passes, plan_of, random_run, record_of


def counted(seed, count=12, **how):
    return Statistics.of(*random_run(seed, count, **how))


def rows_of(comparison):
    return list(csv.DictReader(io.StringIO(comparison.csv)))


def row_of(page, start):
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def with_config(plan, **settings):
    return replace(plan, config={**plan.config, **settings})


def test_differences_by_hand():
    keys = ["a", "b"]
    plan = plan_of(keys, names=NAMES[:2])
    truth, better, worse = (np.array(labels) for labels in ([[1, 1, 2, 2]], [[1, 1, 2, 1]], [[1, 2, 1, 1]]))
    runs = {
        name: Statistics.of(plan, keys, [record_of(plan, key, truth, predicted) for key in keys])
        for name, predicted in (("first", worse), ("second", better))
    }
    comparison = Comparison(runs)
    # cat 1/4, dog 0 against cat 2/3, dog 1/2; the pictures are all alike, so that there is no doubt.
    first, second = (100 / 4 / 2, 100 * (2 / 3 + 1 / 2) / 2)
    assert row_of(comparison.page, "first")[1:4] == ["2 of 2", f"{first:.2f} [12.5, 12.5]", ""]
    assert row_of(comparison.page, "second")[2:5] == [
        f"{second:.2f} [58.3, 58.3]",
        "+45.83 [+45.8, +45.8]",
        "75.0 (+50.0)",
    ]
    assert row_of(comparison.page, "cat") == ["cat", "25.0", "66.7 (+41.7)"]
    assert row_of(comparison.page, "dog") == ["dog", "0.0", "50.0 (+50.0)"]
    assert row_of(comparison.page, "background") == ["background", "-", "-"]
    assert row_of(comparison.page, "published mIoU")[1:3] == ["", "67.6"]
    assert "The runs have the same plan." in comparison.page
    table = {
        (row["measure"], row["class id"], row["class"]): (row["first"], row["second"]) for row in rows_of(comparison)
    }
    assert table["mIoU", "", ""] == ("0.125", "0.5833333333")
    assert table["mIoU difference", "", ""] == ("0.0", "0.4583333333")
    assert table["mIoU difference low", "", ""] == ("0.0", "0.4583333333")
    assert table["IoU", "0", "cat"] == ("0.25", "0.6666666667")
    assert table["IoU", "", "background"] == ("", "")
    assert table["images evaluated", "", ""] == ("2", "2")
    assert table["seconds per image", "", ""] == ("0.75", "0.75")


@given(st.integers(0, 10**6), st.booleans())
def test_a_run_does_not_differ_from_itself(seed, background):
    comparison = Comparison({name: counted(seed, background=background) for name in ("one", "other")})
    assert comparison.complete
    assert row_of(comparison.page, "other")[3] == "+0.00 [+0.0, +0.0]"
    for row in rows_of(comparison):
        assert row["one"] == row["other"]


def test_pairs_are_drawn_together():
    """The same pictures make both runs better or worse, and their difference far more certain than either."""
    one, other = counted(1, 60, skill=0.5), counted(1, 60, skill=0.6)
    comparison = Comparison({"one": one, "other": other})
    assert one.rounds().shape == (ROUNDS,)
    low, high = interval(other.rounds() - one.rounds())
    assert 0 < low < high
    expected = other.scores()["mIoU"].miou - one.scores()["mIoU"].miou
    assert row_of(comparison.page, "other")[3] == f"{100 * expected:+.2f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    apart = interval(other.rounds() - np.roll(one.rounds(), 1))
    assert high - low < apart[1] - apart[0]


def test_only_settings_that_differ_are_listed():
    plan = plan_of(["a"])
    other = with_config(replace(plan, preset=None, weights={**plan.weights, "classifier": "ef" * 32}), theta=0.5)
    assert differing([plan, other]) == [
        ["preset", "`voc21`", "`None`"],
        ["weights.classifier", "`cdcdcdcdcdcd`", "`efefefefefef`"],
        ["config.theta", "`0.6`", "`0.5`"],
    ]
    assert differing([plan, plan, other])[2] == ["config.theta", "`0.6`", "`0.6`", "`0.5`"]
    assert differing([plan, plan]) == []


def test_passes_differ_by_their_kind():
    plan = plan_of(["a"])
    rows = {row[0]: row[1:] for row in differing([plan, in_two_passes(plan)])}
    assert rows["passes.all.background"] == ["`ground, land`", "`None`"]
    assert rows["passes.thing.background"] == ["`None`", "`sky, grass`"]
    assert rows["passes.stuff.prompts"] == ["`None`", "`blur, gray`"]


def test_of_long_lists_only_what_differs_is_listed():
    words = [f"word {number}" for number in range(40)]
    passes = plan_of(["a"]).passes
    plans = [
        plan_of(["a"], passes=(replace(passes[0], background=tuple(each)),))
        for each in (words, [*words[:-1], "cloud|s"], words[::-1], words[:-1])
    ]
    assert differing(plans[:2]) == [["passes.all.background", "40, with word 39", "40, with cloud\\|s"]]
    assert differing([plans[0], plans[2]]) == [["passes.all.background", "40", "40, in another order"]]
    assert differing([plans[0], plans[3]]) == [["passes.all.background", "40, with word 39", "39"]]


def test_other_words_for_the_classes_can_be_compared():
    runs = {name: counted(3, names=names) for name, names in (("a", NAMES), ("b", ("kitten", *NAMES[1:])))}
    page = Comparison(runs).page
    assert row_of(page, "classes") == ["classes", "`cat, dog, sky, grass`", "`kitten, dog, sky, grass`"]
    assert row_of(page, "cat")[2].endswith("(+0.0)")


@pytest.mark.parametrize(
    "other",
    [
        {"background": False},
        {"names": NAMES[:3]},
        {"benchmark": "voc21"},
    ],
)
def test_runs_of_different_benchmarks_are_refused(other):
    changes = {key: other[key] for key in other if key == "benchmark"}
    plan, keys, records = random_run(1, 3, **{key: other[key] for key in other if key != "benchmark"})
    runs = {"first": counted(1, 3), "second": Statistics.of(replace(plan, **changes), keys, records)}
    with pytest.raises(InputError, match=r"'second' is a run of .*'first' one of folder \(4 classes with background\)"):
        Comparison(runs)


def test_one_run_cannot_be_compared():
    with pytest.raises(InputError, match="at least two"):
        Comparison({"only": counted(1)})


def test_runs_over_other_pictures_are_marked():
    _, keys, records = random_run(1, 6)
    keys = ["new", *keys[1:]]
    other = Statistics.of(plan_of(keys), keys, [replace(records[0], key="new"), *records[1:]])
    comparison = Comparison({"first": counted(1, 6), "other": other})
    row = row_of(comparison.page, "other")
    assert row[3] == "other images"
    assert not any("(" in cell for cell in row)
    assert "other is not comparable: only 5 of its images are those of the first run." in comparison.page
    table = {row["measure"]: row["other"] for row in rows_of(comparison)}
    assert table["mIoU difference"] == table["mIoU difference low"] == ""
    assert float(table["mIoU"]) == pytest.approx(other.scores()["mIoU"].miou)


def test_incomplete_runs_are_marked_but_equally_incomplete_ones_compared():
    plan, keys, records = random_run(1, 6)
    failed = [*records[:5], Record(keys[5], error="gone")]
    runs = {name: Statistics.of(plan, keys, failed) for name in ("one", "two")}
    comparison = Comparison(runs)
    assert not comparison.complete
    assert row_of(comparison.page, "two")[1] == "5 of 6"
    assert row_of(comparison.page, "two")[3].startswith("+0.00")
    assert "two: **5 of 6 images.** Failed: 1" in comparison.page
    comparison = Comparison({"whole": Statistics.of(plan, keys, records), "part": runs["one"]})
    assert row_of(comparison.page, "part")[3] == "other images"


def test_nothing_evaluated_compares_to_nothing():
    plan = plan_of(["a"])
    comparison = Comparison({name: Statistics.of(plan, ["a"], []) for name in ("one", "two")})
    assert row_of(comparison.page, "two")[2:4] == ["-", "-"]
    assert {row["two"] for row in rows_of(comparison) if row["measure"] == "mIoU"} == {""}


def test_runs_with_other_passes():
    plan, keys, records = random_run(1, 6)
    two = in_two_passes(plan)
    labels = np.array([[0, 1, 2, 3, 4]])
    runs = {
        "one": Statistics.of(plan, keys, records),
        "two": Statistics.of(two, keys, [record_of(two, key, labels, labels) for key in keys]),
    }
    page = Comparison(runs).page
    assert row_of(page, "two")[-2:] == ["1.00 / 1.00", "0.750"]


def test_of_very_many_classes_those_that_differ_most_are_listed():
    names = [f"class {number}" for number in range(200)]
    first, other = counted(2, 30, names=names), counted(2, 30, names=names, skill=0.9)
    comparison = Comparison({"first": first, "other": other})
    listed = [line.split(" | ")[0].strip("| ") for line in comparison.page.splitlines() if line.startswith("| class ")]
    assert len(listed) == 80
    ious = [
        np.where(run.counted(run.rules["mIoU"]).any(axis=1), run.scores()["mIoU"].class_iou, np.nan)
        for run in (first, other)
    ]
    spread = np.nan_to_num(np.abs(ious[1] - ious[0]))[1:]
    chosen = [int(name.split()[1]) for name in listed if name != "class"]
    assert min(spread[chosen]) >= max(np.delete(spread, chosen))
    assert len([row for row in rows_of(comparison) if row["measure"] == "IoU"]) == 201


def test_the_same_runs_give_the_same_files(tmp_path):
    for folder in ("one", "other"):
        Comparison({"a": counted(1), "b": counted(2)}).write(tmp_path / folder)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(files) == set(FILES)
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
