"""The texts that come with the package: class lists, lists of categories, background queries, templates, presets.

They live in `prompts/`, installed as `car/prompts`. Wherever the name of a list is accepted, a path is, too.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from os.path import isfile
from pathlib import Path
from typing import NamedTuple

from car.errors import InputError

KINDS = {
    "classes": "class list",
    "categories": "list of categories",
    "background": "background list",
    "templates": "template set",
    "presets": "preset",
}
"""The folders of `prompts/`, and what one file of each is called."""


class ClassEntry(NamedTuple):
    """One line of a class list: its id, "thing" or "stuff", and the query."""

    id: int
    kind: str
    query: str


@cache
def prompts_dir() -> Path:
    """The folder of the texts: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "prompts"
    return inside if inside.is_dir() else inside.parent.parent / "prompts"


def names(kind: str, suffix: str = ".txt") -> list[str]:
    """Names of the texts of one kind (a key of `KINDS`)."""
    return sorted(path.name.removesuffix(suffix) for path in (prompts_dir() / kind).glob(f"*{suffix}"))


def find(kind: str, name: str | Path, suffix: str = ".txt") -> Path:
    """The file of a named text, or the file a path names.

    Raises:
        InputError: neither exists; the closest name is given.
    """
    known = names(kind, suffix)
    if str(name) in known:
        return prompts_dir() / kind / f"{name}{suffix}"
    if isfile(name):
        return Path(name)
    close = get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"No {KINDS[kind]} {str(name)!r}.{hint} Available: {', '.join(known)}; or the path of a file.")


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text that are neither blank nor comments (#).

    Raises:
        InputError: the file cannot be read or is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Cannot read {str(path)!r}: it is not UTF-8 text.") from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_classes(name: str | Path) -> list[ClassEntry]:
    """A class list; lines are id<TAB>kind<TAB>query, or just queries, which are then numbered things.

    Raises:
        InputError: no such list or file, or a line is neither.

    >>> read_classes("voc20")[0]
    ClassEntry(id=0, kind='thing', query='aeroplane')
    """
    entries = []
    for number, line in enumerate(read_lines(find("classes", name))):
        fields = line.split("\t")
        if len(fields) == 1:
            entries.append(ClassEntry(number, "thing", line))
        elif len(fields) == 3 and fields[0].isdigit() and fields[1] in ("thing", "stuff"):
            entries.append(ClassEntry(int(fields[0]), fields[1], fields[2]))
        else:
            raise InputError(f"Class list {str(name)!r}, entry {number + 1}: expected id<TAB>thing|stuff<TAB>query.")
    if len({entry.id for entry in entries}) < len(entries):
        raise InputError(f"Class list {str(name)!r}: two entries have the same id.")
    return entries


def background_words(lists: Sequence[str]) -> list[str]:
    """Background queries of the named lists (or files), each once, in order.

    Raises:
        InputError: no such list or file.

    >>> background_words(["coco23"])[:3]
    ['ground', 'land', 'grass']
    """
    return list(dict.fromkeys(word for name in lists for word in read_lines(find("background", name))))


def read_templates(source: str | Sequence[str]) -> list[str]:
    """Templates of a named set, of a file, or as given (one or several); each must hold {} once.

    Raises:
        InputError: no such set or file, none in it, or one without {}.

    >>> len(read_templates("car15"))
    15
    """
    if isinstance(source, str):
        found = [source] if "{}" in source else read_lines(find("templates", source))
    else:
        found = list(source)
    for template in found:
        if template.count("{}") != 1:
            raise InputError(f"Expected a template to hold {{}} once, but got {template!r}.")
    if not found:
        raise InputError("Expected at least one template.")
    return found
