"""COCO-Object from pixel maps and from instances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from car.data import open_dataset
from car.data.prepare import open_preparation, prepare
from car.data.prepare.coco_object import CATEGORIES
from car.errors import InputError, MissingError
from tests.data.prepare_sources import (
    COCO_IDS,
    box,
    coco_image,
    coco_region,
    compressed,
    read,
    write_instances,
    write_map,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SHAPE = (30, 40)


def run(root, **options):
    preparation = open_preparation("coco-object", root, **options)
    return preparation, prepare(preparation)


def label_map(root, number):
    return read(root / f"coco/annotations/val2017/{number:012}_instanceTrainIds.png")


def test_categories_are_those_of_coco():
    assert list(CATEGORIES) == COCO_IDS
    assert len(CATEGORIES) == 80


def test_instances_of_all_kinds_are_painted(tmp_path):
    triangle, lake = [5.0, 5, 30.5, 8, 12, 27], [25, 20, 39.7, 20.2, 39.9, 29.5, 26, 29]
    runs = [100, 200, 50, 150, 700]
    regions = [
        coco_region(7, 1, [triangle]),
        coco_region(7, 90, [lake, [0, 0, 6, 0, 6, 6]]),
        coco_region(7, 3, compressed(box(SHAPE, 10, 10, 14, 35))),
        coco_region(7, 18, {"size": list(SHAPE), "counts": runs}, crowd=1),
        coco_region(9, 44, [[0, 0, 40, 0, 40, 30, 0, 30]]),
    ]
    write_instances(tmp_path, [coco_image(n, SHAPE) for n in (9, 7, 8)], regions)
    expected = np.zeros(SHAPE, np.uint8)
    expected[np.repeat([0, 1, 0, 1, 0], runs).reshape(40, 30).T == 1] = COCO_IDS.index(18) + 1
    for polygons, category in (([triangle], 1), ([lake, [0, 0, 6, 0, 6, 6]], 90)):
        mask = coco.decode(coco.merge(coco.frPyObjects(polygons, *SHAPE)))
        expected[mask == 1] = COCO_IDS.index(category) + 1
    expected[10:14, 10:35] = 3
    preparation, report = run(tmp_path)
    assert report.states == {"written": 3}
    assert report.seen == {0, 2, COCO_IDS.index(18), COCO_IDS.index(44), 79}
    assert np.array_equal(label_map(tmp_path, 7), expected)
    assert set(np.unique(expected)) == {0, 1, 3, 17, 80}
    assert not label_map(tmp_path, 8).any()
    assert (label_map(tmp_path, 9) == COCO_IDS.index(44) + 1).all()
    assert "later annotations over earlier ones, crowd regions first" in preparation.rules[0]


@st.composite
def scenes(draw):
    """Regions of a picture: polygons, run lengths, crowds."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    regions = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["polygons", "compressed", "runs"]))
        mask = rng.random(SHAPE) < rng.random()
        if kind == "polygons":
            counts = rng.integers(3, 9, rng.integers(1, 4))
            segmentation = [(rng.random((n, 2)) * (40, 30)).round(2).ravel().tolist() for n in counts]
        elif kind == "compressed":
            segmentation = compressed(mask)
        else:
            edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel("F"), [2]])))
            segmentation = {"size": list(SHAPE), "counts": np.diff(np.concatenate([[0], edges])).tolist()}
        crowd = kind != "polygons" and draw(st.booleans())
        regions.append(coco_region(1, draw(st.sampled_from(COCO_IDS)), segmentation, int(crowd)))
    return regions


@settings(max_examples=30)
@given(scenes())
def test_every_pixel_is_as_coco_has_it(tmp_path_factory, regions):
    root = tmp_path_factory.mktemp("coco")
    write_instances(root, [coco_image(1, SHAPE)], regions)
    expected = np.zeros(SHAPE, np.uint8)
    for region in [each for crowd in (1, 0) for each in regions if each["iscrowd"] == crowd]:
        found = region["segmentation"]
        if isinstance(found, list):
            found = coco.merge(coco.frPyObjects(found, *SHAPE))
        elif isinstance(found["counts"], list):
            found = coco.frPyObjects(found, *SHAPE)
        expected[coco.decode(found) == 1] = COCO_IDS.index(region["category_id"]) + 1
    assert run(root)[1].complete
    assert np.array_equal(label_map(root, 1), expected)


def test_pixel_maps_come_first_and_every_value_has_its_meaning(tmp_path):
    things = [i - 1 for i in COCO_IDS]
    values = np.array([[*things, *range(91, 182), 255]], np.uint8)
    write_map(tmp_path, 5, values)
    write_instances(tmp_path, [coco_image(5, (1, 172)), coco_image(6, (1, 172))], [])
    preparation, report = run(tmp_path)
    assert preparation.keys == [f"{5:012}"]
    assert report.seen == set(range(80))
    assert label_map(tmp_path, 5).tolist() == [[*range(1, 81), *[0] * 92]]
    assert "GroupViT" in preparation.rules[0]
    assert open_preparation("coco-object", tmp_path).keys == preparation.keys  # what was made is no source


def test_palette_maps_and_other_folders_are_read(tmp_path):
    path = write_map(tmp_path, 5, np.array([[0, 90 - 1, 255]], np.uint8), base="coco_stuff164k")
    image = Image.open(path)
    image.putpalette(bytes(range(256)) * 3)
    image.save(path)
    assert run(tmp_path)[1].complete
    made = tmp_path / f"coco_stuff164k/annotations/val2017/{5:012}_instanceTrainIds.png"
    assert read(made).tolist() == [[1, 80, 0]]


def test_the_reader_finds_what_was_prepared(tmp_path):
    write_instances(tmp_path, [coco_image(1, SHAPE)], [coco_region(1, 2, compressed(box(SHAPE, 0, 0, 9, 9)))])
    assert run(tmp_path)[1].unpictured == 1
    (tmp_path / "coco/val2017").mkdir()
    Image.new("RGB", SHAPE[::-1]).save(tmp_path / f"coco/val2017/{1:012}.jpg")
    assert run(tmp_path)[1].unpictured == 0
    labels = open_dataset("coco-object", tmp_path).read(f"{1:012}").labels
    assert np.array_equal(labels, box(SHAPE, 0, 0, 9, 9) * 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 11]], np.uint8), "has the value 11 at row 0, column 1."),
        (np.array([[0], [182]], np.uint8), "has the value 182 at row 1, column 0."),
        (np.array([[0, 300]], np.uint16), "has 16 bits"),
        (np.zeros((4, 4, 3), np.uint8), "is no label map but a picture"),
    ],
    ids=["gap", "beyond", "words", "colour"],
)
def test_a_bad_map_fails_alone(tmp_path, values, message):
    write_map(tmp_path, 1, np.zeros((2, 2), np.uint8))
    path = write_map(tmp_path, 2, values)
    _, report = run(tmp_path)
    assert report.states == {"written": 1, "failed": 1}
    assert message in report.problems[f"{2:012}"]
    assert str(path) in report.problems[f"{2:012}"]


def test_a_damaged_map_fails_alone(tmp_path):
    write_map(tmp_path, 1, np.zeros((2, 2), np.uint8))
    path = write_map(tmp_path, 2, np.zeros((200, 200), np.uint8))
    path.write_bytes(path.read_bytes()[:50])
    problem = run(tmp_path)[1].problems[f"{2:012}"]
    assert str(path) in problem
    path.unlink()
    preparation = open_preparation("coco-object", tmp_path)
    (path.parent / f"{1:012}.png").unlink()
    assert "Cannot read" in prepare(preparation).problems[f"{1:012}"]


@pytest.mark.parametrize(
    ("category", "segmentation", "message"),
    [
        (12, [[0, 0, 9, 0, 9, 9]], "annotation 1: '12' is no category of COCO."),
        ([1], [[0, 0, 9, 0, 9, 9]], "annotation 1: '[1]' is no category of COCO."),
        (1, [[0, 0, 9, 0]], "annotation 1: Expected a polygon of at least three corners"),
        (1, [[0, 0, 9, 0, 9, 900]], "annotation 1: A polygon is far outside"),
        (1, [[0, 0, 9, 0, 9, 10**400]], "annotation 1: a segmentation that is neither"),
        (1, [], "annotation 1: a segmentation that is neither"),
        (1, "mask", "annotation 1: Expected a run-length mask"),
        (1, {"size": list(SHAPE), "counts": [1, 2]}, "annotation 1: The runs of a run-length mask do not add up"),
    ],
    ids=["gap", "list", "two corners", "outside", "huge", "empty", "text", "runs"],
)
def test_a_bad_annotation_fails_its_picture_alone(tmp_path, category, segmentation, message):
    images = [coco_image(1, SHAPE), coco_image(2, SHAPE)]
    write_instances(tmp_path, images, [coco_region(2, category, segmentation)])
    _, report = run(tmp_path)
    assert report.states == {"written": 1, "failed": 1}
    assert message in report.problems[f"{2:012}"]


def test_other_categories_are_refused(tmp_path):
    write_instances(tmp_path, [coco_image(1, SHAPE)], [], ids=[1, 2, 3])
    with pytest.raises(InputError, match="does not have COCO's 80 categories"):
        open_preparation("coco-object", tmp_path)


def test_missing_sources_are_named_with_their_origin(tmp_path):
    with pytest.raises(MissingError, match=r"no pixel maps 'annotations/val2017/\*\.png' and no .*instances_val2017"):
        open_preparation("coco-object", tmp_path)
    with pytest.raises(MissingError, match=r"stuffthingmaps_trainval2017\.zip \(http.*annotations_trainval2017\.zip"):
        open_preparation("coco-object", tmp_path)
