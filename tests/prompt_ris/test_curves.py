"""Curves grow, take new columns, and can be cut back to a step."""

from pathlib import Path

from car.prompt_ris.curves import Curve


def test_rows_come_back_and_new_columns_leave_empty_cells(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    assert curve.rows() == []
    rows = [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.25, "final": 1.5}]
    for row in rows:
        curve.add(row)
    assert curve.rows() == rows


def test_cutting_leaves_out_later_steps_and_a_row_cut_short(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    rows = [{"step": float(step), "loss": 0.5, "final": 1.0} for step in range(1, 4)]
    for row in rows:
        curve.add(row)
    with curve.path.open("a", encoding="utf-8") as file:
        file.write("2,0.5")
    curve.cut(2)
    assert curve.rows() == rows[:2]
    curve.cut(0)
    assert not curve.path.exists()
