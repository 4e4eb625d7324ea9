"""Making a split: every picture once, in order, going on where an earlier run stopped."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

from car.data.prepare.ledger import Ledger, Record, digests
from car.data.prepare.outputs import Output, There, write
from car.data.prepare.preparation import Preparation
from car.errors import InputError
from car.export import make_folder

State = Literal["written", "repaired", "replaced", "kept", "differs", "failed"]
T = TypeVar("T")
_AHEAD = 4


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    state: "written" where nothing was; "repaired", written in place of a damaged file; "replaced", written in place of
        something else; "kept", was there already; "differs", kept although it is not what would be written; "failed".
    reason: of the last two, in one line.
    pictured: whether the picture itself is there.
    """

    key: str
    state: State
    reason: str = ""
    pictured: bool = True


@dataclass
class Report:
    """What became of a split.

    states: how many pictures came to each state.
    problems: by picture, why it failed or differs.
    seen: ids of the classes that occur.
    unpictured: how many pictures are not there themselves, only their label maps.
    lists: lists that were left as they are although they differ, and why.
    """

    states: Counter[State] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    unpictured: int = 0
    lists: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything is as this preparation makes it."""
        return not self.problems and not self.lists

    def count(self, outcome: Outcome, record: Record | None) -> None:
        """Take in a picture, with its record where it is finished."""
        self.states[outcome.state] += 1
        self.unpictured += not outcome.pictured
        if record is None:
            self.problems[outcome.key] = outcome.reason
        else:
            self.seen.update(record.seen)


def prepare(
    preparation: Preparation,
    *,
    overwrite: bool = False,
    jobs: int = 1,
    done: Callable[[Outcome], object] | None = None,
) -> Report:
    """Make what is not there, and check what is.

    A file that an earlier run finished is kept if it still has the same content and so have its sources. Any other is
    compared with what would be written: it is kept where that is the same, replaced where it cannot be read, and left
    alone where it says something else.

    Args:
        overwrite: replace what says something else as well.
        jobs: threads to work with; results do not depend on it.
        done: called after each picture, in order.

    Raises:
        CarError: a file or folder cannot be written or read.
    """
    report = Report()
    for folder in {preparation.folder, *(path.parent for path in preparation.outputs(preparation.keys[0]))}:
        make_folder(folder)
    with Ledger(preparation.folder / f".car-prepare-{preparation.split}.jsonl") as ledger:
        for outcome, record in _in_order(partial(_picture, preparation, ledger, overwrite), preparation.keys, jobs):
            if record is not None:
                ledger.add(record)
            report.count(outcome, record)
            if done is not None:
                done(outcome)
    for output in preparation.lists():
        make_folder(output.path.parent)
        state, reason = _settle([output], ours=False, overwrite=overwrite)
        report.lists.extend([reason] if state == "differs" else [])
    return report


def _picture(preparation: Preparation, ledger: Ledger, overwrite: bool, key: str) -> tuple[Outcome, Record | None]:
    """Make a picture's outputs, or find that they are there; with its record where it is finished."""
    paths, record = preparation.outputs(key), ledger.get(key)
    state: State = "kept"
    reason = ""
    try:
        origin = preparation.origin(key)
        if record is None or record.origin != origin or record.files != digests(paths):
            outputs, label_map = preparation.make(key)
            state, reason = _settle(outputs, ours=record is not None, overwrite=overwrite)
            record = None if reason else Record(key, origin, digests(paths) or (), tuple(label_map.seen))
    except InputError as error:
        state, reason, record = "failed", str(error), None
    return Outcome(key, state, reason, preparation.image(key) is not None), record


def _settle(outputs: Sequence[Output], *, ours: bool, overwrite: bool) -> tuple[State, str]:
    """Write the outputs that are not there as they should be, unless another's work would be lost; why, if so.

    ours: whether an earlier run wrote them, so that one of another size can only be damaged.
    """
    found = {output.path: output.there() for output in outputs}
    lost = {There.NOTHING, There.DAMAGED, *([There.UNSOUND] if ours else [])}
    others = [path for path, there in found.items() if there not in lost and there is not There.SAME]
    if others and not overwrite:
        return "differs", f"{str(others[0])!r} is there already and is not what would be written."
    for output in outputs:
        if found[output.path] is not There.SAME:
            write(output)
    if others:
        return "replaced", ""
    wrong = set(found.values()) - {There.SAME}
    return ("repaired" if wrong - {There.NOTHING} else "written" if wrong else "kept"), ""


def _in_order(work: Callable[[str], T], keys: Sequence[str], jobs: int) -> Iterator[T]:
    """Results of the work, which is a few keys ahead of what is asked for."""
    if jobs == 1:
        yield from map(work, keys)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for key in keys:
                waiting.append(pool.submit(work, key))
                if len(waiting) > _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
