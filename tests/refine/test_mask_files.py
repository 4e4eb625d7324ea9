import json

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given

from car import rle
from car.errors import InputError, MissingError
from car.refine.mask_files import FileProposer

IMAGE = np.zeros((6, 9, 3), np.uint8)


def masks() -> np.ndarray:
    found = np.zeros((3, 6, 9), bool)
    found[0, 1:4, 2:7] = True
    found[1, :, 5:] = True
    return found


def plain(mask: np.ndarray) -> dict:
    """A mask by its runs, as segment-anything writes them uncompressed."""
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": runs}


RLES = [rle.encode(mask) for mask in masks()]
FORMS = {
    "bare": RLES,
    "uncompressed": [plain(mask) for mask in masks()],
    "amg": [{"segmentation": r, "area": 1, "bbox": [0, 0, 1, 1], "predicted_iou": 0.9} for r in RLES],
    "sa-1b": {"image": {"width": 9, "height": 6}, "annotations": [{"segmentation": r, "id": 1} for r in RLES]},
    "grounded-sam-2": {
        "image_path": "photo.jpg",
        "annotations": [{"class_name": "cat", "segmentation": r, "score": [0.9]} for r in RLES],
        "img_width": 9,
    },
    "coco-results": [{"image_id": 7, "category_id": 1, "segmentation": r, "score": 0.9} for r in RLES],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form, tmp_path):
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(FORMS[form]))
    assert np.array_equal(FileProposer(path)(IMAGE), masks())


@given(hnp.arrays(bool, (4, 5, 7)))
def test_what_is_written_is_read(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("masks") / "masks.json"
    path.write_text(json.dumps([rle.encode(mask) for mask in found]))
    assert np.array_equal(FileProposer(str(path))(np.zeros((5, 7, 3), np.uint8)), found)


def test_no_masks(tmp_path):
    (tmp_path / "none.json").write_text("[]")
    assert FileProposer(tmp_path / "none.json")(IMAGE).shape == (0, 6, 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "JSON"),
        ("[1, 2", "JSON"),
        ("[" * 100_000, "JSON"),
        ("3", "neither"),
        ("[3]", "neither"),
        ('{"masks": []}', "neither"),
        ('{"annotations": {"0": 1}}', "neither"),
        (json.dumps([{"image_id": 1, "segmentation": RLES[0]}, {"image_id": 2, "segmentation": RLES[1]}]), "2 images"),
    ],
)
def test_files_of_another_kind_are_refused(content, message, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        FileProposer(path)
    assert "file.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"size": [9, 6], "counts": [54]}, r"Mask 2 .*\[9, 6\].*\[6, 9\]"),
        ({"size": [6, 9], "counts": [5]}, "Mask 2 .*add up"),
        ({"segmentation": [[0, 0, 5, 0, 5, 5]]}, "Mask 2 .*run-length"),
        ({"bbox": [1, 2, 3, 4]}, r"Mask 2 .*None"),
    ],
)
def test_broken_masks_and_masks_of_another_size_are_refused(entry, message, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps([RLES[0], entry]))
    with pytest.raises(InputError, match=message):
        FileProposer(path)(IMAGE)


def test_an_absent_file(tmp_path):
    with pytest.raises(MissingError, match="absent"):
        FileProposer(tmp_path / "absent.json")
    with pytest.raises(InputError, match="Cannot read"):
        FileProposer(tmp_path)


def test_more_masks_than_memory_are_refused(tmp_path):
    path = tmp_path / "many.json"
    path.write_text(json.dumps([RLES[0]] * 30))
    with pytest.raises(InputError, match="30 masks, too many"):
        FileProposer(path)(np.broadcast_to(np.uint8(0), (13_000, 13_000, 3)))
