"""Pickles of plain data, read without Python's own reader, which does whatever a file tells it to.

A pickle is a program for a small machine with a stack. This machine knows the instructions of protocols 0 to 5 that
build dict, list, tuple, str, bytes, int, float, bool and None, and refuses all others; so no file can make it call
anything. Texts that Python 2 wrote as bytes are read as Latin-1.
"""

import codecs
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from car.errors import InputError

MAX_BYTES = 512 * 1024**2
"""Files that are longer are refused; the annotations of referring benchmarks are well below 100 MB."""
MAX_CONTAINERS = 10_000_000
"""So many dicts, lists and tuples are built at most."""
MAX_DEPTH = 32
"""So deep may containers lie in containers."""

_CONTAINERS = (dict, list, tuple)
_KEYS = frozenset((str, bytes, int, float, bool, type(None)))
_NEWEST = 5
_ONLY = "only plain data are read: dict, list, tuple, str, bytes, int, float, bool and None."


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain data.

    Returns:
        What was written; what is one object in two places of the file is one here, too.

    Raises:
        InputError: it cannot be read, is too large or too deep, is damaged, or holds anything but plain data; one line
            that names the file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"has more than {MAX_BYTES:,} bytes, which is the limit for a pickle.")
        return plain(path.read_bytes())
    except InputError as error:
        raise InputError(f"{str(path)!r} {error}") from None
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None


def plain(data: bytes) -> Any:
    """The plain data of a pickle.

    Raises:
        InputError: as `read_plain_pickle`; the line begins with what is wrong.

    >>> import pickle
    >>> plain(pickle.dumps([{"sent": "the left dog", "ids": (1, 2)}, None, True, 0.5]))
    [{'sent': 'the left dog', 'ids': (1, 2)}, None, True, 0.5]
    """
    try:
        value = _Machine(data).run()
    except InputError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error):
        raise InputError("is a damaged pickle, or none.") from None
    except MemoryError:
        raise InputError("is too large for the memory there is.") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Level by level, each container once in a level: what is shared or contains itself cannot make this long."""
    level = _containers([value])
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = _containers(
            inner for outer in level.values() for inner in (outer.values() if isinstance(outer, dict) else outer)
        )
    if level:
        raise InputError(f"has data more than {MAX_DEPTH} levels deep, or that contain themselves.")


def _containers(values: Any) -> dict[int, Any]:
    return {id(value): value for value in values if isinstance(value, _CONTAINERS)}


class _Machine:
    """What instructions work on: the bytes still to come, the stack, and the memo.

    A mark puts the stack aside for a new one, until what came after it is gathered into a container.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0

    def run(self) -> Any:
        """Follow the instructions up to the last."""
        data, values, actions = self.data, _VALUES, _ACTIONS
        while (code := data[self.at]) != _STOP:
            self.at += 1
            if (read := values[code]) is not None:
                value = read(self)
                self.stack.append(value)
            elif (act := actions[code]) is not None:
                act(self)
            else:
                self.refuse(code)
        return self.stack[-1]

    def refuse(self, code: int) -> NoReturn:
        if code in _NAMING:
            names = self.last(2) if code == _NAMING[0] else [self.line().decode("ascii"), self.line().decode("ascii")]
            raise InputError(f"builds {'.'.join(map(str, names))[:80]!r}; {_ONLY}")
        if code in _REFUSED:
            raise InputError(f"{_REFUSED[code]}; {_ONLY}")
        raise ValueError(code)

    def take(self, count: int) -> bytes:
        start = self.at
        self.at += count
        if self.at > len(self.data):
            raise IndexError(count)
        return self.data[start : self.at]

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        start = self.at
        end = self.data.index(b"\n", start)
        self.at = end + 1
        return self.data[start:end]

    def counted(self, container: Any) -> Any:
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            raise InputError(f"has more than {MAX_CONTAINERS:,} dicts, lists and tuples, which is the limit.")
        return container

    def last(self, count: int) -> list[Any]:
        """The last values of the stack, taken away."""
        start = len(self.stack) - count
        if start < 0:
            raise IndexError(count)
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def gathered(self) -> list[Any]:
        """What came after the mark, taken away with it."""
        items, self.stack = self.stack, self.aside.pop()
        return items

    def mark(self) -> None:
        self.aside.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.gathered()

    def keep(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def protocol(self) -> None:
        if (version := self.byte()) > _NEWEST:
            raise InputError(f"is a pickle of protocol {version}; 0 to {_NEWEST} are read.")

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def update(self, items: list[Any]) -> None:
        self.top(dict).update(_pairs(items))

    def append(self) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[_key(key)] = value

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]


def _key(value: Any) -> Any:
    # Hashing a tuple in a tuple in a tuple ... is recursion, which has no limit in C.
    if type(value) not in _KEYS:
        raise InputError(f"has a {type(value).__name__} as the key of a dict; only numbers and texts are read.")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))


def _integer(text: bytes) -> int:
    return text == b"01" if text in (b"00", b"01") else int(text)


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _quoted(text: bytes) -> str:
    if len(text) < len("''") or text[:1] not in (b"'", b'"') or text[:1] != text[-1:]:
        raise ValueError
    inner = text[1:-1]
    return (codecs.escape_decode(inner)[0] if b"\\" in inner else inner).decode("latin-1")


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _sized(width: int, decode: Callable[[bytes], Any]) -> Callable[[_Machine], Any]:
    """Reads a length of so many bytes, and decodes as much."""
    if width == 1:
        return lambda machine: decode(machine.take(machine.byte()))
    return lambda machine: decode(machine.take(machine.number(width)))


def _table(entries: dict[bytes, Callable[[_Machine], Any]]) -> list[Callable[[_Machine], Any] | None]:
    return [entries.get(bytes([code])) for code in range(256)]


_STOP = ord(".")
_VALUES = _table({
    b"N": lambda m: None,
    b"\x88": lambda m: True,
    b"\x89": lambda m: False,
    b"I": lambda m: _integer(m.line()),
    b"L": lambda m: int(m.line().removesuffix(b"L")),
    b"K": lambda m: m.byte(),
    b"M": lambda m: m.number(2),
    b"J": lambda m: _signed(m.take(4)),
    b"\x8a": _sized(1, _signed),
    b"\x8b": _sized(4, _signed),
    b"F": lambda m: float(m.line()),
    b"G": lambda m: struct.unpack(">d", m.take(8))[0],
    b"S": lambda m: _quoted(m.line()),
    b"U": _sized(1, _latin),
    b"T": _sized(4, _latin),
    b"V": lambda m: m.line().decode("raw-unicode-escape"),
    b"\x8c": _sized(1, _utf8),
    b"X": _sized(4, _utf8),
    b"\x8d": _sized(8, _utf8),
    b"C": _sized(1, bytes),
    b"B": _sized(4, bytes),
    b"\x8e": _sized(8, bytes),
    b"g": lambda m: m.memo[int(m.line())],
    b"h": lambda m: m.memo[m.byte()],
    b"j": lambda m: m.memo[m.number(4)],
    b"2": lambda m: m.stack[-1],
    b"]": lambda m: m.counted([]),
    b"}": lambda m: m.counted({}),
    b")": lambda m: m.counted(()),
    b"l": lambda m: m.counted(m.gathered()),
    b"d": lambda m: m.counted(_pairs(m.gathered())),
    b"t": lambda m: m.counted(tuple(m.gathered())),
    b"\x85": lambda m: m.counted(tuple(m.last(1))),
    b"\x86": lambda m: m.counted(tuple(m.last(2))),
    b"\x87": lambda m: m.counted(tuple(m.last(3))),
})  # fmt: skip
"""By instruction, what reads the value that goes on the stack."""
_ACTIONS = _table({
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.gathered,
    b"a": _Machine.append,
    b"e": lambda m: m.extend(m.gathered()),
    b"s": _Machine.set_item,
    b"u": lambda m: m.update(m.gathered()),
    b"p": lambda m: m.keep(int(m.line())),
    b"q": lambda m: m.keep(m.byte()),
    b"r": lambda m: m.keep(m.number(4)),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"\x80": _Machine.protocol,
    b"\x95": lambda m: m.take(8),
})  # fmt: skip
"""By instruction, what else is done."""
_NAMING = b"\x93ci"
_REFUSED = {
    code: text
    for codes, text in (
        (b"Rbo\x81\x92", "builds objects of classes"),
        (b"PQ\x82\x83\x84", "points at things outside the file"),
        (b"\x8f\x90\x91", "builds sets"),
        (b"\x96\x97\x98", "builds buffers"),
    )
    for code in codes
}
