"""Reading and writing beside the networks: while one image is computed, the next is read and the last is written."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from car.errors import InputError

AHEAD = 2
"""Images read, and results not yet written, at a time: they bound the memory."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")
Written = TypeVar("Written")


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Result],
    write: Callable[[Item, Result], Written],
) -> Generator[tuple[Item, Written | InputError], None, None]:
    """What `write` says of each item, in order; or the InputError that one of the three steps raised for it.

    `compute` runs here, one item after the other; `read` and `write` each in a thread of their own, in order. However
    this ends, what has begun to be written is finished.

    >>> list(overlapped("123", int, lambda number: 10 * number, lambda item, tens: f"{item}: {tens}"))
    [('1', '1: 10'), ('2', '2: 20'), ('3', '3: 30')]
    """
    waiting: deque[tuple[Item, Future[Read]]] = deque()
    unwritten: deque[tuple[Item, Future[Written]]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        try:
            while True:
                for item in left:
                    waiting.append((item, reader.submit(read, item)))
                    if len(waiting) == AHEAD:
                        break
                if not waiting:
                    break
                item, future = waiting.popleft()
                try:
                    unwritten.append((item, writer.submit(write, item, compute(future.result()))))
                except InputError as error:
                    unwritten.append((item, _failed(error)))
                if len(unwritten) > AHEAD:
                    item, saying = unwritten.popleft()
                    yield item, _outcome(saying)
            for item, saying in unwritten:
                yield item, _outcome(saying)
        finally:
            reader.shutdown(cancel_futures=True)
            writer.shutdown(cancel_futures=True)


def _failed(error: InputError) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


def _outcome(future: Future) -> Any:
    try:
        return future.result()
    except InputError as error:
        return error
