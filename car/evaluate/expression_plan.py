"""What plans of runs with expressions have in common."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from car.errors import InputError


@dataclass(frozen=True)
class ExpressionPlan:
    """What a run computes: runs of equal plans give equal records, but for the seconds. Its fields are plain data.

    benchmark, split, variant: what is measured; variant is whose annotations, empty where there is one way.
    keys_sha256: hash of the keys of its pictures or sequences, one per line.
    method: "car", "global-local", "tas", "hybridgl" or "prompt-ris".
    preset: name of the preset, or None.
    model: name of the model.
    weights: hashes of the parameters as loaded, by role.
    device, dtype, threads: where and how the networks ran; threads is the number on a CPU.
    config: every setting of the method.
    proposals, language, captions: what finds mask proposals, reads expressions and describes pictures, with all that
        its answers depend on; empty for a method without.
    limit, seed: how many keys of the split were drawn with this seed; None for all.
    versions: of car and the packages that results depend on.
    """

    kind: ClassVar[str]

    benchmark: str
    split: str
    variant: str
    keys_sha256: str
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
            if fields.pop("kind") != cls.kind:
                raise KeyError
            return cls(**fields)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"This is not the plan of a {cls.kind} run.") from None
