"""What a run computes, as plain data."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

from car.errors import InputError

CONSEQUENCES = ("images", "sequences", "keys_sha256", "passes")
"""Fields of a plan that follow from others."""
HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class PlannedPass:
    """One list of queries that every picture is asked.

    kind: "all", "stuff" or "thing".
    classes: ids of its classes, ascending.
    background: its background queries, before those that equal a query are left out.
    prompts: its visual prompts.
    """

    kind: str
    classes: tuple[int, ...]
    background: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a run computes: runs of equal plans give equal records, but for the seconds. Its fields are plain data.

    benchmark, split: what is measured.
    images: how many pictures.
    keys_sha256: hash of their keys, one per line.
    background: whether pixels of no class are a class that is scored.
    classes: by id: id, kind ("thing" or "stuff") and names, the first of which stands in reports.
    passes: what is asked, in the order it is painted: the last covers the others.
    preset: name of the preset, or None.
    published: the preset's published figures by name, in per cent.
    model: name of the model set.
    weights: hashes of the parameters as loaded, by role.
    device, dtype, threads: where and how the networks ran; threads is the number on a CPU.
    config: every setting of `car.Config`.
    limit, seed: how many of the split's pictures were drawn with this seed; None for all.
    versions: of car and the packages that results depend on.
    """

    unit: ClassVar[str] = "images"

    benchmark: str
    split: str
    images: int
    keys_sha256: str
    background: bool
    classes: tuple[Mapping[str, Any], ...]
    passes: tuple[PlannedPass, ...]
    preset: str | None
    published: Mapping[str, float]
    model: str
    weights: Mapping[str, str]
    device: str
    dtype: str
    threads: int
    config: Mapping[str, Any]
    limit: int | None
    seed: int
    versions: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """What reports call the classes, by id."""
        return [str(each["names"][0]) for each in self.classes]

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can write and `from_dict` can read."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` gave, through JSON or not.

        Raises:
            InputError: it is none.
        """
        try:
            passes = tuple(
                PlannedPass(each["kind"], *(tuple(each[key]) for key in ("classes", "background", "prompts")))
                for each in values["passes"]
            )
            return cls(**{**values, "passes": passes, "classes": tuple(values["classes"])})
        except (KeyError, TypeError, AttributeError):
            raise InputError("This is not the plan of a run.") from None


def key_lines(keys: Iterable[str]) -> bytes:
    """Keys, one per line, as a run lists them and its plan hashes them; those that are no text, as file names can be.

    >>> key_lines(["a", "b"])
    b'a\\nb\\n'
    """
    return "".join(f"{key}\n" for key in keys).encode(errors="surrogateescape")


class Planned(Protocol):
    """A plan of any kind."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""


def differences(there: Planned, here: Planned) -> list[str]:
    """What two plans differ in, one text each, consequences last: "config.theta is 0.6 there, 0.5 here"."""
    old, new = (dict(flat(plan.to_dict())) for plan in (there, here))
    return [
        f"{key} is {shown(old.get(key))} there, {shown(new.get(key))} here"
        for key in sorted(dict.fromkeys([*old, *new]), key=CONSEQUENCES.__contains__)
        if old.get(key) != new.get(key)
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings under its dotted name; sequences are leaves, as lists."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value


def shown(value: Any) -> str:
    """A value within one line."""
    text = repr(value[:12] if isinstance(value, str) and HASH.fullmatch(value) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
