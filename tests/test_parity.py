"""The parity table in tools/: what it compares, and that it can tell."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.golden import GOLDEN, golden_path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import parity
from parity_rows import Arrays, Row, far, same, together

FILES = ("global_local", "hybridgl", "gem", "tas", "car", "metrics")
"""Those whose every array has a row, or is what a row is made of."""
NO_COUNTERPART = {"merge_fallback_used"}
"""A flag that the released code holds on the way; what comes of it is compared."""
LEVEL = 1.01 / 255 / 0.26
"""One grey level, as the encoder sees it."""


@pytest.fixture(scope="module")
def table() -> tuple[list[Row], dict[str, Arrays]]:
    golden_path("car.npz")
    arrays = {path.stem: Arrays(path) for path in GOLDEN.glob("*.npz")}
    with torch.inference_mode():
        return list(parity.rows(GOLDEN, arrays)), arrays


def test_every_quantity_is_that_of_the_reference(table) -> None:
    rows, _ = table
    assert {row.file for row in rows} >= set(FILES)
    assert len({(row.file, row.what) for row in rows}) == len(rows)
    for row in rows:
        allowed = LEVEL if row.what == "pictures as the encoder sees them" else 1e-4
        assert row.unequal == 0 if row.largest is None else row.largest < allowed, str(row)


def test_no_array_of_the_rivals_is_left_out(table) -> None:
    _, arrays = table
    assert set.union(*(arrays[file].unread for file in FILES)) == NO_COUNTERPART


def test_the_table_is_printed(table, monkeypatch, capsys) -> None:
    rows, _ = table
    monkeypatch.setattr(sys, "argv", ["parity.py", str(GOLDEN)])
    monkeypatch.setattr(parity, "rows", lambda folder, z: iter(rows[:3]))
    parity.main()
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [str(row) for row in rows[:3]]
    assert "not compared: " in out


def test_without_the_arrays_it_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["parity.py", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match="not part of the repository"):
        parity.main()


@given(st.integers(0, 5), st.floats(-10, 10), st.booleans())
def test_a_value_that_is_off_shows(index: int, off: float, as_tensor: bool) -> None:
    reference = np.arange(6.0).reshape(2, 3)
    ours = reference.copy()
    ours.flat[index] += off
    row = far("file", "what", torch.from_numpy(ours) if as_tensor else ours, reference)
    assert row.largest == pytest.approx(abs(off))
    assert row.relative == pytest.approx(abs(off) / 5)
    assert same("file", "what", ours, reference).unequal == (ours != reference).sum()


def test_no_number_is_no_agreement() -> None:
    reference = np.array([1.0, np.nan])
    assert far("", "", [1.0, np.nan], reference).largest == 0
    for ours in ([np.nan, np.nan], [1.0, 2.0]):
        assert far("", "", ours, reference).largest == float("inf")
    assert far("", "", [0.0, 1e-3], np.zeros(2)).relative is None


@pytest.mark.parametrize("compare", [far, same])
def test_other_shapes_are_refused(compare) -> None:
    with pytest.raises(ValueError, match=r"texts: ours has the shape \(3,\), the reference \(1, 3\)"):
        compare("file", "texts", np.zeros(3), np.zeros((1, 3)))


def test_rows_are_added_up_and_told() -> None:
    rows = [same("tas", "", [1, 2, 3], np.array([1, 0, 0])), same("tas", "", [5], np.array([5]))]
    row = together("crops", iter(rows))
    assert (row.unequal, row.of) == (2, 4)
    assert str(row).split() == ["tas", "crops", "2", "of", "4", "differ"]
    assert str(far("gem", "heat", [2.5], np.array([2.0]))).split() == ["gem", "heat", "5.0e-01", "2.5e-01"]
