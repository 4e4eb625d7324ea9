"""`car eval` as a user runs it: arguments in, exit status, stdout, stderr and files out."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.cli import eval as eval_module
from car.data import list_benchmarks
from car.evaluate import Job, run
from car.evaluate.report import FILES
from car.evaluate.run_directory import RunDirectory
from tests.data.writing import write_benchmark
from tests.evaluate.pictures import NAMES, write_pictures

PICTURES = 6
FAST = ("--set", "proposer=gradcam", "--threads", 1)
REPORT = set(FILES) - {"timing.json"}
SUMMARY = re.compile(
    rf"folder all: \d\d\.\d\d mIoU \[.*\]\n{PICTURES} of {PICTURES} images\n.*steps per image; .*\n.*\n"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data") / "scenes", PICTURES)


@pytest.fixture
def folder(car, root):
    """Runs `car eval folder` on the pictures."""
    return lambda *arguments: car("eval", "folder", "--data-root", root, *FAST, *arguments)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The files of an uninterrupted run with predictions."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    job = Job(benchmark="folder", data_root=root, threads=1, options={"proposer": "gradcam"})
    assert run(job, out, predictions=True).complete
    return made(out)


def started(root, out, *arguments) -> subprocess.Popen:
    """`car eval folder --predictions` as a process of its own."""
    command = ["eval", "folder", "--data-root", root, *FAST, "--out", out, "--predictions", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "car.cli.main", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recorded(out) -> int:
    path = Path(out) / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(process, out, records) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and recorded(out) < records and time.monotonic() < deadline:
        time.sleep(0.005)


def made(out) -> dict[str, bytes]:
    """The files of a run that do not say how it came about."""
    kept = [*(Path(out) / name for name in (*REPORT, "keys.txt", "run.json")), *Path(out).glob("predictions/*")]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


def test_a_run_from_start_to_report(folder):
    status, out, err = folder()
    assert status == 0
    assert SUMMARY.fullmatch(out), out
    assert err == "The report is runs/folder-mini/report.md.\n"
    files = {str(path.relative_to("runs/folder-mini")) for path in Path("runs/folder-mini").rglob("*")}
    assert files == {*FILES, "run.json", "keys.txt", "records.jsonl"}
    before = made("runs/folder-mini")
    status, again, err = folder()
    assert (status, again) == (0, out)
    assert err.startswith(f"{PICTURES} of {PICTURES} images were there already.\n")
    assert made("runs/folder-mini") == before
    assert folder("--quiet") == (0, "", "")


def test_settings_are_recorded_and_others_refused(folder, tmp_path):
    (tmp_path / "mine.yaml").write_text("lam: 0.3\neta: 0.2\n")
    (tmp_path / "words.txt").write_text("kitten,cat\n" + "\n".join(NAMES[1:]))
    asked = ("--limit", 3, "--seed", 5, "--out", "run")
    asked += ("--config", "mine.yaml", "--eta", 0.25, "--classes", "words.txt")
    assert folder(*asked)[0] == 0
    plan = RunDirectory("run").plan
    assert (plan.images, plan.limit, plan.seed, plan.threads) == (3, 3, 5, 1)
    assert [plan.config[key] for key in ("lam", "eta", "theta", "proposer")] == [0.3, 0.25, 0.6, "gradcam"]
    assert plan.classes[0]["names"] == ["kitten", "cat"]
    before = made("run")
    status, out, err = folder(*asked, "--theta", 0.7)
    assert (status, out) == (2, "")
    told = "holds another run: config.theta is 0.6 there, 0.7 here. Add `--overwrite`, or choose another `--out`.\n"
    assert err.endswith(told)
    assert made("run") == before
    assert folder(*asked, "--theta", 0.7, "--overwrite")[0] == 0
    assert RunDirectory("run").plan.config["theta"] == 0.7


def test_the_published_figure_stands_beside_ours(car, tmp_path):
    truths = {key: np.full((32, 48), label, np.uint16) for key, label in (("2007_000033", 1), ("2007_000039", 0))}
    write_benchmark("voc21", tmp_path / "voc", truths)
    asked = ("eval", "voc21", "--data-root", "voc", *FAST, "--set", "max_steps=1", "--crf", "none")
    status, out, _ = car(*asked)
    assert status == 0
    assert re.match(r"voc21 val: \d+\.\d\d mIoU .*; published: 67\.6", out)
    assert RunDirectory("runs/voc21-mini").plan.preset == "voc21"
    assert "67.6" in Path("runs/voc21-mini/report.md").read_text()
    status, out, _ = car(*asked, "--preset", "none", "--out", "none")
    assert status == 0
    assert "published" not in out
    assert RunDirectory("none").plan.preset is None


def test_a_bad_picture_is_told_counted_and_tried_again(car, tmp_path):
    root = write_pictures(tmp_path / "scenes", 3)
    good = (root / "labels/001.png").read_bytes()
    (root / "labels/001.png").write_bytes(good[:40])
    asked = ("eval", "folder", "--data-root", "scenes", *FAST, "--out", "run", "--predictions")
    status, out, err = car(*asked)
    assert status == 1
    assert "2 of 3 images; 1 failed" in out
    assert err.startswith("001: error: ")
    assert "labels/001.png" in err
    status, out, err = car(*asked, "--quiet")
    assert (status, out) == (1, "")
    assert err.startswith("001: error: ")
    assert len(err.splitlines()) == 1
    assert {path.name for path in Path("run/predictions").iterdir()} == {"000.png", "002.png"}
    (root / "labels/001.png").write_bytes(good)
    status, out, err = car(*asked)
    assert status == 0
    assert "\n3 of 3 images\n" in out
    assert err.startswith("2 of 3 images were there already.\n")


def test_shards_merge_to_the_same_report(folder, car, whole):
    for index in (1, 3):
        status, out, err = folder("--shard", f"{index}/3", "--predictions", "--out", "run")
        assert status == 0
        assert "2 of 2 images" in out
        assert err == f"The report is run/shard-0{index}-of-03/report.md.\n"
    status, out, err = car("eval", "merge", "run")
    assert status == 1
    assert "4 of 6 images; 2 missing" in out
    assert err.startswith("2 of 6 images are in none of the runs: 001, 004.\n")
    assert folder("--shard", "2/3", "--predictions", "--out", "run")[0] == 0
    status, out, err = car("eval", "merge", "run", "--out", "joined")
    assert status == 0
    assert SUMMARY.fullmatch(out)
    assert err == "The report is joined/report.md.\n"
    assert car("eval", "merge", "run", "--quiet") == (0, "", "")
    for merged in ("run", "joined"):
        assert made(merged) == whole
    assert car("eval", "report", "joined")[:2] == (0, Path("joined/report.md").read_text())


def test_what_does_not_belong_together_is_not_merged(folder, car):
    assert folder("--limit", 2, "--out", "one", "--quiet")[0] == 0
    assert folder("--limit", 3, "--out", "other", "--quiet")[0] == 0
    status, out, err = car("eval", "merge", "one", "other", "--out", "both")
    assert (status, out) == (2, "")
    assert "is another than that in 'one': limit is 2 there, 3 here" in err
    assert not Path("both").exists()
    status, _, err = car("eval", "merge", "none")
    assert status == 2
    assert "There is no run in 'none'" in err


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(folder, root, tmp_path, whole):
    moments = random.Random(0)
    for _ in range(3):
        process = started(root, tmp_path / "run")
        wait_for(process, tmp_path / "run", recorded(tmp_path / "run") + moments.randint(0, 2))
        time.sleep(moments.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = recorded(tmp_path / "run")
    status, out, err = folder("--out", "run", "--predictions")
    assert (status, SUMMARY.fullmatch(out) is not None) == (0, True)
    assert err.startswith(f"{done} of {PICTURES} images were there already.\n" if done else "The report is")
    assert made("run") == whole
    assert not list(Path("run").rglob("*.tmp"))


def test_ctrl_c_says_how_to_go_on_and_leaves_whole_files(folder, root, tmp_path, whole):
    process = started(root, tmp_path / "run", "--overwrite")
    wait_for(process, tmp_path / "run", 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    said = err.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"Interrupted\. \d of {PICTURES} images are in '.*run'; "
        "the same command without `--overwrite` goes on from there\\.",
        said,
    )
    assert "Traceback" not in err
    for path in tmp_path.glob("run/predictions/*.png"):
        Image.open(path).load()
    for line in (tmp_path / "run/records.jsonl").read_text().splitlines():
        json.loads(line)
    assert folder("--out", "run", "--predictions", "--quiet") == (0, "", "")
    assert made("run") == whole


def test_a_second_process_is_told_to_wait(root, folder, tmp_path):
    process = started(root, tmp_path / "run")
    try:
        wait_for(process, tmp_path / "run", 1)
        process.send_signal(signal.SIGSTOP)
        status, out, err = folder("--out", "run", "--predictions")
        assert (status, out) == (2, "")
        assert "Another process is writing the run in 'run'" in err
    finally:
        process.kill()
        process.communicate()


def test_lines_now_and_then_where_there_is_no_terminal(folder, monkeypatch):
    monkeypatch.setattr(eval_module, "SECONDS_BETWEEN_LINES", 0)
    _, _, err = folder("--limit", 2)
    lines = err.splitlines()
    assert [
        bool(re.fullmatch(rf"{i + 1} of 2 images, mIoU \d+\.\d so far, \d+\.\d images/s", lines[i])) for i in (0, 1)
    ]
    assert folder("--limit", 2, "--overwrite", "--quiet") == (0, "", "")


def test_help_lists_the_benchmarks_and_is_quick(car):
    status, out, _ = car("eval", "--help")
    assert status == 0
    for name in (*list_benchmarks(), "merge", "report"):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
    assert "car eval voc21 --data-root" in out
    for name in list_benchmarks():
        status, out, _ = car("eval", name, "--help")
        assert status == 0
        assert f"car eval {name} --data-root DATA" in out
    assert "car eval merge runs/voc21-mini" in car("eval", "merge", "--help")[1]
    code = "import sys; from car.cli.main import main\nsys.argv = ['car', 'eval', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\nprint(sorted({'torch', 'cv2', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["voc12"], 2, "No benchmark 'voc12'. Did you mean 'voc21'?"),
        (["merg"], 2, "Did you mean 'merge'?"),
        (["qqq"], 2, "Available: voc21, voc20, "),
        (["voc21"], 2, "--data-root"),
        (["voc21", "--data-root", "."], 3, "JPEGImages"),
        (["folder", "--data-root", "DATA", "--shard", "0/3"], 2, "a shard I/N with I from 1 to N, but got '0/3'"),
        (["folder", "--data-root", "DATA", "--engine", "rya"], 2, "one of local, ray"),
        (["folder", "--data-root", "DATA", "--workers", "2"], 2, "are for the engine 'ray'"),
        (["folder", "--data-root", "DATA", "--split", "vall"], 3, "vall.txt"),
        (["folder", "--data-root", "DATA", "--preset", "voc22"], 2, "Did you mean 'voc21'?"),
        (["folder", "--data-root", "DATA", "--set", "thta=1"], 2, "Did you mean 'theta'?"),
        (["folder", "--data-root", "DATA", "--out", "DATA/classes.txt"], 2, "Cannot make the folder"),
        (["merge", "one", "other"], 2, "with `--out`"),
    ],
)
def test_mistakes_get_one_line(car, root, arguments, status, told):
    found, out, err = car("eval", *(each.replace("DATA", str(root)) for each in arguments))
    assert (found, out) == (status, "")
    assert told in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not Path("runs").exists()
