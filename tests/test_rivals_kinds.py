"""tools/rivals_kinds.py: what is asked, what is kept, what the table says."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import rivals_kinds as tool
from ablate_prompt_ris_results import SEED as ABLATIONS

from car.data import read_categories


def run(out: Path, *more: str) -> Result:
    return CliRunner().invoke(tool.main, ["--out", str(out), "--scenes", "2", *more])


def test_one_expression_of_each_kind_is_asked() -> None:
    for index in range(3):
        made, expressions = tool.asked(tool.PICTURES, index)
        assert expressions == tool.asked(tool.PICTURES, index)[1]
        _, said = tool.PICTURES.drawn(index)
        assert {each.kind for each in said} == set(expressions)
        for kind, each in expressions.items():
            assert each.kind == kind
            assert each.mask(made).any()


def test_scenes_are_not_those_of_a_training_or_of_the_ablations() -> None:
    assert tool.PICTURES.split == "val"
    assert tool.PICTURES.seed not in (0, ABLATIONS)


def test_scenes_of_some_categories_show_no_other_concept() -> None:
    unseen = set(read_categories("coco-unseen"))
    for index in range(3):
        made, expressions = tool.asked(tool.pictures("coco-unseen"), index)
        assert set(made.names) <= unseen
        assert expressions
    assert tool.pictures(None) == tool.PICTURES


def test_a_row_is_what_the_records_come_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "COMPARED", tool.COMPARED[-1:])
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "table.md").read_text()
    assert page in result.output
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    assert lines[0] == ["mIoU", *tool.KINDS, "all", "less the first row"]
    kept = (tmp_path / "records.jsonl").read_bytes()
    ious = [json.loads(line)["iou"] for line in kept.splitlines()]
    every = [value for each in ious for value in each.values()]
    assert lines[2][-2] == str(len(every))
    assert float(lines[3][-2].split()[0]) == pytest.approx(100 * sum(every) / len(every), abs=0.051)
    names = [each["name"] for each in ious if "name" in each]
    assert float(lines[3][1].split()[0]) == pytest.approx(100 * sum(names) / len(names), abs=0.051)
    # What a kill cut short is measured again, and what is there is not.
    first, second = kept.splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_bytes(first + second[:20])
    assert run(tmp_path).exit_code == 0
    assert (tmp_path / "records.jsonl").read_bytes() == kept
    assert (tmp_path / "table.md").read_text() == page


def test_what_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    result = run(tmp_path, "--trained", str(tmp_path / "none.safetensors"))
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert "none.safetensors" in line
    run(tmp_path / "other", "--trained", str(tmp_path / "none.safetensors"), "--dtype", "fp32")
    other = run(tmp_path / "other", "--dtype", "bf16")
    assert other.exit_code == 1
    assert "were made with another dtype" in other.output
    other = run(tmp_path / "other", "--dtype", "fp32", "--categories", "coco-seen")
    assert other.exit_code == 1
    assert "were made with another choice of concepts" in other.output
    other = run(tmp_path / "other", "--categories", "coco-never")
    assert other.exit_code == 1
    assert "coco-never" in other.output
