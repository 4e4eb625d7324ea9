import json
import resource
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.errors import CarError, InputError
from car.evaluate.record import Record
from car.evaluate.run_directory import RunDirectory
from car.evaluate.run_writer import RunWriter
from car.evaluate.shards import Shard
from car.palette import voc_palette
from tests.evaluate.made_runs import plan_of, random_run

PLAN, KEYS, RECORDS = random_run(3, 6)


def opened(folder, plan=PLAN, keys=KEYS, **how) -> RunWriter:
    return RunWriter(folder, plan, keys, data_root="data", **how)


def written(folder, records=RECORDS, **how) -> Path:
    with opened(folder, **how) as run:
        for record in records:
            run.append(record)
    return Path(folder)


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@given(st.permutations(RECORDS), st.integers(0, len(RECORDS)))
def test_records_come_back_in_the_order_of_keys(records, count):
    with TemporaryDirectory() as folder:
        run = RunDirectory(written(folder, records[:count]))
        assert list(run.records()) == sorted(records[:count], key=lambda record: record.key)
        assert len(run) == count
        assert (run.plan, run.keys, run.shard, run.data_root) == (PLAN, tuple(KEYS), None, "data")
        assert [key for key in KEYS if key in run] == sorted(record.key for record in records[:count])


@given(st.data())
def test_a_run_cut_off_anywhere_goes_on(data):
    """As a kill leaves it: the whole lines count, what is left of the next is gone, and the rest can be added."""
    with TemporaryDirectory() as folder:
        path = written(folder) / "records.jsonl"
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        done = whole[:cut].count(b"\n")
        assert list(RunDirectory(folder).records()) == RECORDS[:done]
        assert path.read_bytes() == whole[:cut]  # reading leaves a run that may be at work alone
        with opened(folder) as run:
            assert run.missing() == KEYS[done:]
            for record in RECORDS[done:]:
                run.append(record)
            assert list(run.records()) == RECORDS
        assert path.read_bytes() == whole


def test_the_later_record_counts_and_failures_are_to_be_done_again(tmp_path):
    with opened(tmp_path) as run:
        for record in (RECORDS[0], Record(KEYS[1], error="It is empty."), RECORDS[2]):
            run.append(record)
        assert run.failed == {KEYS[1]}
        assert run.missing() == [KEYS[1], *KEYS[3:]]
        run.append(RECORDS[1])
        assert (run.failed, run.missing()) == (set(), KEYS[3:])
        later = replace(RECORDS[0], seconds={"read": 9.0})
        run.append(later)
        assert list(run.records()) == [later, *RECORDS[1:3]]
    assert list(RunDirectory(tmp_path).records()) == [later, *RECORDS[1:3]]
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 5


def test_predictions_are_label_maps(tmp_path):
    labels = np.array([[0, 1, 4]], np.uint16)
    with opened(tmp_path) as run:
        run.write_prediction(KEYS[0], labels)
        run.append(RECORDS[0])
        run.append(RECORDS[1])
        run.write_prediction(KEYS[2], labels)
        run.append(Record(KEYS[2], error="It is empty."))
        assert run.missing(predictions=True) == KEYS[1:]
        assert run.missing() == KEYS[2:]
        run.prediction(KEYS[0]).write_bytes(b"")
        assert run.missing(predictions=True) == KEYS
        run.write_prediction(KEYS[0], labels)
    image = Image.open(tmp_path / "predictions" / f"{KEYS[0]}.png")
    assert image.mode == "P"
    assert np.array_equal(np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:6], voc_palette(6))
    assert np.array_equal(np.asarray(image), labels)


def test_predictions_of_many_classes_have_16_bits(tmp_path):
    plan = plan_of(KEYS, names=[f"class {i}" for i in range(847)])
    labels = np.array([[0, 847, 300]], np.uint16)
    with opened(tmp_path, plan) as run:
        run.write_prediction(KEYS[0], labels)
        image = Image.open(run.prediction(KEYS[0]))
    assert image.mode.startswith("I;16")
    assert np.array_equal(np.asarray(image), labels)


def test_a_shard_holds_its_own_records(tmp_path):
    shard = Shard(2, 4)
    with opened(tmp_path, shard=shard) as run:
        assert run.missing() == list(run.own_keys) == KEYS[1::4]
        run.append(RECORDS[1])
    run = RunDirectory(tmp_path)
    assert (run.shard, run.keys, list(run.records())) == (shard, tuple(KEYS), [RECORDS[1]])


def test_another_plan_is_refused_and_told(tmp_path):
    before = contents(written(tmp_path))
    config = {**PLAN.config, "theta": 0.25, "eta": 0.125, "lam": 0.5, "view": "pad"}
    with pytest.raises(InputError) as one:
        opened(tmp_path, replace(PLAN, seed=7))
    assert "holds another run: seed is 0 there, 7 here. Add `--overwrite`, or choose another `--out`." in str(one.value)
    with pytest.raises(InputError) as many:
        opened(tmp_path, replace(PLAN, config=config, images=9, weights={**PLAN.weights, "classifier": "ef" * 32}))
    assert "weights.classifier is 'cdcdcdcdcdcd' there, 'efefefefefef' here; " in str(many.value)
    assert "config.eta is 0.4 there, 0.125 here; config.theta is" in str(many.value)
    assert "; and 3 more. Add" in str(many.value)
    with pytest.raises(InputError, match="holds a whole run, not shard 2/3"):
        opened(tmp_path, shard=Shard(2, 3))
    assert contents(tmp_path) == before


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    with opened(tmp_path) as run:
        run.append(RECORDS[0])
        run.write_prediction(KEYS[0], np.zeros((2, 2), np.uint16))
    own = {"notes.txt": b"mine", "predictions/mine.png": b"mine", "shard-01-of-02/run.json": b"mine"}
    for name, content in {**own, "report.md": b"old", "timing.json": b"old"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    other = plan_of(["a", "b"])
    with opened(tmp_path, other, ["a", "b"], overwrite=True) as run:
        assert (run.missing(), len(run)) == (["a", "b"], 0)
    after = contents(tmp_path)
    assert {name: after[name] for name in own} == own
    assert set(after) == {*own, "run.json", "keys.txt", "records.jsonl"}
    assert RunDirectory(tmp_path).plan == other


def test_an_empty_folder_of_predictions_goes_too(tmp_path):
    with opened(tmp_path) as run:
        run.write_prediction(KEYS[0], np.zeros((2, 2), np.uint16))
    with opened(tmp_path, overwrite=True):
        assert not (tmp_path / "predictions").exists()


@pytest.mark.parametrize("name", ["records.jsonl", "keys.txt", "report.json", "predictions/a.png"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_left_alone(tmp_path, name, overwrite):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"is of no run: there is no run\.json"):
        opened(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {name: b"mine"}


def test_what_kills_leave_behind_is_cleared(tmp_path):
    (tmp_path / "records.jsonl").touch()  # killed before there was a plan
    written(tmp_path)
    (tmp_path / "predictions").mkdir()
    (tmp_path / "keys.txt").unlink()  # killed between the first two files
    for name in (".0123456789abcdef.tmp", "predictions/.fedcba9876543210.tmp", ".mine.tmp"):
        (tmp_path / name).write_text("half")
    with opened(tmp_path) as run:
        assert list(run.records()) == RECORDS
    assert set(contents(tmp_path)) == {"run.json", "keys.txt", "records.jsonl", ".mine.tmp"}


def test_one_process_at_a_time(tmp_path):
    with opened(tmp_path) as run:
        run.append(RECORDS[0])
        with pytest.raises(InputError, match="Another process is writing the run"):
            opened(tmp_path)
        with pytest.raises(InputError, match="Another process is writing the run"):
            opened(tmp_path, overwrite=True)
        run.append(RECORDS[1])
    with opened(tmp_path) as run:
        assert list(run.records()) == RECORDS[:2]


def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    code = (
        "import time; from tests.evaluate.test_run_directory import *\n"
        f"run = opened({str(tmp_path)!r}); run.append(RECORDS[0]); print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="Another process"):
            opened(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with opened(tmp_path) as run:
            assert list(run.records()) == RECORDS[:1]
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_leaves_whole_lines(tmp_path):
    """A limit on the size of files stands for the disk: the system writes what fits and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as run:
        run.append(RECORDS[0])
        before = (tmp_path / "records.jsonl").read_bytes()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
            with pytest.raises(CarError, match="Cannot write to") as full:
                run.append(RECORDS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert full.value.exit_code == 1
        assert (tmp_path / "records.jsonl").read_bytes() == before
        run.append(RECORDS[1])
        assert list(run.records()) == RECORDS[:2]


@pytest.mark.parametrize(
    "line", [b"{}\n", b"\xff\n", b"\n", b'{"key": "elsewhere", "error": "It is empty."}\n', b'{"key": "000"}\n']
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = written(tmp_path) / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    for reader in (RunDirectory, opened):
        with pytest.raises(InputError, match=r"records\.jsonl' is damaged: line 3 is no record of this run"):
            reader(tmp_path)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with opened(tmp_path) as run:
        assert run.missing() == [KEYS[2]]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"plan": {}, "shard": null, "data_root": "data"}'])
def test_a_damaged_plan_is_an_error(tmp_path, content):
    (written(tmp_path) / "run.json").write_bytes(content)
    for reader in (RunDirectory, opened):
        with pytest.raises(InputError, match=r"run\.json' is damaged"):
            reader(tmp_path)
    with opened(tmp_path, overwrite=True) as run:
        assert len(run) == 0


def test_other_keys_than_the_plans_are_an_error(tmp_path):
    with (written(tmp_path) / "keys.txt").open("a") as file:
        file.write("999\n")
    with pytest.raises(InputError, match=r"keys\.txt' is damaged"):
        RunDirectory(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "keys.txt", "records.jsonl"])
def test_a_missing_file_is_an_error(tmp_path, name):
    (written(tmp_path) / name).unlink()
    with pytest.raises(InputError, match=name):
        RunDirectory(tmp_path)


@pytest.mark.parametrize("key", ["../up", "a/b", "/a", "..", "", "a\nb", "a\0b"])
def test_keys_that_are_no_file_names_are_refused(tmp_path, key):
    with pytest.raises(InputError, match="Nothing can be called"):
        opened(tmp_path / "run", plan_of([key]), [key])
    assert not (tmp_path / "run").exists()


def test_file_names_that_are_no_text_are_keys(tmp_path):
    keys = ["a\udcff", "b c", "Ä", "猫"]  # the first is the name of a file called b"a\xff" on disk
    plan = replace(plan_of(["a"]), images=4, keys_sha256=sha256(b"a\xff\nb c\n\xc3\x84\n\xe7\x8c\xab\n").hexdigest())
    with opened(tmp_path, plan, keys) as run:
        for key in keys:
            run.write_prediction(key, np.zeros((2, 2), np.uint16))
            run.append(replace(RECORDS[0], key=key))
    with opened(tmp_path, plan, keys) as run:
        assert run.missing(predictions=True) == []
        assert [record.key for record in run.records()] == sorted(keys)
    with opened(tmp_path, overwrite=True):
        assert not (tmp_path / "predictions").exists()


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="Cannot make the folder"):
        opened(tmp_path / "file")
    (tmp_path / "run" / "records.jsonl").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(CarError, match="Cannot write to"):
        opened(tmp_path / "run", overwrite=True)


def test_the_run_says_what_it_is_in_plain_text(tmp_path):
    written(tmp_path, shard=Shard(1, 1))
    values = json.loads((tmp_path / "run.json").read_text())
    assert (values["shard"], values["data_root"]) == ("1/1", "data")
    assert values["plan"]["config"]["theta"] == PLAN.config["theta"]
    assert (tmp_path / "keys.txt").read_text().splitlines() == KEYS


def test_memory_does_not_hold_the_records(tmp_path):
    keys = [f"{number:05}" for number in range(600)]
    with opened(tmp_path, plan_of(keys), keys) as run:
        for key in keys:
            run.append_line(f"{Record(key, error='wrong ' * 2000).to_line()}\n".encode())
    size = (tmp_path / "records.jsonl").stat().st_size
    tracemalloc.start()
    try:
        assert sum(len(record.error) for record in RunDirectory(tmp_path).records()) == 12000 * len(keys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 10 * peak
