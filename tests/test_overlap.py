import threading

import pytest

from car.errors import CarError, InputError
from car.overlap import AHEAD, overlapped


def refusing(*bad):
    def step(item):
        if item in bad:
            raise InputError(f"{item} is bad")
        return item

    return step


def test_everything_comes_once_and_in_order_with_its_errors():
    done = list(overlapped(range(9), refusing(1), refusing(4), lambda item, result: refusing(7)(result)))
    assert [item for item, _ in done] == [*range(9)]
    assert [str(said) for _, said in done if isinstance(said, InputError)] == ["1 is bad", "4 is bad", "7 is bad"]
    assert [said for _, said in done if not isinstance(said, InputError)] == [0, 2, 3, 5, 6, 8]


def test_the_three_steps_overlap():
    """Reading image i + 2 waits for image i + 1 to be computed and i to be written; in turn, they never would meet."""
    meeting = threading.Barrier(3, timeout=30)

    def meet(item, first):
        if first <= item < first + 9:
            meeting.wait()
        return item

    done = overlapped(range(12), lambda i: meet(i, 3), lambda i: meet(i, 2), lambda item, i: meet(i, 1))
    assert [said for _, said in done] == [*range(12)]


def test_little_is_in_memory_at_a_time():
    read, computed, written = [], [], []

    def compute(item):
        computed.append(item)
        assert len(read) <= len(computed) + AHEAD
        assert len(computed) <= len(written) + AHEAD + 2
        return item

    def write(item, result):
        written.append(item)

    for _ in overlapped(range(30), lambda item: read.append(item) or item, compute, write):
        pass
    assert written == [*range(30)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, CarError])
def test_what_was_begun_is_finished(error):
    began, finish, finished = threading.Event(), threading.Event(), []

    def write(item, result):
        began.set()
        finish.wait(30)
        finished.append(item)

    def compute(item):
        if item == 1:
            assert began.wait(30)
            finish.set()
            raise error
        return item

    with pytest.raises(error):
        list(overlapped(range(5), lambda item: item, compute, write))
    assert finished == [0]
