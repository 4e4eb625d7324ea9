from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.evaluate.kinds import write_report
from car.evaluate.merging import find_runs, merge
from car.evaluate.record import Record
from car.evaluate.report import FILES
from car.evaluate.run_directory import RunDirectory
from car.evaluate.run_writer import RunWriter
from car.evaluate.shards import Shard
from tests.evaluate.made_runs import random_run
from tests.evaluate.test_run_directory import contents

PLAN, KEYS, RECORDS = random_run(5, 7)
REPORT = set(FILES) - {"timing.json"}
BY_KEY = dict(zip(KEYS, RECORDS, strict=True))


def run_of(folder, keys, shard=None, plan=PLAN, by_key=BY_KEY) -> Path:
    with RunWriter(folder, plan, KEYS, data_root="data", shard=shard) as run:
        for key in keys:
            run.append(by_key[key])
    return Path(folder)


def shards(out, count, *, but=()) -> Path:
    for index in range(1, count + 1):
        shard = Shard(index, count)
        if index not in but:
            run_of(Path(out) / shard.folder, shard.of(KEYS), shard)
    return Path(out)


def report_files(folder) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in REPORT}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of a run in one piece."""
    folder = run_of(tmp_path_factory.mktemp("whole"), KEYS)
    assert write_report(folder, PLAN, KEYS, RunDirectory(folder).records()).complete
    return report_files(folder)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_shards_merge_to_the_report_of_one_run(tmp_path, whole, count):
    merged = merge([shards(tmp_path, count)])
    assert (merged.missing, merged.folder, merged.report.complete) == ([], tmp_path, True)
    assert report_files(tmp_path) == whole
    run = RunDirectory(tmp_path)
    assert (run.shard, run.plan, list(run.records())) == (None, PLAN, RECORDS)
    before = contents(tmp_path)
    merge([tmp_path])
    assert contents(tmp_path) == before


@given(st.lists(st.sets(st.sampled_from(KEYS)), min_size=1, max_size=4), st.booleans())
def test_any_parts_merge_whatever_they_share(parts, elsewhere):
    with TemporaryDirectory() as out:
        folders = []
        for number, keys in enumerate(parts):
            slower = {key: replace(BY_KEY[key], seconds={"read": float(number)}) for key in keys}
            folders.append(run_of(Path(out, str(number)), sorted(keys), by_key=slower))
        target = Path(out, "new") if elsewhere else folders[-1]
        merged = merge(folders, target)
        there = set().union(*parts)
        assert merged.missing == [key for key in KEYS if key not in there]
        assert merged.report.complete == (there == set(KEYS))
        assert merged.report.figures["images"] == {
            "all": len(KEYS),
            "evaluated": len(there),
            "failed": 0,
            "missing": len(KEYS) - len(there),
        }
        order = folders if elsewhere else [folders[-1], *folders[:-1]]
        records = list(RunDirectory(target).records())
        assert [record.key for record in records] == sorted(there)
        for record in records:
            first = next(folder for folder in order if record.key in parts[int(folder.name)])
            assert record == replace(BY_KEY[record.key], seconds={"read": float(first.name)})


def test_a_gap_is_told_and_can_be_filled(tmp_path, whole):
    merged = merge([shards(tmp_path, 3, but=[2])])
    assert merged.missing == KEYS[1::3]
    assert not merged.report.complete
    assert f"{len(KEYS) - 2} of {len(KEYS)} images" in merged.report.summary
    assert report_files(tmp_path) != whole
    run_of(tmp_path / Shard(2, 3).folder, KEYS[1::3], Shard(2, 3))
    assert merge([tmp_path]).missing == []
    assert report_files(tmp_path) == whole


def test_a_merged_run_can_be_gone_on_with(tmp_path, whole):
    merge([shards(tmp_path, 3, but=[2])])
    with RunWriter(tmp_path, PLAN, KEYS, data_root="data") as run:
        assert run.missing() == KEYS[1::3]
        for key in run.missing():
            run.append(BY_KEY[key])
    assert merge([tmp_path]).missing == []
    assert report_files(tmp_path) == whole


def test_a_result_counts_more_than_a_failure(tmp_path, whole):
    failed = {key: Record(key, error="It is empty.") for key in KEYS}
    one = run_of(tmp_path / "one", KEYS, by_key={**BY_KEY, KEYS[0]: failed[KEYS[0]], KEYS[3]: failed[KEYS[3]]})
    other = run_of(tmp_path / "other", KEYS, by_key={**BY_KEY, KEYS[1]: failed[KEYS[1]], KEYS[3]: failed[KEYS[3]]})
    for folders, out in (([one, other], "there"), ([other, one], "back"), ([other], "one")):
        merged = merge(folders, tmp_path / out)
        assert merged.report.figures["failures"] == {KEYS[3]: "It is empty."}
        assert merged.missing == []
        assert not merged.report.complete
    run_of(tmp_path / "third", KEYS[3:4])
    assert merge([tmp_path / "third"], tmp_path / "back").report.complete
    assert report_files(tmp_path / "back") == whole


def test_different_results_are_refused(tmp_path):
    other = {key: replace(BY_KEY[key], size=(9, 9)) for key in KEYS}
    one = run_of(tmp_path / "one", KEYS)
    two = run_of(tmp_path / "two", KEYS[:1], by_key=other)
    three = run_of(tmp_path / "three", KEYS[:5], by_key=other)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=rf"one' and .*two' have different results of images: {KEYS[0]}\. Merge"):
        merge([one, two], tmp_path / "out")
    with pytest.raises(InputError, match=f"{'; '.join(KEYS[:3])}; and 2 more"):
        merge([one, three], tmp_path / "out")
    assert contents(tmp_path) == before


def test_plans_that_differ_are_refused(tmp_path):
    one = run_of(tmp_path / "one", KEYS[:3])
    other = run_of(tmp_path / "other", KEYS[3:], plan=replace(PLAN, seed=1))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"other' is another than that in .*one': seed is 0 there, 1 here\."):
        merge([one, other], tmp_path / "out")
    with pytest.raises(InputError, match=r"one' is another than that in .*other': seed is 1 there, 0 here\."):
        merge([one], other)
    assert contents(tmp_path) == before


def test_overwriting_replaces_what_was_merged_before(tmp_path, whole):
    run_of(tmp_path, KEYS, plan=replace(PLAN, seed=1))
    shards(tmp_path, 2)
    with pytest.raises(InputError, match="is another than that in"):
        merge([tmp_path])
    assert merge([tmp_path], overwrite=True).missing == []
    assert report_files(tmp_path) == whole
    with pytest.raises(InputError, match="nothing to merge"):
        merge([run_of(tmp_path / "alone", KEYS)], overwrite=True)
    assert list(RunDirectory(tmp_path / "alone").records()) == RECORDS


def test_predictions_come_along(tmp_path):
    one, other = run_of(tmp_path / "one", KEYS[:2]), run_of(tmp_path / "other", KEYS[1:4])
    kept = {KEYS[0]: (one, 1), KEYS[1]: (other, 2), KEYS[3]: (other, 3)}
    for key, (folder, label) in kept.items():
        with RunWriter(folder, PLAN, KEYS, data_root="data") as run:
            run.write_prediction(key, np.full((2, 3), label, np.uint16))
    merge([one, other], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "predictions").iterdir()} == {
        f"{key}.png": RunDirectory(folder).prediction(key).read_bytes() for key, (folder, _) in kept.items()
    }


def test_a_merge_that_was_killed_is_finished_by_another(tmp_path, whole):
    shards(tmp_path, 2)
    merge([tmp_path])
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    for name in REPORT:
        (tmp_path / name).unlink()
    assert merge([tmp_path]).missing == []
    assert report_files(tmp_path) == whole


def test_runs_are_found_in_order(tmp_path):
    shards(tmp_path, 11)
    (tmp_path / "shard-03-of-11" / "run.json").unlink()
    (tmp_path / "shard-01-of-99").mkdir()
    assert [path.name for path in find_runs(tmp_path)] == [
        Shard(index, 11).folder for index in range(1, 12) if index != 3
    ]
    run_of(tmp_path, [])
    assert find_runs(tmp_path)[0] == tmp_path


def test_where_there_is_nothing_to_merge(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        merge([tmp_path / "none"])
    with pytest.raises(InputError, match="--out"):
        merge([tmp_path / "one", tmp_path / "other"])
    with pytest.raises(InputError, match="holds shard 1/2, not a whole run"):
        merge([run_of(tmp_path / "part", KEYS[:1], Shard(1, 2))])
