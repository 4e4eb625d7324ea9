"""The referring benchmarks that tools/ makes of scenes: their files, and what readers find in them."""

import json
import pickle
import pickletools
import sys
from collections import Counter
from pathlib import Path

import cv2
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from car.cli.main import main
from car.data import open_referring
from car.data.plain_pickle import read_plain_pickle
from car.scenes import COLOURS
from car.scenes.nouns import nouns
from car.scenes.words import plural
from tests.data.spoken import (
    COCOS,
    COUNT,
    JPEG_ERROR,
    SIZES,
    SPOKEN,
    contents,
    counts,
    drawn,
    everything,
    head,
    make,
    merged,
    order,
    run,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import benchmarks_annotations as annotations
import benchmarks_pictures as drawing
import benchmarks_referring as referring
import benchmarks_saying as saying
import make_benchmarks as tool

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
READ = [
    (name, split, split_by)
    for name in COCOS
    for split_by in {"refcocog": ("umd", "google")}.get(name, ("unc",))
    for split in (("val", "train") if split_by == "google" else tool.BENCHMARKS[name].layout.splits)
]
"""Every split of those that are laid out as COCO is."""
CHECKED = [
    *((name, name, "--split", split, "--split-by", split_by) for name, split, split_by in READ),
    *(("phrasecut", "phrasecut", "--split", split) for split in ("test", "val", "miniv")),
    ("phrasecut", "phrasecut-unseen"),
    *(("refdavis", "ref-davis17", "--annotations", each) for each in ("unsupervised", "semi-supervised")),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every referring benchmark, small."""
    return make(tmp_path_factory.mktemp("referring"), *SPOKEN)


@pytest.mark.parametrize("asked", CHECKED, ids=" ".join)
def test_every_split_is_found_in_order(
    made: Path, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, *arguments = asked
    monkeypatch.setattr(sys, "argv", ["car", "data", "check", *arguments, "--data-root", str(made / folder)])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr().out
    assert end.value.code in (0, None), output
    assert ", 0 bad." in output
    for flaw in ("have no pixel", "without a letter", "has no expression", "in no frame"):
        assert flaw not in output


@pytest.mark.parametrize("overlap", ["union", "exactly-one"])
@pytest.mark.parametrize(("name", "split", "split_by"), READ)
def test_targets_are_the_pixels_of_what_was_said(
    made: Path, name: str, split: str, split_by: str, overlap: str
) -> None:
    dataset = open_referring(name, made / name, split=split, split_by=split_by, overlap=overlap)
    shown = everything(name) if split_by == "google" else drawn(name, split)
    assert set(dataset.keys) <= set(shown) if split_by == "google" else list(dataset.keys) == sorted(shown)
    for key in dataset.keys:
        truth, picture = dataset.read(key), shown[key]
        assert np.abs(truth.image.astype(int) - picture.scene.image).mean() < JPEG_ERROR
        said = {each.sentences: each.objects for each in picture.said}
        if split_by != "google":
            assert [each.expressions for each in truth.targets] == [each.sentences for each in picture.said]
        for target in truth.targets:
            objects = said[target.expressions]
            assert np.array_equal(target.mask, merged(picture.scene, objects))
            assert target.no_target == (not objects)
            assert target.mask.any() == bool(objects)


def test_the_splits_of_google_are_of_objects(made: Path) -> None:
    halves = [
        open_referring("refcocog", made / "refcocog", split=split, split_by="google") for split in ("val", "train")
    ]
    ids = [[target.id for key in half.keys for target in half.read(key).targets] for half in halves]
    assert sorted(map(int, ids[0] + ids[1])) == list(range(len(ids[0]) + len(ids[1])))
    assert 0 < len(ids[0]) < len(ids[1])
    assert set(halves[0].keys) & set(halves[1].keys)


@pytest.mark.parametrize("name", COCOS)
def test_expressions_name_what_they_are_of(name: str) -> None:
    unnamed = total = 0
    for picture in everything(name).values():
        names, colours = picture.scene.names, picture.scene.colours
        for said in picture.said:
            for text in said.sentences if said.objects and " and " not in said.sentences[0] else ():
                word = head(text)
                total += 1
                unnamed += word is None
                if word is not None:
                    assert {names[i] for i in said.objects} == {word}, text
                hues = {each for each in text.split()[:2] if each in COLOURS and each != word}
                assert not hues or {colours[i] for i in said.objects} == hues, text
    assert unnamed < 0.3 * total


def test_one_word_is_every_object_of_that_name() -> None:
    seen = Counter()
    for name in COCOS:
        for picture in everything(name).values():
            for said in picture.said:
                text = said.sentences[0]
                for lead in ("the ", "all ", "all the ", "both "):
                    word = text.removeprefix(lead)
                    fits = {i for i, each in enumerate(picture.scene.names) if word in (each, plural(each))}
                    if fits:
                        assert fits == set(said.objects), text
                        seen[len(fits) > 1] += 1
    assert seen[True] > 3
    assert seen[False] > 3


def test_outermost_ones_are_outermost() -> None:
    seen = Counter()
    for picture in everything("refcoco").values():
        middles = [np.argwhere(mask).mean(axis=0) for mask in picture.scene.masks]
        for said in picture.said:
            for text in said.sentences:
                words = text.removeprefix("the ").removeprefix("far ").split(maxsplit=1)
                sides = {
                    "leftmost": (1, 1),
                    "left": (1, 1),
                    "rightmost": (1, -1),
                    "right": (1, -1),
                    "topmost": (0, 1),
                    "lowest": (0, -1),
                }
                if len(words) == 2 and words[0] in sides and ("most" in text or "far" in text or "lowest" in text):
                    axis, sign = sides[words[0]]
                    rivals = [i for i, name in enumerate(picture.scene.names) if words[1] in nouns()[name]]
                    if rivals:
                        assert said.objects == (min(rivals, key=lambda i: sign * middles[i][axis]),), text
                        seen[words[0]] += 1
    assert seen.total() > 2


def test_kinds_of_expressions_are_those_of_each_benchmark() -> None:
    words = {
        name: [text.split() for p in everything(name).values() for s in p.said for text in s.sentences]
        for name in COCOS
    }
    assert not [text for text in words["refcoco+"] if saying.PLACES & set(text)]
    assert len([text for text in words["refcoco"] if saying.PLACES & set(text)]) > 10
    lengths = {name: np.mean([len(text) for text in texts]) for name, texts in words.items()}
    assert lengths["refcocog"] > 1.3 * lengths["refcoco"]
    people = {
        name
        for p in drawn("refcoco", "testA").values()
        for s in p.said
        for name in (p.scene.names[i] for i in s.objects)
    }
    others = {
        name
        for p in drawn("refcoco", "testB").values()
        for s in p.said
        for name in (p.scene.names[i] for i in s.objects)
    }
    assert people <= set(saying.PEOPLE)
    assert not others & set(saying.PEOPLE)
    several = Counter(len(said.sentences) for picture in everything("refcoco").values() for said in picture.said)
    assert several[2] > several[1]
    meant = Counter(min(len(said.objects), 2) for picture in everything("grefcoco").values() for said in picture.said)
    assert all(meant[number] > 3 for number in range(3)), meant


@pytest.mark.parametrize("name", COCOS)
def test_coco_reads_the_annotations(made: Path, name: str) -> None:
    coco = COCO(str(made / name / name / "instances.json"))
    shown, forms = everything(name), Counter()
    assert {image["file_name"][:-4] for image in coco.imgs.values()} == set(shown)
    for image in coco.imgs.values():
        picture = shown[image["file_name"][:-4]]
        assert (image["height"], image["width"]) == picture.scene.image.shape[:2]
        assert (made / name / "images/mscoco/images/train2014" / image["file_name"]).is_file()
        annotated = [i for i, each in enumerate(picture.scene.names) if each in picture.ids]
        found = coco.imgToAnns[image["id"]]
        assert len(found) == len(annotated)
        for each, i in zip(found, annotated, strict=True):
            mask = picture.scene.masks[i]
            assert np.array_equal(coco.annToMask(each), mask)
            assert each["area"] == mask.sum()
            assert each["bbox"] == list(cv2.boundingRect(mask.view(np.uint8)))
            assert isinstance(each["segmentation"], list)
            forms[len(each["segmentation"]) > 1] += 1
    assert forms[True]
    assert forms[False]


@pytest.mark.parametrize(
    "file", ["refcoco/refs(unc).p", "refcoco+/refs(unc).p", "refcocog/refs(umd).p", "refcocog/refs(google).p"]
)
def test_references_are_a_pickle_of_python_2(made: Path, file: str) -> None:
    name = file.split("/")[0]
    data = (made / name / file).read_bytes()
    codes = Counter(code.name for code, _, _ in pickletools.genops(data))
    assert next(pickletools.genops(data))[:2][1] == 2
    assert codes["SHORT_BINSTRING"]
    assert not {each for each in codes if "UNICODE" in each or each in ("GLOBAL", "REDUCE")}
    refs = pickle.loads(data, encoding="latin1")
    assert refs == pickle.loads(data) == read_plain_pickle(made / name / file)
    instances = json.loads((made / name / name / "instances.json").read_text())
    by_id = {each["id"]: each for each in instances["annotations"]}
    sentences = []
    for ref in refs:
        assert set(ref) == {
            *("sent_ids", "file_name", "ann_id", "ref_id", "image_id", "split", "sentences", "category_id")
        }
        assert (by_id[ref["ann_id"]]["image_id"], by_id[ref["ann_id"]]["category_id"]) == (
            ref["image_id"],
            ref["category_id"],
        )
        assert ref["file_name"].startswith(f"COCO_train2014_{ref['image_id']:012}_")
        assert ref["sent_ids"] == [each["sent_id"] for each in ref["sentences"]]
        sentences += ref["sentences"]
        for each in ref["sentences"]:
            assert set(each) == {"tokens", "raw", "sent_id", "sent"}
            assert " ".join(each["tokens"]) == each["sent"] == each["raw"].lower().rstrip(".")
    assert [each["sent_id"] for each in sentences] == [*range(len(sentences))]
    assert any(each["raw"] != each["sent"] for each in sentences)


def test_texts_of_any_length_are_byte_strings() -> None:
    texts = ["", "é", "x" * 255, "x" * 256, "x" * 70000, "é"]
    assert pickle.loads(referring.python2_pickle(texts), encoding="latin1") == texts


def test_grefs_are_lists(made: Path) -> None:
    refs = json.loads((made / "grefcoco/grefcoco/grefs(unc).json").read_text())
    for ref in refs:
        assert len(ref["ann_id"]) == len(ref["category_id"])
        assert ref["no_target"] == (ref["ann_id"] == [-1]) == (ref["category_id"] == [-1])
    assert {ref["split"] for ref in refs} == {"train", "val", "testA", "testB"}


def test_the_same_arguments_write_the_same_bytes(made: Path, tmp_path: Path) -> None:
    for name in SPOKEN:
        order(name, tmp_path).make(lambda: None)
        assert contents(tmp_path / name) == contents(made / name)
    tool.Order("refcoco", tmp_path / "other", COUNT, 1, SIZES).make(lambda: None)
    assert contents(tmp_path / "other" / "refcoco") != contents(made / "refcoco")


def test_pictures_are_those_of_no_other_benchmark() -> None:
    first = [
        tool.Order(name, Path("nowhere"), 1, 0, SIZES).drawing.picture("val", 0).scene.image.tobytes()
        for name in ("refcoco", "refcoco+", "refcocog", "grefcoco", "coco-object")
    ]
    assert len({*first}) == len(first)


def test_an_interrupted_benchmark_is_made_again(made: Path, tmp_path: Path) -> None:
    def advance() -> None:
        if len([*(tmp_path / ".refcoco.unfinished").rglob("*.jpg")]) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        order("refcoco", tmp_path).make(advance)
    assert not (tmp_path / "refcoco").exists()
    order("refcoco", tmp_path).make(lambda: None)
    assert contents(tmp_path / "refcoco") == contents(made / "refcoco")


def test_the_table_says_how_many_there_are(made: Path) -> None:
    again = run(
        made, "--count", COUNT, "--benchmark", "refcoco", *(w for h, k in SIZES for w in ("--size", f"{h}x{k}"))
    )
    assert "refcoco is there already." in again.output
    assert "| refcoco | refcoco | val 9, testA 3, testB 3, train 2 |" in again.output
    assert "can occur" not in again.output
    films_again = run(made, "--count", counts("refdavis"), "--benchmark", "refdavis", "--size", "8x8")
    assert "refdavis is there already." in films_again.output


def test_pictures_that_nothing_can_be_said_of_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saying.ReferringDrawing, "fits", lambda self, expression: False)
    monkeypatch.setattr(drawing, "TRIES", 3)
    result = run(tmp_path, "--benchmark", "refcoco", "--count", 1, "--size", "40x40")
    assert result.exit_code == 1
    assert "Nothing can be said" in result.output
    assert not (tmp_path / "refcoco").exists()


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)).filter(np.any))
def test_any_mask_is_polygons(mask: np.ndarray) -> None:
    found = annotations.cut_polygons(mask)
    assert (annotations.polygons(mask) or found) == found
    layers = sum(coco_mask.decode(coco_mask.frPyObjects([each], *mask.shape))[..., 0].astype(int) for each in found)
    assert np.array_equal(layers, mask)
    layer = Image.new("L", mask.shape[::-1])
    for polygon in referring.outlines(mask):
        assert len(polygon) > 1
        ImageDraw.Draw(layer).polygon([(x, y) for x, y in polygon], fill=1, outline=1)
    assert np.array_equal(np.asarray(layer), mask)
