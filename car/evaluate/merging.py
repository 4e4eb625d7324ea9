"""Runs of one plan that were done apart, joined into one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from car.errors import InputError
from car.evaluate.kinds import AnyRecord, AnyReport, write_report
from car.evaluate.plan import differences
from car.evaluate.run_directory import RUN, RunDirectory
from car.evaluate.run_writer import RunWriter, in_short
from car.export import make_folder, reported, write_atomically

SHARDS = "shard-*-of-*"


@dataclass(frozen=True)
class Merged:
    """A run made of others.

    report: of all pictures of the plan.
    missing: keys of the pictures that none of the runs has; that they failed is not missing.
    folder: where it is.
    """

    report: AnyReport
    missing: Sequence[str]
    folder: Path


def merge(folders: Sequence[str | Path], out: str | Path | None = None, *, overwrite: bool = False) -> Merged:
    """Join runs of equal plans: shards, or whatever parts there are. What they lack is told, and can be done later.

    The result is a run like any other, with the report that it would have had in one piece: `car eval` goes on with it,
    and further parts can be merged into it. Where several runs have a result of a picture, the results must be equal
    but for the seconds, and the first counts; a result counts more than a failure. Predictions are kept as far as any
    of the runs has kept them.

    Args:
        folders: of runs, or with a folder for each shard in them.
        out: where to; by default where the runs are, if that is one folder. A run of the same plan that is there
            already is one of those to join.
        overwrite: replace the run that is there instead; it is none of those to join.

    Raises:
        InputError: there are no runs, their plans or their results differ, or one is damaged; nothing is written then.
        CarError: writing failed.
    """
    target = _target(folders, out)
    runs = _open(folders, target, overwrite)
    chosen = _choose(runs)
    first = runs[0]
    with RunWriter(target, first.plan, first.keys, data_root=first.data_root, overwrite=overwrite) as writer:
        for key in sorted(chosen):
            _copy(key, runs, chosen[key], writer)
        writer.sync()
        missing = [key for key in writer.keys if key not in writer]
        return Merged(write_report(target, writer.plan, writer.keys, writer.records()), missing, target)


def find_runs(folder: Path) -> list[Path]:
    """Folders of the runs at and in a folder: its own, then its shards.

    Raises:
        InputError: there is none.
    """
    found = [path for path in (folder, *sorted(folder.glob(SHARDS))) if (path / RUN).exists()]
    if not found:
        raise InputError(f"There is no run in {str(folder)!r}, neither {RUN} nor folders of shards.")
    return found


def _target(folders: Sequence[str | Path], out: str | Path | None) -> Path:
    if out is None and len(folders) != 1:
        raise InputError("Say where to merge several runs to, with `--out`.")
    return Path(folders[0] if out is None else out)


def _open(folders: Sequence[str | Path], target: Path, overwrite: bool) -> list[RunDirectory]:
    """The runs to join, their plans compared."""
    paths = [path for folder in folders for path in find_runs(Path(folder))]
    if not overwrite and (target / RUN).exists():
        paths.insert(0, target)
    distinct = {path.resolve(): path for path in reversed(paths)}
    if overwrite:
        distinct.pop(target.resolve(), None)
    runs = [RunDirectory(path) for path in reversed(distinct.values())]
    if not runs:
        raise InputError(f"There is nothing to merge but the run in {str(target)!r} itself.")
    for run in runs[1:]:
        if found := differences(runs[0].plan, run.plan):
            raise InputError(
                f"The run in {str(run.folder)!r} is another than that in {str(runs[0].folder)!r}: {in_short(found)}."
            )
    return runs


def _choose(runs: Sequence[RunDirectory]) -> dict[str, int]:
    """By key, which of the runs has the record that counts; InputError where results differ."""
    chosen: dict[str, int] = {}
    differing: dict[tuple[int, int], list[str]] = {}
    for i, run in enumerate(runs):
        for key in run.own_keys:
            if key not in run:
                continue
            before = chosen.setdefault(key, i)
            if before == i or key in run.failed:
                continue
            if key in runs[before].failed:
                chosen[key] = i
            elif _result(runs[before], key) != _result(run, key):
                differing.setdefault((before, i), []).append(key)
    for (before, i), keys in differing.items():
        raise InputError(
            f"The runs in {str(runs[before].folder)!r} and {str(runs[i].folder)!r} have different results of "
            f"{runs[i].plan.unit}: {in_short(keys)}. Merge without one of the two."
        )
    return chosen


def _result(run: RunDirectory, key: str) -> AnyRecord:
    return replace(run.parse(next(run.lines([key]))), seconds={})


def _copy(key: str, runs: Sequence[RunDirectory], chosen: int, writer: RunWriter) -> None:
    """Bring over a picture's record, after its prediction, if any run has kept that."""
    keeping = [run for run in runs if key in run and key not in run.failed and run.has_prediction(key)]
    if keeping and not writer.has_prediction(key):
        path = writer.prediction(key)
        make_folder(path.parent)
        with reported(path):
            write_atomically(path, keeping[0].prediction(key).read_bytes())
    if key not in writer or (key in writer.failed and key not in runs[chosen].failed):
        writer.append_line(next(runs[chosen].lines([key])))
