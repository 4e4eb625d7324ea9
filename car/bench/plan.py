"""What to measure."""

from dataclasses import dataclass
from itertools import product

from car.bench.figures import Case
from car.bench.inputs import words
from car.bench.models import MODELS, check_name
from car.config import check


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A grid of cases.

    models: as of `load_models`.
    sizes: (width, height) of the images, in pixels.
    queries: how many, at least 1 each; none given, 20, or 8 expressions in referring mode.
    repeats: how often each case is measured, at least 1.
    dtype, device: as of `car.load`.
    referring: expressions that each propose for themselves and have a CRF of their own, instead of queries.
    all_kept: theta is 0, so that every query stays, instead of leaving about a quarter after the first step.
    cascade: as of `Config`.

    Raises:
        InputError: unknown models, more queries than there are words, or a cascade below 1.
    """

    models: tuple[str, ...] = MODELS
    sizes: tuple[tuple[int, int], ...] = ((500, 375),)
    queries: tuple[int, ...] = ()
    repeats: int = 3
    dtype: str = "auto"
    device: str = "auto"
    referring: bool = False
    all_kept: bool = False
    cascade: int | None = None

    def __post_init__(self) -> None:
        for name in self.models:
            check_name(name)
        check("cascade", self.cascade)
        for case in self.cases():
            words(case.queries)

    def cases(self) -> list[Case]:
        """All of them, those of the same models together."""
        queries = self.queries or ((8,) if self.referring else (20,))
        return [
            Case(
                models=models,
                size=size,
                queries=count,
                referring=self.referring,
                all_kept=self.all_kept,
                cascade=self.cascade,
            )
            for models, size, count in product(self.models, self.sizes, queries)
        ]
