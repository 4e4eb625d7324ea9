"""gRefCOCO: several objects, one, or none; its references as JSON or as a pickle."""

import json
from pathlib import Path

import numpy as np
import pytest

from car import rle
from car.data import REFERRING, open_referring
from car.errors import InputError, MissingError
from tests.data.writing_referring import annotation, box, python2_pickle, reference, write_coco

SIZES = {9: (3, 6), 25: (2, 4)}
KEY = "COCO_train2014_{:012}".format
ANNOTATIONS = [
    annotation(1001, 9, box(0, 0, 2, 3)),
    annotation(1002, 9, box(4, 0, 2, 1), box(4, 0, 1, 3)),
    annotation(1003, 9, box(1, 0, 2, 1), category=18),
    annotation(1004, 9, rle.encode(np.ones((3, 6), bool)), crowd=1),
]
REFS = [
    reference(1, 9, [1001, 1002], "both people", "the two", split="val", category_id=[1, 1]),
    reference(2, 9, [1003, 1001], "the dog and the man", split="val", category_id=[18, 1]),
    reference(3, 9, [1002], "the woman", split="val", category_id=[1]),
    reference(4, 25, [-1], "the unicorn", split="val", category_id=[-1]),
    reference(5, 9, [1004, 1002], "the crowd and the woman", split="testA", category_id=[1, 1]),
    reference(6, 9, [1004], "the crowd", split="testB", category_id=[1]),
    reference(7, 9, [1001], "a man", split="train", category_id=[1]),
]
FIRST = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
SECOND = [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]]
SECOND_ONCE = [[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]]
THIRD = [[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]


def written(root: Path, refs: object = REFS, suffix: str = "json") -> Path:
    write_coco(root, "grefcoco", SIZES, ANNOTATIONS, images="images/train2014")
    data = json.dumps(refs).encode() if suffix == "json" else python2_pickle(refs)
    (root / f"grefcoco/grefs(unc).{suffix}").write_bytes(data)
    return root


def masks(root: Path, **options: str) -> dict[str, list[list[int]]]:
    dataset = open_referring("grefcoco", root, **options)
    return {each.id: each.mask.astype(int).tolist() for key in dataset.keys for each in dataset.read(key).targets}


def union(*parts: list[list[int]]) -> list[list[int]]:
    return np.logical_or.reduce(parts).astype(int).tolist()


@pytest.mark.parametrize("suffix", ["json", "p"])
def test_several_one_and_none(tmp_path, suffix):
    dataset = open_referring("grefcoco", written(tmp_path, suffix=suffix))
    assert (dataset.name, dataset.split, dataset.variant) == ("grefcoco", "val", "unc")
    assert dataset.keys == (KEY(9), KEY(25))
    several, mixed, one = dataset.read(KEY(9)).targets
    assert several.expressions == ("both people", "the two")
    assert [each.category for each in (several, mixed, one)] == ["person", None, "person"]
    assert not any(each.no_target for each in (several, mixed, one))
    (none,) = dataset.read(KEY(25)).targets
    assert (none.id, none.expressions, none.no_target, none.category) == ("4", ("the unicorn",), True, None)
    assert none.mask.shape == (2, 4)
    assert none.mask.dtype == np.bool_
    assert not none.mask.any()
    assert masks(tmp_path) == {
        "1": union(FIRST, SECOND),
        "2": union(FIRST, THIRD),
        "3": SECOND,
        "4": [[0] * 4] * 2,
    }


def test_only_the_first_instance(tmp_path):
    found = masks(written(tmp_path), instances="first-instance")
    assert found == {"1": FIRST, "2": THIRD, "3": SECOND, "4": [[0] * 4] * 2}


def test_pixels_of_two_polygons_count_or_not_but_objects_are_joined(tmp_path):
    found = masks(written(tmp_path), overlap="exactly-one")
    assert found == {"1": union(FIRST, SECOND_ONCE), "2": union(FIRST, THIRD), "3": SECOND_ONCE, "4": [[0] * 4] * 2}
    assert masks(tmp_path, overlap="exactly-one", instances="first-instance")["3"] == SECOND_ONCE


def test_crowds_are_left_out(tmp_path):
    written(tmp_path)
    assert masks(tmp_path, split="testA") == masks(tmp_path, split="testA", instances="first-instance") == {"5": SECOND}
    dataset = open_referring("grefcoco", tmp_path, split="testB")
    (crowd,) = dataset.read(KEY(9)).targets
    assert (crowd.no_target, crowd.category, int(crowd.mask.sum())) == (False, "person", 0)


def test_either_spelling_of_sentences(tmp_path):
    written(tmp_path)
    (none,) = open_referring("grefcoco", tmp_path, sentence="raw").read(KEY(25)).targets
    assert none.expressions == ("The unicorn.",)


def test_the_pickle_comes_first(tmp_path):
    written(tmp_path)
    written(tmp_path, [REFS[3]], suffix="p")
    assert list(masks(tmp_path)) == ["4"]


def test_splits_match_exactly(tmp_path):
    written(tmp_path, [*REFS, reference(8, 25, [-1], "nothing", split="testAB")])
    for split, expected in {"train": ["7"], "testA": ["5"], "testB": ["6"]}.items():
        assert list(masks(tmp_path, split=split)) == expected
    with pytest.raises(InputError) as error:
        open_referring("grefcoco", tmp_path, split="test")
    assert str(error.value) == "grefcoco by unc has no split 'test'. Available: train, val, testA, testB."


def test_splits_that_were_not_released(tmp_path):
    written(tmp_path, REFS[:4])
    with pytest.raises(MissingError) as error:
        open_referring("grefcoco", tmp_path, split="testA")
    path = tmp_path / "grefcoco/grefs(unc).json"
    assert str(error.value).startswith(
        f"grefcoco: {str(path)!r} has no reference of split testA of unc. Get grefs(unc)"
    )


@pytest.mark.parametrize("images", REFERRING["grefcoco"].sources["images"].paths)
def test_places_of_the_pictures(tmp_path, images):
    write_coco(tmp_path, "grefcoco", SIZES, ANNOTATIONS, images=images)
    (tmp_path / "grefcoco/grefs(unc).json").write_text(json.dumps(REFS))
    assert open_referring("grefcoco", tmp_path).read(KEY(9)).image.shape == (3, 6, 3)


def test_what_is_missing(tmp_path):
    written(tmp_path)
    (tmp_path / "grefcoco/grefs(unc).json").unlink()
    with pytest.raises(MissingError) as error:
        open_referring("grefcoco", tmp_path)
    message = str(error.value)
    assert message.startswith(
        f"grefcoco: there is no 'grefcoco/grefs(unc).p' in {str(tmp_path)!r}. Get grefs(unc).json "
    )
    assert "(https://github.com/henghuiding/gRefCOCO, or https://huggingface.co/" in message
    assert "train2014" not in message


@pytest.mark.parametrize(
    ("refs", "part"),
    [
        ([{**REFS[0], "ann_id": [1001, -1]}], ", reference 0: its `ann_id` is missing, or not what it should be."),
        ([{**REFS[0], "ann_id": []}], ", reference 0: its `ann_id` is missing"),
        ([{**REFS[0], "sentences": [{"sent": None}]}], ", reference 0: its `sent` is missing"),
        ([REFS[0], None], ", reference 1: its `split` is missing"),
        ({"0": REFS[0]}, " holds no list of references."),
    ],
)
def test_references_that_make_no_sense(tmp_path, refs, part):
    written(tmp_path, refs)
    with pytest.raises(InputError) as error:
        open_referring("grefcoco", tmp_path)
    assert f"{str(tmp_path / 'grefcoco/grefs(unc).json')!r}{part}" in str(error.value)
    assert "\n" not in str(error.value)


def test_references_to_what_is_not_annotated(tmp_path):
    written(tmp_path, [reference(1, 9, [1001, 7777], "both")])
    with pytest.raises(InputError, match=r"instances\.json' has no annotation 7777 in image 9, which reference 1 of '"):
        open_referring("grefcoco", tmp_path)


def test_an_annotation_named_twice(tmp_path):
    written(tmp_path, [reference(1, 9, [1002, 1002], "the woman, the woman")])
    assert masks(tmp_path, overlap="exactly-one") == {"1": SECOND_ONCE}


def test_arguments(tmp_path):
    written(tmp_path)
    with pytest.raises(InputError) as error:
        open_referring("grefcoco", tmp_path, instances="all")
    assert str(error.value) == "Expected argument `instances` to be merged or first-instance, but got 'all'."
    with pytest.raises(InputError, match=r"^grefcoco has no split_by 'umd'\. Available: unc\.$"):
        open_referring("grefcoco", tmp_path, split_by="umd")
