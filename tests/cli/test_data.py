"""`car data` as a user runs it: arguments in, exit status, stdout and stderr out."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.data import DATASETS, IGNORE
from tests.data.writing import CLASSES, labels, picture, write_benchmark, write_image


@pytest.fixture
def voc(tmp_path) -> Path:
    truths = {key: labels("voc21", seed) for seed, key in enumerate(["2007_000033", "2007_000042", "2007_000061"])}
    return write_benchmark("voc21", tmp_path / "VOCdevkit/VOC2012", truths)


def test_help_has_examples(car):
    for arguments in (["data"], ["data", "list"], ["data", "check"], ["data", "prepare"]):
        status, out, err = car(*arguments, "--help")
        assert (status, err) == (0, "")
        assert f"car {shlex.join(arguments)}" in out
        assert "Examples:" in out


def test_list(car):
    status, out, err = car("data", "list")
    assert (status, err) == (0, "")
    lines = dict(zip(["benchmark", *DATASETS], out.split("\n\n")[0].splitlines(), strict=True))
    for name, line in lines.items():
        assert line.startswith(f"{name} ")
    assert lines["voc21"].split("  ")[0] == "voc21"
    for part in (" 20 ", " scored ", " 1449 ", " voc21 "):
        assert part in lines["voc21"]
    assert " not counted " in lines["voc20"]
    for part in (" 59 ", " 5104 or 5105 ", "SegmentationClassContext/*.png, ImageSets/SegmentationContext/val.txt"):
        assert part in lines["context59"]
    assert lines["coco-object"].endswith(" annotations/val2017/*_instanceTrainIds.png")
    assert lines["folder"].endswith(" -")


def test_check_of_what_is_complete(car, voc):
    status, out, err = car("data", "check", "voc21", "--data-root", "VOCdevkit/..")
    assert (status, err) == (0, "")
    assert out.splitlines()[:3] == [
        "voc21, split val, in VOCdevkit/../VOCdevkit/VOC2012: 3 pictures, 0 bad.",
        "The split is published with 1449 pictures.",
        "Not counted: 20.37% of the pixels. What the others are:",
    ]
    table = [[cell for cell in line.split("  ") if cell] for line in out.splitlines()[3:-1]]
    assert [cell.strip() for cell in table[0]] == ["class", "pixels", "pictures"]
    assert {row[0]: [cell.strip() for cell in row[1:]] for row in table[1:]} == {
        "background": ["23.26%", "3"],
        "aeroplane": ["25.58%", "3"],
        "bicycle": ["25.58%", "3"],
        "tvmonitor screen": ["25.58%", "3"],
    }
    assert out.splitlines()[-1].startswith("Classes never seen, 17 of 20: bird avian; boat; ")


def test_check_of_another_split(car, voc):
    (voc / "ImageSets/Segmentation/train.txt").write_text("2007_000042\n")
    status, out, err = car("data", "check", "voc21", "--data-root", voc, "--split", "train")
    assert (status, err) == (0, "")
    assert out.startswith(f"voc21, split train, in {voc}: 1 pictures, 0 bad.\nNot counted: ")
    status, out, err = car("data", "check", "voc21", "--data-root", voc, "--split", "test")
    assert (status, out) == (2, "")
    assert err == "error: voc21 has no split 'test'. Available: train, val, trainval.\n"


def test_check_names_every_bad_picture(car, voc):
    write_image(voc / "JPEGImages/2007_000033.jpg", picture(size=(3, 3)))
    (voc / "SegmentationClass/2007_000061.png").write_bytes(b"\x89PNG")
    status, out, err = car("data", "check", "voc21", "--data-root", voc)
    assert status == 1
    assert out.startswith(f"voc21, split val, in {voc}: 3 pictures, 2 bad.\n")
    first, second = err.splitlines()
    assert first.startswith(f"{str(voc / 'SegmentationClass/2007_000033.png')!r} is 9 x 6 pixels, but its picture ")
    assert second == f"{str(voc / 'SegmentationClass/2007_000061.png')!r} is damaged, or no PNG or TIFF."
    (voc / "JPEGImages/2007_000042.jpg").write_bytes(b"")
    status, out, err = car("data", "check", "voc21", "--data-root", voc)
    assert (status, len(err.splitlines())) == (1, 3)
    assert out.splitlines()[0].endswith(": 3 pictures, 3 bad.")
    assert "Not counted" not in out


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "folder"])
def test_check_of_nothing_shows_the_tree(car, tmp_path, name):
    (tmp_path / "empty").mkdir()
    status, out, err = car("data", "check", name, "--data-root", "empty")
    assert status == 3
    assert err.startswith(f"error: {name}: there is no ")
    assert err.count("\n") == 1
    assert "data check" not in err
    lines = out.splitlines()
    assert lines[0].startswith(f"{name}, split val: in empty")
    write_benchmark(name, tmp_path / "like", {"KEY": labels(name)})
    for path in (tmp_path / "like").rglob("*.*"):
        assert any(str(path.relative_to(tmp_path / "like")) in line for line in lines)
    for download in DATASETS[name].downloads:
        assert f"  {download}" in lines
        assert download.url.startswith("http")
    prepared = f"of which `car data prepare {name} --data-root empty` makes" in lines
    assert prepared is bool(DATASETS[name].prepared)


def test_check_shows_the_values_of_label_maps(car, tmp_path):
    for name, part in {
        "voc21": "SegmentationClass/KEY.png                         label maps: 0 (background), 1 to 20 (the classes)",
        "ade150": "annotations/validation/KEY.png                    label maps: 0 (other, not counted), 1 to 150 ",
        "ade847": "label maps: 0 to 846 (the classes), 65535 (not counted)",
        "folder": "label maps: id + 1; 0 (other, or background where classes.txt begins with that), 255 or 65535 ",
    }.items():
        assert part in car("data", "check", name, "--data-root", tmp_path)[1]


def test_check_of_own_data(car, tmp_path):
    status, out, err = car("data", "check", "folder", "--data-root", "mine")
    assert (status, err) == (3, "error: folder: 'mine' does not exist.\n")
    assert "classes.txt" in out
    assert "val.txt" not in out
    assert "val.txt " in car("data", "check", "folder", "--data-root", "mine", "--split", "val")[1]
    root = write_benchmark("folder", tmp_path / "mine", {key: labels("folder") for key in "ab"})
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(root / "labels/b.png")
    write_image(root / "images/new.png", picture())
    status, out, err = car("data", "check", "folder", "--data-root", "mine")
    assert (status, err) == (0, "")
    assert out.splitlines()[:3] == [
        "folder, split all, in mine: 2 pictures, 0 bad.",
        "No pixel is counted in 1 pictures ('b' first).",
        "1 pictures have no label map and are left out ('new.png' first).",
    ]
    assert "Classes never seen" not in out


def test_many_classes_never_seen_are_cut_short(car, tmp_path):
    write_benchmark("ade847", tmp_path, {"a": np.where(labels("ade847") == IGNORE, IGNORE, 1).astype(np.uint16)})
    last = car("data", "check", "ade847", "--data-root", tmp_path)[1].splitlines()[-1]
    assert last.startswith("Classes never seen, 846 of 847: ")
    assert last.endswith(" and 826 more")


def test_mistakes(car, tmp_path):
    status, out, err = car("data", "check", "voc12", "--data-root", ".")
    assert (status, out) == (2, "")
    assert err.startswith("error: No benchmark 'voc12'. Did you mean 'voc21'? Available: ")
    status, out, err = car("data", "check", "voc21")
    assert (status, out) == (2, "")
    assert "Missing option '--data-root'" in err
