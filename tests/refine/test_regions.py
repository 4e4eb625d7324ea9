import time

import cv2
import numpy as np
import pytest

from car.errors import InputError
from car.refine.iom import merge
from car.refine.region_tree import Regions, Weights
from car.refine.regions import RegionProposer, cut, finest_regions
from car.scenes.scene import scene

pytest.importorskip("skimage", reason="the extra [regions] is not installed")

SCENES = [scene(seed, size=(180, 240), objects=(2, 4), camera=0) for seed in range(6)]


@pytest.fixture(scope="module")
def proposals() -> list[np.ndarray]:
    return [RegionProposer()(s.image) for s in SCENES]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def coarse(mask: np.ndarray, seed: int) -> np.ndarray:
    """A mask as a soft one gives it after a threshold: blurred, and wrong in patches."""
    side = float(np.sqrt(mask.sum()))
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(1.0, 0.08 * side))
    noise = np.random.default_rng(seed).standard_normal(mask.shape).astype(np.float32)
    patches = cv2.GaussianBlur(noise, (0, 0), max(2.0, 0.1 * side))
    return soft + 0.2 * patches / patches.std() > 0.5


def test_whole_objects_are_among_the_proposals(proposals):
    best = []
    for s, masks in zip(SCENES, proposals, strict=True):
        for mask in s.masks:
            shared = masks[:, mask].sum(axis=1)
            best.append((shared / (masks.sum(axis=(1, 2)) + mask.sum() - shared)).max())
    assert np.mean(np.array(best) >= 0.5) >= 0.85
    assert np.mean(best) >= 0.7


def test_merging_sharpens_coarse_masks(proposals):
    before, after = [], []
    for seed, (s, masks) in enumerate(zip(SCENES, proposals, strict=True)):
        preds = np.stack([coarse(mask, seed) for mask in s.masks])
        before += [iou(*pair) for pair in zip(preds, s.masks, strict=True)]
        after += [iou(*pair) for pair in zip(merge(preds, masks), s.masks, strict=True)]
    assert np.mean(after) > np.mean(before) + 0.01
    assert np.mean(np.array(after) < np.array(before)) <= 0.1


def test_a_photo_sized_image_takes_no_three_seconds():
    image = scene(3, size=(375, 500)).image
    start = time.process_time()
    proposals = RegionProposer()(image)
    assert time.process_time() - start < 3
    assert proposals.shape[1:] == (375, 500)


def test_proposals_differ_keep_their_sizes_and_repeat():
    image = SCENES[0].image
    proposals = RegionProposer(min_share=0.01, max_share=0.4)(image)
    shares = proposals.mean(axis=(1, 2))
    assert proposals.dtype == bool
    assert len(np.unique(proposals.reshape(len(proposals), -1), axis=0)) == len(proposals)
    assert shares.min() >= 0.01
    assert shares.max() <= 0.4
    assert (np.diff(shares) <= 0).all()
    assert np.array_equal(proposals, RegionProposer(min_share=0.01, max_share=0.4)(image))


def test_large_images_are_segmented_small():
    image = SCENES[1].image
    small = RegionProposer(max_side=120)(image)
    assert small.shape[1:] == image.shape[:2]
    assert np.array_equal(small[:, ::2], small[:, 1::2])


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 5000), (5000, 1), (3, 900)])
@pytest.mark.filterwarnings("error")
def test_any_size(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for image in (np.zeros((*size, 3), np.uint8), noise):
        assert RegionProposer()(image).shape[1:] == size


def test_a_plain_image_has_no_parts():
    assert len(RegionProposer()(np.full((40, 50, 3), 9, np.uint8))) == 0
    assert RegionProposer(max_share=1)(np.full((40, 50, 3), 9, np.uint8)).all()


def test_regions_of_equal_looks_merge_first():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = (200, 30, 30)
    labels = np.repeat(np.arange(4), 10)[None].repeat(20, axis=0)
    assert sorted(map(sorted, Regions(image, labels).tree(Weights())[:2])) == [[0, 1], [2, 3]]


def test_a_tree_merges_everything_and_its_cuts_are_partitions():
    labels = finest_regions(SCENES[2].image)
    regions = Regions(SCENES[2].image, labels)
    tree = regions.tree(Weights())
    assert len(tree) == regions.count - 1
    assert sorted(part for pair in tree for part in pair) == list(range(2 * regions.count - 2))
    for level in (1, 5, 17, regions.count, 10**6):
        members = cut(tree, regions.count, [level])
        assert len(members) == min(level, regions.count)
        assert (members.sum(axis=0) == 1).all()


@pytest.mark.parametrize(
    "options", [{"levels": ()}, {"levels": (0,)}, {"min_share": 0.9, "max_share": 0.1}, {"max_side": 0}]
)
def test_bad_options(options):
    with pytest.raises(InputError, match="Expected"):
        RegionProposer(**options)
