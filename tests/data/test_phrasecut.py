"""PhraseCut: phrases of Visual Genome, their polygons filled as its own loader fills them."""

import json
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from car.data import open_referring
from car.data.phrasecut import COCO_NAMES, read_tasks
from car.errors import InputError, MissingError
from car.io import read_image
from tests.data.writing_referring import task, write_phrasecut

SQUARE = [[1, 1], [3.9, 1], [3.9, 2.2], [1, 2.2]]
LINE = [[0, 4], [2, 4]]
POINT = [[5, 5]]
SIZES = {2400001: (6, 8), 17: (4, 4), 300: (3, 5)}
TASKS = [
    task("2400001__1", 2400001, "red car", "car", [SQUARE]),
    task("2400001__2", 2400001, "two grey walls", "wall", [SQUARE, LINE], [[[7, 5], [5, 5], [5, 3]], POINT, []]),
    task("17__5", 17, "blue sky", "sky", [[[-9, -9], [40, -9], [40, 1], [-9, 1]]]),
    task("300__6", 300, "a dog", "dog", [[[0, 0], [1, 0]]]),
]


def written(root: Path, **changes: object) -> Path:
    write_phrasecut(root, SIZES, TASKS, **changes)
    return root


def masks(dataset, key: str) -> dict[str, list[list[int]]]:
    return {each.id: each.mask.astype(int).tolist() for each in dataset.read(key).targets}


def refused(kind: type[Exception], root: Path, *parts: str, name: str = "phrasecut", **options: str) -> None:
    with pytest.raises(kind) as error:
        open_referring(name, root, **options)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_phrases_and_their_pixels(tmp_path):
    dataset = open_referring("phrasecut", written(tmp_path))
    assert (dataset.name, dataset.split, dataset.variant, dataset.root) == ("phrasecut", "test", "", tmp_path)
    assert dataset.keys == ("17", "2400001", "300")
    truth = dataset.read("2400001")
    assert np.array_equal(truth.image, read_image(tmp_path / "images/2400001.jpg"))
    car, walls = truth.targets
    assert (car.id, car.expressions, car.category, car.no_target) == ("2400001__1", ("red car",), "car", False)
    assert (walls.expressions, walls.category) == (("two grey walls",), "wall")
    assert car.mask.dtype == np.bool_
    assert masks(dataset, "2400001") == {
        "2400001__1": [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
        ],
        "2400001__2": [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 1, 0, 0],
            [1, 1, 1, 0, 0, 1, 1, 0],
            [0, 0, 0, 0, 0, 1, 1, 1],
        ],
    }
    assert masks(dataset, "17") == {"17__5": [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]}
    assert masks(dataset, "300") == {"300__6": [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]}


def loader_mask(polygons: list[list[list[float]]], height: int, width: int) -> np.ndarray:
    """The rule of PhraseCut's loader: each polygon alone, cut to whole numbers, filled and outlined; then any."""
    layers = []
    for polygon in polygons:
        if len(polygon) >= 2:
            layer = Image.new("L", (width, height), 0)
            ImageDraw.Draw(layer).polygon([(int(x), int(y)) for x, y in polygon], outline=1, fill=1)
            layers.append(np.array(layer) > 0)
    return np.any(layers, axis=0) if layers else np.zeros((height, width), bool)


point = st.lists(st.floats(-6, 20).map(lambda value: round(value, 2)) | st.integers(-3, 15), min_size=2, max_size=2)
instances = st.lists(st.lists(st.lists(point, max_size=7), max_size=3), max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("phrasecut")


@settings(max_examples=60)
@given(instances, st.integers(1, 12), st.integers(1, 12))
def test_masks_are_those_of_the_loader(folder, drawn, height, width):
    write_phrasecut(folder, {1: (height, width)}, [task("1__1", 1, "thing", "thing", *drawn)])
    (target,) = open_referring("phrasecut", folder).read("1").targets
    assert np.array_equal(target.mask, loader_mask([each for one in drawn for each in one], height, width))


def test_unseen_nouns(tmp_path):
    written(tmp_path)
    dataset = open_referring("phrasecut-unseen", tmp_path)
    assert (dataset.name, dataset.keys) == ("phrasecut-unseen", ("17", "2400001"))
    assert list(masks(dataset, "2400001")) == ["2400001__2"]
    assert len(COCO_NAMES) == 80
    write_phrasecut(tmp_path, SIZES, [TASKS[0], TASKS[3]])
    path = str(tmp_path / "refer_test.json")
    refused(MissingError, tmp_path, f"phrasecut-unseen: {path!r} has no phrase of this benchmark. Get VGPhraseCut_v0 (",
            name="phrasecut-unseen")  # fmt: skip


def test_nouns_are_compared_as_they_are(tmp_path):
    nouns = ["person", "man", "people", "cars", "Car", "tv", "television", "motorcycle", "motorbike"]
    write_phrasecut(tmp_path, {1: (3, 3)}, [task(noun, 1, noun, noun, [SQUARE]) for noun in nouns])
    unseen = [each.id for each in open_referring("phrasecut-unseen", tmp_path).read("1").targets]
    assert unseen == ["man", "people", "cars", "Car", "television", "motorbike"]


def test_pictures_of_another_size(tmp_path):
    written(tmp_path, pictures={17: (8, 6)})
    image = open_referring("phrasecut", tmp_path).read("17").image
    whole = read_image(tmp_path / "images/17.jpg")
    assert whole.shape == (8, 6, 3)
    assert np.array_equal(image, cv2.resize(whole, (4, 4), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("base", ["", "VGPhraseCut_v0", "data/VGPhraseCut_v0", "PhraseCutDataset/data/VGPhraseCut_v0"])
def test_places_where_people_have_it(tmp_path, base):
    written(tmp_path / base)
    dataset = open_referring("phrasecut", tmp_path)
    assert (dataset.root, dataset.images) == (tmp_path, tmp_path / base / "images")
    (tmp_path / base / "image_data_split.json").rename(tmp_path / base / "image_data_split3000.json")
    assert open_referring("phrasecut", tmp_path).keys == dataset.keys


@pytest.mark.parametrize("split", ["train", "val", "miniv"])
def test_splits(tmp_path, split):
    written(tmp_path, split=split)
    assert open_referring("phrasecut", tmp_path, split=split).split == split
    refused(MissingError, tmp_path, f"there is no 'refer_test.json' in {str(tmp_path)!r}. Get VGPhraseCut_v0 (https://")
    refused(InputError, tmp_path, "phrasecut has no split 'testA'. Available: train, val, test, miniv.", split="testA")


def test_datasets_can_be_pickled(tmp_path):
    dataset = open_referring("phrasecut", written(tmp_path))
    again = pickle.loads(pickle.dumps(dataset))
    assert [masks(again, key) for key in again.keys] == [masks(dataset, key) for key in dataset.keys]


def test_ids_that_are_there_twice(tmp_path):
    write_phrasecut(tmp_path, SIZES, [TASKS[0], TASKS[0], TASKS[2], TASKS[0]])
    targets = open_referring("phrasecut", tmp_path).read("2400001").targets
    assert [each.id for each in targets] == ["2400001__1", "2400001__1#2", "2400001__1#3"]


def test_what_is_missing(tmp_path):
    written(tmp_path)
    (tmp_path / "images/300.jpg").unlink()
    first = str(tmp_path / "images/300.jpg")
    refused(
        MissingError, tmp_path, f"phrasecut: 1 of 3 pictures ({first!r} first) are missing. Get the pictures of Visual"
    )
    assert open_referring("phrasecut-unseen", tmp_path).keys == ("17", "2400001")
    info = json.loads((tmp_path / "image_data_split.json").read_text())
    (tmp_path / "image_data_split.json").write_text(json.dumps(info[1:]))
    sizes, tasks = str(tmp_path / "image_data_split.json"), str(tmp_path / "refer_test.json")
    refused(InputError, tmp_path, f"{sizes!r} has no image 2400001, which {tasks!r} is about.")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"task_id": 5}, "has a task 5 without task_id, image_id, phrase, or the name in its phrase_structure."),
        ({"image_id": "17"}, "has a task '17__5' without task_id, image_id, phrase, or"),
        ({"phrase": None}, "has a task '17__5' without task_id, image_id, phrase, or"),
        ({"phrase_structure": None}, "has a task '17__5' without task_id, image_id, phrase, or"),
        ({"phrase_structure": {"attributes": []}}, "has a task '17__5' without task_id, image_id, phrase, or"),
        ({"Polygons": None}, "has a task '17__5' whose Polygons are no polygons of points [x, y]."),
        ({"Polygons": [5]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[1, 2, 3]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2], [3]]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2], [3, None]]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2], [3, "x"]]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2], [3, 2**21]]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2], [3, 10**400]]]]}, "has a task '17__5' whose Polygons are no polygons"),
        ({"Polygons": [[[[1, 2, 3], [3, 4, 5]]]]}, "has a task '17__5' whose Polygons are no polygons"),
    ],
)
def test_tasks_that_make_no_sense(tmp_path, changes, part):
    write_phrasecut(tmp_path, SIZES, [TASKS[0], {**TASKS[2], **changes}])
    refused(InputError, tmp_path, f"{str(tmp_path / 'refer_test.json')!r} {part}")


def test_corners_beyond_all_numbers(tmp_path):
    write_phrasecut(tmp_path, SIZES, TASKS)
    path = tmp_path / "refer_test.json"
    path.write_text(path.read_text().replace("[3.9, 1]", "[1e999, 1]"))
    refused(InputError, tmp_path, "has a task '2400001__1' whose Polygons are no polygons of points [x, y].")


def test_corners_far_outside_fill_the_picture(tmp_path):
    far = 2**20
    corners = [[-far, -far], [far, -far], [far, far], [-far, far]]
    write_phrasecut(tmp_path, SIZES, [task("1", 17, "all", "thing", [corners])])
    assert open_referring("phrasecut", tmp_path).read("17").targets[0].mask.all()


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("refer_test.json", "{}", "{} holds no list of tasks."),
        ("refer_test.json", "[", "Cannot read {}: Expecting value"),
        ("refer_test.json", "[]", "{} has no phrase of this benchmark."),
        ("image_data_split.json", "?", "Cannot read {}: Expecting value"),
        ("image_data_split.json", '[{"image_id": 17}]', "{} has an image 17 without height and width."),
        (
            "image_data_split.json",
            '[{"image_id": 17, "height": 0, "width": 4}]',
            "{} has an image 17 that has 0 x 4 pixels; expected 1 to 178,956,970.",
        ),
    ],
)
def test_files_that_make_no_sense(tmp_path, file, text, part):
    path = written(tmp_path) / file
    path.write_text(text)
    refused((InputError, MissingError), tmp_path, part.format(repr(str(path))))


def test_pictures_that_cannot_be_read(tmp_path):
    dataset = open_referring("phrasecut", written(tmp_path))
    (tmp_path / "images/17.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(f"{str(tmp_path / 'images/17.jpg')!r} is empty (0 bytes).")):
        dataset.read("17")
    with pytest.raises(InputError, match=r"^phrasecut has no picture '18' in its split 'test'\.$"):
        dataset.read("18")


def test_arguments(tmp_path):
    written(tmp_path)
    refused(InputError, tmp_path, "phrasecut has no choice of 'overlap', but got 'exactly-one'.", overlap="exactly-one")
    refused(InputError, tmp_path, "phrasecut has no choice of 'sentence', but got 'raw'.", sentence="raw")
    refused(InputError, tmp_path, "phrasecut has no choice of 'split_by', but got 'unc'.", split_by="unc")


def test_only_what_is_needed_is_kept(tmp_path):
    (found,) = read_tasks(written(tmp_path) / "refer_test.json", unseen=False)[17]
    assert (found.id, found.phrase, found.noun, len(found.polygons)) == ("17__5", "blue sky", "sky", 1)
    assert found.polygons[0].dtype == np.int32
