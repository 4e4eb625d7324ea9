"""RefCOCO, RefCOCO+ and RefCOCOg: written here as their authors distribute them, and read back."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from car import rle
from car.config import list_presets
from car.data import (
    DATASETS,
    REFERRING,
    MissingDataError,
    find_referring,
    list_referring,
    open_dataset,
    open_referring,
    open_video,
)
from car.data.instances import instance_mask
from car.data.refcoco import splits_of_refer
from car.errors import InputError, MissingError
from car.io import read_image
from tests.data.writing import picture, write_image
from tests.data.writing_referring import annotation, box, reference, write_coco, write_refs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ["refcoco", "refcoco+", "refcocog"]
FIRST = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
SIZES = {9: (4, 6), 25: (3, 5), 30: (2, 2)}
FILE = "COCO_train2014_{:012}"
RUNS = np.array([[0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 1]], bool)
ANNOTATIONS = [
    annotation(1001, 9, box(1, 1, 2, 2)),
    annotation(1002, 9, box(0, 0, 3, 2), box(2, 0, 2, 4), category=18),
    annotation(1003, 25, rle.encode(RUNS), crowd=1),
    annotation(1004, 30, box(0, 0, 2, 2)),
    annotation(1005, 9, [0, 0, 1]),
]
REFS = [
    reference(3, 25, 1003, "a crowd", split="val"),
    reference(1, 9, 1002, "the dog", "left dog", split="val"),
    reference(2, 9, 1001, "person in front", split="val"),
    reference(4, 30, 1004, "all of it", split="train"),
    reference(5, 9, 1001, "the same person", split="testA"),
    reference(6, 25, 1003, "the crowd again", split="testB"),
]
UNION = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0]], bool)
EXACTLY_ONE = np.array([[1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0]], bool)


def written(root: Path, name: str = "refcoco", refs: object = None, **layout: str) -> Path:
    write_coco(root, name, SIZES, ANNOTATIONS, **layout)
    write_refs(root, name, REFS if refs is None else refs, split_by=FIRST[name])
    return root


def refused(kind: type[Exception], root: Path, *parts: str, name: str = "refcoco", **options: str) -> str:
    with pytest.raises(kind) as error:
        open_referring(name, root, **options)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def ids(dataset) -> dict[str, list[str]]:
    return {key: [target.id for target in dataset.read(key).targets] for key in dataset.keys}


@pytest.mark.parametrize("name", NAMES)
def test_pictures_and_targets(tmp_path, name):
    dataset = open_referring(name, str(written(tmp_path, name)))
    assert (dataset.name, dataset.split, dataset.variant, dataset.root) == (name, "val", FIRST[name], tmp_path)
    assert dataset.keys == (FILE.format(9), FILE.format(25))
    truth = dataset.read(FILE.format(9))
    path = tmp_path / f"images/mscoco/images/train2014/{FILE.format(9)}.jpg"
    assert np.array_equal(truth.image, read_image(path))
    dog, person = truth.targets
    assert (dog.id, dog.expressions, dog.category, dog.no_target) == ("1", ("the dog", "left dog"), "dog", False)
    assert (person.id, person.expressions, person.category) == ("2", ("person in front",), "person")
    assert dog.mask.dtype == person.mask.dtype == np.bool_
    assert np.array_equal(dog.mask, UNION)
    assert np.argwhere(person.mask).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    (crowd,) = dataset.read(FILE.format(25)).targets
    assert np.array_equal(crowd.mask, RUNS)


def test_pixels_of_two_polygons(tmp_path):
    written(tmp_path)
    for overlap, mask in (("union", UNION), ("exactly-one", EXACTLY_ONE)):
        dog, person = open_referring("refcoco", tmp_path, overlap=overlap).read(FILE.format(9)).targets
        assert np.array_equal(dog.mask, mask)
        assert person.mask.sum() == 4
        (crowd,) = open_referring("refcoco", tmp_path, overlap=overlap).read(FILE.format(25)).targets
        assert np.array_equal(crowd.mask, RUNS)


@st.composite
def polygons(draw):
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    corner = st.tuples(st.floats(0, width), st.floats(0, height))
    shapes = draw(st.lists(st.lists(corner, min_size=3, max_size=8), min_size=1, max_size=4))
    return tuple(np.array(shape).round(2).ravel() for shape in shapes), height, width


@settings(max_examples=200)
@given(polygons())
def test_masks_are_those_of_the_refer_api(case):
    shapes, height, width = case
    summed = coco.decode(coco.frPyObjects([each.tolist() for each in shapes], height, width)).sum(axis=2)
    assert np.array_equal(instance_mask(*case, "union"), summed > 0)
    assert np.array_equal(instance_mask(*case, "exactly-one"), summed == 1)


def test_either_spelling_of_sentences(tmp_path):
    written(tmp_path)
    targets = open_referring("refcoco", tmp_path, sentence="raw").read(FILE.format(9)).targets
    assert [each.expressions for each in targets] == [("The dog.", "Left dog."), ("Person in front.",)]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_every_protocol_of_python_2_and_our_own(tmp_path, protocol):
    written(tmp_path)
    expected = ids(open_referring("refcoco", tmp_path))
    path = write_refs(tmp_path, "refcoco", REFS, protocol=protocol)
    assert ids(open_referring("refcoco", tmp_path)) == expected
    path.write_bytes(pickle.dumps(REFS, protocol + 3))
    assert ids(open_referring("refcoco", tmp_path)) == expected == {FILE.format(9): ["1", "2"], FILE.format(25): ["3"]}


def test_latin_texts(tmp_path):
    written(tmp_path, refs=[reference(1, 9, 1001, "the caf\xe9")])
    assert open_referring("refcoco", tmp_path).read(FILE.format(9)).targets[0].expressions == ("the caf\xe9",)


def test_splits_by_the_letter(tmp_path):
    numbers = {"train": 1, "val": 2, "testA": 3, "testB": 4, "testAB": 5, "testC": 6, "test": 7}
    written(tmp_path, refs=[reference(number, 9, 1001, "it", split=split) for split, number in numbers.items()])
    for split, expected in {
        "train": [1],
        "val": [2],
        "testA": [3, 5],
        "testB": [4, 5],
        "test": [3, 4, 5, 6, 7],
    }.items():
        assert ids(open_referring("refcoco", tmp_path, split=split)) == {FILE.format(9): [str(n) for n in expected]}
    assert [name for name in numbers if splits_of_refer("testC")(name)] == ["testC"]


def test_who_split_it(tmp_path):
    written(tmp_path, "refcocog")
    write_refs(tmp_path, "refcocog", [reference(7, 25, 1003, "google's")], split_by="google")
    assert ids(open_referring("refcocog", tmp_path, split_by="umd")) == ids(open_referring("refcocog", tmp_path))
    dataset = open_referring("refcocog", tmp_path, split_by="google")
    assert (dataset.variant, ids(dataset)) == ("google", {FILE.format(25): ["7"]})
    refused(InputError, tmp_path, "refcocog by google has no split 'test'. Available: train, val.", name="refcocog",
            split="test", split_by="google")  # fmt: skip
    refused(InputError, tmp_path, "refcocog has no split_by 'unc'. Available: umd, google.", name="refcocog",
            split_by="unc")  # fmt: skip
    refused(InputError, tmp_path, "refcoco+ has no split_by 'google'. Available: unc.", name="refcoco+",
            split_by="google")  # fmt: skip
    shutil.rmtree(tmp_path / "refcocog")
    written(tmp_path, "refcoco")
    write_refs(tmp_path, "refcoco", [reference(8, 25, 1003, "google's", split="test")], split_by="google")
    assert ids(open_referring("refcoco", tmp_path, split="test", split_by="google")) == {FILE.format(25): ["8"]}


@pytest.mark.parametrize("images", REFERRING["refcoco"].sources["images"].paths)
@pytest.mark.parametrize("base", ["", "refer/data", "refer"])
def test_places_where_people_have_it(tmp_path, base, images):
    written(tmp_path / base, images=images)
    assert ids(open_referring("refcoco", tmp_path)) == {FILE.format(9): ["1", "2"], FILE.format(25): ["3"]}


def test_pictures_beside_the_base(tmp_path):
    written(tmp_path / "refer", images="../train2014")
    assert open_referring("refcoco", tmp_path).images == tmp_path / "train2014"


def test_the_first_folder_of_pictures_counts(tmp_path):
    written(tmp_path, images="train2014")
    assert open_referring("refcoco", tmp_path).images == tmp_path / "train2014"
    shutil.copytree(tmp_path / "train2014", tmp_path / "images/train2014")
    assert open_referring("refcoco", tmp_path).images == tmp_path / "images/train2014"


def test_datasets_can_be_pickled_and_hold_no_more_than_the_split(tmp_path):
    many = [annotation(5000 + i, 9, box(0, 0, 3, 3)) for i in range(3000)]
    write_coco(tmp_path, "refcoco", SIZES, [*ANNOTATIONS, *many])
    write_refs(tmp_path, "refcoco", REFS)
    dataset = open_referring("refcoco", tmp_path)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 4000
    again = pickle.loads(pickled)
    assert again.keys == dataset.keys
    for key in dataset.keys:
        one, other = dataset.read(key), again.read(key)
        assert np.array_equal(one.image, other.image)
        for mine, its in zip(one.targets, other.targets, strict=True):
            assert (mine.id, mine.expressions, mine.category) == (its.id, its.expressions, its.category)
            assert np.array_equal(mine.mask, its.mask)


def test_numbers_that_are_there_twice(tmp_path):
    written(
        tmp_path, refs=[reference(1, 9, 1001, "one"), reference(1, 25, 1003, "two"), reference(1, 9, 1002, "three")]
    )
    assert ids(open_referring("refcoco", tmp_path)) == {FILE.format(9): ["1", "1#3"], FILE.format(25): ["1#2"]}


def test_nothing_is_there(tmp_path):
    message = refused(MissingError, tmp_path / "no", f"refcoco: {str(tmp_path / 'no')!r} does not exist. Get ")
    for part in (
        "refcoco.zip (https://bvisionweb1.cs.unc.edu/licheng/referit/data/refcoco.zip, or https://web.archive.org/web/",
        "train2014.zip (http://images.cocodataset.org/zips/train2014.zip)",
        f"`car data check refcoco --data-root {tmp_path / 'no'}` shows how the files should lie.",
    ):
        assert part in message
    (tmp_path / "file").touch()
    refused(MissingError, tmp_path / "file", "is no folder")
    refused(
        MissingDataError,
        tmp_path,
        "there is no 'refcoco/refs(google).p' and no 'refcoco/instances.json' and no 'images/mscoco/images/train2014' ",
        f"in {str(tmp_path)!r}, {str(tmp_path / 'refer/data')!r} or {str(tmp_path / 'refer')!r}. Get refcoco.zip",
        f"`car data check refcoco --data-root {tmp_path} --split test --split-by google` shows",
        split="test",
        split_by="google",
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_mirror_is_of_the_same_file(name):
    annotations, pictures = find_referring(name).downloads
    assert annotations.file == f"{name}.zip"
    assert re.fullmatch(rf"https://web\.archive\.org/web/\d{{14}}/{re.escape(annotations.url)}", annotations.mirror)
    assert pictures.file == "train2014.zip"


def test_parts_that_are_missing(tmp_path):
    written(tmp_path)
    (tmp_path / "refcoco/refs(unc).p").rename(tmp_path / "refs")
    message = refused(
        MissingError, tmp_path, f"there is no 'refcoco/refs(unc).p' in {str(tmp_path)!r}. Get refcoco.zip"
    )
    assert "train2014.zip" not in message
    (tmp_path / "refs").rename(tmp_path / "refcoco/refs(unc).p")
    images = tmp_path / "images/mscoco/images/train2014"
    (images / f"{FILE.format(25)}.jpg").unlink()
    first = str(images / f"{FILE.format(25)}.jpg")
    message = refused(
        MissingError, tmp_path, f"refcoco: 1 of 2 pictures ({first!r} first) are missing. Get train2014.zip"
    )
    assert "refcoco.zip" not in message
    assert open_referring("refcoco", tmp_path, split="train").keys == (FILE.format(30),)
    write_refs(tmp_path, "refcoco", [reference(1, 9, 1001, "it", split="train")])
    path = str(tmp_path / "refcoco/refs(unc).p")
    refused(MissingError, tmp_path, f"refcoco: {path!r} has no reference of split testB of unc. Get ", split="testB")


def test_arguments_that_make_no_sense(tmp_path):
    written(tmp_path)
    refused(InputError, tmp_path, "No referring benchmark 'refcco'. Did you mean 'refcoco'? Available: ", name="refcco")
    refused(InputError, tmp_path, "No referring benchmark 'voc21'. Available: refcoco, ", name="voc21")
    refused(InputError, tmp_path, "refcoco by unc has no split 'testD'. Available: train, val, testA, ", split="testD")
    refused(InputError, tmp_path, "refcoco by unc has no split ''.", split="")
    refused(
        InputError, tmp_path, "Expected argument `overlap` to be union or exactly-one, but got 'sum'.", overlap="sum"
    )
    refused(InputError, tmp_path, "Expected argument `sentence` to be sent or raw, but got ''.", sentence="")
    refused(InputError, tmp_path, "refcoco has no choice of 'instances', but got 'first-instance'.",
            instances="first-instance")  # fmt: skip
    with pytest.raises(InputError, match=r"^refcoco is a benchmark of pictures; `open_referring` opens it\.$"):
        open_video("refcoco", tmp_path)
    with pytest.raises(InputError, match=r"^refcoco has no choice of 'annotations', but got 'unsupervised'\.$"):
        open_video("refcoco", tmp_path, annotations="unsupervised")
    dataset = open_referring("refcoco", tmp_path)
    with pytest.raises(InputError, match=r"^refcoco has no picture '\.\./x' in its split 'val'\.$"):
        dataset.read("../x")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"ref_id": "1"}, "its `ref_id` is missing, or not what it should be."),
        ({"ref_id": True}, "its `ref_id` is missing"),
        ({"image_id": None}, "its `image_id` is missing"),
        ({"split": 5}, "its `split` is missing"),
        ({"ann_id": "1001"}, "its `ann_id` is missing"),
        ({"ann_id": []}, "its `ann_id` is missing"),
        ({"ann_id": [1001, "x"]}, "its `ann_id` is missing"),
        ({"ann_id": [1001, -1]}, "its `ann_id` is missing"),
        ({"sentences": []}, "its `sentences` is missing"),
        ({"sentences": ["the dog"]}, "its `sent` is missing"),
        ({"sentences": [{"raw": "The dog."}]}, "its `sent` is missing"),
        ({"sentences": {"sent": "the dog"}}, "its `sentences` is missing"),
    ],
)
def test_references_that_make_no_sense(tmp_path, changes, part):
    written(tmp_path, refs=[REFS[0], {**REFS[1], **changes}])
    refused(InputError, tmp_path, f"{str(tmp_path / 'refcoco/refs(unc).p')!r}, reference 1: {part}")


@pytest.mark.parametrize("data", [{"refs": REFS}, None, "refs", 5])
def test_pickles_of_something_else(tmp_path, data):
    written(tmp_path, refs=[])
    write_refs(tmp_path, "refcoco", data)
    refused(InputError, tmp_path, f"{str(tmp_path / 'refcoco/refs(unc).p')!r} holds no list of references.")
    write_refs(tmp_path, "refcoco", [data])
    refused(InputError, tmp_path, "refs(unc).p', reference 0: its `split` is missing")


def test_pickles_that_are_more_than_data(tmp_path):
    written(tmp_path)
    path = tmp_path / "refcoco/refs(unc).p"
    path.write_bytes(pickle.dumps([{**REFS[0], "ann_id": np.int64(5)}], 2))
    refused(InputError, tmp_path, f"{str(path)!r} builds 'numpy._core.multiarray.scalar'; only plain data are read: ")
    path.write_bytes(b"")
    refused(InputError, tmp_path, f"{str(path)!r} is a damaged pickle, or none.")
    path.unlink()
    path.mkdir()
    refused(InputError, tmp_path, f"Cannot read {str(path)!r}: Is a directory.")


def test_references_to_what_is_not_annotated(tmp_path):
    instances, path = str(tmp_path / "refcoco/instances.json"), str(tmp_path / "refcoco/refs(unc).p")
    for ref, lost in (
        (reference(4, 77, 1001, "it"), "image 77"),
        (reference(4, 9, 77, "it"), "annotation 77 in image 9"),
        (reference(4, 9, 1003, "it"), "annotation 1003 in image 9"),
    ):
        written(tmp_path, refs=[REFS[1], ref])
        refused(InputError, tmp_path, f"{instances!r} has no {lost}, which reference 4 of {path!r} is of.")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "Cannot read {}: Expecting value: line 1 column 1 (char 0)."),
        ("[]", "{} is no annotation file: expected lists images, annotations, categories."),
        ('{"images": [], "annotations": []}', "{} is no annotation file: expected lists"),
        (
            '{"images": NaN}',
            "Cannot read {}: NaN is no number" if False else "NaN is no number that annotations may have",
        ),
        ("[" * 100_000, "{}"),
        (
            '{"images": [{"id": 9, "file_name": "a.jpg", "height": 4}]}',
            "{} has an image 9 without file name, height and ",
        ),
        (
            '{"images": [{"id": 9, "file_name": "a.jpg", "height": 99999, "width": 99999}]}',
            "{} has an image 9 that has 99999 x 99999 pixels; expected 1 to 178,956,970.",
        ),
        (
            '{"annotations": [{"id": 1001, "segmentation": []}]}',
            "{} has an annotation 1001 without image_id and category",
        ),
        (
            '{"annotations": [{"id": 1001, "image_id": 9, "category_id": 1, "segmentation": []}]}',
            "{} has an annotation 1001 whose segmentation is neither polygons of numbers nor a mask.",
        ),
        (
            '{"annotations": [{"id": 1001, "image_id": 9, "category_id": 1, "segmentation": [["1", 2]]}]}',
            "{} has an annotation 1001 whose segmentation is neither polygons of numbers nor a mask.",
        ),
        (
            '{"annotations": [{"id": 1001, "image_id": 9, "category_id": 1, "segmentation": [[1' + "0" * 400 + "]]}]}",
            "{} has an annotation 1001 whose segmentation is neither",
        ),
    ],
)
def test_annotation_files_that_make_no_sense(tmp_path, text, part):
    written(tmp_path)
    path = tmp_path / "refcoco/instances.json"
    path.write_text(text)
    refused(InputError, tmp_path, part.format(repr(str(path))))


def test_annotation_files_that_are_not_text(tmp_path):
    path = written(tmp_path) / "refcoco/instances.json"
    path.write_bytes(b'{"images": "\xff"}')
    refused(InputError, tmp_path, f"Cannot read {str(path)!r}: 'utf-8' codec can't decode byte 0xff in position 12")


def test_two_images_of_one_name(tmp_path):
    path = written(tmp_path) / "refcoco/instances.json"
    data = json.loads(path.read_text())
    data["images"][1]["file_name"] = data["images"][0]["file_name"]
    path.write_text(json.dumps(data))
    refused(InputError, tmp_path, f"{str(path)!r} has 2 images whose file is called {FILE.format(9)!r}.")


def test_file_names_that_lead_elsewhere(tmp_path):
    path = written(tmp_path) / "refcoco/instances.json"
    shutil.copy(tmp_path / f"images/mscoco/images/train2014/{FILE.format(9)}.jpg", tmp_path / "secret.jpg")
    data = json.loads(path.read_text())
    data["images"][0]["file_name"] = "../../../../secret.jpg"
    path.write_text(json.dumps(data))
    refused(MissingError, tmp_path, "1 of 2 pictures (", "secret.jpg' first) are missing")


def test_categories_without_a_name(tmp_path):
    path = written(tmp_path) / "refcoco/instances.json"
    data = json.loads(path.read_text())
    data["categories"] = [{"id": 1}, "person", {"id": "18", "name": "dog"}]
    path.write_text(json.dumps(data))
    assert [each.category for each in open_referring("refcoco", tmp_path).read(FILE.format(9)).targets] == [None, None]


def test_pictures_and_annotations_that_do_not_fit(tmp_path):
    written(tmp_path, refs=[reference(1, 9, 1005, "half a corner"), reference(2, 25, 1003, "it")])
    dataset, key = open_referring("refcoco", tmp_path), FILE.format(25)
    instances = str(tmp_path / "refcoco/instances.json")
    with pytest.raises(InputError) as error:
        dataset.read(FILE.format(9))
    assert str(error.value).startswith(f"{instances!r}, annotation 1005: Expected a polygon of at least three corners")
    path = tmp_path / f"images/mscoco/images/train2014/{key}.jpg"
    write_image(path, picture(0, (5, 5)))
    with pytest.raises(InputError) as error:
        dataset.read(key)
    assert str(error.value) == f"{str(path)!r} has 5 x 5 pixels, but 5 x 3 in {instances!r}."
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)\.$"):
        dataset.read(key)
    written(tmp_path, refs=[reference(1, 25, 1006, "a mask of another size")])
    write_coco(tmp_path, "refcoco", SIZES, [annotation(1006, 25, rle.encode(RUNS[:2]))])
    with pytest.raises(InputError, match=r"instances\.json', annotation 1006: a mask of 2 x 5 pixels, but the picture"):
        open_referring("refcoco", tmp_path).read(key)


def test_the_catalogue():
    assert list_referring() == list(REFERRING)
    assert not set(REFERRING) & set(DATASETS)
    for name, each in REFERRING.items():
        assert each.name == name
        assert each.preset is None or each.preset in list_presets()
        for variant in each.variants.values():
            assert each.default_split in variant.splits
        assert (len(each.variants) > 1) <= bool(each.variant_option)
        for download in (*each.downloads, *(one for variant in each.variants.values() for one in variant.downloads)):
            assert download.url.startswith("http")
        parts = {part for one in each.downloads for part in one.parts}
        for variant in each.variants.values():
            assert {each.part for each in each.sources.values()} <= parts | {
                part for one in variant.downloads for part in one.parts
            }
    with pytest.raises(InputError, match="No benchmark 'refcoco'"):
        open_dataset("refcoco", ".")
