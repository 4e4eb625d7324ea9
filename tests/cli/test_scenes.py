"""`car scenes` as a user runs it: arguments in, exit status, stderr and files out."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car import rle
from car.palette import voc_palette
from car.scenes import TUNING, scene
from car.scenes.expressions import expressions
from car.scenes.film import film
from car.scenes.film_expressions import film_expressions
from car.scenes.series import Series
from car.scenes.writing import SceneWriter


def records(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "scenes.jsonl").read_text(encoding="utf-8").splitlines()]


def contents(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_make_writes_what_the_seeds_say(car):
    status, out, err = car("scenes", "make", "data", "--count", 4, "--first", 7)
    assert (status, out) == (0, "")
    assert err.startswith("Scenes written to data: 4.\n")
    assert err.count("images/s") == 3
    names = [f"{folder}/000000{n}.png" for folder in ("images", "masks") for n in (7, 8)]
    assert {*names, "scenes.jsonl", "settings.json"} < set(contents("data"))
    for seed, line in zip(range(7, 11), records("data"), strict=True):
        made = scene(seed)
        masks = Image.open(Path("data", line["masks"]))
        assert masks.mode == "P"
        assert np.array_equal(np.array(masks.getpalette(), np.uint8).reshape(-1, 3)[:8], voc_palette(8))
        assert np.array_equal(np.asarray(masks), made.labels)
        assert np.array_equal(np.asarray(Image.open(Path("data", line["file"]))), made.image)
        assert (line["seed"], line["caption"], line["size"]) == (seed, made.caption, [112, 112])
        assert tuple(line["background"]) == made.background
        assert [each["name"] for each in line["objects"]] == list(made.names)
        assert [each["colour"] for each in line["objects"]] == list(made.colours)
        said = [(each["text"], tuple(each["objects"]), each["ambiguous"]) for each in line["expressions"]]
        assert said == [(each.text, each.objects, each.ambiguous) for each in expressions(made, seed=seed)]
        for each, mask in zip(line["objects"], made.masks, strict=True):
            assert np.array_equal(rle.decode(each["segmentation"]), mask)
            assert np.array_equal(np.asarray(masks) == each["label"], mask)
            assert each["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            x, y, width, height = each["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_options_reach_the_scenes(car):
    asked = ["--size", "48x64", "--objects", "2-3", "--layout", "crowded", "--repeats", 0.5, "--textured", 1]
    asked += ["--camera", 0, "--artwork", "held", "--among", "cat, dog,car", "--background", "sky,grass"]
    assert car("scenes", "make", "data", "--count", 2, *asked, "--quiet") == (0, "", "")
    drawing = {"size": (48, 64), "objects": (2, 3), "layout": "crowded", "repeats": 0.5, "textured": 1, "camera": 0}
    drawing |= {"artwork": "held", "among": ("cat", "dog", "car"), "background": ("sky", "grass")}
    for seed, line in enumerate(records("data")):
        assert np.array_equal(np.asarray(Image.open(Path("data", line["file"]))), scene(seed, **drawing).image)
    settings = json.loads(Path("data/settings.json").read_text())
    assert {key: settings[key] for key in ("size", "among", "count")} == {
        "size": [48, 64],
        "among": ["cat", "dog", "car"],
        "count": 2,
    }


def test_a_split_brings_its_queries(car):
    split = TUNING[0]
    assert car("scenes", "make", "data", "--split", split.name, "--count", 2)[0] == 0
    for index, line in enumerate(records("data")):
        assert line["seed"] == split.first + index
        assert line["queries"] == split.queries(index)
        assert np.array_equal(np.asarray(Image.open(Path("data", line["masks"]))), split.scene(index).labels)


def test_the_same_command_writes_the_same_bytes(car):
    for folder in ("a", "b"):
        assert car("scenes", "make", folder, "--count", 3)[0] == 0
    assert contents("a") == contents("b")


def test_scenes_are_kept_unless_told_otherwise(car):
    assert car("scenes", "make", "data", "--count", 3, "--first", 5)[0] == 0
    before = contents("data")
    for other in (("--count", 3, "--first", 5), ("--count", 2)):
        status, _, err = car("scenes", "make", "data", *other)
        assert status == 2
        assert "--overwrite" in err
    assert contents("data") == before
    Path("data/images/mine.png").write_bytes(b"mine")
    assert car("scenes", "make", "data", "--count", 1, "--overwrite")[0] == 0
    assert set(contents("data")) == {
        *("settings.json", "scenes.jsonl", "images/0000000.png", "masks/0000000.png"),
        "images/mine.png",
    }
    Path("photos/images").mkdir(parents=True)
    assert car("scenes", "make", "photos", "--count", 1)[0] == 2


def test_ctrl_c_stops_at_once_and_leaves_whole_files(tmp_path):
    command = [sys.executable, "-m", "car.cli.main", "scenes", "make", "data", "--count", "100000"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("data/masks/*.png")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err.strip()) == (130, "Interrupted.")
    assert not (tmp_path / "data/scenes.jsonl").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    for path in tmp_path.rglob("*.png"):
        Image.open(path).load()


def test_the_same_command_goes_on_after_an_interruption(car):
    series = Series({"size": (64, 64)})
    with SceneWriter("data", series, range(5)) as writer:
        writer.write(series.scene(0))
    command = ("--count", 5, "--size", 64)
    status, _, err = car("scenes", "make", "data", *command)
    assert status == 0
    assert "Scenes written to data: 4 (1 of 5 were there already)" in err
    assert car("scenes", "make", "whole", *command)[0] == 0
    assert contents("data") == contents("whole")


def test_show_draws_a_sheet(car):
    assert car("scenes", "show", "--count", 3, "--columns", 2)[:2] == (0, "wrote scenes.png\n")
    small = Image.open("scenes.png").size
    assert car("scenes", "show", 3, 4, "--out", "there/sheet.png", "--size", "60x90")[0] == 0
    assert Image.open("there/sheet.png").size[0] == small[0]
    status, _, err = car("scenes", "show")
    assert status == 2
    assert "--overwrite" in err
    assert car("scenes", "show", "--split", TUNING[1].name, "--count", 1, "--overwrite")[0] == 0
    assert Image.open("scenes.png").size < small


def test_film_writes_the_layout_of_davis(car):
    status, _, err = car("scenes", "film", "films", "--seed", 7, "--seed", 8, "--frames", 6, "--size", "48x64")
    assert status == 0
    assert "films: 2, with 12 frames" in err
    directed = film(7, frames=6, size=(48, 64))
    report = json.loads(Path("films/Expressions/film-7.json").read_text())
    assert [each["name"] for each in report["actors"]] == list(directed.names)
    assert report["shots"] == list(directed.shots)
    lasting = [(each["text"], tuple(each["objects"])) for each in report["expressions"]]
    assert lasting == [(each.text, each.objects) for each in film_expressions(directed, seed=7)]
    for frame, line in zip(directed, report["frames"], strict=True):
        masks = Image.open(f"films/Annotations/film-7/{frame.time:05}.png")
        image = np.asarray(Image.open(f"films/JPEGImages/film-7/{frame.time:05}.jpg"), np.int16)
        assert masks.mode == "P"
        assert np.array_equal(np.asarray(masks), frame.labels)
        assert np.abs(image - frame.image).mean() < 10
        made = frame.scene()
        said = expressions(made, seed=7)
        for each, wanted in zip(line["expressions"], said, strict=True):
            assert each["text"] == wanted.text
            assert np.array_equal(frame.mask(each["objects"]), made.masks[list(wanted.objects)].any(axis=0))


def test_a_film_is_kept_unless_told_otherwise(car):
    command = ("scenes", "film", "films", "--seed", 1, "--size", 32)
    assert car(*command, "--frames", 4)[0] == 0
    status, _, err = car(*command, "--frames", 2)
    assert status == 2
    assert "--overwrite" in err
    assert car(*command, "--frames", 2, "--overwrite", "--quiet") == (0, "", "")
    frames = {"JPEGImages/film-1/0000{}.jpg", "Annotations/film-1/0000{}.png"}
    expected = {name.format(i) for name in frames for i in range(2)} | {"Expressions/film-1.json"}
    assert set(contents("films")) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "x", "--size", "12x"), "S or HxW"),
        (("make", "x", "--size", "0"), "size"),
        (("make", "x", "--size", "99999x99999"), "pixels"),
        (("make", "x", "--objects", "5-2"), "objects"),
        (("make", "x", "--objects", "few"), "N-M"),
        (("make", "x", "--among", "cat,dgo"), "'dog'"),
        (("make", "x", "--background", "gras"), "grass"),
        (("make", "x", "--layout", "dense"), "crowded"),
        (("make", "x", "--artwork", "mine"), "held"),
        (("make", "x", "--camera", "1.5"), "[0, 1]"),
        (("make", "x", "--first", "-1"), "seed"),
        (("make", "x", "--count", "0"), "--count"),
        (("make", "x", "--split", "hard"), "1-2 objects, tuning"),
        (("make", "x", "--split", TUNING[0].name, "--size", "64"), "--size"),
        (("make", "x", "--split", TUNING[0].name, "--first", "3"), str(TUNING[0].first)),
        (("make", "x", "--split", TUNING[0].name, "--count", "10001"), str(TUNING[0].first)),
        (("make", "file"), "Cannot make the folder"),
        (("show", "3", "--count", "2"), "SEED"),
        (("show", *["1"] * 201), "at most 200"),
        (("show", "1", "--out", "file/x.png"), "Cannot make the folder"),
        (("film", "x", "--seed", "1", "--cuts", "48"), "cuts"),
        (("film", "x", "--seed", "1", "--frames", "0"), "frames"),
        (("film", "x"), "--seed"),
        (("mkae",), "make"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_users_mistake_is_one_line_and_writes_nothing(car, arguments, message):
    Path("file").write_text("")
    status, out, err = car("scenes", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith(("error:", "Error:"))]
    assert set(contents(".")) == {"file"}


@pytest.mark.parametrize("name", ["make", "show", "film"])
def test_help_has_examples(car, name):
    status, out, _ = car("scenes", name, "--help")
    assert status == 0
    assert "Examples:" in out
