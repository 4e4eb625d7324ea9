"""Images in: any file, PIL image or array becomes uint8 RGB; files, folders and globs become paths."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image

from car.errors import InputError

logger = logging.getLogger(__name__)

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused unless the caller raises the limit; Pillow's own limit is the same."""

# fmt: off
IMAGE_SUFFIXES = frozenset((
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".jpx", ".jxl", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
))

# Pictures only: what Pillow could open besides runs other programs (EPS) or reads data that is no picture.
# HEIF and JXL need a plugin that the caller registered. TGA comes last: without a signature, it
# tries anything.
_FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "PSD", "PCX", "SGI", "DIB",
    "HEIF", "JXL", "TGA",
)
# fmt: on
_WRITTEN = re.compile(r"\.(overlay|labels|explain)\.png$")
_SIGNATURE_BYTES = 16
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FLOAT_SLACK = 1e-3

ImageSource = str | Path | Image.Image | np.ndarray
"""What `read_image` reads."""


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read any image as RGB.

    Args:
        source: a file; a PIL image of any mode; or an array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4)
            RGBA of dtype uint8, uint16, bool, or float with values in [0, 1].
            Orientation in EXIF is applied, transparency is put on white, 16-bit and float values are scaled
            to [0, 255], and of an animation the first frame is read. Float pictures outside [0, 1] and
            [0, 255], and integer ones outside [0, 65535], are stretched from their least to their greatest
            value.
        max_pixels: the largest H * W to read; checked before anything is decoded.

    Returns:
        (H, W, 3) uint8 RGB, contiguous, owned by the caller.

    Raises:
        InputError: no such file, no image, damaged, empty, or too large; one line that names the file.

    >>> read_image(np.array([[False, True]])).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, _name(getattr(source, "filename", "")))
    if not isinstance(source, str | Path):
        raise InputError(f"Expected an image (path, PIL image, numpy array), but got {type(source).__name__}.")
    path = Path(source)
    name = repr(str(source))
    try:
        _check_file(path, name)
        with path.open("rb") as stream:
            return _decode(_identify(stream, name), max_pixels, name)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(name, error) from error


def find_images(patterns: Iterable[str | Path], *, recursive: bool = False) -> list[Path]:
    """Resolve files, folders and globs to image files, each once.

    A file is taken whatever its name. Of folders, and of what a glob (`*`, `?`, `[...]`, `**`) matches, only
    files with an image's suffix are taken, without hidden ones and without pictures that `car` itself wrote.

    Args:
        patterns: what to look for; their order is kept, what one finds is in natural order (2 before 10).
        recursive: look into the folders of folders as well.

    Raises:
        InputError: a pattern matches no image.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        try:
            paths = _resolve(pattern, recursive)
        except OSError as error:
            raise _unreadable(repr(str(pattern)), error) from error
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _resolve(pattern: str | Path, recursive: bool) -> list[Path]:
    path, name = Path(pattern), repr(str(pattern))
    if path.is_dir() and str(pattern):
        nothing = f"The folder {name} holds no image{'' if recursive else ' (its folders were not searched)'}."
        candidates: Iterable[Path] = _walk(path) if recursive else path.iterdir()
    elif path.exists() and str(pattern):
        return [path]
    elif glob.has_magic(str(pattern)):
        nothing = f"No image matches {name}."
        candidates = map(Path, glob.iglob(str(pattern), recursive=True))
    else:
        raise InputError(f"No such file or folder: {name}.")
    images = sorted(filter(_looks_like_image, candidates), key=_natural)
    if not images:
        raise InputError(nothing)
    return images


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files)


def _looks_like_image(path: Path) -> bool:
    if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
        return False
    if _WRITTEN.search(path.name) or path.parent.suffix == ".masks":
        logger.info("Left out %s: a picture of an earlier result.", path)
        return False
    return True


def _natural(path: Path) -> list[tuple[tuple[int, int, str], ...]]:
    return [tuple(map(_piece, re.split(r"(\d+)", part))) for part in path.parts]


def _piece(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text.casefold())


def _name(filename: str | Path) -> str:
    return repr(str(filename)) if filename else "the given image"


def _unreadable(name: str, error: OSError | ValueError) -> InputError:
    return InputError(_one_line(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}."))


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _check_file(path: Path, name: str) -> None:
    if path.is_dir():
        raise InputError(f"{name} is a folder, not an image.")
    if path.exists() and not path.is_file():
        raise InputError(f"{name} is not a regular file.")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes).")


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{name} has {width} x {height} pixels, more than the limit of {max_pixels:,}; "
            "make it smaller, or raise the limit (max_pixels)."
        )


def _identify(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header; not by `Image.open`, whose size limit is a global and which tries every format."""
    Image.init()
    prefix = stream.read(_SIGNATURE_BYTES)
    reason = "is not an image in a format that can be read"
    for image_format in filter(Image.OPEN.__contains__, _FORMATS):
        factory, accept = Image.OPEN[image_format]
        accepted = accept is None or accept(prefix)
        if isinstance(accepted, str):  # recognised, but this Pillow was built without the reader
            reason = f"cannot be read: {accepted}"
        elif accepted:
            stream.seek(0)
            try:
                return factory(stream, "")
            except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
                if accept is not None:
                    reason = f"looks like {image_format} but is damaged ({error})"
    raise InputError(_one_line(f"{name} {reason}."))


def _decode(image: Image.Image, max_pixels: int, name: str) -> np.ndarray:
    _check_size(*image.size, max_pixels, name)
    try:
        image.load()
        return _to_rgb(_upright(image))
    except Exception as error:  # as above
        raise InputError(_one_line(f"Cannot decode {name}: {error or type(error).__name__}")) from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation in EXIF, read alone: a fault elsewhere in the EXIF data must not lose it."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # not worth refusing a picture for
        logger.warning("Ignored unreadable EXIF data: %s", error)
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        return _from_array(_stretch(np.asarray(image)))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _stretch(values: np.ndarray) -> np.ndarray:
    """Bring the values of an "I" or "F" picture, which have no agreed range, to [0, 1]."""
    if not np.isfinite(values).all():
        raise InputError("it has values that are not finite (NaN or infinity).")
    low, high = float(values.min()), float(values.max())
    full = 65535.0 if values.dtype.kind == "i" else 1.0 if high <= 1 else 255.0
    if low >= 0 and high <= full:
        return values / full
    return (values.astype(np.float64) - low) / max(high - low, float(np.finfo(np.float32).tiny))


def _from_array(pixels: np.ndarray, max_pixels: int | None = None) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise InputError(f"Expected an image array (H, W) or (H, W, 1 | 3 | 4), but got shape {pixels.shape}.")
    if max_pixels is not None:
        _check_size(pixels.shape[1], pixels.shape[0], max_pixels, "The image array")
    pixels = _to_bytes(pixels)
    if pixels.shape[2] == 4:
        return _on_white(pixels)
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), order="C")


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Values of any accepted dtype as uint8, rounded to nearest."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.dtype.kind != "f":
        raise InputError(f"Expected an image of uint8, uint16, bool or float in [0, 1], but got {pixels.dtype}.")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -_FLOAT_SLACK and high <= 1 + _FLOAT_SLACK):
        raise InputError(f"Expected float image values in [0, 1], but got values from {low:g} to {high:g}.")
    return np.rint(pixels.clip(0, 1).astype(np.float32) * 255).astype(np.uint8)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    blended = rgba[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
