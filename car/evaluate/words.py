"""What the classes of a benchmark are called when a model is asked for them."""

from collections.abc import Sequence
from pathlib import Path

from car.errors import InputError
from car.queries import clean_synonyms
from car.wordlists import ClassEntry, find, read_lines


def class_words(classes: Sequence[ClassEntry], source: str | Path | None = None) -> list[tuple[str, ...]]:
    """Name and synonyms of every class, in the order of their ids.

    Args:
        classes: the benchmark's; their texts are taken as they are, commas and all, where there is no `source`.
        source: a class list, by name or path, with one line per class, in the order of ids: synonyms joined by commas;
            or id<TAB>thing|stuff<TAB>name, with further names in further fields, in any order.

    Raises:
        InputError: no such list; a line is neither; or there are more or fewer lines than classes, or an id twice.

    >>> class_words([ClassEntry(0, "thing", "sofa"), ClassEntry(1, "thing", "person,people")])
    [('sofa',), ('person,people',)]
    """
    words = {entry.id: (entry.query,) for entry in classes} if source is None else _read(source)
    if source is not None and sorted(words) != [entry.id for entry in classes]:
        raise InputError(
            f"Class list {str(source)!r} names {len(words)} classes, ids {min(words, default=0)} to "
            f"{max(words, default=0)}; the benchmark has {len(classes)}, ids 0 to {len(classes) - 1}."
        )
    return [clean_synonyms([words[id]])[0] for id in sorted(words)]


def askable(words: Sequence[Sequence[str]], ids: Sequence[int]) -> list[int]:
    """Those of some classes that can be asked for together: of classes with the same name (in ADE20K-847, ten have
    another's) only the first, for nothing could tell them apart.

    >>> askable([("bag",), ("cat",), ("Bag", "handbag")], [0, 1, 2])
    [0, 1]
    """
    first: dict[str, int] = {}
    for id in ids:
        first.setdefault(words[id][0].casefold(), id)
    return list(first.values())


def _read(source: str | Path) -> dict[int, tuple[str, ...]]:
    words: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(read_lines(find("classes", source))):
        id, *fields = line.split("\t")
        if not fields:
            key, names = number, [name for name in map(str.strip, line.split(",")) if name]
        elif len(fields) > 1 and id.isdigit() and fields[0] in ("thing", "stuff"):
            key, names = int(id), [name for name in map(str.strip, fields[1:]) if name]
        else:
            names = []
        if not names:
            raise InputError(
                f"Class list {str(source)!r}, entry {number + 1}: expected synonyms joined by commas, "
                "or id<TAB>thing|stuff<TAB>name."
            )
        if key in words:
            raise InputError(f"Class list {str(source)!r}: two entries have the same id, {key}.")
        words[key] = tuple(names)
    return words
