"""Pascal Context with 459 classes from MATLAB files."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import sparse
from scipy.io import loadmat, savemat

from car.data import open_dataset
from car.data.prepare import open_preparation, prepare
from car.data.prepare.matlab import read_array
from car.data.prepare.pc459 import read_label_map
from car.errors import InputError, MissingError
from tests.data.prepare_sources import read, write_list, write_mat

EVERY = np.arange(460, dtype=np.uint16).reshape(20, 23)


def run(root):
    preparation = open_preparation("pc459", root)
    return preparation, prepare(preparation)


def made(root, key):
    return root / f"VOCdevkit/VOC2010/annotations_detectron2/pc459_val/{key}.tif"


@pytest.mark.parametrize("options", [{}, {"do_compression": True}], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float64])
def test_values_are_one_less_and_none_is_void(tmp_path, options, kind):
    write_mat(tmp_path, "2008_000001", EVERY.astype(kind), **options)
    write_list(tmp_path, ["2008_000001"])
    preparation, report = run(tmp_path)
    assert preparation.keys == ["2008_000001"]
    assert report.seen == set(range(459))
    values = read(made(tmp_path, "2008_000001"))
    assert values.dtype == np.uint16
    assert values.ravel().tolist() == [65535, *range(459)]


def test_either_list_is_taken_and_only_what_it_names(tmp_path):
    for number in (1, 2, 3):
        write_mat(tmp_path, f"2008_{number:06}", EVERY)
    write_list(tmp_path, ["2008_000003", "2008_000001"], "ImageSets/SegmentationContext/val.txt")
    assert run(tmp_path)[0].keys == ["2008_000001", "2008_000003"]
    assert not made(tmp_path, "2008_000002").exists()
    write_list(tmp_path, ["2008_000002"])
    assert run(tmp_path)[0].keys == ["2008_000002"]


def test_the_reader_finds_what_was_prepared(tmp_path):
    write_mat(tmp_path, "2008_000001", EVERY)
    path = write_list(tmp_path, ["2008_000001"])
    assert run(tmp_path)[1].unpictured == 1
    (path.parent / "JPEGImages").mkdir()
    Image.new("RGB", (23, 20)).save(path.parent / "JPEGImages/2008_000001.jpg")
    assert run(tmp_path)[1].unpictured == 0
    labels = open_dataset("pc459", tmp_path).read("2008_000001").labels
    assert labels.ravel().tolist() == [65535, *range(1, 460)]


BAD = {
    "another name": ({"name": "labels"}, EVERY, "has no array called 'LabelMap'"),
    "three axes": ({}, np.zeros((2, 3, 4), np.uint16), "has a 'LabelMap' that is no array (H, W) of real numbers"),
    "cells": ({}, np.array([[{"a": 1}, "text"]], object), "has a 'LabelMap' that is no array"),
    "a structure": ({}, {"LabelMap": EVERY}, "has a 'LabelMap' that is no array"),
    "text": ({}, "LabelMap", "has a 'LabelMap' that is no array"),
    "sparse": ({}, sparse.eye(5).tocsc(), "has a 'LabelMap' that is no array"),
    "empty": ({}, np.zeros((0, 4), np.uint16), "has 0 x 4 pixels"),
    "fractions": ({}, EVERY + 0.5, "that are no whole numbers"),
    "not finite": ({}, EVERY * np.nan, "that are no whole numbers"),
    "complex": ({}, EVERY + 1j, "has a 'LabelMap' that is no array"),
    "version 4": ({"format": "4"}, EVERY, "is no MATLAB file of version 5"),
    "negative": ({}, EVERY.astype(np.int16) - 1, "values from -1 to 458; expected 0 to 459"),
    "too large": ({}, EVERY + 1, "values from 1 to 460; expected 0 to 459"),
}


@pytest.mark.parametrize(("options", "values", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_fails_alone(tmp_path, options, values, message):
    write_mat(tmp_path, "2008_000001", EVERY)
    path = write_mat(tmp_path, "2008_000002", values, **options)
    write_list(tmp_path, ["2008_000001", "2008_000002"])
    _, report = run(tmp_path)
    assert report.states == {"written": 1, "failed": 1}
    assert message in report.problems["2008_000002"]
    assert str(path) in report.problems["2008_000002"]


def test_a_missing_or_damaged_file_fails_alone(tmp_path):
    path = write_mat(tmp_path, "2008_000001", EVERY)
    path.write_bytes(path.read_bytes()[:300])
    write_list(tmp_path, ["2008_000001", "2008_000002"])
    problems = run(tmp_path)[1].problems
    assert problems["2008_000001"] == f"'{path}' is damaged: an element is longer than the file."
    assert problems["2008_000002"].endswith("2008_000002.mat': No such file or directory.")


def test_version_7_3_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n".ljust(600, b"\0"))
    with pytest.raises(InputError, match=r"x\.mat' is a MATLAB file of version 7\.3; save it as version 7 or 5\.$"):
        read_label_map(path)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_not_run(tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "x.mat"
    content = pickle.dumps({"LabelMap": Trap(trap)})
    for header in (b"", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"):
        path.write_bytes(header + content)
        with pytest.raises(InputError):
            read_label_map(path)
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()


def test_what_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    path = write_mat(tmp_path, "2008_000001", np.zeros((2000, 2000), np.uint16), do_compression=True)
    assert path.stat().st_size < 20_000
    assert not read_label_map(path).any()
    monkeypatch.setattr("car.data.prepare.matlab.MAX_BYTES", 4_000_000)
    with pytest.raises(InputError, match="has more than 4,000,000 bytes when it is unpacked"):
        read_label_map(path)
    monkeypatch.setattr("car.data.prepare.pc459.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="has more than 1,000 bytes"):
        read_label_map(path)
    monkeypatch.undo()
    monkeypatch.setattr("car.data.prepare.preparation.MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="has 2000 x 2000 pixels"):
        read_label_map(path)


@settings(max_examples=300)
@given(st.data())
def test_any_damage_is_found_or_harmless(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("mat")
    path = write_mat(root, "a", EVERY, do_compression=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(116, min(len(content), 220) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # what is damaged is packed
        packed = zlib.compress(content[128:])
        content[128:] = struct.pack("<II", 15, len(packed)) + packed
    path.write_bytes(content[: data.draw(st.integers(116, len(content)))])
    try:
        found = read_label_map(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert found.ndim == 2


@pytest.mark.parametrize("cut", [1, 3, 40])
def test_damage_in_a_packed_file_is_found(tmp_path, cut):
    path = write_mat(tmp_path, "a", EVERY, do_compression=True)
    content = path.read_bytes()
    path.write_bytes(content[:-cut] + bytes(byte ^ 0x55 for byte in content[-cut:]))
    with pytest.raises(InputError, match="is damaged"):
        read_label_map(path)
    packed = zlib.compress(zlib.decompress(content[136:]))[:-cut]
    path.write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(InputError, match="is damaged: it ends too early"):
        read_label_map(path)


@given(
    arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64]),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 100),
    ),
    st.booleans(),
)
def test_arrays_are_read_as_scipy_reads_them(values, packed):
    buffer = io.BytesIO()
    savemat(buffer, {"first": "text", "LabelMap": values, "last": [1.5]}, do_compression=packed)
    assert np.array_equal(read_array(buffer.getvalue(), "LabelMap"), loadmat(buffer)["LabelMap"])


def test_the_other_byte_order_is_read(tmp_path):
    def element(kind, content):
        return struct.pack(">II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")

    parts = [(6, struct.pack(">II", 11, 0)), (5, struct.pack(">ii", 2, 3)), (1, b"LabelMap")]
    matrix = b"".join(element(*part) for part in [*parts, (4, struct.pack(">6H", 1, 4, 2, 5, 300, 6))])
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, matrix))
    assert read_label_map(path).tolist() == [[1, 2, 300], [4, 5, 6]]
    assert loadmat(path)["LabelMap"].tolist() == [[1, 2, 300], [4, 5, 6]]


def test_missing_sources_are_named_with_their_origin(tmp_path):
    with pytest.raises(MissingError, match=r"no folder 'trainval' in .*pascal-context/trainval\.tar\.gz"):
        open_preparation("pc459", tmp_path)
    write_mat(tmp_path, "2008_000001", EVERY)
    with pytest.raises(MissingError, match=r"no 'pascalcontext_val\.txt' and no 'ImageSets/.*context59"):
        open_preparation("pc459", tmp_path)
    write_list(tmp_path, [])
    with pytest.raises(MissingError, match="no picture"):
        open_preparation("pc459", tmp_path)
    write_list(tmp_path, ["../../etc/passwd"])
    with pytest.raises(InputError, match="no plain file name"):
        open_preparation("pc459", tmp_path)
    with pytest.raises(InputError, match="has no split 'train'"):
        open_preparation("pc459", tmp_path, "train")
