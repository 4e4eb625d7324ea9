import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.cli.video import doubt as doubt_line
from car.scenes.film import film
from tests.video.films import write_film, write_pictures

FAST = ("--dtype", "fp32", "--device", "cpu", "--proposer", "gradcam", "--crf", "none")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Three frames, a cut, and three more, (6, 48, 64, 3)."""
    made = film(41, frames=24, size=(48, 64), objects=(2, 2), cuts=1, repeats=0, camera=0)
    return np.array([made.frame(made.shots[1] + time).image for time in range(-3, 3)])


@pytest.fixture
def source(pictures, tmp_path) -> Path:
    return write_pictures(tmp_path / "films/cat", pictures)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def started(*arguments: object, folder: Path) -> subprocess.Popen:
    """`car video ARGUMENTS` in a process of its own, where what the decoder says can be heard, too."""
    command = [sys.executable, "-m", "car.cli.main", "video", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, running: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_folder_a_glob_and_a_film_file(car, source, pictures):
    status, out, err = car("video", source, "-q", "horse", "-q", "pizza", "--out", "a", *FAST)
    assert (status, out) == (0, "")
    assert re.search(r"^6 frames, [\d.]+ frames/s\.$", err, re.MULTILINE)
    assert re.search(r"^horse: in \d+ of 6 frames, from \d+ to \d+", err, re.MULTILINE)
    assert err.rstrip().endswith("-> a/cat.mp4")
    assert re.search(
        r"^(No mask is marked|Masks that may be another query's: \d+, \d+ of them taken)", err, re.MULTILINE
    )
    assert np.array(Image.open("a/Annotations/cat/00005.png")).shape == (48, 64)
    assert json.loads(Path("a/cat.json").read_text())["cuts"] == [3]
    assert car("video", f"{source}/*.png", "-q", "horse", "-q", "pizza", "--out", "b", "--quiet", *FAST) == (0, "", "")
    assert contents(Path("a")) == contents(Path("b"))
    write_film(Path("dog.avi"), pictures[:3])
    assert car("video", "dog.avi", "-q", "horse", "--no-overlay", *FAST)[0] == 0
    assert sorted(contents(Path("out"))) == sorted(
        ["dog.json", "dog.frames.jsonl", *(f"Annotations/dog/0000{i}.png" for i in range(3))]
    )


def test_a_film_of_one_frame(car, pictures, tmp_path):
    source = write_pictures(tmp_path / "films/one", pictures[:1])
    status, _, err = car("video", source, "-q", "horse", "--no-overlay", "--out", "a", "--theta", "0", *FAST)
    assert status == 0
    assert re.search(r"^1 frame, [\d.]+ frames/s\.$", err, re.MULTILINE)
    assert "horse: in 1 of 1 frame, from 0 to 0" in err


def test_every_frame_alone_and_expressions(car, source):
    assert car("video", source, "-q", "the horse", "--referring", "--no-overlay", "--out", "a", *FAST)[0] == 0
    assert car("video", source, "-q", "horse", "--mode", "per-frame", "--no-overlay", "--out", "b", *FAST)[0] == 0
    plans = [json.loads(Path(out, "cat.json").read_text())["plan"] for out in "ab"]
    assert [plan["video"]["together"] for plan in plans] == [False, True]
    assert [plan["video"]["mode"] for plan in plans] == ["carried", "per-frame"]
    assert all(json.loads(line)["checked"] for line in Path("b/cat.frames.jsonl").read_text().splitlines())


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(car, pictures, tmp_path):
    source = write_pictures(tmp_path / "films/cat", [*pictures, *pictures[::-1], *pictures])
    arguments = (source, "-q", "horse", "-q", "bus", "-q", "pizza", *FAST)
    running = started(*arguments, folder=tmp_path)
    wait_for(tmp_path / "out/Annotations/cat/00016.png", running)
    running.kill()
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "out/cat.mp4").exists()
    status, _, err = car("video", *arguments)
    assert status == 0
    assert "16 frames were there already." in err
    assert car("video", *arguments, "--out", "whole")[0] == 0
    assert contents(Path("out")) == contents(Path("whole"))


def test_ctrl_c_is_one_line_and_leaves_whole_files(source, tmp_path):
    running = started(source, "-q", "horse", *FAST, folder=tmp_path)
    wait_for(tmp_path / "out/Annotations/cat/00001.png", running)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err.strip()) == (130, "Interrupted. The same command goes on where it was.")
    assert not list(tmp_path.glob("out/**/*.tmp"))
    for path in tmp_path.glob("out/Annotations/cat/*.png"):
        Image.open(path).load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "-q", "cat"), "nowhere"),
        (("nowhere.mp4", "-q", "cat"), "nowhere.mp4"),
        (("notes.txt", "-q", "cat"), "notes.txt"),
        (("films/cat",), "No queries"),
        (("films/cat", "-q", "  "), "blank"),
        (("films/cat", "-q", "cat", "--mode", "both"), "carried, per-frame"),
        (("films/cat", "-q", "cat", "--check-every", "0"), "check_every"),
        (("films/cat", "-q", "cat", "--fps", "0"), "--fps"),
        (("films/cat", "-q", "cat", "--theta", "2"), "theta"),
        (("films/cat", "-q", "cat", "--max-pixels", "100"), "max_pixels"),
        (("films/cat", "-q", "cat", "--out", "notes.txt"), "notes.txt"),
        (("films/cat", "-q", "cat", "--referring", "--sam", "regions"), "sam"),
    ],
)
def test_bad_input_is_one_line(car, source, arguments, message):
    Path("notes.txt").write_text("no film")
    status, out, err = car("video", *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not Path("out").exists()


def test_a_film_that_was_cut_short_is_one_line_whatever_the_decoder_has_to_say(pictures, tmp_path):
    path = write_film(tmp_path / "cat.mp4", pictures, "mp4v")
    os.truncate(path, path.stat().st_size // 2)
    running = started("cat.mp4", "-q", "horse", *FAST, folder=tmp_path)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert re.fullmatch(r"error: 'cat.mp4' .*damaged\.\n", err)
    assert not (tmp_path / "out").exists()


def test_a_film_that_ends_too_soon_gives_what_there_is_and_says_so(pictures, tmp_path):
    path = write_film(tmp_path / "cat.avi", np.concatenate([pictures] * 2))
    os.truncate(path, path.stat().st_size // 2)
    running = started("cat.avi", "-q", "horse", "--quiet", *FAST, folder=tmp_path)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert re.fullmatch(r"The film promised 12 frames, but \d+ of them are not there\.\n", err)
    assert (tmp_path / "out/cat.mp4").exists()


def test_damaged_pictures_are_named_and_the_status_says_so(car, source):
    (source / "1.png").write_bytes(b"damaged")
    status, _, err = car("video", source, "-q", "horse", "--quiet", *FAST)
    assert status == 1
    first, last = err.splitlines()
    assert first.startswith("error: ")
    assert "1.png" in first
    assert last == "1 of 6 frames could not be read."


def test_results_are_kept_unless_told_otherwise(car, source):
    arguments = ("video", source, "-q", "horse", "--no-overlay", *FAST)
    assert car(*arguments)[0] == 0
    before = contents(Path("out"))
    status, _, err = car(*arguments)
    assert status == 2
    assert "--overwrite" in err
    assert contents(Path("out")) == before
    assert car(*arguments, "--overwrite")[0] == 0
    assert contents(Path("out")) == before


@pytest.mark.parametrize(
    ("doubt", "line"),
    [
        (
            {"masks": 1, "taken": 1, "frames": [[3, 3]]},
            "Masks that may be another query's: 1, 1 of them taken over; look at frame 3.",
        ),
        (
            {"masks": 9, "taken": 0, "frames": [[i, i] for i in range(0, 18, 2)]},
            "Masks that may be another query's: 9, 0 of them taken over; "
            "look at frames 0, 2, 4, 6, 8, 10, 12, 14 and 1 more place.",
        ),
        ({"masks": 0, "taken": 0, "frames": []}, "No mask is marked as perhaps another query's."),
        (
            {"masks": 5, "taken": 3, "frames": [[2, 2], [7, 9]]},
            "Masks that may be another query's: 5, 3 of them taken over; look at frames 2, 7-9.",
        ),
        (
            {"masks": 12, "taken": 0, "frames": [[i, i] for i in range(0, 24, 2)]},
            "Masks that may be another query's: 12, 0 of them taken over; "
            "look at frames 0, 2, 4, 6, 8, 10, 12, 14 and 4 more places.",
        ),
    ],
)
def test_marks_are_counted_in_one_line(doubt, line):
    assert doubt_line({"doubt": doubt}) == line
