"""`car data prepare` as a user runs it: arguments in, exit status, stderr and files out."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.prepare_sources import (
    coco_image,
    coco_region,
    detail_image,
    detail_region,
    tree,
    write_ade,
    write_detail,
    write_instances,
    write_list,
    write_many,
    write_map,
    write_mat,
)

BASE = Path("VOCdevkit/VOC2010")


def test_help_has_an_example_for_each(car):
    status, out, _ = car("data", "prepare", "--help")
    assert status == 0
    for name in ("context", "coco-object", "ade847", "pc459"):
        assert f"car data prepare {name} --data-root data/" in out
    assert "prepare" in car("data", "--help")[1]


def test_it_says_what_it_did(car):
    write_many(Path(), 5)
    status, out, err = car("data", "prepare", "context", "--data-root", ".")
    assert (status, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == f"context59, split val, from {BASE}/trainval_merged.json: 5 pictures."
    assert lines[1].startswith(f"Label maps in {BASE}/SegmentationClassContext: 5 written; ")
    assert lines[1].endswith(" images/s.")
    assert lines[2].startswith("Classes never seen, 5")
    assert lines[2].endswith("more")
    assert lines[3] == "The split is published with 5104 or 5105 pictures."
    assert lines[4] == f"Still to be put into {BASE}/JPEGImages: 5 of the pictures themselves."
    assert len(lines) == 5
    before = tree(Path())
    status, _, err = car("data", "prepare", "context60", "--data-root", ".", "--jobs", 3)
    assert status == 0
    assert "5 there already" in err
    assert tree(Path()) == before
    assert car("data", "prepare", "context", "--data-root", ".", "--quiet") == (0, "", "")


@pytest.mark.parametrize("maps", [True, False], ids=["maps", "instances"])
def test_it_says_what_coco_object_is_made_from(car, maps):
    write_instances(Path(), [coco_image(1, (9, 9))], [coco_region(1, 1, [[0, 0, 9, 0, 9, 9]])])
    if maps:
        write_map(Path(), 1, np.zeros((9, 9), np.uint8))
    status, _, err = car("data", "prepare", "coco-object", "--data-root", ".")
    assert status == 0
    source = "coco/annotations/val2017" if maps else "coco/annotations/instances_val2017.json"
    assert f"coco-object, split val, from {source}: 1 pictures." in err
    assert ("as GroupViT does" in err) == maps
    assert ("crowd regions first" in err) == (not maps)


def test_all_classes_and_published_numbers_are_no_news(car, monkeypatch):
    write_mat(Path(), "2008_000001", np.arange(460, dtype=np.uint16)[None])
    write_list(Path(), ["2008_000001"])
    err = car("data", "prepare", "pc459", "--data-root", ".")[2]
    assert "All 459 classes occur." in err
    assert "published with 5104 or 5105" in err


def test_failures_are_listed_and_counted(car):
    images = [detail_image(number, (4, 4)) for number in (1, 2, 3)]
    write_detail(Path(), images, [detail_region(number, 2, {}) for number in (1, 3)])
    for options in ((), ("--quiet",)):
        status, out, err = car("data", "prepare", "context", "--data-root", ".", *options)
        assert (status, out) == (1, "")
        for number in (1, 3):
            assert f"2008_{number:06}: region 1: Expected a run-length mask" in err
        assert err.splitlines()[-1] == "2 of 3 pictures could not be converted."
        assert ("1 written" in err or "1 there already" in err) == (not options)


def test_what_others_prepared_is_kept_and_replaced_if_asked(car):
    write_many(Path(), 15)
    folder = BASE / "SegmentationClassContext"
    folder.mkdir()
    for number in range(1, 13):
        Image.new("L", (50, 40)).save(folder / f"2008_{number:06}.png")
    before = tree(folder)
    status, _, err = car("data", "prepare", "context", "--data-root", ".")
    assert status == 1
    assert "3 written, 12 left as they are" in err
    assert err.count("is there already and is not what would be written") == 10
    assert "12 of 15 pictures were left as they are, which is not what would be written." in err
    assert err.splitlines()[-1] == "`--overwrite` replaces what differs."
    assert {name: tree(folder)[name] for name in before} == before
    status, _, err = car("data", "prepare", "context", "--data-root", ".", "--overwrite")
    assert status == 0
    assert "3 there already, 12 replaced" in err
    (BASE / "ImageSets/SegmentationContext/val.txt").write_text("2008_000001\n")
    status, _, err = car("data", "prepare", "context", "--data-root", ".", "--quiet")
    assert status == 1
    assert err.splitlines() == [
        f"{str(BASE / 'ImageSets/SegmentationContext/val.txt')!r} is there already and is not what would be written.",
        "`--overwrite` replaces what differs.",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("context",), 3, "no 'trainval_merged.json' in"),
        (("coco-object",), 3, "stuffthingmaps_trainval2017.zip (http"),
        (("ade847",), 3, "https://groups.csail.mit.edu/vision/datasets/ADE20K/"),
        (("pc459",), 3, "pascal-context/trainval.tar.gz"),
        (("ade84",), 2, "Did you mean 'ade847'?"),
        (("voc21",), 2, "voc21 needs no preparation: it is read as it is distributed."),
        (("pc459", "--split", "train"), 2, "pc459 has no split 'train'. Available: val."),
        (("context", "--jobs", "0"), 2, "--jobs"),
    ],
)
def test_what_cannot_begin_is_one_line(car, arguments, status, message):
    found, out, err = car("data", "prepare", *arguments, "--data-root", ".")
    assert (found, out) == (status, "")
    assert message in err
    assert err.splitlines()[-1].lower().startswith("error: ")
    assert "Traceback" not in err
    assert not tree(Path())


def test_the_root_has_to_be_said(car):
    assert car("data", "prepare", "context")[0] == 2
    assert car("data", "prepare", "context", "--data-root", "nowhere")[0] == 3


def test_ctrl_c_stops_at_once_and_leaves_whole_files(tmp_path):
    for number in range(40):
        write_ade(tmp_path, f"ADE_val_{number:08}", np.zeros((700, 800), int), np.zeros((700, 800, 3), np.uint8))
    command = [sys.executable, "-m", "car.cli.main", "data", "prepare", "ade847", "--data-root", str(tmp_path)]
    running = subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.tif")) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err.strip()) == (130, "Interrupted.")
    assert not list(tmp_path.rglob("*.tmp"))
    truths = list(tmp_path.rglob("*.tif"))
    assert 0 < len(truths) < 40
    for path in [*truths, *tmp_path.rglob("images_detectron2/*/*.jpg")]:
        Image.open(path).load()
