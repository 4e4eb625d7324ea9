"""Batches: the same for a seed and step whoever loads them, every picture in every epoch, squares of any picture."""

import logging
from collections import Counter
from dataclasses import dataclass

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from car.data import ReferringTruth, Target
from car.errors import InputError
from car.prompt_ris.data import TRIES, TrainingSet, squashed, squashed_mask, steps_per_epoch
from car.prompt_ris.family import open_family
from car.prompt_ris.pictures import ScenePictures
from car.vlm.tokenizer import tokenize
from tests.data.spoken import make

SIDES = {"clip_side": 32, "sam_side": 48, "mask_side": 16}
SMALL = {"images": 2, "sentences": 3, "seed": 7, "steps": 6, **SIDES}


@dataclass(frozen=True)
class Numbered:
    """Plain pictures, each of the grey of its number, the upper left quarter of which is meant."""

    count: int
    damaged: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> ReferringTruth:
        if index in self.damaged:
            raise InputError(f"'{index}.jpg' is damaged.")
        mask = np.zeros((8, 6), bool)
        mask[:4, :3] = True
        sentences = tuple(f"{way} of picture {index}" for way in ("corner", "quarter", "upper left", "part"))
        return ReferringTruth(np.full((8, 6, 3), index, np.uint8), (Target("1", sentences, mask, False, None),))


def numbers(batch) -> list[int]:
    return batch.clip[:, 0, 0, 0].tolist()


def training(pictures, **options) -> TrainingSet:
    return TrainingSet(pictures, **{**SMALL, **options})


def equal(one, other) -> bool:
    tensors = ("clip", "sam", "tokens", "masks")
    return one.texts == other.texts and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def test_shapes_and_types():
    batch = training(ScenePictures(0, 5), context_length=20)[0]
    assert (batch.clip.shape, batch.clip.dtype) == ((2, 32, 32, 3), torch.uint8)
    assert (batch.sam.shape, batch.sam.dtype) == ((2, 48, 48, 3), torch.uint8)
    assert (batch.tokens.shape, batch.tokens.dtype) == ((6, 20), torch.int64)
    assert (batch.masks.shape, batch.masks.dtype) == ((6, 16, 16), torch.bool)
    assert batch.masks.flatten(1).any(dim=1).all()
    assert len(batch.texts) == 6
    assert torch.equal(batch.tokens, tokenize(batch.texts, context_length=20))


def test_sentences_and_masks_are_those_of_their_picture():
    pictures = ScenePictures(3, 9, sides=(64, 64))
    loaded = training(pictures, images=3, sentences=5, mask_side=64, clip_side=64)
    for step in range(3):
        batch = loaded[step]
        for row, (number, _) in enumerate(loaded.places(step)):
            truth = pictures.read(number)
            assert np.array_equal(batch.clip[row].numpy(), truth.image)
            meant = {text: target.mask for target in truth.targets for text in target.expressions}
            for text, mask in zip(batch.texts[5 * row : 5 * row + 5], batch.masks[5 * row : 5 * row + 5], strict=True):
                assert np.array_equal(mask.numpy(), meant[text])


def test_long_sentences_are_cut():
    batch = training(Numbered(3), context_length=4)[0]
    assert torch.equal(batch.tokens, tokenize(batch.texts, context_length=4, truncate=True))


def test_the_same_whatever_the_workers_and_where_it_was_resumed():
    loaded = training(ScenePictures(0, 7, sides=(40, 60)))
    straight = [loaded[step] for step in range(6)]
    by_workers = list(DataLoader(loaded, batch_size=None, num_workers=2))
    resumed = list(DataLoader(training(ScenePictures(0, 7, sides=(40, 60))), batch_size=None, sampler=range(4, 6)))
    assert len(by_workers) == 6
    for one, other in zip(straight + straight[4:], by_workers + resumed, strict=True):
        assert equal(one, other)
    assert not equal(straight[0], training(ScenePictures(0, 7, sides=(40, 60)), seed=8)[0])


@given(count=st.integers(1, 12), images=st.integers(1, 5), world=st.integers(1, 3), seed=st.integers(0, 2**40))
def test_every_epoch_shows_every_picture(count, images, world, seed):
    parts = [
        training(Numbered(count), images=images, world=world, rank=rank, seed=seed, steps=99) for rank in range(world)
    ]
    epoch = parts[0].steps_per_epoch
    assert epoch == steps_per_epoch(count, images * world)
    for first in (0, epoch):
        shown = [number for step in range(epoch) for part in parts for number, _ in part.places(first + step)]
        assert sorted(shown[:count]) == list(range(count))
        assert shown[count:] == [shown[i % count] for i in range(len(shown) - count)]


def test_epochs_have_orders_of_their_own():
    loaded = training(Numbered(40), images=4, steps=30)
    orders = {tuple(n for step in range(first, first + 10) for n in numbers(loaded[step])) for first in (0, 10, 20)}
    assert len(orders) == 3
    assert all(sorted(order) == list(range(40)) for order in orders)


def test_the_same_picture_gets_other_sentences_in_another_epoch():
    loaded = training(ScenePictures(0, 1, sides=(64, 64)), images=1, steps=8)
    assert len({loaded[step].texts for step in range(8)}) > 4


def test_processes_share_what_one_would_see():
    pictures = ScenePictures(0, 9, sides=(40, 60))
    whole = training(pictures, images=4)
    parts = [training(pictures, rank=rank, world=2) for rank in range(2)]
    assert whole.steps_per_epoch == parts[0].steps_per_epoch == 3
    for step in range(6):
        one, other = (part[step] for part in parts)
        assert whole[step].texts == one.texts + other.texts
        for name in ("clip", "sam", "tokens", "masks"):
            joined = torch.cat([getattr(one, name), getattr(other, name)])
            assert torch.equal(getattr(whole[step], name), joined)


def test_damaged_pictures_are_told_once_and_replaced(caplog):
    damaged = frozenset({2, 3, 9})
    loaded = training(Numbered(10, damaged), images=5, steps=4)
    with caplog.at_level(logging.WARNING):
        shown = Counter(n for step in range(4) for n in numbers(loaded[step]))
    assert shown == {0: 4, 1: 2, 4: 6, **dict.fromkeys(range(5, 9), 2)}
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"Training goes on without picture {n}: '{n}.jpg' is damaged." for n in sorted(damaged)
    ]
    again = training(Numbered(10, damaged), images=5, steps=4)
    assert equal(again[3], loaded[3])


@pytest.mark.parametrize("count", [3, TRIES + 5])
def test_when_all_are_damaged_it_ends(count):
    with pytest.raises(InputError, match=f"^{min(count, TRIES)} training pictures in a row are damaged; the last: '"):
        training(Numbered(count, frozenset(range(count))))[0]


def test_a_batch_moves():
    batch = training(Numbered(3))[0]
    moved = batch.to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in ("clip", "sam", "tokens", "masks"))
    assert moved.texts == batch.texts
    assert equal(batch.to(torch.device("cpu")), batch)


def test_a_benchmark_on_disk(tmp_path):
    pictures = open_family(["refcoco"], make(tmp_path, "refcoco") / "refcoco")
    loaded = training(pictures, steps=steps_per_epoch(len(pictures), 2))
    shown = [number for step in range(len(loaded)) for number, _ in loaded.places(step)]
    assert set(shown) == set(range(len(pictures)))
    for batch in DataLoader(loaded, batch_size=None, num_workers=1):
        assert batch.masks.flatten(1).any(dim=1).all()
        assert all(batch.texts)


@pytest.mark.parametrize(
    "wrong",
    [{name: 0} for name in ("steps", "images", "sentences", "world", *SIDES)]
    + [{"seed": -1}, {"rank": 1}, {"rank": -1}, {"pictures": Numbered(0)}],
    ids=str,
)
def test_arguments_that_mean_nothing(wrong):
    with pytest.raises(InputError):
        training(**{"pictures": Numbered(3), **wrong})


@pytest.mark.parametrize("step", [-1, 6])
def test_steps_that_are_not_there(step):
    with pytest.raises(IndexError):
        training(Numbered(3))[step]


IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))
MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(IMAGES, st.integers(1, 48))
def test_squares_of_any_image(image, side):
    out = squashed(image, side)
    assert out.shape == (side, side, 3)
    assert out.dtype == np.uint8
    assert image.min() <= out.min()
    assert out.max() <= image.max()
    if image.shape[:2] == (side, side):
        assert np.array_equal(out, image)


def test_shrinking_averages_areas_and_growing_does_not():
    lines = np.zeros((8, 8, 3), np.uint8)
    lines[::2] = 200
    assert np.array_equal(squashed(lines, 4), np.full((4, 4, 3), 100))
    wide = np.zeros((2, 8), np.float32)
    wide[:, ::2] = 1
    assert np.array_equal(squashed(wide, 4), np.full((4, 4), 0.5))


@given(MASKS, st.integers(1, 48))
def test_no_mask_vanishes_and_none_appears(mask, side):
    out = squashed_mask(mask, side)
    assert out.shape == (side, side)
    assert out.dtype == np.bool_
    assert out.any() == mask.any()
    if mask.all():
        assert out.all()


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_cells_that_are_covered_by_more_than_half(factor, side, data):
    mask = data.draw(hnp.arrays(np.bool_, (side * factor, side * factor)))
    shares = mask.reshape(side, factor, side, factor).mean(axis=(1, 3))
    if (shares > 0.5).any() and not np.isclose(shares, 0.5).any():
        assert np.array_equal(squashed_mask(mask, side), shares > 0.5)
    elif not (shares >= 0.5).any() and mask.any():
        out = squashed_mask(mask, side)
        assert out.sum() == 1
        assert np.isclose(shares[out], shares.max())


def test_a_tiny_mask_keeps_its_largest_cell():
    mask = np.zeros((640, 480), bool)
    mask[400:403, 240:242] = True
    assert np.argwhere(squashed_mask(mask, 16)).tolist() == [[10, 8]]
