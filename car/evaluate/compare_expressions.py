"""What comparisons of runs with expressions have in common, over pictures and over films."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from car.errors import InputError
from car.evaluate.compare_runs import RunComparison, differing_settings, other_benchmark, with_interval
from car.evaluate.figures import rounded
from car.evaluate.markdown import NOTHING, count, number, per_cent, table, text


@dataclass(frozen=True)
class ExpressionComparison(RunComparison):
    """Two or more runs with expressions of one benchmark, split and protocol; the first is what the others are
    compared with.

    The difference of main scores is over the pictures or films that are in the scores of both runs, where these are
    not the same.

    Args:
        runs: what was counted, by what the page calls the runs.

    Raises:
        InputError: fewer than two runs, or they are of different benchmarks, splits, protocols or data.
    """

    answers: ClassVar[str]
    """What is asked, in the plural: it has a column of its own, and the seconds are over it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        here = self._first.main.scores
        for name, run in self.runs.items():
            there = run.main.scores
            if other := next((key for key in self.shared(name) if len(there[key]) != len(here[key])), None):
                raise InputError(
                    f"{name!r} has {len(there[other])} answers for {other!r}, {next(iter(self.runs))!r} has "
                    f"{len(here[other])}: they are runs over different data."
                )

    @classmethod
    def check(cls, plans: Mapping[str, Any]) -> None:
        """Refuse runs of different benchmarks, splits or protocols.

        Raises:
            InputError: there is one; it says what differs.
        """
        (first, reference), *others = plans.items()
        wanted = cls.measured(reference)
        for name, plan in others:
            if plan.benchmark != reference.benchmark:
                raise other_benchmark(name, plan, first, reference)
            found = cls.measured(plan)
            if unlike := [f"{key} is {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key]]:
                raise InputError(f"{name!r} cannot be compared with {first!r}: its {', its '.join(unlike)}.")

    @staticmethod
    @abstractmethod
    def measured(plan: Any) -> Mapping[str, Any]:
        """What has to be the same in plans of a benchmark whose scores are comparable, by how errors call it."""

    def shared(self, name: str) -> list[str]:
        """Keys that are in the scores of a run and of the first one."""
        return [key for key in self._first.main.scores if key in self.runs[name].main.scores]

    def comparable(self, name: str) -> bool:
        """Whether a run shares a picture or film with the first one."""
        return bool(self.shared(name))

    def _pair(self, name: str) -> tuple[float, tuple[float, float]]:
        return self.runs[name].main.difference(self._first.main)

    def _differing(self) -> list[list[str]]:
        return differing_settings([run.plan.to_dict() for run in self.runs.values()], absent=NOTHING)

    def _settings(self) -> Iterator[str]:
        yield from super()._settings()
        if len({run.plan.method for run in self.runs.values()}) > 1:
            yield "Settings that one method alone has are listed where they differ between its runs."

    def _scores(self) -> Iterator[str]:
        rows = [self._row(name) for name in self.runs]
        rows += [
            {"per cent": f"published {text(each['method'])}"} | {key: f"{x:.2f}" for key, x in each["scores"].items()}
            for each in self._published()
        ]
        header = [key for key in rows[0] if any(row.get(key) for row in rows)]
        yield table(header, [[row.get(key, "") for key in header] for row in rows])
        yield from self._notes()

    def _row(self, name: str) -> dict[str, str]:
        """A run's cells by the title of their column; a column without any is left out."""
        plan, report = self.runs[name].plan, self.reports[name]
        covered = report.figures[plan.unit]
        measure, value, ends = self._main(report.figures)
        return {
            "per cent": text(name),
            "method": text(getattr(plan, "title", plan.method)),
            "model": text(plan.model),
            "proposals": text(plan.proposals.get("source", "")),
            plan.unit: f"{count(covered['evaluated'])} of {count(covered['all'])}",
            self.answers: count(self._asked(report.figures)),
            measure: with_interval(value, ends),
            "difference": self._difference(name),
            **self._others(report.figures),
            f"seconds per {self.answers[:-1]}": number(self._seconds(report), 3),
        }

    def _notes(self) -> Iterator[str]:
        first, unit = next(iter(self.runs)), self._first.plan.unit
        yield (
            f"Differences are to {text(first)}, over the {unit} that are in the scores of both; in brackets the 95 % "
            f"interval when those {unit} are drawn again, with replacement, the same for both runs."
        )
        for name, report in self.reports.items():
            if not report.complete:
                yield f"{text(name)}: {self._coverage(report.figures)}"
            if shared := self._sharing(name):
                yield shared
        yield self._origin()

    def _sharing(self, name: str) -> str:
        """What a difference is of, if it is not of the scores beside it."""
        run, first, keys = self.runs[name].main, self._first.main, self.shared(name)
        if run.scores.keys() == first.scores.keys():
            return ""
        unit = self._first.plan.unit
        if not keys:
            return f"{text(name)} is not comparable: none of its {unit} are those of the first run."
        return (
            f"The difference of {text(name)} is over {count(len(keys))} of its {count(len(run.scores))} {unit}, of "
            f"which the first run has {count(len(first.scores))}: there it has {per_cent(run.mean(keys), digits=2)}, "
            f"the first run {per_cent(first.mean(keys), digits=2)}."
        )

    def _origin(self) -> str:
        """What the published scores are of."""
        known = self._published()
        if not known:
            return "No published scores of zero-shot methods are known for this split and protocol."
        notes = "".join(f" {text(each['method'])}: {text(each['note'])}." for each in known if each["note"])
        return f"The published scores are of the methods' own networks on the whole split.{notes}"

    def _published(self) -> list[Mapping[str, Any]]:
        """Those of the same protocol."""
        return list(self._first_report.figures["published_per_cent"])

    def _measures(self, name: str) -> Iterator[tuple[str, Any]]:
        """A run's numbers but the scores that are of its kind alone."""
        report, unit = self.reports[name], self.runs[name].plan.unit
        yield from ((f"{unit} {kind.replace('_', ' ')}", value) for kind, value in report.figures[unit].items())
        yield f"{unit} shared", len(self.shared(name))
        yield self.answers, self._asked(report.figures)
        measure, value, ends = self._main(report.figures)
        yield measure, value
        yield from zip((f"{measure} low", f"{measure} high"), ends, strict=True)
        names = (f"{measure} difference", f"{measure} difference low", f"{measure} difference high")
        yield from zip(names, self.differences[name], strict=True)
        yield f"seconds per {self.answers[:-1]}", rounded(self._seconds(report))

    @staticmethod
    @abstractmethod
    def _main(figures: Mapping[str, Any]) -> tuple[str, float | None, list[float | None]]:
        """Name and value of the main score, and the ends of its interval."""

    @staticmethod
    @abstractmethod
    def _others(figures: Mapping[str, Any]) -> dict[str, str]:
        """Cells of the other scores."""

    @staticmethod
    @abstractmethod
    def _coverage(figures: Mapping[str, Any]) -> str:
        """What is in the scores, in words."""

    @staticmethod
    @abstractmethod
    def _asked(figures: Mapping[str, Any]) -> int:
        """How many answers there are."""

    @staticmethod
    @abstractmethod
    def _seconds(report: Any) -> float:
        """Wall time per answer; NaN without any."""
