"""Benchmarks reduced to targets of some categories."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.data import OfCategories, open_referring, read_categories
from car.data.phrasecut import COCO_NAMES
from car.errors import InputError
from car.wordlists import names
from tests.data.writing_referring import annotation, box, reference, task, write_coco, write_phrasecut, write_refs

PERSON, DOG, CAT = 1, 18, 17
SIZES = {1: (4, 6), 2: (3, 5), 3: (4, 4)}
OF = {11: (1, PERSON), 12: (1, DOG), 13: (1, DOG), 21: (2, PERSON), 31: (3, DOG)}
ANNOTATIONS = [annotation(id, image, box(0, 0, 2, 2), category=category) for id, (image, category) in OF.items()]
REFS = [reference(id, image, id, "one of them", "again") for id, (image, _) in OF.items()]
KEY = "COCO_train2014_{:012}".format


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("refer")
    write_coco(root, "refcoco", SIZES, ANNOTATIONS)
    write_refs(root, "refcoco", REFS)
    path = root / "refcoco/instances.json"
    data = json.loads(path.read_text())
    data["categories"].append({"supercategory": "animal", "id": CAT, "name": "cat"})
    path.write_text(json.dumps(data))
    return root


def ids(dataset) -> dict[str, list[str]]:
    return {key: [target.id for target in dataset.read(key).targets] for key in dataset.keys}


def test_targets_of_other_categories_and_pictures_without_any_are_left_out(root):
    dataset = open_referring("refcoco", root)
    dogs = OfCategories(dataset, ["dog", "cat"])
    assert ids(dogs) == {KEY(1): ["12", "13"], KEY(3): ["31"]}
    assert ids(OfCategories(dataset, ["person"])) == {KEY(1): ["11"], KEY(2): ["21"]}
    assert ids(OfCategories(dataset, {"person", "dog"})) == ids(dataset)
    assert (dogs.name, dogs.split, dogs.variant, dogs.root) == ("refcoco", "val", "unc", root)
    with pytest.raises(InputError, match="no picture 'COCO_train2014_000000000002' with a target of the categories"):
        dogs.read(KEY(2))


@given(st.sets(st.sampled_from(["person", "dog", "cat"]), min_size=1).filter(lambda names: names != {"cat"}))
def test_what_is_left_is_as_it_was(root, chosen):
    dataset = open_referring("refcoco", root)
    reduced = pickle.loads(pickle.dumps(OfCategories(dataset, chosen)))
    assert list(reduced.keys) == [key for key in dataset.keys if chosen & set(dataset.categories_of(key))]
    for key in reduced.keys:
        whole, found = dataset.read(key), reduced.read(key)
        assert np.array_equal(found.image, whole.image)
        wanted = [target for target in whole.targets if target.category in chosen]
        assert [target.id for target in found.targets] == [target.id for target in wanted]
        for one, other in zip(found.targets, wanted, strict=True):
            assert (one.expressions, one.category) == (other.expressions, other.category)
            assert np.array_equal(one.mask, other.mask)


def test_categories_are_known_without_a_picture(tmp_path):
    write_coco(tmp_path, "refcoco", SIZES, ANNOTATIONS)
    write_refs(tmp_path, "refcoco", REFS)
    for path in tmp_path.rglob("*.jpg"):
        path.write_bytes(b"")
    dataset = open_referring("refcoco", tmp_path)
    assert dataset.categories == ("person", "dog")
    assert dataset.categories_of(KEY(1)) == ("person", "dog", "dog")
    assert OfCategories(dataset, ["dog"]).keys == (KEY(1), KEY(3))
    with pytest.raises(InputError, match="no picture 'else'"):
        dataset.categories_of("else")


def test_several_objects_have_a_category_where_it_is_one_and_nothing_has_none(tmp_path):
    write_coco(tmp_path, "grefcoco", SIZES, ANNOTATIONS)
    refs = [
        reference(1, 1, [12, 13], "both dogs"),
        reference(2, 1, [11, 12], "a person and a dog"),
        reference(3, 2, [-1], "no dog", no_target=True),
    ]
    (tmp_path / "grefcoco/grefs(unc).json").write_text(json.dumps(refs))
    assert ids(OfCategories(open_referring("grefcoco", tmp_path), ["dog"])) == {KEY(1): ["1"]}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["dog", "Dgo"], r"refcoco has no category 'Dgo'\. Did you mean 'dog'\?"),
        (["PERSON"], r"refcoco has no category 'PERSON'\. Did you mean 'person'\?"),
        (["unicorn"], r"refcoco has no category 'unicorn'\. Available: person, dog, cat\."),
        (["cat"], r"No target of refcoco in its split 'val' has one of the categories\."),
        ([], r"No target of refcoco in its split 'val' has one of the categories\."),
    ],
    ids=["misspelt", "capitals", "unknown", "not in the split", "none"],
)
def test_categories_that_cannot_be_asked_for(root, asked, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        OfCategories(open_referring("refcoco", root), asked)


def test_a_benchmark_without_categories_is_refused(tmp_path):
    square = [[0, 0], [2, 0], [2, 2], [0, 2]]
    write_phrasecut(tmp_path, {5: (4, 6)}, [task("5__1", 5, "brown dog", "dog", [square])])
    dataset = open_referring("phrasecut", tmp_path)
    with pytest.raises(InputError, match=r"^phrasecut cannot be reduced to categories: it has no list of them"):
        OfCategories(dataset, ["dog"])


def test_the_lists_of_the_package_are_a_split_of_cocos_categories():
    assert names("categories") == ["coco-seen", "coco-unseen"]
    seen, unseen = (read_categories(name) for name in names("categories"))
    assert (len(seen), len(unseen)) == (48, 17)
    assert not set(seen) & set(unseen)
    assert set(seen) | set(unseen) < COCO_NAMES


def test_a_list_may_be_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# pets\n\n  cat \ndog\ncat\n", encoding="utf-8-sig")
    assert read_categories(path) == read_categories(str(path)) == ("cat", "dog")
    path.write_text("\n# nothing\n")
    with pytest.raises(InputError, match=r"list of categories '.*mine\.txt' names none"):
        read_categories(path)
    with pytest.raises(InputError, match=r"No list of categories 'coco-sean'\. Did you mean 'coco-seen'\?"):
        read_categories("coco-sean")
