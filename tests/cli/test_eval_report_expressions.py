"""`car eval report` over runs with expressions: compared, drawn, refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from car.evaluate.kinds import comparison_of, report_of, statistics_of
from car.evaluate.referring_record import ReferringRecord
from car.evaluate.run_writer import RunWriter
from tests.evaluate.made_films import made_films, video_plan
from tests.evaluate.made_runs import random_run
from tests.evaluate.test_referring_statistics import made, plan_of


def write(folder, plan, keys, records):
    with RunWriter(folder, plan, keys, data_root="data") as run:
        for record in records:
            run.append(record)
    counted = statistics_of(plan, keys)
    for record in records:
        counted.add(record)
    return counted


def referring(folder, **changes):
    keys, records = made(1)
    return write(folder, plan_of(keys, **changes), keys, records)


def films(folder, seed):
    keys, records = made_films(seed)
    return write(folder, video_plan(keys), keys, records)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_referring_runs_are_compared_and_drawn(car):
    pytest.importorskip("matplotlib")
    runs = {"one": referring("runs/one"), "other": referring("runs/other", method="tas")}
    status, out, err = car("eval", "report", "runs/one", "runs/other", "--out", "both", "--plots")
    expected = comparison_of(runs)
    assert (status, out) == (0, expected.page)
    assert err == "Written to both: comparison.md, comparison.csv, precision.png.\n"
    assert names("both") == ["comparison.csv", "comparison.md", "precision.png"]
    assert Path("both/comparison.md").read_text() == out
    assert Path("both/comparison.csv").read_text() == expected.csv


def test_films_are_compared_and_drawn(car):
    pytest.importorskip("matplotlib")
    runs = {"one": films("one", 1), "other": films("other", 2)}
    status, out, err = car("eval", "report", "one", "other", "--out", "both", "--plots", "--quiet")
    assert (status, out, err) == (0, comparison_of(runs).page, "")
    assert names("both") == ["comparison.csv", "comparison.md", "films.png"]


@pytest.mark.parametrize(("make", "picture"), [(referring, "precision.png"), (lambda at: films(at, 1), "films.png")])
def test_one_run_is_drawn_beside_its_report(car, make, picture):
    pytest.importorskip("matplotlib")
    counted = make("run")
    status, out, _ = car("eval", "report", "run", "--out", "here", "--plots")
    assert (status, out) == (0, report_of(counted).page)
    assert names("here") == sorted([picture, "report.json", "report.md", "timing.json"])
    status, _, err = car("eval", "report", "run", "--out", "here", "--plots")
    assert status == 2
    assert "exist already; add `--overwrite`" in err


def test_a_run_that_is_not_finished_is_compared_and_exits_1(car):
    whole = referring("whole")
    keys, records = made(1)
    part = write("part", plan_of(keys), keys, [*records[:5], ReferringRecord(keys[5], error="gone")])
    status, out, err = car("eval", "report", "whole", "part")
    assert (status, out) == (1, comparison_of({"whole": whole, "part": part}).page)
    assert err == "part: 5 of 12 images have a result; 1 failed, 6 not evaluated yet.\n"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("object", "'object' cannot be compared with 'run': its protocol is per object, not per sentence."),
        ("testB", "'testB' cannot be compared with 'run': its split is testB, not testA."),
        ("films", "'films' is a run of ref-davis17, 'run' one of refcoco: only runs of the same benchmark can be"),
        ("semantic", "'semantic' is a run of folder, 'run' one of refcoco: only runs of the same benchmark can be"),
        ("./run", "The run 'run' is given twice."),
        ("nothing", "There is no run in 'nothing': it has no run.json."),
        ("grown", "'grown' has 4 answers for '000', 'run' has 3: they are runs over different data."),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(car, other, message):
    referring("run")
    keys, records = made(1)
    if other == "object":
        shutil.copytree("run", "object")
        Path("object/run.json").write_text(Path("run/run.json").read_text().replace('"sentence"', '"object"'))
        Path("object/records.jsonl").write_text("")
    elif other == "testB":
        referring("testB", split="testB")
    elif other == "films":
        films("films", 1)
    elif other == "semantic":
        write("semantic", *random_run(1, 3))
    elif other == "grown":
        target = records[0].targets[0]
        more = replace(target, id="more", answers=target.answers[:1])
        write("grown", plan_of(keys), keys, [replace(records[0], targets=(*records[0].targets, more))])
    status, out, err = car("eval", "report", "run", other, "--out", "out")
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out").exists()
