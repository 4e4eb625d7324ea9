"""Ref-DAVIS 2017: frames, label maps, and four files of expressions in two encodings."""

import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.data import open_referring, open_video
from car.data.refdavis import ANNOTATORS, read_texts
from car.errors import InputError, MissingError
from car.io import read_image
from tests.data.writing import picture, write_image
from tests.data.writing_referring import TEXTS, write_davis

DOGS = [np.array([[0, 1, 1, 255], [2, 2, 0, 0], [0, 0, 3, 3]]), np.array([[0, 0, 1, 1], [2, 0, 0, 0], [0, 255, 3, 0]])]
CAR = [np.array([[0, 1], [1, 1]])] * 3
SEQUENCES = {"dogs-jump": DOGS, "classic-car": CAR}


def written(root: Path, **options: object) -> Path:
    write_davis(root, SEQUENCES, **options)
    return root


def refused(kind: type[Exception], root: Path, *parts: str, **options: str) -> str:
    with pytest.raises(kind) as error:
        open_video("ref-davis17", root, **options)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def test_frames_and_labels(tmp_path):
    dataset = open_video("ref-davis17", written(tmp_path))
    assert (dataset.name, dataset.split, dataset.variant) == ("ref-davis17", "val", "unsupervised")
    assert dataset.root == tmp_path
    assert dataset.keys == ("classic-car", "dogs-jump")
    frames = list(dataset.frames("dogs-jump"))
    assert [frame.name for frame in frames] == ["00000", "00001"]
    for frame, labels in zip(frames, DOGS, strict=True):
        path = tmp_path / f"JPEGImages/480p/dogs-jump/{frame.name}.jpg"
        assert np.array_equal(frame.image, read_image(path))
        assert frame.labels.dtype == np.uint8
        assert np.array_equal(frame.labels, labels)
    assert len(list(dataset.frames("classic-car"))) == 3


def test_expressions_of_four(tmp_path):
    dataset = open_video("ref-davis17", written(tmp_path))
    assert dataset.annotators == tuple(ANNOTATORS) == ("annot1", "annot1_full_video", "annot2", "annot2_full_video")
    (tmp_path / "davis_text_annotations/Davis17_annot2.txt").write_bytes(
        b'clasic-car 1 "the caf\xe9 car"\r\ndogs-jump 10 "tenth"\ndogs-jump 2 "a \x93big\x94 dog"\n\n'
        b'  dogs-jump   1   "the   left dog "  \nunknown 1 "elsewhere"\n'
    )
    (tmp_path / "davis_text_annotations/Davis17_annot1_full_video.txt").write_text(
        '\ufeffclassic-car 1 "\u4eba"\ndogs-jump 3 no quotes\ndogs-jump 1 “left”\n', encoding="utf-8"
    )
    dataset = open_video("ref-davis17", tmp_path)
    assert dataset.expressions("classic-car", "annot2") == {1: "the caf\xe9 car"}
    said = dataset.expressions("dogs-jump", "annot2")
    assert list(said.items()) == [(1, "the left dog"), (2, "a \x93big\x94 dog"), (10, "tenth")]
    assert dataset.expressions("classic-car", "annot1_full_video") == {1: "\u4eba"}
    assert list(dataset.expressions("dogs-jump", "annot1_full_video").items()) == [(1, "left"), (3, "no quotes")]
    assert dataset.expressions("dogs-jump", "annot1") == {i: f"thing {i} of dogs-jump" for i in (1, 2, 3)}


def test_known_misspellings(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text('clasic-car 1 "a"\ndog-scale 1 "b"\nmotor-bike 1 "c"\nmotorbike 2 "d"\n')
    assert read_texts(path, "utf-8") == {
        "classic-car": {1: "a"},
        "dogs-scale": {1: "b"},
        "motorbike": {1: "c", 2: "d"},
    }


words = st.text(st.characters(max_codepoint=255, categories=("L", "N")), min_size=1, max_size=8)


@given(
    st.dictionaries(st.integers(1, 254), st.lists(words, min_size=1, max_size=6).map(" ".join), min_size=1, max_size=5)
)
def test_any_latin_expressions_come_back(tmp_path_factory, said):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_bytes("".join(f'bear {id} "{text}"\n' for id, text in said.items()).encode("latin-1"))
    assert list(read_texts(path, "latin-1")["bear"].items()) == sorted(said.items())


def test_either_annotations(tmp_path):
    written(tmp_path)
    other = {key: [np.where(labels == 255, 0, labels) for labels in maps] for key, maps in SEQUENCES.items()}
    write_davis(tmp_path, other, annotations="Annotations")
    semi = open_video("ref-davis17", tmp_path, annotations="semi-supervised")
    assert semi.variant == "semi-supervised"
    assert np.array_equal(next(semi.frames("dogs-jump")).labels, other["dogs-jump"][0])
    default = open_video("ref-davis17", tmp_path, annotations="unsupervised")
    assert np.array_equal(next(default.frames("dogs-jump")).labels, DOGS[0])
    shutil.rmtree(tmp_path / "Annotations")
    message = refused(
        MissingError,
        tmp_path,
        f"there is no 'Annotations/480p' in {str(tmp_path)!r}. Get DAVIS-2017-trainval-480p.zip (https://",
        f"`car data check ref-davis17 --data-root {tmp_path} --annotations semi-supervised` shows",
        annotations="semi-supervised",
    )
    assert "Unsupervised" not in message
    refused(InputError, tmp_path, "ref-davis17 has no annotations 'full'. Available: unsupervised, semi-supervised.",
            annotations="full")  # fmt: skip


def test_splits(tmp_path):
    written(tmp_path, split="train")
    assert open_video("ref-davis17", tmp_path, split="train").split == "train"
    refused(MissingError, tmp_path, f"there is no 'ImageSets/2017/val.txt' in {str(tmp_path)!r}. Get DAVIS-2017-Unsup")
    refused(InputError, tmp_path, "ref-davis17 has no split 'test-dev'. Available: train, val.", split="test-dev")


@pytest.mark.parametrize(
    ("base", "texts"),
    [
        ("", "davis_text_annotations"),
        ("", "."),
        ("", "../davis_text_annotations"),
        ("DAVIS", "davis_text_annotations"),
        ("DAVIS", "DAVIS/davis_text_annotations"),
        ("ref-davis/DAVIS", "ref-davis/davis_text_annotations"),
    ],
)
def test_places_where_people_have_it(tmp_path, base, texts):
    root = tmp_path / "root"
    written(root / base, texts=root / texts)
    dataset = open_video("ref-davis17", root)
    assert dataset.keys == ("classic-car", "dogs-jump")
    assert dataset.images == root / base / "JPEGImages/480p"


def test_nothing_is_there(tmp_path):
    refused(
        MissingError,
        tmp_path,
        "ref-davis17: there is no 'ImageSets/2017/val.txt' and no 'JPEGImages/480p' and no 'Annotations_unsupervised/",
        "DAVIS-2017-Unsupervised-trainval-480p.zip (https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-Unsup",
        "davis_text_annotations.zip (https://www.mpi-inf.mpg.de/",
    )
    refused(MissingError, tmp_path / "no", f"{str(tmp_path / 'no')!r} does not exist. Get ")


@pytest.mark.parametrize("file", TEXTS)
def test_texts_that_are_missing(tmp_path, file):
    written(tmp_path)
    path = tmp_path / f"davis_text_annotations/{file}.txt"
    path.unlink()
    message = refused(MissingError, tmp_path, f"there is no 'davis_text_annotations/{file}.txt' in ", "Get davis_text_")
    assert "trainval" not in message
    path.write_text('classic-car 1 "it"\n')
    refused(InputError, tmp_path, f"{str(path)!r} says nothing of 1 sequences ('dogs-jump' first).")


def test_frames_that_are_missing(tmp_path):
    written(tmp_path)
    frame = tmp_path / "JPEGImages/480p/dogs-jump/00001.jpg"
    truth = tmp_path / "Annotations_unsupervised/480p/classic-car/00002.png"
    truth.rename(tmp_path / "truth.png")
    refused(
        MissingError, tmp_path, f"1 of 3 label maps ({str(truth)!r} first) are missing. Get DAVIS-2017-Unsupervised"
    )
    (tmp_path / "truth.png").rename(truth)
    frame.unlink()
    refused(MissingError, tmp_path, f"1 of 2 frames ({str(frame)!r} first) are missing.")
    shutil.rmtree(frame.parent)
    refused(MissingError, tmp_path, f"1 of 2 sequences ({str(frame.parent)!r} first) are missing.")
    frame.parent.mkdir()
    shutil.rmtree(tmp_path / "Annotations_unsupervised/480p/dogs-jump")
    (tmp_path / "Annotations_unsupervised/480p/dogs-jump").mkdir()
    refused(MissingError, tmp_path, f"there is no frame in {str(frame.parent)!r}.")
    frame.parent.rmdir()
    frame.parent.touch()
    refused(InputError, tmp_path, f"Cannot read the folder {str(frame.parent)!r}: Not a directory.")


def test_other_files_among_the_frames(tmp_path):
    written(tmp_path)
    for path in ("JPEGImages/480p/dogs-jump/._00000.jpg", "JPEGImages/480p/dogs-jump/Thumbs.db"):
        (tmp_path / path).touch()
    assert [frame.name for frame in open_video("ref-davis17", tmp_path).frames("dogs-jump")] == ["00000", "00001"]


@pytest.mark.parametrize("key", ["../x", "a/b", "..", "."])
def test_sequences_that_lead_elsewhere(tmp_path, key):
    path = written(tmp_path) / "ImageSets/2017/val.txt"
    path.write_text(f"{key}\n")
    refused(InputError, tmp_path, f"{str(path)!r} names {key!r}, which cannot be a sequence.")
    path.write_text("\n")
    refused(MissingError, tmp_path, f"{str(path)!r} names no sequence.")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("dogs-jump", "line 2: expected SEQUENCE ID \"EXPRESSION\", but got 'dogs-jump'."),
        ("dogs-jump 1", "line 2: expected SEQUENCE ID"),
        ('dogs-jump 1 ""', "line 2: expected SEQUENCE ID"),
        ('dogs-jump one "it"', "line 2: expected SEQUENCE ID"),
        ('dogs-jump 0 "it"', "line 2: expected SEQUENCE ID"),
        ('dogs-jump 255 "it"', "line 2: expected SEQUENCE ID"),
        ('dogs-jump -1 "it"', "line 2: expected SEQUENCE ID"),
        ('clasic-car 1 "it"', "line 2: object 1 of clasic-car is there twice."),
    ],
)
def test_texts_that_make_no_sense(tmp_path, line, part):
    path = written(tmp_path) / "davis_text_annotations/Davis17_annot2.txt"
    path.write_text(f'classic-car 1 "it"\n{line}\n')
    refused(InputError, tmp_path, f"{str(path)!r}, {part}")


def test_texts_that_cannot_be_read(tmp_path):
    written(tmp_path)
    path = tmp_path / "davis_text_annotations/Davis17_annot1.txt"
    path.write_bytes(b'classic-car 1 "caf\xe9"\n')
    refused(InputError, tmp_path, f"Cannot read {str(path)!r}: it is not text in utf-8-sig.")
    path.unlink()
    path.mkdir()
    refused(InputError, tmp_path, f"Cannot read {str(path)!r}: Is a directory.")


def test_frames_that_cannot_be_read(tmp_path):
    written(tmp_path)
    truth = tmp_path / "Annotations_unsupervised/480p/dogs-jump/00001.png"
    frame = tmp_path / "JPEGImages/480p/dogs-jump/00001.jpg"
    dataset = open_video("ref-davis17", tmp_path)

    def second(part: str) -> None:
        frames = dataset.frames("dogs-jump")
        assert next(frames).name == "00000"
        with pytest.raises(InputError) as error:
            next(frames)
        assert str(error.value).startswith(part)
        assert "\n" not in str(error.value)

    write_image(truth, Image.fromarray(np.zeros((3, 5), np.uint8)))
    second(f"{str(truth)!r} has 5 x 3 pixels, but its frame {str(frame)!r} 4 x 3.")
    write_image(truth, picture(size=(3, 4)))
    second(f"{str(truth)!r} is no label map but a picture (RGB)")
    write_image(truth, Image.fromarray(np.full((3, 4), 300, np.uint16)))
    second(f"{str(truth)!r} has 16 bits a pixel; expected objects 1 to 254, and 255 for what is not counted.")
    truth.write_bytes(b"\x89PNG")
    second(f"{str(truth)!r} is damaged, or no PNG or TIFF.")
    frame.write_bytes(b"")
    second(f"{str(frame)!r} is empty (0 bytes).")
    with pytest.raises(InputError, match=r"^ref-davis17 has no sequence 'bear' in its split 'val'\.$"):
        next(dataset.frames("bear"))
    with pytest.raises(InputError, match=r"^ref-davis17 has no sequence 'bear' in its split 'val'\.$"):
        dataset.expressions("bear", "annot1")
    with pytest.raises(InputError, match=r"^ref-davis17 has no annotator 'annot3'\. Available: annot1, annot1_full"):
        dataset.expressions("dogs-jump", "annot3")


def test_frames_come_one_by_one(tmp_path):
    size = (480, 640)
    write_davis(tmp_path, {"long": [np.ones(size, int)] * 12})
    dataset = open_video("ref-davis17", tmp_path)
    for _ in dataset.frames("long"):  # what is imported and cached on the way is not counted
        pass
    tracemalloc.start()
    for _ in dataset.frames("long"):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * size[0] * size[1] * 4


def test_datasets_can_be_pickled(tmp_path):
    dataset = open_video("ref-davis17", written(tmp_path))
    again = pickle.loads(pickle.dumps(dataset))
    assert again == dataset
    assert len(list(again.frames("classic-car"))) == 3


def test_it_is_no_benchmark_of_pictures(tmp_path):
    with pytest.raises(InputError, match=r"^ref-davis17 is a benchmark of video; `open_video` opens it\.$"):
        open_referring("ref-davis17", tmp_path)
    refused(InputError, tmp_path, "ref-davis17 has no split ''", split="")
