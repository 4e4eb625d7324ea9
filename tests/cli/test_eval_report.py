"""`car eval report` as a user runs it: run folders in, Markdown, files and exit status out."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from car.evaluate.compare import Comparison
from car.evaluate.record import Record
from car.evaluate.report import Report
from car.evaluate.run_writer import RunWriter
from car.evaluate.shards import Shard
from car.evaluate.statistics import Statistics
from tests.evaluate.made_runs import random_run


def write(folder, plan, keys, records, **how):
    with RunWriter(folder, plan, keys, data_root="data", **how) as run:
        for record in records:
            run.append(record)
    return Statistics.of(plan, keys, {record.key: record for record in records}.values())


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_one_run_is_printed_and_left_alone(car):
    counted = write("runs/one", *random_run(1, 5))
    before = files("runs")
    status, out, err = car("eval", "report", "runs/one")
    assert (status, out, err) == (0, Report.of(counted).page, "")
    assert files("runs") == before


def test_a_run_that_is_not_finished_is_said_and_exits_1(car):
    plan, keys, records = random_run(1, 5)
    records[1] = Record(keys[1], error="'001.jpg' is empty (0 bytes).")
    write("run", plan, keys, records[:4])
    status, out, err = car("eval", "report", "run")
    assert status == 1
    assert "**3 of 5 images.** Failed: 1, which no score counts. Not evaluated yet: 1;" in out
    assert "- `001`: '001.jpg' is empty (0 bytes)." in out
    assert err == "run: 3 of 5 images have a result; 1 failed, 1 not evaluated yet.\n"


def test_the_last_record_of_a_picture_counts_and_a_torn_one_does_not(car):
    plan, keys, records = random_run(1, 3)
    write("run", plan, keys, [Record(keys[0], error="gone"), *reversed(records)])
    with open("run/records.jsonl", "a") as file:
        file.write(records[1].to_line()[:40])
    status, out, _ = car("eval", "report", "run")
    assert (status, out) == (0, Report.of(Statistics.of(plan, keys, records)).page)


def test_a_shard_is_reported_as_what_it_is(car):
    plan, keys, records = random_run(1, 6)
    with RunWriter("shard", plan, keys, data_root="data", shard=Shard(2, 3)) as run:
        for record in records[1::3]:
            run.append(record)
    status, out, _ = car("eval", "report", "shard")
    assert status == 0
    assert "**2 of 2 images.** This is a part of a run of 6." in out


def test_several_runs_are_compared(car):
    one, other = write("runs/one", *random_run(1, 5)), write("runs/other", *random_run(1, 5, skill=0.9))
    status, out, err = car("eval", "report", "runs/one", "runs/other")
    assert (status, out, err) == (0, Comparison({"one": one, "other": other}).page, "")


def test_out_keeps_what_is_printed(car):
    counted = write("run", *random_run(1, 5))
    other = write("other/run", *random_run(2, 5))
    status, out, err = car("eval", "report", "run", "--out", "deep/here")
    assert (status, err) == (0, "Written to deep/here: report.json, report.md, classes.csv, timing.json.\n")
    assert files("deep/here")["report.md"].decode() == out
    Report.of(counted).write("expected")
    assert files("deep/here") == files("expected")
    status, out, err = car("eval", "report", Path.cwd() / "run", "other/run/", "--out", "both", "--quiet")
    assert (status, err) == (0, "")
    name = f"{Path.cwd().name}/run"
    Comparison({name: counted, "other/run": other}).write("expected-both")
    assert files("both") == files("expected-both")
    assert files("both")["comparison.md"].decode() == out


def test_plots_lie_beside_it(car):
    pytest.importorskip("matplotlib")
    write("a", *random_run(1, 5))
    write("b", *random_run(2, 5))
    assert car("eval", "report", "a", "--out", "one", "--plots")[0] == 0
    assert {"iou.png", "steps.png", "confusion.png", "report.md"} < set(files("one"))
    status, _, err = car("eval", "report", "a", "b", "--out", "two", "--plots")
    drawn = {"iou.png", "steps.png", "confusion.a.png", "confusion.b.png"}
    assert set(files("two")) == {"comparison.md", "comparison.csv"} | drawn
    assert status == 0
    assert all(name in err for name in drawn)


def test_nothing_is_overwritten_unless_told(car):
    write("run", *random_run(1, 3))
    assert car("eval", "report", "run", "--out", "here")[0] == 0
    Path("here/report.md").write_text("mine")
    status, out, err = car("eval", "report", "run", "--out", "here")
    assert (status, out) == (2, "")
    assert "report.json' and 3 more exist already; add `--overwrite`" in err
    assert Path("here/report.md").read_text() == "mine"
    assert car("eval", "report", "run", "--out", "here", "--overwrite")[0] == 0
    assert Path("here/report.md").read_text() != "mine"


def test_plots_need_a_folder_and_matplotlib(car, monkeypatch):
    write("run", *random_run(1, 3))
    status, out, err = car("eval", "report", "run", "--plots")
    assert (status, out, err) == (2, "", "error: `--plots` needs a folder to draw to: add `--out`.\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = car("eval", "report", "run", "--plots", "--out", "here")
    assert (status, out) == (3, "")
    assert err == "error: matplotlib is not installed; run: pip install 'car-segmentation[plots]'\n"
    assert not Path("here").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "There is no run in 'nothing'"),
        (("run", "./run/"), "The run 'run' is given twice."),
        (("run", "other"), "only runs of the same benchmark can be compared."),
        (("damaged",), "'damaged/records.jsonl' is damaged: line 2"),
        (("run", "--out", "run/keys.txt"), "Cannot make the folder 'run/keys.txt'"),
    ],
)
def test_mistakes_are_one_line(car, arguments, message):
    plan, keys, records = random_run(1, 3)
    write("run", plan, keys, records)
    write("other", replace(plan, benchmark="voc21"), keys, records)
    write("damaged", plan, keys, records)
    lines = Path("damaged/records.jsonl").read_text().splitlines(keepends=True)
    Path("damaged/records.jsonl").write_text(f"{lines[0]}nonsense\n{lines[2]}")
    status, out, err = car("eval", "report", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_has_examples(car):
    status, out, _ = car("eval", "report", "--help")
    assert status == 0
    assert "car eval report runs/voc21" in out
