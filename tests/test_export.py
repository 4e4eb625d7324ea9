import json
import os
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car import rle
from car.errors import CarError, InputError
from car.export import dumps, existing_outputs, save, to_json, write_png
from car.palette import voc_palette
from tests.results import segmentation, stripes

QUERIES = ["a black cat", "dog", "../../Dog!", "unicorn", "\u732b"]


@pytest.fixture
def result():
    return segmentation(QUERIES, stripes(30, 60, [0, 1, 2, 0, 3, 5]), absent=[3])


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_layout(result, tmp_path):
    written = save(result, tmp_path / "out", "photo.v2")
    assert files(tmp_path) == {
        "out/photo.v2.overlay.png",
        "out/photo.v2.labels.png",
        "out/photo.v2.masks/a-black-cat.png",
        "out/photo.v2.masks/dog.png",
        "out/photo.v2.masks/dog-2.png",
        "out/photo.v2.masks/\u732b.png",
        "out/photo.v2.json",
    }
    assert list(written) == ["overlay", "labels", "masks", "json"]
    assert [path.name for path in written["masks"]] == ["a-black-cat.png", "dog.png", "dog-2.png", "\u732b.png"]
    assert all(path.is_file() for path in (written["overlay"], written["labels"], written["json"], *written["masks"]))


def test_labels_and_masks_round_trip(result, tmp_path):
    written = save(result, tmp_path, "photo")
    labels = Image.open(written["labels"])
    assert labels.mode == "P"
    np.testing.assert_array_equal(np.asarray(labels), result.labels)
    np.testing.assert_array_equal(np.array(labels.getpalette()).reshape(-1, 3), voc_palette())
    for path, i in zip(written["masks"], (0, 1, 2, 4), strict=True):
        mask = np.asarray(Image.open(path))
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, 255 * (result.labels == i + 1))


@pytest.mark.parametrize(("queries", "mode"), [(254, "P"), (255, "I;16"), (3000, "I;16")])
def test_label_maps_of_many_queries(tmp_path, queries, mode):
    labels = np.random.default_rng(0).integers(0, queries + 1, (40, 50))
    labels[0, :2] = 0, queries
    result = segmentation([f"q{i}" for i in range(queries)], labels)
    image = Image.open(save(result, tmp_path, "x", formats=["labels"])["labels"])
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), labels)


def test_json(result, tmp_path):
    data = json.loads(save(result, tmp_path, "photo", image_path="in/photo.jpg")["json"].read_text("utf-8"))
    assert (data["image_path"], data["img_width"], data["img_height"]) == ("in/photo.jpg", 60, 30)
    assert (data["model"], data["config"]["theta"], data["config"]["prompts"]) == ("mini", 0.5, ["circle", "blur"])
    assert [entry["query"] for entry in data["annotations"]] == [QUERIES[i] for i in (0, 1, 2, 4)]
    assert [entry["slug"] for entry in data["annotations"]] == ["a-black-cat", "dog", "dog-2", "\u732b"]
    assert [entry["label"] for entry in data["annotations"]] == [1, 2, 3, 5]
    assert data["absent"] == [{"query": "unicorn", "score": 0.097}]
    assert data["annotations"][1]["bbox"] == [20, 0, 10, 30]
    for entry in data["annotations"]:
        mask = result.labels == entry["label"]
        np.testing.assert_array_equal(rle.decode(entry["segmentation"]), mask)
        assert entry["area"] == mask.sum()
        assert entry["score"] == pytest.approx(float(result.scores[entry["label"] - 1]), abs=1e-6)
    assert [step["queries"] for step in data["steps"]] == [QUERIES, [QUERIES[i] for i in (0, 1, 2, 4)]]
    assert data["steps"][0]["kept"] == [True, True, True, False, True]
    assert data["steps"][1]["scores"] == [0.9, 0.899, 0.898, 0.896]


def test_json_is_the_same_for_library_and_command_line(result, tmp_path):
    path = save(result, tmp_path, "photo", formats=["json"])["json"]
    assert files(tmp_path) == {"photo.json"}
    assert json.loads(path.read_text("utf-8")) == to_json(result, "photo")
    assert path.read_text("utf-8") == dumps(to_json(result, "photo"))
    assert "\u732b" in path.read_text("utf-8")


@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)))
def test_boxes_areas_and_masks_of_any_label_map(labels):
    result = segmentation(["a", "b", "c"], labels)
    for entry in to_json(result, "x")["annotations"]:
        mask = labels == entry["label"]
        x, y, across, down = entry["bbox"]
        assert entry["area"] == mask.sum() == mask[y : y + down, x : x + across].sum()
        np.testing.assert_array_equal(rle.decode(entry["segmentation"]), mask)
        if mask.any():
            assert mask[y].any()
            assert mask[y + down - 1].any()
            assert mask[:, x].any()
            assert mask[:, x + across - 1].any()
        else:
            assert entry["bbox"] == [0, 0, 0, 0]


@given(st.lists(st.text(st.characters(codec=None)), min_size=1, max_size=4, unique=True), st.floats(width=32))
def test_json_is_strict_whatever_the_text_and_scores(queries, score):
    result = segmentation(queries, stripes(2, 4, [0, 1]), scores=[np.float32(score)] * len(queries))
    data = {**to_json(result, queries[0]), "nested": {"query": queries}}
    text = dumps(data).encode("utf-8")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == data


def test_settings_of_any_kind_become_json(result):
    config = {"a": np.float32(0.5), "b": (1, 2), "c": float("nan"), "d": Path("x"), "e": {"f": None, "g": [np.inf]}}
    data = to_json(segmentation(["cat"], stripes(2, 2, [1])), "x")
    assert json.loads(dumps(data)) == data
    object.__setattr__(result, "config", config)
    assert to_json(result, "x")["config"] == {"a": 0.5, "b": [1, 2], "c": None, "d": "x", "e": {"f": None, "g": [None]}}


def test_results_are_not_overwritten_unless_asked(result, tmp_path, monkeypatch):
    save(result, tmp_path, "photo")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr("car.draw.overlay", lambda result: pytest.fail("drawn before the check"))
        with pytest.raises(InputError, match=r"photo.overlay.png' exists already"):
            save(result, tmp_path, "photo")
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    smaller = segmentation(QUERIES[:2], stripes(30, 60, [0, 1]), absent=[1])
    save(smaller, tmp_path, "photo", overwrite=True)
    assert files(tmp_path / "photo.masks") == {"a-black-cat.png"}
    assert len(json.loads((tmp_path / "photo.json").read_text())["annotations"]) == 1


def test_nothing_found_leaves_no_folder_of_masks(result, tmp_path):
    nothing = segmentation(QUERIES, stripes(30, 60, [0]), absent=range(5))
    assert save(nothing, tmp_path, "photo")["masks"] == []
    assert not (tmp_path / "photo.masks").exists()
    save(result, tmp_path, "photo", overwrite=True)
    save(nothing, tmp_path, "photo", overwrite=True)
    assert not (tmp_path / "photo.masks").exists()


def test_existing_outputs(result, tmp_path):
    assert existing_outputs(tmp_path / "none", "photo") == []
    save(result, tmp_path, "photo", formats=["labels", "masks"])
    assert [path.name for path in existing_outputs(tmp_path, "photo")] == ["photo.labels.png", "photo.masks"]
    assert existing_outputs(tmp_path, "photo", ["overlay", "json"]) == []
    assert existing_outputs(tmp_path, "phot") == []
    save(result, tmp_path, "photo", formats=["overlay", "json"])


def test_a_failure_leaves_no_json_and_no_half_files(result, tmp_path, monkeypatch):
    save(result, tmp_path, "photo")
    replace = os.replace

    def full(source, target):
        if str(target).endswith("dog-2.png"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CarError, match="No space left on device"):
        save(result, tmp_path, "photo", overwrite=True)
    assert not (tmp_path / "photo.json").exists()
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "/a", "../a", "a\0b", "x" * 241])
def test_names_that_are_no_file_names(result, tmp_path, stem):
    with pytest.raises(InputError, match="`stem`"):
        save(result, tmp_path, stem)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("stem", ["x" * 240, "\u732b" * 80, " a b ", ".hidden", "a\nb", "[x]*"])
def test_names_that_are_odd(result, tmp_path, stem):
    assert save(result, tmp_path, stem)["json"].is_file()
    assert len(existing_outputs(tmp_path, stem)) == 4


def test_unknown_format(result, tmp_path):
    with pytest.raises(InputError, match=r"Unknown format 'coco'\. Available: overlay, labels, masks, json"):
        save(result, tmp_path, "photo", formats=["coco"])


def test_a_folder_that_cannot_be_made(result, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot make the folder"):
        save(result, tmp_path / "file" / "out", "photo")


def test_same_result_same_bytes(result, tmp_path):
    for folder in ("a", "b"):
        save(result, tmp_path / folder, "photo")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for name in files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_write_png(tmp_path):
    for pixels in (np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.array([[1, 60000]], np.uint16)):
        write_png(tmp_path / "x.png", pixels)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), pixels)
    with pytest.raises(CarError, match="Cannot write to"):
        write_png(tmp_path / "none" / "x.png", pixels)
    assert files(tmp_path) == {"x.png"}
