"""Pascal Context from the annotations of the Detail API."""

import json

import numpy as np
import pytest
from PIL import Image

from car.data import open_dataset
from car.data.prepare import open_preparation, prepare
from car.data.prepare.context import CATEGORIES
from car.errors import InputError, MissingError
from car.wordlists import read_classes
from tests.data.prepare_sources import box, compressed, detail_image, detail_region, read, write_detail

SHAPE = (6, 9)


def run(root, **options):
    preparation = open_preparation("context", root, **options)
    return preparation, prepare(preparation)


def test_every_category_gets_the_place_of_its_id(tmp_path):
    shape = (2, 60)
    regions = [
        detail_region(1, category, compressed(box(shape, 0, place, 2, place + 1)))
        for place, category in enumerate(CATEGORIES[1:], 1)
    ]
    base = write_detail(tmp_path, [detail_image(1, shape)], regions)
    _, report = run(tmp_path)
    assert report.complete
    assert report.seen == set(range(59))
    values = read(base / "SegmentationClassContext/2008_000001.png")
    assert np.array_equal(values, np.tile(np.arange(60, dtype=np.uint8), (2, 1)))


def test_the_categories_are_the_classes_by_name():
    names = [{entry.id: entry.query for entry in read_classes(name)} for name in ("pc459", "context59")]
    pairs = [(names[0][category - 1], names[1][i]) for i, category in enumerate(CATEGORIES[1:])]
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ("aeroplane", "airplane"),
        ("lamp", "light"),
        ("pottedplant", "plant"),
        ("tvmonitor", "monitor"),
        ("wood piece", "wood"),
    ]


def test_regions_are_painted_in_the_order_of_the_file(tmp_path):
    regions = [
        detail_region(1, 2, compressed(box(SHAPE, 0, 0, 4, 5))),
        detail_region(2, 45, compressed(box(SHAPE, 0, 0, 6, 9))),
        detail_region(1, 9, {"size": list(SHAPE), "counts": [3 * 6, 12, 24]}),
        detail_region(1, 458, compressed(box(SHAPE, 2, 1, 3, 9))),
    ]
    base = write_detail(tmp_path, [detail_image(2, SHAPE, "train"), detail_image(1, SHAPE)], regions)
    expected = np.zeros(SHAPE, np.uint8)
    expected[0:4, 0:5] = 1
    expected[:, 3:5] = 2
    expected[2, 1:9] = 59
    _, report = run(tmp_path)
    assert (report.states, report.seen, report.unpictured) == ({"written": 1}, {0, 1, 58}, 1)
    assert np.array_equal(read(base / "SegmentationClassContext/2008_000001.png"), expected)
    assert (base / "ImageSets/SegmentationContext/val.txt").read_text() == "2008_000001\n"
    assert not (base / "SegmentationClassContext/2008_000002.png").exists()
    _, report = run(tmp_path, split="train")
    assert (read(base / "SegmentationClassContext/2008_000002.png") == CATEGORIES.index(45)).all()
    assert (base / "ImageSets/SegmentationContext/train.txt").read_text() == "2008_000002\n"


def test_a_picture_without_regions_is_all_background(tmp_path):
    base = write_detail(tmp_path, [detail_image(5, SHAPE)], [], base="")
    assert run(tmp_path)[1].complete
    assert not read(base / "SegmentationClassContext/2008_000005.png").any()


def test_the_reader_finds_what_was_prepared(tmp_path):
    images = [detail_image(number, SHAPE) for number in (3, 1, 2)]
    regions = [detail_region(number, CATEGORIES[number], compressed(box(SHAPE, 0, 0, 3, 3))) for number in (1, 2, 3)]
    base = write_detail(tmp_path, images, regions)
    (base / "JPEGImages").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", SHAPE[::-1]).save(base / f"JPEGImages/2008_{number:06}.jpg")
    preparation, report = run(tmp_path)
    assert preparation.keys == ["2008_000001", "2008_000002", "2008_000003"]
    assert report.unpictured == 0
    for name in ("context60", "context59"):
        dataset = open_dataset(name, tmp_path)
        assert list(dataset.keys) == preparation.keys
        labels = dataset.read("2008_000002").labels
        assert (labels[:3, :3] == 2).all()
        assert (labels[3:] == (0 if name == "context60" else 65535)).all()


def test_only_what_can_be_seen_has_to_be_known(tmp_path):
    hidden = [
        detail_region(1, 3, compressed(box(SHAPE, 0, 0, 2, 2))),
        detail_region(1, 2, compressed(box(SHAPE, 0, 0, 6, 9))),
    ]
    write_detail(tmp_path, [detail_image(1, SHAPE)], hidden)
    assert run(tmp_path)[1].complete


@pytest.mark.parametrize(
    ("category", "segmentation", "message"),
    [
        (3, compressed(box(SHAPE, 0, 0, 2, 2)), "category 3 is not among the 59 that count."),
        (459, compressed(box(SHAPE, 0, 0, 2, 2)), "region 2: '459' is no category"),
        ("2", compressed(box(SHAPE, 0, 0, 2, 2)), "region 2: '2' is no category"),
        (-1, compressed(box(SHAPE, 0, 0, 2, 2)), "region 2: '-1' is no category"),
        (2, compressed(box((9, 6), 0, 0, 2, 2)), "region 2: a mask of 9 x 6 pixels, but the picture has 6 x 9."),
        (2, compressed(box((90, 60), 0, 0, 2, 2)), "region 2: A run-length mask of 90 x 60 pixels is over the limit"),
        (2, {"size": list(SHAPE), "counts": "<<<"}, "region 2: The runs of a run-length mask do not add up"),
        (2, None, "region 2: Expected a run-length mask"),
        (2, [[1, 2, "a"]], "region 2: a segmentation that is neither"),
    ],
    ids=["not counted", "none", "text", "negative", "turned", "larger", "runs", "nothing", "polygon"],
)
def test_a_bad_region_fails_its_picture_alone(tmp_path, category, segmentation, message):
    good = detail_region(1, 2, compressed(box(SHAPE, 3, 3, 6, 9)))
    other = detail_region(2, 2, compressed(box(SHAPE, 0, 0, 2, 2)))
    images = [detail_image(1, SHAPE), detail_image(2, SHAPE)]
    base = write_detail(tmp_path, images, [good, other, detail_region(1, category, segmentation)])
    _, report = run(tmp_path)
    assert report.states == {"failed": 1, "written": 1}
    assert list(report.problems) == ["2008_000001"]
    assert message in report.problems["2008_000001"]
    assert [path.name for path in (base / "SegmentationClassContext").glob("*.png")] == ["2008_000002.png"]
    # The list has both: a reader must miss the one that failed.
    assert (base / "ImageSets/SegmentationContext/val.txt").read_text() == "2008_000001\n2008_000002\n"


def test_a_picture_of_another_size_fails(tmp_path):
    base = write_detail(tmp_path, [detail_image(1, SHAPE), detail_image(2, SHAPE)], [])
    (base / "JPEGImages").mkdir()
    Image.new("RGB", SHAPE).save(base / "JPEGImages/2008_000001.jpg")
    (base / "JPEGImages/2008_000002.jpg").write_bytes(b"no picture")
    problems = run(tmp_path)[1].problems
    assert "6 x 9 pixels, but " in problems["2008_000001"]
    assert "has 9 x 6." in problems["2008_000001"]
    assert "Cannot read" in problems["2008_000002"]


def test_a_missing_file_is_named_with_its_origin(tmp_path):
    with pytest.raises(MissingError, match=r"no 'trainval_merged\.json' in .*VOCdevkit/VOC2010.*https://codalabuser"):
        open_preparation("context60", tmp_path)
    write_detail(tmp_path, [detail_image(1, SHAPE, "train")], [])
    with pytest.raises(MissingError, match="no picture for split 'val'"):
        open_preparation("context60", tmp_path)


IMAGE = detail_image(1, SHAPE)
BROKEN = {
    "no JSON": (b"{", "Cannot read"),
    "no text": (b'{"images": "\xff"}', "Cannot read"),
    "a list": (b"[]", "holds no object"),
    "deep": (b"[" * 200_000, "Cannot read"),
    "NaN": (b'{"images": NaN}', "NaN is no number"),
    "no pictures": ({"annos_segmentation": []}, "no list `images`"),
    "pictures are numbers": ({"images": [1], "annos_segmentation": []}, "no list `images`"),
    "no regions": ({"images": [IMAGE]}, "no list `annos_segmentation`"),
    "no name": ({"images": [{**IMAGE, "file_name": None}], "annos_segmentation": []}, r"images\[0\] is no picture"),
    "no size": ({"images": [{**IMAGE, "width": 1.5}], "annos_segmentation": []}, r"images\[0\] is no picture"),
    "empty": ({"images": [{**IMAGE, "width": 0}], "annos_segmentation": []}, "has 6 x 0 pixels"),
    "huge": ({"images": [{**IMAGE, "width": 10**9}], "annos_segmentation": []}, "has 6 x 1000000000 pixels"),
    "twice the id": ({"images": [IMAGE, IMAGE], "annos_segmentation": []}, "two pictures with the same id"),
    "twice the name": (
        {"images": [IMAGE, {**IMAGE, "image_id": 5}], "annos_segmentation": []},
        "two pictures called '2008_000001'",
    ),
    "a path": (
        {"images": [{**IMAGE, "file_name": "../../2008_000001.jpg"}], "annos_segmentation": []},
        "'../../2008_000001', which is no plain file name",
    ),
    "hidden": ({"images": [{**IMAGE, "file_name": ".jpg"}], "annos_segmentation": []}, "no plain file name"),
    "a region of nothing": ({"images": [IMAGE], "annos_segmentation": [{}]}, r"annos_segmentation\[0\]: no picture"),
    "another's region": (
        {"images": [IMAGE], "annos_segmentation": [detail_region(2, 2, None)]},
        r"annos_segmentation\[0\]: no picture",
    ),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "trainval_merged.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError, match=message) as error:
        open_preparation("context", tmp_path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    write_detail(tmp_path, [detail_image(1, SHAPE)], [])
    monkeypatch.setattr("car.data.prepare.annotations.MAX_BYTES", 100)
    with pytest.raises(InputError, match="more than the limit of 100"):
        open_preparation("context", tmp_path)
