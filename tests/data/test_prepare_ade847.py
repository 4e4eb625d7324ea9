"""ADE20K with 847 classes from the folders of the full release."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.data import open_dataset
from car.data.prepare import open_preparation, prepare
from car.data.prepare.ade847 import nearest, object_ids, reduced
from car.errors import InputError, MissingError
from car.wordlists import read_classes
from tests.data.prepare_sources import read, write_ade

IDS = object_ids()
VOID = 65535


def run(root, **options):
    preparation = open_preparation("ade847", root, **options)
    return preparation, prepare(preparation)


def made(root, name):
    base, split = root / "ADE20K_2021_17_01", "validation" if "_val_" in name else "training"
    return base / f"images_detectron2/{split}/{name}.jpg", base / f"annotations_detectron2/{split}/{name}.tif"


def noise(shape, seed=0):
    picture = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    return cv2.GaussianBlur(picture, (0, 0), 3)


def test_there_is_an_object_for_every_class():
    assert len(IDS) == len(set(IDS)) == len(read_classes("ade847")) == 847
    first = {2978: "wall", 312: "building", 2420: "sky", 2855: "tree", 2131: "road"}
    assert dict(zip(IDS, (entry.query for entry in read_classes("ade847")[:5]), strict=False)) == first


def test_every_object_becomes_its_class_and_the_picture_stays_as_it_is(tmp_path):
    others = [i for i in range(3688) if i not in set(IDS)][:153]
    objects = np.array([*IDS, *others]).reshape(20, 50)
    picture = write_ade(tmp_path, "ADE_val_00000001", objects, noise((20, 50)))
    preparation, report = run(tmp_path)
    assert preparation.keys == ["ADE_val_00000001"]
    assert (report.states, report.seen, report.unpictured) == ({"written": 1}, set(range(847)), 0)
    image, truth = made(tmp_path, "ADE_val_00000001")
    assert read(truth).dtype == np.uint16
    assert read(truth).ravel().tolist() == [*range(847), *[VOID] * 153]
    assert image.read_bytes() == picture.read_bytes()


def test_red_is_truncated_to_tens(tmp_path):
    path = write_ade(tmp_path, "ADE_val_00000001", np.full((2, 2), IDS[0]), noise((2, 2)))
    seg = path.with_name("ADE_val_00000001_seg.png")
    values = np.array(Image.open(seg))
    values[0, 0, 0] += 9
    values[1, 1, 0] += 10
    Image.fromarray(values).save(seg)
    run(tmp_path)
    known = {i: place for place, i in enumerate(IDS)}
    assert read(made(tmp_path, "ADE_val_00000001")[1]).tolist() == [[0, 0], [0, known.get(IDS[0] + 256, VOID)]]


@pytest.mark.parametrize("shape", [(530, 800), (900, 513), (513, 513)])
def test_large_pictures_are_reduced_as_opencv_does(tmp_path, shape):
    rng = np.random.default_rng(1)
    objects = np.array(IDS)[rng.integers(0, 847, shape)]
    path = write_ade(tmp_path, "ADE_val_00000002", objects, noise(shape))
    run(tmp_path)
    image, truth = made(tmp_path, "ADE_val_00000002")
    height, width = shape
    new = (512, round(width / height * 512)) if height <= width else (round(height / width * 512), 512)
    known = {i: place for place, i in enumerate(IDS)}
    small = cv2.resize(objects.astype(np.int32), new[::-1], interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(read(truth), np.vectorize(known.get)(small))
    expected = cv2.resize(np.array(Image.open(path)), new[::-1], interpolation=cv2.INTER_LINEAR)
    Image.fromarray(expected).save(tmp_path / "expected.jpg", quality=75)
    assert np.array_equal(np.array(Image.open(image)), np.array(Image.open(tmp_path / "expected.jpg")))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_nearest_is_that_of_opencv(height, width, new_height, new_width):
    values = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    expected = cv2.resize(values, (new_width, new_height), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(nearest(values, (new_height, new_width)), expected)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_only_pictures_of_which_both_sides_are_longer_are_reduced(height, width):
    new = reduced(height, width)
    assert (new == (height, width)) == (min(height, width) <= 512)
    assert min(new) == min(height, width, 512)
    assert abs(new[0] / new[1] - height / width) <= max(new) / min(new) / min(new)


def test_the_reader_finds_what_was_prepared(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    write_ade(tmp_path, "ADE_val_00000001", np.full((30, 40), IDS[5]), noise((30, 40)))
    write_ade(tmp_path, "ADE_val_00000002", np.full((30, 40), IDS[6]), noise((30, 40)), "work/office", exif=turned)
    write_ade(tmp_path, "ADE_train_00000001", np.full((30, 40), IDS[7]), noise((30, 40)))
    write_ade(tmp_path, "ADE_frame_00000001", np.full((30, 40), IDS[8]), noise((30, 40)))
    assert run(tmp_path)[1].complete
    dataset = open_dataset("ade847", tmp_path)
    assert list(dataset.keys) == ["ADE_val_00000001", "ADE_val_00000002"]
    for number, key in enumerate(dataset.keys):
        assert (dataset.read(key).labels == 6 + number).all()
    assert not made(tmp_path, "ADE_train_00000001")[1].exists()
    assert run(tmp_path, split="train")[0].keys == ["ADE_frame_00000001", "ADE_train_00000001"]
    assert (open_dataset("ade847", tmp_path, split="train").read("ADE_train_00000001").labels == 8).all()


def test_a_grey_picture_becomes_one_in_colour(tmp_path):
    path = write_ade(tmp_path, "ADE_val_00000001", np.full((600, 700), IDS[5]), noise((600, 700)))
    Image.open(path).convert("L").save(path)
    assert run(tmp_path)[1].complete
    assert Image.open(made(tmp_path, "ADE_val_00000001")[0]).mode == "RGB"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda jpg, seg: seg.unlink(), "Cannot read .*_seg.png': No such file"),
        (lambda jpg, seg: seg.write_bytes(seg.read_bytes()[:40]), "Cannot read .*_seg.png'"),
        (lambda jpg, seg: jpg.write_bytes(b""), r"Cannot read .*0001.jpg'"),
        (lambda jpg, seg: Image.new("RGB", (9, 20)).save(seg), "is RGB of 20 x 9 pixels; expected RGB of 20 x 50"),
        (lambda jpg, seg: Image.new("L", (50, 20)).save(seg), "is L of 20 x 50 pixels; expected RGB of 20 x 50"),
    ],
    ids=["no labels", "torn labels", "empty picture", "another size", "grey labels"],
)
def test_a_bad_picture_fails_alone(tmp_path, harm, message):
    for number in (1, 2):
        path = write_ade(tmp_path, f"ADE_val_{number:08}", np.full((20, 50), IDS[0]), noise((20, 50)))
    path = path.with_name("ADE_val_00000001.jpg")
    harm(path, path.with_name("ADE_val_00000001_seg.png"))
    _, report = run(tmp_path)
    assert report.states == {"written": 1, "failed": 1}
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.problems["ADE_val_00000001"])
    assert not any(path.exists() for path in made(tmp_path, "ADE_val_00000001"))


def test_an_image_over_the_limit_is_not_decoded(tmp_path, monkeypatch):
    write_ade(tmp_path, "ADE_val_00000001", np.full((20, 50), IDS[0]), noise((20, 50)))
    monkeypatch.setattr("car.data.prepare.preparation.MAX_PIXELS", 999)
    assert "has 20 x 50 pixels; expected 1 to 999" in run(tmp_path)[1].problems["ADE_val_00000001"]


def test_a_name_can_be_there_only_once(tmp_path):
    for scene in ("urban/street", "urban/alley"):
        write_ade(tmp_path, "ADE_val_00000001", np.full((20, 50), IDS[0]), noise((20, 50)), scene)
    with pytest.raises(InputError, match="have the same name"):
        open_preparation("ade847", tmp_path)


def test_a_missing_release_is_named_with_its_origin(tmp_path):
    with pytest.raises(MissingError, match=r"no folder 'images/ADE/validation' in .*csail\.mit\.edu"):
        open_preparation("ade847", tmp_path)
    (tmp_path / "images/ADE/validation").mkdir(parents=True)
    with pytest.raises(MissingError, match="no picture"):
        open_preparation("ade847", tmp_path)
