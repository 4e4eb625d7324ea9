import struct
import zlib
from pathlib import Path

import cv2
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from car.data import IGNORE
from car.data.labels import Coding, decode, described, map_values, open_map
from car.errors import InputError
from car.palette import voc_palette

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("labels")


def read(path: Path) -> np.ndarray:
    with open_map(path) as label_map:
        return map_values(label_map)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)
    for part in (str(path), *parts):
        assert part in str(error.value)


def small_grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits, which Pillow and OpenCV cannot write."""
    height, width = values.shape
    rows = np.unpackbits(values[:, :, None], axis=2)[:, :, -bits:].reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in np.packbits(rows, axis=1))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(data))]
    chunks.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@given(hnp.arrays(np.uint8, SHAPES), st.sampled_from(["palette", "grey", "opencv", "tiff"]))
def test_8_bits_survive(folder, values, form):
    path = folder / ("map.tif" if form == "tiff" else "map.png")
    image = Image.fromarray(values)
    if form == "opencv":
        cv2.imwrite(str(path), values)
    else:
        if form == "palette":
            image.putpalette(voc_palette().tobytes())
        image.save(path)
    assert np.array_equal(read(path), values)
    assert read(path).dtype == np.uint8


@given(hnp.arrays(np.uint16, SHAPES), st.sampled_from(["png", "tif", "opencv png", "opencv tif", "big-endian tif"]))
def test_16_bits_survive(folder, values, form):
    path = folder / f"map.{form.split()[-1]}"
    if form.startswith("opencv"):
        cv2.imwrite(str(path), values)
    elif form.startswith("big"):
        Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(values).save(path)
    assert np.array_equal(read(path), values)
    assert read(path).dtype == np.uint16


@given(
    st.sampled_from([1, 2, 4]).flatmap(
        lambda bits: st.tuples(st.just(bits), hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2**bits - 1)))
    )
)
def test_grey_of_few_bits_is_not_stretched(folder, case):
    bits, values = case
    path = folder / "few.png"
    path.write_bytes(small_grey_png(values, bits))
    assert np.array_equal(read(path), values)


@given(hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 3)), st.sampled_from([1, 2, 4]))
def test_palettes_of_few_bits_keep_their_indices(folder, values, bits):
    path = folder / "few.png"
    image = Image.fromarray(values & (2**bits - 1))
    image.putpalette(voc_palette(4).tobytes())
    image.save(path, bits=bits)
    assert np.array_equal(read(path), values & (2**bits - 1))


def test_a_transparent_palette_keeps_its_indices(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(values)
    image.putpalette(voc_palette().tobytes())
    image.save(tmp_path / "map.png", transparency=3)
    assert np.array_equal(read(tmp_path / "map.png"), values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_pictures_are_refused(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "map.png")
    refused(tmp_path / "map.png", f"no label map but a picture ({mode})", "palette or grey PNG of 8 or 16 bits")


def test_fractions_and_large_numbers_are_refused(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "map.tif")
    refused(tmp_path / "map.tif", "a picture (F)")
    Image.fromarray(np.full((3, 4), 70_000, np.int32)).save(tmp_path / "map.tif")
    refused(tmp_path / "map.tif", "values from 70000 to 70000", "below 65536")
    Image.fromarray(np.full((3, 4), 7, np.int32)).save(tmp_path / "map.tif")
    assert read(tmp_path / "map.tif").tolist() == [[7] * 4] * 3


def test_what_cannot_be_read_is_said(tmp_path):
    refused(tmp_path / "gone.png", "No such file")
    (tmp_path / "map.png").write_bytes(b"")
    refused(tmp_path / "map.png", "damaged, or no PNG or TIFF")
    Image.new("L", (4, 3)).save(tmp_path / "map.jpg")
    refused(tmp_path / "map.jpg", "damaged, or no PNG or TIFF")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(tmp_path / "map.png")
    whole = (tmp_path / "map.png").read_bytes()
    (tmp_path / "map.png").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "map.png", "Cannot read", "truncated")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "Is a directory")


@st.composite
def coded(draw):
    """A coding, a number of classes that fits the dtype, whether 0 is scored, and values in range."""
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    coding = Coding(first=draw(st.sampled_from([0, 1])), void=draw(st.booleans()))
    top = int(np.iinfo(dtype).max)
    classes = draw(st.integers(1, min(top - 2, 900)))
    allowed = [st.integers(0, coding.first + classes - 1), *([st.just(top)] if coding.void else [])]
    values = draw(hnp.arrays(dtype, SHAPES, elements=st.one_of(allowed)))
    return coding, classes, draw(st.booleans()), values


@given(coded())
def test_decoding_by_definition(case):
    coding, classes, background, values = case
    labels = decode(values, coding, classes, background=background)
    assert labels.dtype == np.uint16
    for value, label in zip(values.ravel().tolist(), labels.ravel().tolist(), strict=True):
        if coding.void and value == np.iinfo(values.dtype).max:
            assert label == IGNORE
        elif value >= coding.first:
            assert label == value - coding.first + 1
        else:
            assert label == (0 if background else IGNORE)


@settings(max_examples=50)
@given(coded(), st.data())
def test_one_value_out_of_range_is_found(case, data):
    coding, classes, background, values = case
    top = int(np.iinfo(values.dtype).max)
    wrong = data.draw(st.integers(coding.first + classes, top - coding.void))
    row, column = (data.draw(st.integers(0, side - 1)) for side in values.shape)
    values[row, column] = wrong
    with pytest.raises(InputError, match=rf"has the value {wrong} at row \d+, column \d+; it may have "):
        decode(values, coding, classes, background=background)


def test_classes_that_8_bits_cannot_name():
    labels = decode(np.array([[254, 255]], np.uint8), Coding(), 300, background=False)
    assert labels.tolist() == [[254, IGNORE]]
    labels = decode(np.array([[254, 255, 300, 65535]], np.uint16), Coding(), 300, background=False)
    assert labels.tolist() == [[254, 255, 300, IGNORE]]
    assert "1 to 254 (the classes), 255 (not counted)" in described(Coding(), 300, background=False, words=False)


def test_what_values_mean():
    assert described(Coding(0), 847, background=False, words=True) == "0 to 846 (the classes), 65535 (not counted)"
    assert described(Coding(void=False), 150, background=False, words=False) == (
        "0 (other, not counted), 1 to 150 (the classes)"
    )
