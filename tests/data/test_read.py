"""Pictures and labels of every benchmark, from its own files."""

import re
from pathlib import Path

import cv2
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from car.data import IGNORE, open_dataset
from car.errors import InputError
from car.io import read_image
from tests.data.writing import CLASSES, FILES, SIZE, WITH_BACKGROUND, labels, picture, write_benchmark, write_image

NAMES = list(CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


def refused(dataset, key: str, *parts: str) -> None:
    with pytest.raises(InputError) as error:
        dataset.read(key)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


@st.composite
def label_maps(draw):
    name = draw(st.sampled_from(NAMES))
    least = 0 if name in WITH_BACKGROUND else 1
    elements = st.one_of(st.integers(least, CLASSES[name]), st.just(IGNORE))
    return name, draw(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=elements))


@settings(max_examples=150)
@given(label_maps())
def test_any_label_map_comes_back(folder, case):
    name, truth = case
    write_benchmark(name, folder / name, {"key": truth})
    found = open_dataset(name, folder / name).read("key")
    assert found.labels.dtype == np.uint16
    assert np.array_equal(found.labels, truth)
    assert found.image.dtype == np.uint8
    assert np.array_equal(found.image, read_image(folder / name / FILES[name][0].format("key")))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("voc21", [0, 1, 20, 255], [0, 1, 20, IGNORE]),
        ("voc20", [0, 1, 20, 255], [IGNORE, 1, 20, IGNORE]),
        ("context60", [0, 1, 59, 255], [0, 1, 59, IGNORE]),
        ("context59", [0, 1, 59, 255], [IGNORE, 1, 59, IGNORE]),
        ("coco-object", [0, 1, 80, 255], [0, 1, 80, IGNORE]),
        ("ade150", [0, 1, 149, 150], [IGNORE, 1, 149, 150]),
        ("ade847", [0, 1, 846, 65535], [1, 2, 847, IGNORE]),
        ("pc459", [0, 1, 458, 65535], [1, 2, 459, IGNORE]),
        ("folder", [0, 1, 3, 255], [IGNORE, 1, 3, IGNORE]),
    ],
)
def test_what_published_values_mean(tmp_path, name, values, expected):
    truth = FILES[name][1].format("a")
    write_benchmark(name, tmp_path, {"a": np.ones((1, 4), np.uint16)})
    dtype = np.uint16 if truth.endswith(".tif") else np.uint8
    Image.fromarray(np.array([values], dtype)).save(tmp_path / truth)
    assert open_dataset(name, tmp_path).read("a").labels.tolist() == [expected]


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("voc21", 21, "0 (background), 1 to 20 (the classes), 255 (not counted)"),
        ("voc20", 254, "0 (other, not counted), 1 to 20 (the classes), 255 (not counted)"),
        ("context59", 60, "1 to 59 (the classes)"),
        ("coco-object", 90, "1 to 80 (the classes)"),
        ("ade150", 255, "0 (other, not counted), 1 to 150 (the classes)"),
        ("ade847", 847, "0 to 846 (the classes), 65535 (not counted)"),
        ("pc459", 459, "0 to 458 (the classes), 65535 (not counted)"),
        ("folder", 4, "1 to 3 (the classes)"),
    ],
)
def test_values_out_of_range(tmp_path, name, value, range_):
    path = tmp_path / FILES[name][1].format("a")
    write_benchmark(name, tmp_path, {"a": labels(name)})
    with Image.open(path) as image:
        values = np.array(image)
    values[2, 3] = value
    Image.fromarray(values).save(path)
    refused(open_dataset(name, tmp_path), "a", f"{str(path)!r} has the value {value} at row 2, column 3", range_)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_another_size(tmp_path, name):
    write_benchmark(name, tmp_path, {"a": labels(name)})
    image, truth = (tmp_path / file.format("a") for file in FILES[name][:2])
    picture(size=(5, 9)).save(image)
    refused(
        open_dataset(name, tmp_path), "a", f"{str(truth)!r} is 9 x 6 pixels, but its picture {str(image)!r} is 9 x 5."
    )


def turned(path: Path, orientation: int) -> None:
    """Write the picture with an orientation in EXIF, as cameras do."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(5, 9))
def test_exif_that_turns_the_picture_away_from_its_labels(tmp_path, orientation):
    write_benchmark("voc21", tmp_path, {"a": labels("voc21")})
    turned(tmp_path / "JPEGImages/a.jpg", orientation)
    refused(open_dataset("voc21", tmp_path), "a", "9 x 6 pixels", "is 6 x 9 as its EXIF orientation turns it", "a.png")


@pytest.mark.parametrize("orientation", range(5, 9))
def test_exif_that_turns_the_picture_as_its_labels_are(tmp_path, orientation):
    write_benchmark("voc21", tmp_path, {"a": labels("voc21").T})
    turned(tmp_path / "JPEGImages/a.jpg", orientation)
    found = open_dataset("voc21", tmp_path).read("a")
    assert found.image.shape == (*found.labels.shape, 3) == (*SIZE[::-1], 3)


def test_a_turned_size_without_exif_is_just_another_size(tmp_path):
    write_benchmark("voc21", tmp_path, {"a": labels("voc21")})
    picture(size=SIZE[::-1]).save(tmp_path / "JPEGImages/a.jpg")
    with pytest.raises(InputError, match=r"is 6 x 9\.$"):
        open_dataset("voc21", tmp_path).read("a")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's word on half a TIFF, before it gives up
@pytest.mark.parametrize("name", NAMES)
def test_files_that_vanish_or_break_after_opening(tmp_path, name):
    write_benchmark(name, tmp_path, {key: labels(name) for key in "ab"})
    dataset = open_dataset(name, tmp_path)
    for key, act in (("a", Path.unlink), ("b", lambda path: path.write_bytes(path.read_bytes()[:40]))):
        for file in FILES[name][1::-1]:
            act(tmp_path / file.format(key))
            refused(dataset, key, str(tmp_path / file.format(key)))


def test_a_coloured_label_map_is_refused(tmp_path):
    write_benchmark("voc21", tmp_path, {"a": labels("voc21")})
    path = tmp_path / "SegmentationClass/a.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    refused(
        open_dataset("voc21", tmp_path), "a", f"{str(path)!r} is no label map but a picture (RGB)", "palette or grey"
    )


def test_an_unknown_key(tmp_path):
    write_benchmark("voc21", tmp_path, {"a": labels("voc21")})
    refused(open_dataset("voc21", tmp_path), "../b", "voc21 has no picture '../b' in its split 'val'.")


def test_own_data_in_16_bits(tmp_path):
    write_benchmark("folder", tmp_path, {"a": labels("folder")})
    (tmp_path / "classes.txt").write_text("".join(f"class {i}\n" for i in range(300)))
    values = np.array([[0, 1, 254, 255], [256, 300, 65535, 7]], np.uint16)
    cv2.imwrite(str(tmp_path / "labels/a.png"), values)
    write_image(tmp_path / "images/a.png", picture(size=values.shape))
    found = open_dataset("folder", tmp_path).read("a").labels
    assert found.tolist() == [[IGNORE, 1, 254, 255], [256, 300, IGNORE, 7]]


def test_own_background(tmp_path):
    write_benchmark("folder", tmp_path, {"a": labels("folder")})
    values = np.array([[0, 1, 2, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "labels/a.png")
    picture(size=(1, 4)).save(tmp_path / "images/a.png")
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    assert open_dataset("folder", tmp_path).read("a").labels.tolist() == [[0, 1, 2, IGNORE]]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert open_dataset("folder", tmp_path).read("a").labels.tolist() == [[IGNORE, 1, 2, IGNORE]]
    (tmp_path / "classes.txt").write_text("background\ncat\n")
    with pytest.raises(InputError, match=re.escape("has the value 2 at row 0, column 2; it may have 0 (background)")):
        open_dataset("folder", tmp_path).read("a")
