import json
import logging
import sys
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image
from safetensors.torch import save_file

from car import rle
from car.errors import InputError, MissingError
from car.referring import proposals as room
from car.referring.proposals import (
    PHRASECUT_SAM,
    REFCOCO_SAM,
    MaskProposals,
    ProposalSource,
    proposals_folder,
    stem_of,
    window,
)
from car.refine.regions import RegionProposer
from car.refine.sam import SamProposer, SamSettings
from car.scenes.scene import scene
from tests.golden import golden

needs_regions = pytest.mark.skipif(find_spec("skimage") is None, reason="the extra [regions] is not installed")
needs_sam = pytest.mark.skipif(find_spec("segment_anything") is None, reason="the extra [sam] is not installed")
IMAGE = scene(3, size=(64, 80), camera=0).image
MASKS = np.zeros((3, 64, 80), bool)
MASKS[0, 10:30, 20:50] = MASKS[1, :, 40:] = MASKS[2, 5, 5] = True


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "cache"))


def kept() -> list:
    return sorted(proposals_folder().glob("*"))


def test_boxes_match_the_references():
    z = golden("global_local")
    np.testing.assert_array_equal(MaskProposals(z["masks"] > 0).freesolo_boxes, z["boxes_xyxy"])
    z = golden("hybridgl")
    np.testing.assert_array_equal(MaskProposals(z["masks"] > 0).sam_boxes, z["boxes_xywh"])
    z = golden("tas")
    found = MaskProposals(np.unpackbits(z["masks"], axis=-1, count=240).astype(bool))
    np.testing.assert_array_equal(found.sam_boxes, z["boxes_xywh"])
    np.testing.assert_array_equal(found.areas, z["all_areas"])


def test_the_freesolo_box_of_a_mask_in_parts_is_too_small():
    mask = np.zeros((1, 10, 100), bool)
    mask[0, 2:4, 0] = mask[0, 2:4, 90] = True
    assert MaskProposals(mask).freesolo_boxes.tolist() == [[44, 1, 46, 3]]
    assert MaskProposals(mask).sam_boxes.tolist() == [[0, 2, 90, 1]]


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)).filter(np.any))
def test_every_box_leaves_something_to_cut(mask):
    found = MaskProposals(mask[None])
    x, y, width, height = found.sam_boxes[0].tolist()
    assert mask[y : y + height + 1, x : x + width + 1].sum() == mask.sum() == found.areas[0]
    for box in (found.freesolo_boxes[0].tolist(), [x, y, x + width, y + height]):
        assert min(box) >= 0
        assert mask[window(*box)].size > 0


def test_no_proposals():
    nothing = MaskProposals(np.zeros((0, 5, 6), bool))
    assert len(nothing) == 0
    assert nothing.sam_boxes.shape == nothing.freesolo_boxes.shape == (0, 4)
    assert nothing.areas.shape == (0,)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((5, 6), bool), "Expected masks"),
        (np.ones((1, 5, 6), np.uint8), "Expected masks"),
        (np.stack([np.ones((5, 6), bool), np.zeros((5, 6), bool)]), "proposal 2 of 2 has no pixel"),
    ],
)
def test_other_arrays_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        MaskProposals(masks)


class NoMore(RegionProposer):
    """Not to be asked."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        raise AssertionError("asked again")


@needs_regions
def test_regions_are_found_once_per_image_and_kept(monkeypatch):
    found = ProposalSource("regions")(IMAGE)
    assert len(found) > 3
    assert found.source == "regions"
    (file,) = kept()
    assert len(json.loads(file.read_text())["annotations"]) == len(found)
    again = ProposalSource("regions")
    monkeypatch.setattr(again, "_proposer", NoMore())
    np.testing.assert_array_equal(again(IMAGE.copy()).masks, found.masks)
    with pytest.raises(AssertionError, match="asked again"):
        again(IMAGE[:, ::-1])


@needs_regions
def test_what_is_kept_depends_on_the_pixels_and_the_version(monkeypatch):
    for image in (IMAGE, IMAGE[:, ::-1], IMAGE.reshape(80, 64, 3)):
        ProposalSource("regions")(image)
    assert len(kept()) == 3
    monkeypatch.setattr(room, "VERSION", room.VERSION + 1)
    ProposalSource("regions")(IMAGE)
    assert len(kept()) == 4


@needs_regions
@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"annotations": [{"segmentation": {"size": [64, 80], "counts": "1"}}]}']
)
def test_damaged_files_are_found_anew(damage, caplog):
    found = ProposalSource("regions")(IMAGE)
    (file,) = kept()
    whole = file.read_bytes()
    file.write_bytes(damage)
    np.testing.assert_array_equal(ProposalSource("regions")(IMAGE).masks, found.masks)
    assert file.read_bytes() == whole
    assert "found anew" in caplog.text


@needs_regions
def test_no_place_to_keep_them_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "file"))
    assert len(ProposalSource("regions")(IMAGE)) > 3
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "other"))
    assert len(ProposalSource("regions", keep=False)(IMAGE)) > 3
    assert not (tmp_path / "other").exists()


def test_a_file_and_a_folder_of_masks(tmp_path):
    entries = [rle.encode(mask) for mask in MASKS]
    (tmp_path / "photo.json").write_text(json.dumps(entries))
    np.testing.assert_array_equal(ProposalSource(tmp_path / "photo.json")(IMAGE).masks, MASKS)
    folder = ProposalSource(tmp_path)
    np.testing.assert_array_equal(folder(IMAGE, stem="photo").masks, MASKS)
    with pytest.raises(MissingError, match=r"other\.json"):
        folder(IMAGE, stem="other")
    with pytest.raises(InputError, match="give the image as a path"):
        folder(IMAGE)
    with pytest.raises(InputError, match="has the size"):
        folder(IMAGE[1:], stem="photo")
    assert not kept()


def test_masks_without_a_pixel_are_left_out_and_told(caplog):
    masks = np.insert(MASKS, 1, False, axis=0)
    source = ProposalSource(lambda image: masks)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(source(IMAGE).masks, MASKS)
    assert "1 of 4 mask proposals (custom) have no pixel" in caplog.text
    assert not kept()


def test_masks_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"\(64, 80\), but the image is \(64, 79\)"):
        ProposalSource(lambda image: MASKS)(IMAGE[:, 1:])


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("region", InputError, "Did you mean 'regions'"),
        ("minni", InputError, "Did you mean 'mini'"),
        ("nowhere.pth", InputError, "no file 'nowhere.pth'"),
        ("nowhere.json", MissingError, r"no file 'nowhere.json'"),
        (3, InputError, "Expected a mask proposer"),
    ],
)
def test_unknown_sources(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        ProposalSource(spec)
    assert "\n" not in str(caught.value)


def test_images_are_named_by_their_files(tmp_path):
    Image.fromarray(IMAGE).save(path := tmp_path / "a.photo.png")
    assert stem_of(path) == stem_of(str(path)) == stem_of(Image.open(path)) == "a.photo"
    assert stem_of(IMAGE) is stem_of(Image.fromarray(IMAGE)) is None


def test_the_published_settings():
    assert SamSettings(8, 64, 0.7, 0.7, min_mask_region_area=800) == REFCOCO_SAM
    assert (PHRASECUT_SAM.points_per_side, PHRASECUT_SAM.crop_n_layers) == (64, 1)


@needs_sam
def test_sam_is_loaded_only_for_images_that_are_not_known(tmp_path, monkeypatch):
    from tests.refine.test_sam import OPEN, tiny_sam

    sam = tiny_sam()
    torch.save(sam.state_dict(), path := tmp_path / "mine.pth")
    source = partial(ProposalSource, path, device="cpu", settings=OPEN)
    found = source()(IMAGE)
    expected = SamProposer(sam, settings=OPEN)(IMAGE)
    np.testing.assert_array_equal(found.masks, expected[expected.any(axis=(1, 2))])
    assert len(found)
    torch.save(tiny_sam(seed=1).state_dict(), tmp_path / "other.pth")
    ProposalSource(tmp_path / "other.pth", device="cpu", settings=OPEN)(IMAGE)
    ProposalSource(path, device="cpu", settings=SamSettings(2, pred_iou_thresh=0, stability_score_thresh=0))(IMAGE)
    assert len(kept()) == 3
    monkeypatch.setattr(room, "SamProposer", lambda *args, **kwargs: pytest.fail("loaded again"))
    np.testing.assert_array_equal(source()(IMAGE).masks, found.masks)


@needs_sam
def test_the_small_sam_is_asked_what_suits_it_and_kept_by_its_weights(tmp_path, monkeypatch):
    from tests.refine.test_sam import OPEN, tiny_sam

    monkeypatch.setattr("car.refine.sam_checkpoint.MINI_WEIGHTS", path := tmp_path / "mini_sam.safetensors")
    monkeypatch.setattr("car.refine.sam.MINI_SETTINGS", OPEN)
    sam = tiny_sam()
    save_file(sam.state_dict(), path)
    source = ProposalSource("mini", device="cpu")
    assert source.identity == {"sam": sha256(path.read_bytes()).hexdigest(), "device": "cpu", **asdict(OPEN)}
    found, expected = source(IMAGE), SamProposer(sam, settings=OPEN)(IMAGE)
    np.testing.assert_array_equal(found.masks, expected[expected.any(axis=(1, 2))])
    assert (found.source, len(kept())) == ("mini", 1)
    save_file(tiny_sam(seed=1).state_dict(), path)
    ProposalSource("mini", device="cpu")(IMAGE)
    ProposalSource("mini", device="cpu", settings=REFCOCO_SAM)(IMAGE)
    assert len(kept()) == 3
    # A file is any SAM's, and asked what published ones are.
    assert ProposalSource(path, device="cpu").identity["points_per_side"] == REFCOCO_SAM.points_per_side


@pytest.mark.parametrize("spec", ["mini", "sam_vit_b"])
def test_an_absent_package_is_told_before_an_image_comes(spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[sam\]'"):
        ProposalSource(spec)
