"""One array of numbers out of a MATLAB file of version 5, and nothing else.

scipy reads all that such files can hold, but on some damaged ones it crashes the process; the little that a label map
needs is read here, with every length checked.

The file is a header of 128 bytes and elements: a tag of type and length, then the content, padded to 8 bytes. A type of
15 is another element, packed by zlib. A matrix (14) has elements of its own: flags, axes, name, values.
"""

import struct
import zlib
from collections.abc import Iterator
from math import prod

import numpy as np

from car.data.prepare.preparation import check_pixels
from car.errors import InputError

MAX_BYTES = 256 * 1024**2
"""The most that an element may unpack to."""

_HEADER = 128
_PACKED, _MATRIX = 15, 14
_COMPLEX = 0x08
_CLASSES = range(6, 16)  # double, single, and integers of 8 to 64 bits
_VALUES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


def read_array(content: bytes, name: str) -> np.ndarray:
    """The array of a name.

    Args:
        content: of the file.

    Returns:
        (H, W), of the type it is stored as, which may be smaller than the one it had in MATLAB.

    Raises:
        InputError: the file is damaged or of another version, or has no such array of real numbers with two axes; the
            line goes on after the file's name.
    """
    if content[:19] == b"MATLAB 7.3 MAT-file":
        raise InputError("is a MATLAB file of version 7.3; save it as version 7 or 5.")
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(content[124:_HEADER])
    if order is None:
        raise InputError("is no MATLAB file of version 5.")
    try:
        for kind, part in _elements(memoryview(content)[_HEADER:], order):
            if kind == _PACKED:
                kind, part = next(_elements(memoryview(_unpacked(part)), order), (0, part))
            if kind == _MATRIX and (found := _array(part, order, name)) is not None:
                return found
    except (struct.error, zlib.error):
        raise InputError("is damaged.") from None
    raise InputError(f"has no array called {name!r}.")


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of elements, one after another."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:  # at most four bytes, in the place of the length
            kind, size, begin, following = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            begin = place + 8
            following = begin + size + (0 if kind == _PACKED else -size % 8)
        if begin + size > len(content) or (begin == place + 4 and size > 4):
            raise InputError("is damaged: an element is longer than the file.")
        yield kind, content[begin : begin + size]
        place = following


def _unpacked(content: memoryview) -> bytes:
    inflater = zlib.decompressobj()
    unpacked = inflater.decompress(content, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise InputError(f"has more than {MAX_BYTES:,} bytes when it is unpacked.")
    if not inflater.eof:
        raise InputError("is damaged: it ends too early.")
    return unpacked


def _array(matrix: memoryview, order: str, name: str) -> np.ndarray | None:
    """The array of a matrix, None where it has another name."""
    parts = _elements(matrix, order)
    (_, flags), (_, axes), (_, called) = (next(parts, (0, memoryview(b""))) for _ in range(3))
    if bytes(called) != name.encode():
        return None
    (bits,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(axes) // 4}i", axes)
    kind, values = next(parts, (0, memoryview(b"")))
    if bits & 0xFF not in _CLASSES or bits >> 8 & _COMPLEX or kind not in _VALUES or len(shape) != 2:
        raise InputError(f"has a {name!r} that is no array (H, W) of real numbers.")
    check_pixels(*shape)
    dtype = np.dtype(f"{order}{_VALUES[kind]}")
    if len(values) != prod(shape) * dtype.itemsize:
        raise InputError(f"is damaged: its {name!r} of {shape[0]} x {shape[1]} has {len(values):,} bytes.")
    return np.frombuffer(values, dtype).reshape(shape, order="F")
