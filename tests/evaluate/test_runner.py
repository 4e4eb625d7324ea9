from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.errors import InputError
from car.evaluate.evaluator import Evaluator
from car.evaluate.job import Job
from car.evaluate.report import FILES
from car.evaluate.run_directory import RunDirectory
from car.evaluate.runner import run
from car.evaluate.shards import Shard
from tests.evaluate.pictures import SETTINGS, write_pictures

PICTURES = 5
REPORT = set(FILES) - {"timing.json"}


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data") / "scenes", PICTURES)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """A run in one piece, with predictions."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(job(root), folder, predictions=True).complete
    return folder


def job(root, **changes):
    return Job(benchmark="folder", data_root=root, threads=1, **{"options": SETTINGS, **changes})


def report_files(folder) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in REPORT}


def predictions(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(folder) / "predictions").iterdir()}


def stop_after(pictures):
    """Ends a run when so many pictures of it have been done."""
    steps = count()

    def on_progress(progress):
        if next(steps) == pictures:
            raise Stop

    return on_progress


def test_a_run_keeps_what_the_evaluator_says(root, whole):
    evaluator, there = Evaluator(job(root)), RunDirectory(whole)
    assert there.plan == evaluator.plan
    assert there.keys == evaluator.keys
    for record in there.records():
        outcome = evaluator(record.key)
        assert (record.cells, record.passes) == (outcome.record.cells, outcome.record.passes)
        assert np.array_equal(np.asarray(Image.open(there.prediction(record.key))), outcome.labels)
    assert {record.key for record in there.records()} == set(evaluator.keys)


def test_progress_says_how_far_it_is(root, whole, tmp_path):
    told, mious = [], []

    def on_progress(progress):
        told.append((progress.done, progress.there, progress.total, progress.record and progress.record.key))
        mious.append(progress.miou)

    report = run(job(root), tmp_path, on_progress=on_progress)
    assert told[0] == (0, 0, PICTURES, None)
    assert [done for done, *_ in told] == list(range(PICTURES + 1))
    assert {key for *_, key in told[1:]} == set(RunDirectory(tmp_path).keys)
    assert np.isnan(mious[0])
    assert mious[-1] == pytest.approx(report.miou, abs=1e-9)
    told.clear()
    run(job(root), tmp_path, on_progress=on_progress)
    assert told == [(PICTURES, PICTURES, PICTURES, None)]
    assert mious[-1] == pytest.approx(report.miou, abs=1e-9)


def test_a_run_that_is_stopped_again_and_again_ends_in_the_same_report(root, whole, tmp_path):
    for pictures in (0, 2, 1):
        with pytest.raises(Stop):
            run(job(root), tmp_path, predictions=True, on_progress=stop_after(pictures))
    assert len(RunDirectory(tmp_path)) == 3
    assert not (tmp_path / "report.json").exists()
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b'{"key": "00')
    assert run(job(root), tmp_path, predictions=True).complete
    assert report_files(tmp_path) == report_files(whole)
    assert predictions(tmp_path) == predictions(whole)
    assert len((tmp_path / "records.jsonl").read_bytes().splitlines()) == PICTURES


def test_predictions_that_are_not_there_are_made(root, whole, tmp_path):
    run(job(root), tmp_path)
    assert not (tmp_path / "predictions").exists()
    told = []
    run(
        job(root), tmp_path, predictions=True, on_progress=lambda progress: told.append((progress.there, progress.miou))
    )
    assert told[0][0] == 0
    assert predictions(tmp_path) == predictions(whole)
    assert report_files(tmp_path) == report_files(whole)
    (tmp_path / "predictions" / "001.png").unlink()
    told.clear()
    report = run(
        job(root), tmp_path, predictions=True, on_progress=lambda progress: told.append((progress.there, progress.miou))
    )
    assert [there for there, _ in told] == [PICTURES - 1] * 2
    assert told[-1][1] == pytest.approx(report.miou, abs=1e-9)
    assert predictions(tmp_path) == predictions(whole)


def test_a_bad_picture_is_counted_and_tried_again(whole, tmp_path):
    root = write_pictures(tmp_path / "scenes", PICTURES)
    good = (root / "images/001.png").read_bytes()
    (root / "images/001.png").write_bytes(b"")
    out = tmp_path / "run"
    told = []
    report = run(job(root), out, on_progress=lambda progress: told.append(progress.record))
    assert not report.complete
    assert report.figures["images"] == {"all": PICTURES, "evaluated": PICTURES - 1, "failed": 1, "missing": 0}
    assert "001.png' is empty" in report.figures["failures"]["001"]
    assert [record.key for record in told[1:] if record.error] == ["001"]
    before = report_files(out)
    run(job(root), out, on_progress=lambda progress: told.append(progress))
    assert told[-1].done - told[-1].there == 1
    assert report_files(out) == before
    (root / "images/001.png").write_bytes(good)
    assert run(job(root), out).complete
    assert report_files(out) == report_files(whole)


def test_other_settings_are_refused_until_overwritten(root, whole, tmp_path):
    run(job(root), tmp_path)
    other = job(root, options={**SETTINGS, "theta": 0.9})
    with pytest.raises(InputError, match=r"config\.theta is 0\.6 there, 0\.9 here"):
        run(other, tmp_path)
    assert report_files(tmp_path) == report_files(whole)
    assert run(other, tmp_path, overwrite=True).complete
    assert RunDirectory(tmp_path).plan.config["theta"] == 0.9


def test_data_that_moved_are_the_same(root, whole, tmp_path):
    with pytest.raises(Stop):
        run(job(root), tmp_path / "run", on_progress=stop_after(2))
    (tmp_path / "moved").symlink_to(root)
    assert run(job(tmp_path / "moved"), tmp_path / "run").complete
    assert report_files(tmp_path / "run") == report_files(whole)
    assert RunDirectory(tmp_path / "run").data_root == str(tmp_path / "moved")


def test_a_shard_is_a_run_of_its_own(root, whole, tmp_path):
    report = run(job(root), tmp_path, shard=Shard(2, 3))
    assert report.figures["images"]["all"] == 2
    there = RunDirectory(tmp_path / "shard-02-of-03")
    assert there.plan == RunDirectory(whole).plan
    assert [record.key for record in there.records()] == ["001", "004"]
    empty = run(job(root), tmp_path, shard=Shard(7, 7))
    assert empty.figures["images"]["all"] == 0
    assert empty.complete


def test_engines_are_checked_first(tmp_path):
    nowhere = Job(benchmark="folder", data_root=tmp_path / "nowhere")
    with pytest.raises(InputError, match="one of local, ray, but got 'rya'"):
        run(nowhere, tmp_path, engine="rya")
    for wish in ({"workers": 2}, {"address": "auto"}):
        with pytest.raises(InputError, match="for the engine 'ray'"):
            run(nowhere, tmp_path, **wish)
