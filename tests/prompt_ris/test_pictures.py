"""Pictures by number: scenes with what holds for sure of them, and splits of benchmarks."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from car.data import open_referring
from car.errors import InputError
from car.prompt_ris.pictures import ATTEMPTS, FIRST_SEEDS, MOST, OfDataset, ScenePictures, Some
from car.scenes import TEST, TUNING, concepts
from tests.data.writing_referring import annotation, box, reference, write_coco, write_refs

SMALL = {"sides": (48, 72)}


def same(one, other) -> bool:
    return np.array_equal(one.image, other.image) and all(
        (mine.id, mine.expressions, mine.category) == (its.id, its.expressions, its.category)
        and np.array_equal(mine.mask, its.mask)
        for mine, its in zip(one.targets, other.targets, strict=True)
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 2**24 - 1), index=st.integers(0, 2**32 - 1), split=st.sampled_from(list(FIRST_SEEDS)))
def test_every_picture_has_something_to_refer_to(seed, index, split):
    pictures = ScenePictures(seed, 2**32, split=split, **SMALL)
    truth = pictures.read(index)
    assert truth.image.dtype == np.uint8
    assert all(48 <= side <= 72 for side in truth.image.shape[:2])
    assert truth.targets
    for target in truth.targets:
        assert target.mask.shape == truth.image.shape[:2]
        assert target.mask.dtype == np.bool_
        assert target.mask.any()
        assert target.expressions
        assert not target.no_target
    assert len({target.id for target in truth.targets}) == len(truth.targets)
    assert len({target.mask.tobytes() for target in truth.targets}) == len(truth.targets)


@settings(max_examples=8)
@given(index=st.integers(0, 10**6))
def test_pictures_depend_on_seed_and_number_alone(index):
    pictures = ScenePictures(5, 10**6 + 1, **SMALL)
    truth = pictures.read(index)
    assert same(truth, pickle.loads(pickle.dumps(pictures)).read(index))
    assert same(truth, ScenePictures(5, index + 1, **SMALL).read(index))
    for other in (ScenePictures(6, 10**6 + 1, **SMALL), ScenePictures(5, 10**6 + 1, split="val", **SMALL)):
        assert not np.array_equal(truth.image, other.read(index).image)


@settings(max_examples=8)
@given(index=st.integers(0, 999))
def test_targets_are_what_is_said_for_sure(index):
    pictures = ScenePictures(1, 1000, **SMALL)
    made, said = pictures.drawn(index)
    truth = pictures.read(index)
    assert sum(len(target.expressions) for target in truth.targets) == len(said)
    for target in truth.targets:
        objects = tuple(map(int, target.id.split("+")))
        names = {made.names[i] for i in objects}
        assert np.array_equal(target.mask, made.masks[list(objects)].any(axis=0))
        assert target.category == (names.pop() if len(names) == 1 else None)
        assert set(target.expressions) == {each.text for each in said if each.objects == objects}
    assert all(each.kind != "nothing" and not each.ambiguous for each in said)


def test_concepts_that_are_left_out_are_not_shown():
    names = tuple(concepts())[::2]
    without, every = ScenePictures(0, 30, without=names, **SMALL), ScenePictures(0, 30, **SMALL)
    assert not {name for i in range(30) for name in without.drawn(i)[0].names} & set(names)
    assert {name for i in range(30) for name in every.drawn(i)[0].names} & set(names)


def test_number_of_objects_and_layouts():
    few = ScenePictures(0, 20, objects=((1, 1),), shares=(1.0,), layouts=("sparse",), **SMALL)
    assert {len(few.drawn(i)[0].names) for i in range(20)} == {1}
    many = ScenePictures(0, 20, **SMALL)
    counts = [len(many.drawn(i)[0].names) for i in range(20)]
    assert max(counts) > 3
    assert all(1 <= count <= 6 for count in counts)


def test_scenes_without_anything_to_say_are_replaced():
    """In tiny pictures, most objects find no place, or cannot be told apart."""
    pictures = ScenePictures(0, 200, sides=(4, 12), objects=((1, 6),), shares=(1.0,))
    seeds = [FIRST_SEEDS["train"] + i * ATTEMPTS for i in range(200)]
    replaced = [
        i for i in range(200) if not np.array_equal(pictures.drawn(i)[0].image, pictures._scene(seeds[i]).image)
    ]
    assert replaced
    assert all(same(pictures.read(i), pictures.read(i)) and pictures.read(i).targets for i in replaced[:5])


def test_no_scene_is_in_two_splits_or_measured_on():
    measured = max(split.first for split in (*TEST, *TUNING)) + 10**6
    train, val = FIRST_SEEDS["train"], FIRST_SEEDS["val"]
    scenes = MOST["seed"] * MOST["count"] * ATTEMPTS
    assert measured < 2**63 < train < train + scenes <= val


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "test"},
        {"seed": -1},
        {"seed": 2**24},
        {"count": 0},
        {"sides": (0, 4)},
        {"sides": (9, 8)},
        {"objects": ((0, 2), (1, 2))},
        {"objects": ((1, 2), (1, 201))},
        {"objects": (), "shares": ()},
        {"shares": (1.0,)},
        {"shares": (0.5, 0.6)},
        {"shares": (-0.5, 1.5)},
        {"shares": (float("nan"), 0.5)},
        {"layouts": ()},
        {"layouts": ("heaped",)},
        {"without": ("gryphon",)},
        {"without": tuple(concepts())},
    ],
    ids=str,
)
def test_arguments_that_mean_nothing(wrong):
    with pytest.raises(InputError) as error:
        ScenePictures(**{"seed": 0, "count": 4, **wrong})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", [-1, 4])
def test_numbers_that_are_not_there(index):
    with pytest.raises(IndexError):
        ScenePictures(0, 4).read(index)


def test_a_split_of_a_benchmark(tmp_path):
    annotations = [annotation(1, 9, box(1, 1, 2, 2)), annotation(2, 25, box(0, 0, 2, 2))]
    write_coco(tmp_path, "refcoco", {9: (4, 6), 25: (3, 5)}, annotations)
    write_refs(tmp_path, "refcoco", [reference(1, 9, 1, "it", "this"), reference(2, 25, 2, "that")])
    dataset = open_referring("refcoco", tmp_path, split="val")
    pictures = OfDataset(dataset)
    assert len(pictures) == 2
    for i, key in enumerate(dataset.keys):
        assert same(pickle.loads(pickle.dumps(pictures)).read(i), dataset.read(key))


@given(count=st.integers(1, 50), total=st.integers(1, 50))
def test_some_are_spread_evenly(count, total):
    some = Some(ScenePictures(0, total), count)
    chosen = [some.number(i) for i in range(len(some))]
    assert len(chosen) == min(count, total)
    assert chosen[0] == 0
    gaps = np.diff([*chosen, total])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_some_read_what_all_have():
    every = ScenePictures(0, 9, **SMALL)
    assert same(Some(every, 3).read(2), every.read(6))
    with pytest.raises(InputError, match="count"):
        Some(every, 0)
