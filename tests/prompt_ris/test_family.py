"""Training pictures of several benchmarks of the RefCOCO family, on small ones in their files and folders."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest

from car.data import open_referring
from car.data.referring_catalogue import REFERRING
from car.errors import InputError, MissingError
from car.prompt_ris import family
from car.prompt_ris.family import open_family
from tests.data.spoken import make
from tests.data.writing_referring import annotation, box, reference, write_coco, write_refs

SIZES = {9: (4, 6), 25: (3, 5), 30: (2, 2), 41: (5, 5), 57: (4, 4)}
KEYS = {number: f"COCO_train2014_{number:012}" for number in SIZES}
ANNOTATIONS = [
    annotation(1, 9, box(1, 1, 2, 2)),
    annotation(2, 9, box(0, 0, 3, 2), box(2, 0, 2, 4), category=18),
    annotation(3, 25, box(0, 0, 2, 2)),
    annotation(4, 30, box(0, 0, 2, 2)),
    annotation(5, 41, box(1, 0, 3, 3), category=18),
    annotation(6, 57, box(0, 0, 4, 3)),
    annotation(7, 57, box(0, 0, 2, 2), category=18),
]
COCO = [
    reference(1, 9, 1, "person in front", "a person", split="train"),
    reference(2, 9, 2, "the dog", split="train"),
    reference(3, 25, 3, "somebody", split="train"),
    reference(4, 41, 5, "left dog", split="train"),
    reference(5, 30, 4, "all of it", split="testA"),
]
PLUS = [
    reference(1, 9, 1, "who is small", split="train"),
    reference(2, 57, 6, "who is big", " ", split="train"),
    reference(3, 57, 7, " ", split="train"),
    reference(4, 25, 3, "who", split="testB"),
]
LONG = [
    reference(1, 41, 5, "a dog that lies", split="val"),
    reference(2, 57, 7, "a dog that sits", split="train"),
    reference(3, 30, 4, "a person who sits", split="train"),
]
GENERAL = [
    reference(1, 57, [6, 7], "both", split="train"),
    reference(2, 57, [-1], "the cat", split="train"),
    reference(3, 41, [-1], "nobody", split="train"),
    reference(4, 9, [1], "the person", split="val"),
]
PAIR = ("refcoco", "refcoco+")
ALL = (*PAIR, "refcocog")


@pytest.fixture
def root(tmp_path):
    for name, refs in zip(ALL, (COCO, PLUS, LONG), strict=True):
        write_coco(tmp_path, name, SIZES, ANNOTATIONS)
        write_refs(tmp_path, name, refs, split_by="umd" if name == "refcocog" else "unc")
    write_coco(tmp_path, "grefcoco", SIZES, ANNOTATIONS)
    (tmp_path / "grefcoco/grefs(unc).json").write_text(json.dumps(GENERAL))
    return tmp_path


def keys(pictures) -> list[int]:
    return [int(shown.key.rsplit("_", 1)[1]) for shown in pictures.shown]


def said(truth) -> dict[str, tuple[str, ...]]:
    return {target.id: target.expressions for target in truth.targets}


def test_targets_of_one_picture_are_told_as_one(root):
    pictures = open_family(PAIR, root)
    assert (keys(pictures), len(pictures), pictures.removed) == ([9, 41, 57], 3, 1)
    first = pictures.read(0)
    assert said(first) == {
        "refcoco:1": ("person in front", "a person"),
        "refcoco:2": ("the dog",),
        "refcoco+:1": ("who is small",),
    }
    assert [target.category for target in first.targets] == ["person", "dog", "person"]
    truth = open_referring("refcoco", root, split="train").read(KEYS[9])
    assert np.array_equal(first.image, truth.image)
    for mine, its in zip(first.targets, (*truth.targets, truth.targets[0]), strict=True):
        assert np.array_equal(mine.mask, its.mask)
        assert mine.mask.dtype == np.bool_
        assert not mine.no_target
    again = pickle.loads(pickle.dumps(pictures)).read(0)
    assert said(again) == said(first)
    assert np.array_equal(again.image, first.image)


def test_blank_expressions_are_left_out(root):
    assert said(open_family(PAIR, root).read(2)) == {"refcoco+:2": ("who is big",)}


@pytest.mark.parametrize(
    ("names", "left", "removed"),
    [
        (("refcoco",), [9, 25, 41], 0),
        (("refcoco+",), [9, 57], 0),
        (("refcocog",), [30, 57], 0),
        (PAIR, [9, 41, 57], 1),
        (("refcoco", "refcocog"), [9, 25, 57], 2),
        (ALL, [9, 57], 3),
        ((*ALL, "grefcoco"), [57], 4),
    ],
)
def test_no_picture_is_in_another_split_of_any(root, names, left, removed):
    pictures = open_family(names, root)
    assert (keys(pictures), pictures.removed) == (left, removed)
    for name in names:
        for split in REFERRING[name].variants[REFERRING[name].default_variant].splits:
            if split != "train":
                try:
                    evaluated = open_referring(name, root, split=split).keys
                except MissingError:
                    continue
                assert not {shown.key for shown in pictures.shown} & set(evaluated)


def test_a_picture_that_remains_is_noticed(root, monkeypatch):
    """The check looks at what is to be read, and does not rely on what was to be removed."""
    monkeypatch.setattr(family, "_number", lambda targets: -1)
    with pytest.raises(RuntimeError, match="is in another split"):
        open_family(PAIR, root)


def test_several_objects_and_nothing(root):
    pictures = open_family(("grefcoco",), root)
    assert keys(pictures) == [57]
    (both,) = pictures.read(0).targets
    assert (both.expressions, both.category) == (("both",), None)
    assert np.array_equal(both.mask, open_referring("grefcoco", root, split="train").read(KEYS[57]).targets[0].mask)


def test_only_some_categories(root):
    dogs = open_family(PAIR, root, categories=["dog"])
    assert [said(dogs.read(i)) for i in range(len(dogs))] == [{"refcoco:2": ("the dog",)}, {"refcoco:4": ("left dog",)}]
    assert {target.category for i in range(2) for target in dogs.read(i).targets} == {"dog"}
    with pytest.raises(InputError, match=r"refcoco has no category 'dig'\. Did you mean 'dog'"):
        open_family(PAIR, root, categories=["dig"])
    with pytest.raises(InputError, match=r"No target to train on in refcoco\+: "):
        open_family(["refcoco+"], root, categories=["dog"])


def test_either_spelling_of_sentences(root):
    assert open_family(PAIR, root, sentence="raw").read(0).targets[1].expressions == ("The dog.",)


def test_pixels_are_read_once(root, monkeypatch):
    reads = Counter()
    read_image = family.read_image
    monkeypatch.setattr(family, "read_image", lambda path: reads.update([path.stem]) or read_image(path))
    pictures = open_family(PAIR, root)
    assert not reads
    assert len(pictures.read(0).targets) == 3
    assert reads == {KEYS[9]: 1}


def test_who_split_it(tmp_path):
    """Google's split of RefCOCOg has pictures in train and in val."""
    data = make(tmp_path, "refcocog") / "refcocog"
    whole = open_family(["refcocog"], data)
    assert whole.removed == 0
    assert [shown.key for shown in whole.shown] == list(open_referring("refcocog", data, split="train").keys)
    google = open_family(["refcocog"], data, split_by={"refcocog": "google"})
    train, val = (
        set(open_referring("refcocog", data, split=each, split_by="google").keys) for each in ("train", "val")
    )
    assert train & val
    assert {shown.key for shown in google.shown} == train - val
    assert google.removed == len(train & val)
    truth = google.read(0)
    assert truth.targets
    assert all(target.mask.any() and target.category for target in truth.targets)


@pytest.mark.parametrize(
    ("names", "options", "part"),
    [
        ((), {}, "each once"),
        (("refcoco", "refcoco"), {}, "each once"),
        (("phrasecut",), {}, "'phrasecut' is no benchmark to train on. Available: refcoco, refcoco+, "),
        (("refcoco",), {"split_by": {"refcocog": "umd"}}, "refcocog, which is not among"),
        (("refcoco",), {"split_by": {"refcoco": "umd"}}, "refcoco has no split_by 'umd'"),
        (("refcoco",), {"sentence": "loud"}, "Expected argument `sentence`"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened(root, names, options, part):
    with pytest.raises(InputError) as error:
        open_family(names, root, **options)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_there(tmp_path):
    with pytest.raises(MissingError, match="does not exist"):
        open_family(PAIR, tmp_path / "no")


def test_nothing_is_left(root):
    write_refs(root, "refcocog", [reference(1, 9, 1, "it", split="train"), reference(2, 9, 2, "it", split="val")],
               split_by="umd")  # fmt: skip
    with pytest.raises(InputError, match="No picture to train on is left of refcocog: of 1 with"):
        open_family(["refcocog"], root)


def test_pictures_that_benchmarks_do_not_agree_about(root):
    larger = {**SIZES, 9: (5, 6)}
    write_coco(root, "refcoco+", larger, ANNOTATIONS)
    with pytest.raises(InputError, match=f"another number or size of the picture '{KEYS[9]}'") as error:
        open_family(PAIR, root)
    assert "refcoco+/instances.json" in str(error.value)


def test_damage_names_the_file(root):
    pictures = open_family(PAIR, root)
    path = root / f"images/mscoco/images/train2014/{KEYS[9]}.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=KEYS[9]):
        pictures.read(0)
    write_coco(root, "refcoco", {**SIZES, 41: (2, 2)}, ANNOTATIONS)
    with pytest.raises(InputError, match=f"{KEYS[41]}.jpg' has 2 x 2 pixels, but 5 x 5 in .*refcoco/instances.json"):
        pictures.read(1)
    bad = [each if each["id"] != 6 else annotation(6, 57, [0, 0, 1]) for each in ANNOTATIONS]
    write_coco(root, "refcoco+", SIZES, bad)
    with pytest.raises(InputError, match=r"refcoco\+/instances.json', annotation 6: "):
        open_family(PAIR, root).read(2)
