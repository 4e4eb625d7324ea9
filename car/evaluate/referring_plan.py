"""What a run of a referring benchmark computes, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from car.evaluate.expression_plan import ExpressionPlan

PROTOCOLS: Mapping[str, str] = {
    "sentence": "every sentence has an answer of its own",
    "object": "the sentences of an object have one answer together",
}
"""What is scored; the scores of one protocol are not comparable with those of the other."""
GENERALIZED = frozenset({"grefcoco"})
"""Benchmarks with expressions that refer to nothing, scored by ReLA's rules."""
GROUPED = frozenset({"refcoco", "refcoco+", "refcocog"})
"""Benchmarks with several objects in an image and several expressions of an object, scored by these groups as well."""


@dataclass(frozen=True)
class ReferringPlan(ExpressionPlan):
    """What a run over pictures computes.

    images: how many pictures.
    protocol: one of `PROTOCOLS`; ValueError where it is none.
    skip_empty: whether images without mask proposals are left out of the scores.
    reading: the choices of `car.data.open_referring` that the benchmark has: overlap, instances, sentence.
    categories: the list of those whose targets are asked for, by the name of its file and a hash; empty for all.
    """

    kind: ClassVar[str] = "referring"
    unit: ClassVar[str] = "images"

    images: int
    protocol: str
    skip_empty: bool
    reading: Mapping[str, str]
    categories: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(self.protocol)

    @property
    def generalized(self) -> bool:
        """Whether the benchmark is scored by the rules for expressions that may refer to nothing."""
        return self.benchmark in GENERALIZED

    @property
    def grouped(self) -> bool:
        """Whether images, and instances that have several answers, are scored by all their answers together."""
        return self.benchmark in GROUPED
