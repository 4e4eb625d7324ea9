"""`car data` for the referring benchmarks, as a user runs it."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from car.data import DATASETS, REFERRING
from tests.data.writing_referring import (
    annotation,
    box,
    reference,
    task,
    write_coco,
    write_davis,
    write_phrasecut,
    write_refs,
)

SIZES = {9: (4, 5), 25: (2, 5)}
ANNOTATIONS = [
    annotation(1, 9, box(0, 0, 5, 2)),
    annotation(2, 25, box(0, 0, 1, 2), category=18),
    annotation(3, 9, [0.0]),
]


@pytest.fixture
def refcoco(tmp_path) -> Path:
    root = tmp_path / "data"
    write_coco(root, "refcoco", SIZES, ANNOTATIONS, images="train2014")
    write_refs(root, "refcoco", [
        reference(1, 9, 1, "the man", "left"),
        reference(2, 25, 2, "dog"),
        reference(3, 9, 1, "the man", split="testA"),
        reference(4, 25, 2, "dog", split="testA"),
        reference(5, 9, 3, "broken", split="testB"),
        reference(6, 25, 2, "dog", split="testB"),
    ])  # fmt: skip
    return root


def test_list(car):
    status, out, err = car("data", "list")
    assert (status, err) == (0, "")
    semantic, referring = (part.splitlines() for part in out.split("\n\n"))
    assert len(semantic) == len(DATASETS) + 1
    lines = dict(zip(["referring benchmark", *REFERRING], referring, strict=True))
    for name, line in lines.items():
        assert line.startswith(f"{name} ")
    assert "  --split-by unc: train, val, testA, testB, test; google: train, val, test  refcoco" in lines["refcoco"]
    assert lines["refcocog"].endswith("  refcocog")
    assert lines["grefcoco"].endswith("  gres")
    assert "  pictures   train, val, test, miniv " in lines["phrasecut-unseen"]
    assert "  sequences  --annotations unsupervised: train, val; semi-supervised: " in lines["ref-davis17"]


def test_check_of_expressions(car, refcoco):
    status, out, err = car("data", "check", "refcoco", "--data-root", "data")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "refcoco, split val of unc, in data: 2 pictures, 0 bad.",
        "The split is published with 1500 pictures.",
        "Targets: 2, of them 0 with nothing to find. Expressions: 3. A mask has 40.00% of its picture.",
        "Categories: 2, most of them person 1, dog 1.",
    ]
    status, out, err = car("data", "check", "refcoco", "--data-root", "data", "--split", "testA", "--split-by", "unc")
    assert (status, err) == (0, "")
    assert out.startswith("refcoco, split testA of unc, in data: 2 pictures, 0 bad.\n")


def test_check_names_every_bad_picture(car, refcoco):
    status, out, err = car("data", "check", "refcoco", "--data-root", "data", "--split", "testB")
    assert status == 1
    assert out.startswith("refcoco, split testB of unc, in data: 2 pictures, 1 bad.\n")
    assert "Targets: 1, " in out
    assert err.startswith("'data/refcoco/instances.json', annotation 3: Expected a polygon of at least three corners")
    assert err.count("\n") == 1
    (refcoco / "train2014/COCO_train2014_000000000025.jpg").write_bytes(b"")
    status, out, err = car("data", "check", "refcoco", "--data-root", "data", "--split", "testB")
    assert (status, err.count("\n")) == (1, 2)
    assert "Targets" not in out


def test_check_of_what_is_odd(car, tmp_path):
    write_coco(tmp_path, "grefcoco", SIZES, [annotation(1, 9, box(1, 1, 0, 0)), annotation(2, 9, box(0, 0, 2, 2))])
    refs = [
        reference(1, 9, [1], "a point"),
        reference(2, 9, [1, 2], "both", "..."),
        reference(3, 25, [-1], "nothing"),
        reference(4, 25, [-1], ""),
    ]
    (tmp_path / "grefcoco/grefs(unc).json").write_text(json.dumps(refs))
    status, out, err = car("data", "check", "grefcoco", "--data-root", ".")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "grefcoco, split val of unc, in .: 2 pictures, 0 bad.",
        "Targets: 4, of them 2 with nothing to find. Expressions: 5. A mask has 6.67% of its picture.",
        "Categories: 1, most of them person 2.",
        "1 targets have no pixel ('1' first).",
        "2 targets have an expression without a letter or digit ('2' first).",
    ]


def test_check_of_phrases(car, tmp_path):
    square = [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    write_phrasecut(
        tmp_path, {5: (4, 4)}, [task("5__1", 5, "a dog", "dog", square), task("5__2", 5, "sky", "sky", square)]
    )
    status, out, err = car("data", "check", "phrasecut", "--data-root", ".")
    assert (status, err) == (0, "")
    assert out.startswith(
        "phrasecut, split test, in .: 1 pictures, 0 bad.\nThe split is published with 2545 pictures.\n"
    )
    assert "Targets: 2, of them 0 with nothing to find. Expressions: 2. A mask has 25.00% of its picture." in out
    status, out, err = car("data", "check", "phrasecut-unseen", "--data-root", ".")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "phrasecut-unseen, split test, in .: 1 pictures, 0 bad.",
        "Targets: 1, of them 0 with nothing to find. Expressions: 1. A mask has 25.00% of its picture.",
        "Categories: 1, most of them sky 1.",
    ]


def test_check_of_video(car, tmp_path):
    maps = [np.array([[0, 1, 2], [255, 1, 2]]), np.array([[0, 0, 2], [3, 0, 2]])]
    write_davis(tmp_path, {"dogs": maps, "cats": maps})
    (tmp_path / "Annotations_unsupervised/480p/cats/00001.png").write_bytes(b"")
    path = tmp_path / "davis_text_annotations/Davis17_annot2.txt"
    path.write_text('dogs 1 "left"\ndogs 2 "right"\ndogs 4 "none"\ncats 1 "it"\n')
    status, out, err = car("data", "check", "ref-davis17", "--data-root", ".")
    assert status == 1
    assert err.startswith("'Annotations_unsupervised/480p/cats/00001.png' is damaged")
    assert out.splitlines() == [
        "ref-davis17, split val, unsupervised, in .: 2 sequences, 1 bad.",
        "The split is published with 30 sequences.",
        "Frames: 2. Objects: 3. Expressions: annot1 2, annot1_full_video 2, annot2 3, annot2_full_video 2.",
        "4 times an object has no expression ('dogs', object 3, annot1 first).",
        "1 expressions are of an object that is in no frame ('dogs', object 4, annot2 first).",
    ]


@pytest.mark.parametrize("name", REFERRING)
def test_check_of_nothing_shows_the_tree(car, tmp_path, name):
    status, out, err = car("data", "check", name, "--data-root", ".")
    assert status == 3
    assert err.startswith(f"error: {name}: there is no ")
    assert err.count("\n") == 1
    assert "data check" not in err
    assert out.startswith(f"{name}, split {REFERRING[name].default_split}")
    for source in REFERRING[name].sources.values():
        assert source.what in out
    for download in REFERRING[name].downloads:
        assert f"  {download}\n" in out


def test_what_is_shown_is_what_is_advised(car, tmp_path):
    from car.data import MissingDataError, open_referring

    with pytest.raises(MissingDataError) as error:
        open_referring("refcoco", "my data", split="test", split_by="google")
    command = error.value.advice.split("`")[1]
    assert command == "car data check refcoco --data-root 'my data' --split test --split-by google"
    status, out, err = car(*shlex.split(command)[1:])
    assert (status, err) == (3, "error: refcoco: 'my data' does not exist.\n")
    assert out.startswith("refcoco, split test of google: in my data, my data/refer/data or my data/refer\n")
    assert "  refcoco/refs(google).p " in out


def test_mistakes(car):
    for arguments, line in (
        (("refcco",), "error: No referring benchmark 'refcco'. Did you mean 'refcoco'? Available: refcoco, refcoco+, "),
        (("refcoco", "--split", "tesA"), "error: refcoco by unc has no split 'tesA'. Available: train, val, testA, "),
        (("refcoco", "--split-by", "umd"), "error: refcoco has no split_by 'umd'. Available: unc, google.\n"),
        (("phrasecut", "--split-by", "umd"), "error: phrasecut has no choice of 'split_by', but got 'umd'.\n"),
        (("ref-davis17", "--annotations", "x"), "error: ref-davis17 has no annotations 'x'. Available: unsupervised, "),
    ):
        status, out, err = car("data", "check", *arguments, "--data-root", ".")
        assert (status, out) == (2, "")
        assert err.startswith(line)
    status, out, err = car("data", "check", "voc21", "--data-root", ".", "--split-by", "unc")
    assert (status, out) == (2, "")
    assert "--split-by is for referring benchmarks." in err
