"""What a run of a referring benchmark computes, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from car.errors import InputError

PROTOCOLS: Mapping[str, str] = {
    "sentence": "every sentence has an answer of its own",
    "object": "the sentences of an object have one answer together",
}
"""What is scored; the scores of one protocol are not comparable with those of the other."""
GENERALIZED = frozenset({"grefcoco"})
"""Benchmarks with expressions that refer to nothing, scored by ReLA's rules."""


@dataclass(frozen=True)
class ReferringPlan:
    """What a run computes: runs of equal plans give equal records, but for the seconds. Its fields are plain data.

    benchmark, split, variant: what is measured; variant is who split it, empty where there is one way.
    images: how many pictures.
    keys_sha256: hash of their keys, one per line.
    protocol: one of `PROTOCOLS`.
    skip_empty: whether images without mask proposals are left out of the scores.
    reading: the choices of `car.data.open_referring` that the benchmark has: overlap, instances, sentence.
    method: "car", "global-local", "tas" or "hybridgl".
    preset: name of the preset, or None.
    model: name of the model.
    weights: hashes of the parameters as loaded, by role.
    device, dtype, threads: where and how the networks ran; threads is the number on a CPU.
    config: every setting of the method.
    proposals, language, captions: what finds mask proposals, reads expressions and describes pictures, with all that
        its answers depend on; empty for a method without.
    limit, seed: how many of the split's pictures were drawn with this seed; None for all.
    versions: of car and the packages that results depend on.
    """

    kind: ClassVar[str] = "referring"

    benchmark: str
    split: str
    variant: str
    images: int
    keys_sha256: str
    protocol: str
    skip_empty: bool
    reading: Mapping[str, str]
    method: str
    preset: str | None
    model: str
    weights: Mapping[str, str]
    device: str
    dtype: str
    threads: int
    config: Mapping[str, Any]
    proposals: Mapping[str, Any]
    language: Mapping[str, str]
    captions: Mapping[str, Any]
    limit: int | None
    seed: int
    versions: Mapping[str, str]

    @property
    def generalized(self) -> bool:
        """Whether the benchmark is scored by the rules for expressions that may refer to nothing."""
        return self.benchmark in GENERALIZED

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can write and `from_dict` can read."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` gave, through JSON or not.

        Raises:
            InputError: it is none.
        """
        try:
            fields = dict(values)
            if fields.pop("kind") != cls.kind or fields["protocol"] not in PROTOCOLS:
                raise KeyError
            return cls(**fields)
        except (KeyError, TypeError, ValueError):
            raise InputError("This is not the plan of a referring run.") from None
