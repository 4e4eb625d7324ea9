import os
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from PIL import Image, ImageFile

from car.errors import InputError
from car.io import find_images, read_image

PHOTO = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8), (42, 30))


def write(path: Path, image: np.ndarray | Image.Image, **options) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def refused(source, *parts: str, **options) -> None:
    """The source is refused in one line that holds the parts."""
    with pytest.raises(InputError) as error:
        read_image(source, **options)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("suffix", "slack", "options"),
    [
        (".png", 0, {}),
        (".bmp", 0, {}),
        (".tif", 0, {"compression": "tiff_lzw"}),
        (".ppm", 0, {}),
        (".tga", 0, {}),
        (".gif", 40, {}),
        (".webp", 0, {"lossless": True}),
        (".jpg", 20, {"quality": 95, "subsampling": 0}),
    ],
)
def test_formats(tmp_path, suffix, slack, options):
    pixels = read_image(write(tmp_path / f"photo{suffix}", PHOTO, **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.abs(pixels.astype(int) - PHOTO).max() <= slack


def test_str_path_pil_and_array_agree(tmp_path):
    path = write(tmp_path / "photo.png", PHOTO)
    for source in (str(path), path, Image.open(path), PHOTO):
        np.testing.assert_array_equal(read_image(source), PHOTO)


def test_what_is_returned_is_the_callers_own():
    pixels = PHOTO.copy()
    read_image(pixels)[:] = 0
    np.testing.assert_array_equal(pixels, PHOTO)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    scene = np.zeros((32, 64, 3), np.uint8)
    scene[:16, :16] = 255
    turned = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / f"turned{suffix}", np.ascontiguousarray(turned), exif=exif)
    assert np.abs(read_image(path).astype(int) - scene).max() < 60


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"MM\0*\0\0\0\x08\xff\xff\x01\x12", b"no TIFF at all", b"II"])
def test_broken_exif_does_not_lose_the_picture(tmp_path, exif):
    path = write(tmp_path / "odd.png", PHOTO, exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(read_image(path), PHOTO)


def test_grey_alpha_palette_and_bilevel(tmp_path):
    grey = PHOTO[:, :, 0]
    np.testing.assert_array_equal(read_image(write(tmp_path / "l.png", grey)), grey[:, :, None].repeat(3, 2))
    bits = Image.fromarray(grey > 128)
    assert bits.mode == "1"
    np.testing.assert_array_equal(read_image(write(tmp_path / "1.png", bits))[:, :, 1], 255 * (grey > 128))
    palette = Image.fromarray(PHOTO).quantize(8)
    np.testing.assert_array_equal(read_image(write(tmp_path / "p.png", palette)), np.array(palette.convert("RGB")))


def test_transparency_is_put_on_white(tmp_path):
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    rgba[:10, :, 3], rgba[10:20, :, 3] = 0, 128
    expected = PHOTO.astype(float)
    expected[:10] = 255
    expected[10:20] = (PHOTO[10:20] * 128.0 + 255 * 127) / 255
    for source in (
        rgba,
        write(tmp_path / "rgba.png", rgba),
        write(tmp_path / "a.webp", rgba, lossless=True, exact=True),
    ):
        assert np.abs(read_image(source) - expected).max() <= 0.5
    la = Image.fromarray(rgba).convert("LA")
    assert (read_image(write(tmp_path / "la.png", la))[:10] == 255).all()
    assert (read_image(la.convert("La"))[:10] == 255).all()
    palette = Image.fromarray(rgba[:, :, 0]).convert("P")
    transparent = palette.getpixel((0, 0))
    path = write(tmp_path / "p.png", palette, transparency=transparent)
    assert (read_image(path)[np.asarray(palette) == transparent] == 255).all()
    path = write(tmp_path / "rgb.png", PHOTO, transparency=tuple(PHOTO[3, 3].tolist()))
    assert (read_image(path)[3, 3] == 255).all()


def test_cmyk(tmp_path):
    cmyk = Image.fromarray(PHOTO).convert("CMYK")
    for path, slack in (
        (write(tmp_path / "c.jpg", cmyk, quality=95, subsampling=0), 40),
        (write(tmp_path / "c.tif", cmyk), 0),
    ):
        with Image.open(path) as image:
            assert image.mode == "CMYK"
        assert np.abs(read_image(path).astype(int) - PHOTO).max() <= slack


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 42 * 30).reshape(30, 42).astype(np.uint16)
    expected = np.rint(ramp / 257)[:, :, None].repeat(3, 2)
    for source in (ramp, write(tmp_path / "g.png", ramp), write(tmp_path / "g.tif", ramp)):
        np.testing.assert_array_equal(read_image(source), expected)
    color = tmp_path / "c.png"
    cv2.imwrite(str(color), ramp[:, :, None].repeat(3, 2))
    assert np.abs(read_image(color) - expected).max() <= 1
    np.testing.assert_array_equal(read_image(Image.fromarray(ramp.astype(np.int32))), expected)


def test_float_pictures(tmp_path):
    unit = np.linspace(0, 1, 42 * 30, dtype=np.float32).reshape(30, 42)
    expected = np.rint(unit * 255)[:, :, None].repeat(3, 2)
    for picture in (unit, unit * 255, 1000 * unit - 300):
        path = write(tmp_path / "f.tif", picture)
        with Image.open(path) as image:
            assert image.mode == "F"
        assert np.abs(read_image(path) - expected).max() <= 1
    assert read_image(Image.fromarray(np.full((2, 2), -7.0, np.float32))).max() == 0
    refused(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "finite")


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_every_dtype_gives_the_same_bytes(grey):
    expected = grey[:, :, None].repeat(3, 2)
    wide = grey.astype(np.uint16) * 257
    for pixels in (grey, grey[:, :, None], expected, wide, grey / 255, (grey / 255).astype(np.float32)):
        np.testing.assert_array_equal(read_image(pixels), expected)
    np.testing.assert_array_equal(read_image(grey > 99), 255 * (expected > 99))


@pytest.mark.parametrize(
    ("pixels", "part"),
    [
        (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
        (np.zeros((3, 4, 4, 3), np.uint8), "(3, 4, 4, 3)"),
        (np.zeros((3, 4, 5), np.uint8), "(3, 4, 5)"),
        (np.zeros(7, np.uint8), "(7,"),
        (np.zeros((3, 4), np.int64), "int64"),
        (np.full((3, 4), 1.5), "1.5"),
        (np.full((3, 4), np.nan), "nan"),
        (np.full((3, 4), "x"), "<U1"),
    ],
)
def test_arrays_that_are_no_image(pixels, part):
    refused(pixels, part)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_the_first_frame(tmp_path, kind):
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (40, 120, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "many", kind, save_all=True, append_images=frames[1:], **options)
    pixels = read_image(tmp_path / "many")
    assert pixels.shape == (20, 30, 3)
    assert (pixels == 40).all()


def test_files_that_are_no_image(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("These are notes.\n" * 20)
    refused(text, "notes.jpg", "not an image")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty.png", "empty (0 bytes)")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none.png", "none.png", "No such file")
    refused("", "folder")
    refused("a\0b.png", "null")
    refused(tmp_path / ("x" * 300), "too long")
    refused(None, "NoneType")
    postscript = tmp_path / "page.eps"
    postscript.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    refused(postscript, "not an image")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "not a regular file")


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path):
    refused(tmp_path / "two\nlines.png", "two\\nlines.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission(tmp_path):
    path = write(tmp_path / "secret.png", PHOTO)
    path.chmod(0)
    refused(path, "secret.png", "Permission denied")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "ppm"])
def test_truncated_files(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = write(tmp_path / f"whole.{suffix}", noise).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in (0.02, 0.5, 0.8):
        cut.write_bytes(content[: int(share * len(content))])
        refused(cut, f"cut.{suffix}")


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=1, max_side=200)))
def test_damaged_files_never_surprise(tmp_path_factory, damage):
    buffer = BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    at = 16 + int(damage[0])
    content[at : at + len(damage)] = damage.tobytes()
    path = tmp_path_factory.mktemp("damaged") / "damaged.png"
    path.write_bytes(content)
    try:
        pixels = read_image(path)
    except InputError:
        return
    assert pixels.dtype == np.uint8


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG whose header promises far more pixels than there are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_bombs_are_refused_before_decoding(tmp_path, monkeypatch, recwarn):
    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    refused(bomb(tmp_path / "bomb.png", 60000, 60000), "bomb.png", "60000 x 60000", "178,956,970")
    refused(write(tmp_path / "photo.png", PHOTO), "42 x 30", max_pixels=42 * 30 - 1)
    refused(PHOTO, "42 x 30", max_pixels=42 * 30 - 1)
    assert not recwarn.list


def test_the_limit_is_the_callers_and_not_pillows(tmp_path, monkeypatch, recwarn):
    path = write(tmp_path / "photo.png", PHOTO)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(read_image(path, max_pixels=42 * 30), PHOTO)
    assert not recwarn.list


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """photos with numbers, a sub-folder, and what is no input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/sub").mkdir(parents=True)
    for name in ("b10.png", "b2.PNG", "a.jpg", "[x].png", "sub/c.png"):
        write(tmp_path / "in" / name, PHOTO, format="PNG")
    (tmp_path / "in/a.masks").mkdir()
    for name in (
        ".hidden.png",
        "notes.txt",
        "a.overlay.png",
        "a.labels.png",
        "a.step2.explain.png",
        "a.json",
        "a.masks/cat.png",
    ):
        write(tmp_path / "in" / name, PHOTO, format="PNG")
    return tmp_path / "in"


def names(*patterns, **options) -> list[str]:
    return [path.as_posix() for path in find_images(patterns, **options)]


def test_folders_are_in_natural_order(folder):
    assert names("in") == ["in/[x].png", "in/a.jpg", "in/b2.PNG", "in/b10.png"]
    assert names(folder, recursive=True)[-1] == (folder / "sub/c.png").as_posix()
    assert len(names(folder, recursive=True)) == 5


def test_globs_and_files(folder):
    assert names("in/b*") == ["in/b2.PNG", "in/b10.png"]
    assert names("in/**/*.png") == ["in/[x].png", "in/b10.png", "in/sub/c.png"]
    assert names("in/[x].png") == ["in/[x].png"]
    assert names("in/notes.txt") == ["in/notes.txt"]
    assert names("in/a.overlay.png", "in/.hidden.png") == ["in/a.overlay.png", "in/.hidden.png"]


def test_each_image_once_in_the_order_asked(folder):
    assert names("in/b10.png", "in/sub/../b10.png", folder / "a.jpg", "in")[:2] == [
        "in/b10.png",
        (folder / "a.jpg").as_posix(),
    ]
    assert len(names("in/b10.png", "in/sub/../b10.png", folder / "a.jpg", "in")) == 4


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("none.png", "No such file or folder: 'none.png'"),
        ("", "No such file or folder: ''"),
        ("in/*.webp", "No image matches 'in/*.webp'"),
        ("in/*.txt", "No image matches"),
        ("x" * 300, "too long"),
    ],
)
def test_patterns_without_images(folder, pattern, part):
    with pytest.raises(InputError, match=re.escape(part)):
        find_images(["in", pattern])


def test_folders_without_images(folder):
    (folder / "bare/deeper").mkdir(parents=True)
    write(folder / "bare/deeper/x.png", PHOTO)
    with pytest.raises(InputError, match="holds no image"):
        find_images([folder / "bare"])
    assert len(find_images([folder / "bare"], recursive=True)) == 1
