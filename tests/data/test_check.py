import numpy as np
import pytest

from car.data import IGNORE, open_dataset
from car.data.check import Tally
from tests.data.writing import SIZE, labels, write_benchmark


def tally_of(name, root) -> Tally:
    tally = Tally(open_dataset(name, root))
    for key in tally.dataset.keys:
        tally.look(key)
    return tally


def test_pixels_and_pictures_are_counted(tmp_path):
    truths = {key: labels("voc21", seed) for seed, key in enumerate("abc")}
    truths["b"][:] = 5
    tally = tally_of("voc21", write_benchmark("voc21", tmp_path, truths))
    every = np.stack(list(truths.values()))
    assert tally.pixels.tolist() == [int((every == label).sum()) for label in range(21)]
    assert tally.pictures.tolist() == [int((every == label).any(axis=(1, 2)).sum()) for label in range(21)]
    assert tally.uncounted == (every == IGNORE).sum()
    assert (tally.good, tally.problems, tally.empty) == (3, {}, [])
    assert tally.never_seen == [entry.query for entry in tally.dataset.classes if entry.id + 1 not in (1, 2, 5, 20)]


def test_shares_begin_with_what_there_is_most_of(tmp_path):
    truth = np.zeros(SIZE, np.uint16)
    truth[0], truth[1, :3], truth[2] = 3, 1, IGNORE
    tally = tally_of("voc21", write_benchmark("voc21", tmp_path, {"a": truth}))
    names, shares, pictures = zip(*tally.shares, strict=True)
    assert names == ("background", "bird avian", "aeroplane") == ("background", *names[1:])
    assert shares == pytest.approx((33 / 45, 9 / 45, 3 / 45))
    assert pictures == (1, 1, 1)


def test_what_cannot_be_read_and_what_is_empty(tmp_path):
    truths = {key: labels("voc20", seed) for seed, key in enumerate("abc")}
    truths["c"][:] = IGNORE
    root = write_benchmark("voc20", tmp_path, truths)
    (root / "JPEGImages/b.jpg").write_bytes(b"")
    tally = Tally(open_dataset("voc20", root))
    assert tally.look("a") is None
    assert tally.look("b") == tally.problems["b"] == f"{str(root / 'JPEGImages/b.jpg')!r} is empty (0 bytes)."
    assert tally.look("c") is None
    assert tally.good == 2
    assert tally.empty == ["c"]
    assert tally.pixels.sum() == (truths["a"] != IGNORE).sum()
