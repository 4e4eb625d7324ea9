"""PhraseCut and Ref-DAVIS as tools/ makes them of scenes: their files, and what readers find in them."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.data import open_referring, open_video
from car.data.phrasecut import COCO_NAMES
from car.palette import voc_palette
from car.scenes import STUFF
from car.scenes.nouns import nouns
from tests.data.spoken import JPEG_ERROR, SIZES, drawn, head, make

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import benchmarks_films as films
import benchmarks_saying as saying
import make_benchmarks as tool


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both benchmarks, small."""
    return make(tmp_path_factory.mktemp("referring"), "phrasecut", "refdavis")


@pytest.mark.parametrize("split", ["test", "val", "miniv"])
def test_phrases_are_all_that_they_describe(made: Path, split: str) -> None:
    dataset = open_referring("phrasecut", made / "phrasecut", split=split)
    shown = drawn("phrasecut", split)
    assert list(dataset.keys) == sorted(shown)
    for key, picture in shown.items():
        truth = dataset.read(key)
        assert truth.image.shape == picture.scene.image.shape
        for target, phrase in zip(truth.targets, picture.phrases, strict=True):
            assert target.expressions == (phrase.text,)
            assert target.category == phrase.name
            assert np.array_equal(target.mask, phrase.instances.any(axis=0))
            if phrase.text in nouns():
                assert np.array_equal(target.mask, picture.scene.concepts[phrase.text])


def test_phrases_have_their_structure(made: Path) -> None:
    base, forms = made / "phrasecut" / "VGPhraseCut_v0", Counter()
    info = {each["image_id"]: each for each in json.loads((base / "image_data_split.json").read_text())}
    for split in ("test", "val", "miniv"):
        for task in json.loads((base / f"refer_{split}.json").read_text()):
            assert info[task["image_id"]]["split"] == split
            assert len(task["ann_ids"]) == len(task["instance_boxes"]) == len(task["Polygons"]) > 0
            for box, polygons in zip(task["instance_boxes"], task["Polygons"], strict=True):
                corners = np.concatenate([np.array(each) for each in polygons])
                assert [*corners.min(axis=0), *np.ptp(corners, axis=0) + 1] == box
            said = task["phrase_structure"]
            relations = [word for relation in said["relation_descriptions"] for word in relation]
            assert task["phrase"] == " ".join([*said["attributes"], said["name"], *relations])
            forms += Counter((said["type"], *["many"] * (len(task["Polygons"]) > 1), said["name"] in COCO_NAMES))
    assert all(forms[form] > 2 for form in ("name", "attribute", "relation", "many", True, False)), forms
    unseen = open_referring("phrasecut-unseen", made / "phrasecut")
    every = open_referring("phrasecut", made / "phrasecut")
    counts = [sum(len(each.read(key).targets) for key in each.keys) for each in (unseen, every)]
    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize("annotations", ["unsupervised", "semi-supervised"])
def test_films_are_read_as_they_were_drawn(made: Path, annotations: str) -> None:
    dataset = open_video("ref-davis17", made / "refdavis", annotations=annotations)
    shown = drawn("refdavis", "val")
    assert list(dataset.keys) == sorted(shown)
    for key, picture in shown.items():
        frames = [*dataset.frames(key)]
        assert [frame.name for frame in frames] == [f"{time:05}" for time in range(24)]
        for frame, own in zip(frames, picture.film, strict=True):
            assert np.array_equal(frame.labels, own.labels)
            assert np.abs(frame.image.astype(int) - own.image).mean() < JPEG_ERROR
        count = len(picture.film.names)
        assert set(np.unique(frames[0].labels)) - {0} == {*range(1, count + 1)}
        for annotator in dataset.annotators:
            assert [*dataset.expressions(key, annotator)] == [*range(1, count + 1)]
            assert tuple(dataset.expressions(key, annotator).values()) == picture.texts[annotator]


def test_films_have_several_things_that_leave_and_return() -> None:
    shown = [tool.Order("refdavis", Path("nowhere"), 8, 0, SIZES).drawing.picture("val", i) for i in range(8)]
    assert sum(len(each.film.names) >= 2 for each in shown) >= 5
    assert sum(films.comes_back(each.film) for each in shown) >= 2
    for each in shown:
        assert films.starts_full(each.film.frame(0))
        first = each.film.frame(0)
        for name, texts in each.texts.items():
            for i, text in enumerate(texts):
                word = head(text)
                assert word in (None, each.film.names[i]), (name, text)
                if text.removeprefix("the ") == each.film.names[i] and name.endswith("full_video"):
                    assert each.film.names.count(each.film.names[i]) == 1
        assert len(first.present) == len(each.film.names)


def test_davis_has_its_files(made: Path) -> None:
    base = made / "refdavis" / "DAVIS"
    keys = (base / "ImageSets/2017/val.txt").read_text().split()
    assert keys == sorted(drawn("refdavis", "val"))
    for key in keys:
        for path in (base / "Annotations/480p" / key).iterdir():
            other = base / "Annotations_unsupervised/480p" / key / path.name
            assert path.read_bytes() == other.read_bytes()
        with Image.open(path) as image:
            assert image.mode == "P"
            assert np.array_equal(np.reshape(image.getpalette(), (-1, 3)), voc_palette())
    for name, encoding in {
        "annot1": "utf-8",
        "annot1_full_video": "utf-8",
        "annot2": "latin-1",
        "annot2_full_video": "latin-1",
    }.items():
        lines = (base / f"davis_text_annotations/Davis17_{name}.txt").read_text(encoding).splitlines()
        assert all(len(line.split('"')) == 3 and line.split()[0] in keys for line in lines)
        assert len(lines) == sum(len(each.film.names) for each in drawn("refdavis", "val").values())


def test_stuff_has_names_of_stuff() -> None:
    assert set(saying.CLEAR_STUFF) <= set(STUFF)
