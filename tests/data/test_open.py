"""Opening a benchmark: found where it may lie, complete before anything is read, and said what is missing if not."""

import pickle
import re
import shutil
from pathlib import Path

import pytest

from car.config import list_presets
from car.data import DATASETS, MissingDataError, find_benchmark, list_benchmarks, open_dataset
from car.errors import InputError, MissingError
from car.wordlists import ClassEntry, read_classes
from tests.data.writing import BASES, CLASSES, FILES, WITH_BACKGROUND, labels, picture, write_benchmark, write_image

NAMES = list(CLASSES)
LISTED = [name for name in NAMES if FILES[name][2]]
PUBLISHED = [name for name in NAMES if name != "folder"]
DOWNLOADS = {
    "voc21": "VOCtrainval_11-May-2012.tar (https://",
    "voc20": "VOCtrainval_11-May-2012.tar (https://",
    "context60": "trainval_merged.json (https://",
    "context59": "trainval_merged.json (https://",
    "coco-object": "stuffthingmaps_trainval2017.zip (http://",
    "ade150": "ADEChallengeData2016.zip (http://",
    "ade847": "ADE20K_2021_17_01, for registered users (https://",
    "pc459": "trainval.tar.gz (https://",
}
PREPARED = ["context60", "context59", "coco-object", "ade847", "pc459"]


def written(name: str, root: Path, keys: str = "abc") -> Path:
    return write_benchmark(name, root, {key: labels(name, seed) for seed, key in enumerate(keys)})


def refused(kind: type[Exception], name: str, root: Path, *parts: str, split: str | None = None) -> str:
    with pytest.raises(kind) as error:
        open_dataset(name, root, split=split)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    if kind is MissingError:
        assert error.value.exit_code == 3
        asked = "" if split is None else f" --split {split}"
        assert f"`car data check {name} --data-root {root}{asked}` shows how the files should lie." in message
        assert str(pickle.loads(pickle.dumps(error.value))) == message
    return message


def test_the_catalogue_is_whole():
    assert list_benchmarks() == list(DATASETS) == NAMES
    for name, each in DATASETS.items():
        assert each.name == name
        assert each.default_split == ("all" if name == "folder" else "val")
        if name != "folder":
            entries = read_classes(each.classes)
            assert sorted(entry.id for entry in entries) == list(range(CLASSES[name]))
            assert each.preset in list_presets()
            assert each.background is (name in WITH_BACKGROUND)
            assert each.val_images
            for part in ("images", "truths"):
                assert each.sources({part})
        assert bool(each.prepared) is bool(each.makes(each.default_split)) is (name in PREPARED)


def test_an_unknown_name_is_answered_with_the_closest():
    with pytest.raises(InputError, match=re.escape("No benchmark 'voc12'. Did you mean 'voc21'? Available: voc21,")):
        find_benchmark("voc12")
    with pytest.raises(InputError, match=r"No benchmark 'zzz'\. Available: "):
        open_dataset("zzz", ".")


@pytest.mark.parametrize(("name", "base"), [(name, base) for name in NAMES for base in BASES[name]])
def test_found_where_it_may_lie(tmp_path, name, base):
    written(name, tmp_path / base)
    dataset = open_dataset(name, str(tmp_path))
    assert (dataset.name, dataset.split) == (name, find_benchmark(name).default_split)
    assert dataset.root == tmp_path / base
    assert tuple(dataset.keys) == ("a", "b", "c")
    assert dataset.background is (name in WITH_BACKGROUND)
    assert [entry.id for entry in dataset.classes] == list(range(CLASSES[name]))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_and_nothing_is_held(tmp_path, name):
    written(name, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".jpg", ".tif", ".png"):
            path.write_bytes(b"not even a picture")
    dataset = open_dataset(name, tmp_path)
    again = pickle.loads(pickle.dumps(dataset))
    assert again == dataset
    with pytest.raises(InputError, match=r"a\.(jpg|png)"):
        again.read("a")


def test_a_pickle_is_small_whatever_was_read(tmp_path):
    written("voc21", tmp_path)
    dataset = open_dataset("voc21", tmp_path)
    before = len(pickle.dumps(dataset))
    dataset.read("a")
    assert len(pickle.dumps(dataset)) == before < 4000


@pytest.mark.parametrize("name", ["voc21", "context59", "ade150", "ade847"])
def test_other_splits(tmp_path, name):
    written(name, tmp_path, "abcd")
    image, truth, names = FILES[name]
    if names:
        (tmp_path / names.replace("val.txt", "train.txt")).write_text("b\nd\n")
    else:
        for each in (image, truth):
            folder = (tmp_path / each).parent
            (folder.parent / "training").mkdir()
            for key in "bd":
                file = Path(each).name.format(key)
                shutil.move(folder / file, folder.parent / "training" / file)
    dataset = open_dataset(name, tmp_path, split="train")
    assert (dataset.split, dataset.keys) == ("train", ("b", "d"))
    assert dataset.read("d").labels.tolist() == labels(name, 3).tolist()
    refused(InputError, name, tmp_path, f"{name} has no split 'test'. Available: train, val", split="test")


def test_coco_pictures_beside_the_annotations(tmp_path):
    written("coco-object", tmp_path)
    shutil.move(tmp_path / "images/val2017", tmp_path / "val2017")
    assert open_dataset("coco-object", tmp_path).read("b").image.shape == (6, 9, 3)
    (tmp_path / "annotations/val2017/d.png").touch()  # a map of COCO-Stuff, as downloaded
    assert open_dataset("coco-object", tmp_path).keys == ("a", "b", "c")


def test_what_other_systems_leave_in_folders_is_no_label_map(tmp_path):
    written("ade150", tmp_path)
    for name in ("._a.png", "Thumbs.db", "notes.txt"):
        (tmp_path / "annotations/validation" / name).touch()
    assert open_dataset("ade150", tmp_path).keys == ("a", "b", "c")


@pytest.mark.parametrize(
    "text", ["c\r\n\r\na\r\n", "\ufeffa\n\n  \nc", "a 1\nc -1\n", "c\na\na\nc\n", " a\t0\n c  1\n"]
)
@pytest.mark.parametrize("name", LISTED)
def test_lists_as_they_come(tmp_path, name, text):
    written(name, tmp_path)
    (tmp_path / FILES[name][2]).write_bytes(text.encode())
    assert open_dataset(name, tmp_path).keys == ("a", "c")


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_root_says_everything(tmp_path, name):
    message = refused(MissingError, name, tmp_path, DOWNLOADS[name], f"{name}: there is no ")
    for base in BASES[name]:
        assert repr(str(tmp_path / base)) in message
    for file in FILES[name][:2]:
        assert repr(str(Path(file).parent)) in message
    assert ("`car data prepare" in message) is (name in PREPARED)


def test_a_root_that_is_none(tmp_path):
    refused(MissingError, "voc21", tmp_path / "gone", f"voc21: {str(tmp_path / 'gone')!r} does not exist.")
    (tmp_path / "file").touch()
    refused(MissingError, "voc21", tmp_path / "file", f"voc21: {str(tmp_path / 'file')!r} is no folder.")


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_folders(tmp_path, name):
    base = tmp_path / BASES[name][1]
    written(name, base)
    for file in FILES[name][:2]:
        folder = (base / file).parent
        folder.rename(base / "elsewhere")
        message = refused(MissingError, name, tmp_path, f"no {str(Path(file).parent)!r} in {str(base)!r}.")
        made = file == FILES[name][1] or name == "ade847"
        assert (f"`car data prepare {name} --data-root {tmp_path}` makes the " in message) is (
            made and name in PREPARED
        )
        (base / "elsewhere").rename(folder)
    open_dataset(name, tmp_path)


@pytest.mark.parametrize("name", LISTED)
def test_missing_and_useless_lists(tmp_path, name):
    names = written(name, tmp_path) / FILES[name][2]
    names.write_text("\n\n")
    refused(MissingError, name, tmp_path, f"{str(names)!r} names no picture.", DOWNLOADS[name])
    names.write_bytes(b"\xff\xfe\xfa")
    refused(InputError, name, tmp_path, f"Cannot read {str(names)!r}: it is not UTF-8 text.")
    names.unlink()
    refused(MissingError, name, tmp_path, f"there is no {FILES[name][2]!r} in {str(tmp_path)!r}.", DOWNLOADS[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_files_are_counted_and_the_first_is_named(tmp_path, name):
    written(name, tmp_path, "abcde")
    image, truth, names = FILES[name]
    for key in "db":
        (tmp_path / image.format(key)).unlink()
    first = str(tmp_path / image.format("b"))
    message = refused(MissingError, name, tmp_path, f"2 of 5 pictures ({first!r} first) are missing.")
    assert ("makes the " in message) is (name == "ade847")
    if names:
        (tmp_path / truth.format("e")).unlink()
        message = refused(MissingError, name, tmp_path, f"and 1 of 5 label maps ({str(tmp_path / truth.format('e'))!r}")
        assert ("makes the " in message) is (name in PREPARED)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in LISTED])
def test_no_label_map_at_all(tmp_path, name):
    folder = written(name, tmp_path) / Path(FILES[name][1]).parent
    for path in folder.iterdir():
        path.unlink()
    refused(MissingError, name, tmp_path, "there is no '*", str(folder), DOWNLOADS[name])


def test_what_to_run_names_the_split(tmp_path):
    written("context60", tmp_path)
    text = f"`car data prepare context60 --data-root {tmp_path} --split train` makes the lists; "
    refused(MissingError, "context60", tmp_path, "no 'ImageSets/SegmentationContext/train.txt' in", text, split="train")


def test_the_command_can_be_pasted(tmp_path):
    root = tmp_path / "my data"
    root.mkdir()
    with pytest.raises(MissingDataError, match=f"--data-root '{root}'` shows"):
        open_dataset("voc21", root)


# ---------------------------------------------------------------------------------------------------------------------
# people's own data


def own(root: Path, keys: str = "abc") -> Path:
    return written("folder", root, keys)


def test_own_pictures_of_any_kind(tmp_path):
    own(tmp_path)
    for key, suffix in (("a", ".bmp"), ("b", ".JPEG"), ("c", ".webp")):
        (tmp_path / f"images/{key}.png").unlink()
        write_image(tmp_path / f"images/{key}{suffix}", picture())
    dataset = open_dataset("folder", tmp_path)
    assert dataset.keys == ("a", "b", "c")
    for key in dataset.keys:
        assert dataset.read(key).image.shape == (6, 9, 3)


def test_own_pictures_with_the_same_key(tmp_path):
    write_image(own(tmp_path) / "images/b.jpg", picture())
    refused(InputError, "folder", tmp_path, f"{str(tmp_path / 'images')!r} has 2 pictures of 'b': 'b.jpg' and 'b.png'")
    (tmp_path / "few.txt").write_text("a\nc\n")
    assert open_dataset("folder", tmp_path, split="few").keys == ("a", "c")


def test_own_pictures_that_are_not_labelled_are_no_part(tmp_path):
    write_image(own(tmp_path) / "images/new.png", picture())
    assert open_dataset("folder", tmp_path).keys == ("a", "b", "c")


def test_own_lists_hold_keys_with_spaces(tmp_path):
    own(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / f"{folder}/b.png").rename(tmp_path / f"{folder}/my cat.png")
    (tmp_path / "test.txt").write_text("my cat\r\n\r\na\r\n")
    dataset = open_dataset("folder", tmp_path, split="test")
    assert (dataset.split, dataset.keys) == ("test", ("a", "my cat"))
    assert (
        open_dataset("folder", tmp_path).keys
        == open_dataset("folder", tmp_path, split="all").keys
        == ("a", "c", "my cat")
    )


@pytest.mark.parametrize("split", ["", ".", "..", "../val", "a/b", "a\0b"])
def test_own_lists_are_named_not_pointed_at(tmp_path, split):
    refused(InputError, "folder", own(tmp_path), "Expected the split to be the name of a list", split=split)


def test_own_data_that_are_missing(tmp_path):
    own(tmp_path)
    refused(MissingError, "folder", tmp_path, "there is no 'val.txt' in", split="val")
    (tmp_path / "val.txt").write_text("a\nz\n")
    images, truths = (str(tmp_path / f"{folder}/z{end}") for folder, end in (("images", ".*"), ("labels", ".png")))
    parts = f"1 of 2 pictures ({images!r} first)", f"1 of 2 label maps ({truths!r} first) are missing."
    refused(MissingError, "folder", tmp_path, *parts, split="val")
    (tmp_path / "images/a.png").unlink()
    refused(MissingError, "folder", tmp_path, "1 of 3 pictures")
    (tmp_path / "classes.txt").unlink()
    refused(MissingError, "folder", tmp_path, "there is no 'classes.txt' in")


@pytest.mark.parametrize(
    ("text", "background", "classes"),
    [
        ("cat\nred car\n", False, [(0, "thing", "cat"), (1, "thing", "red car")]),
        ("background\ncat\nred car\n", True, [(0, "thing", "cat"), (1, "thing", "red car")]),
        ("\ufeff# mine\n\nBackground\r\ncat\r\n", True, [(0, "thing", "cat")]),
        ("1\tstuff\tsky\n0\tthing\tcat\n", False, [(0, "thing", "cat"), (1, "stuff", "sky")]),
        ("0\tstuff\tbackground\n2\tstuff\tsky\n1\tthing\tcat\n", True, [(0, "thing", "cat"), (1, "stuff", "sky")]),
    ],
)
def test_own_classes(tmp_path, text, background, classes):
    own(tmp_path)
    (tmp_path / "classes.txt").write_bytes(text.encode())
    dataset = open_dataset("folder", tmp_path)
    assert dataset.background is background
    assert list(dataset.classes) == [ClassEntry(*each) for each in classes]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "names no class"),
        ("background\n", "names no class"),
        ("cat\nbackground\n", "can only be the first line"),
        ("1\tthing\tcat\n2\tthing\tdog\n", "expected the ids 0 to 1, each once"),
        ("0\tstuff\tbackground\n2\tthing\tdog\n", "expected the ids 1 to 1, each once"),
        ("3\tstuff\tbackground\n0\tthing\tdog\n", "expected the ids 1 to 1, each once"),
        ("background\n0\tthing\tcat\n", "0<TAB>stuff<TAB>background"),
        ("0\tcat\n", "expected id<TAB>thing|stuff<TAB>query"),
        ("0\tthing\tcat\n0\tthing\tdog\n", "same id"),
    ],
)
def test_own_classes_that_make_no_sense(tmp_path, text, part):
    own(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    refused(InputError, "folder", tmp_path, str(tmp_path / "classes.txt"), part)
