"""Prompt-RIS's ablations in tools/: what is trained, what is kept, what the tables say; and what a step costs."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from car.metrics.referring import Overlap
from car.prompt_ris.checkpoint import read
from car.prompt_ris.curves import Curve
from car.prompt_ris.training import STEPS, Told
from tests.prompt_ris.models import needs_sam, small_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import ablate_prompt_ris as tool
import ablate_prompt_ris_results as results
import prompt_ris_step as cost
from ablate_prompt_ris_variants import FULL, TABLES, Budget, Table, Variant, variants

SMALL = Budget(scenes=2, coarse_epochs=1, joint_epochs=1)
COARSE = Variant("none", (), 0.0)


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One scene to validate on, and one thread."""
    monkeypatch.setattr(tool, "VALIDATED", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ablate(out: Path, *more: object) -> Result:
    asked = ("--out", out, "--scenes", 2, "--coarse-epochs", 1, "--joint-epochs", 1, "--evaluate", 2, "--threads", 1)
    return CliRunner().invoke(tool.main, [*map(str, asked), *map(str, more)])


def test_tables_have_the_rows_of_the_paper() -> None:
    assert {name: len(table.rows) for name, table in TABLES.items()} == {"3": 4, "4": 4, "5": 7}
    for table in TABLES.values():
        assert list(table.rows.values())[-1] == FULL
        assert len(set(table.rows.values())) == len(table.rows)
    first, *_ = TABLES["3"].rows.values()
    assert (first.directions, first.sam_prompts, first.contrast) == ("none", (), 0)
    every = variants(list(TABLES))
    assert (len(every), every[0]) == (13, FULL)
    assert len({each.name for each in every}) == 13
    assert variants(["4"]) == [FULL, Variant("none"), Variant("v2l"), Variant("l2v")]


def test_all_variants_see_as_many_pictures() -> None:
    budget = Budget(scenes=100, coarse_epochs=2, joint_epochs=5, seed=3)
    every = variants(list(TABLES))
    for stage, epochs in ((1, 2), (2, 5)):
        told = {each: budget.settings(each, stage) for each in every}
        assert {(how.epochs, how.seed) for how in told.values()} == {(epochs, 2 + stage)}
        for variant, how in told.items():
            assert (how.joint_epochs > 0) == (stage == 2 and bool(variant.sam_prompts))
            assert how.contrast == variant.contrast
    assert (budget.images, SMALL.images) == (16, 2)


def test_variants_of_other_prompts_for_sam_share_stage_1() -> None:
    assert {each.first for each in TABLES["5"].rows.values()} == {Variant(sam_prompts=())}
    assert len({each.first for each in variants(list(TABLES))}) == 6


def test_scenes_to_evaluate_on_are_not_those_of_the_training() -> None:
    usual, alike = results.KINDS
    assert usual.numbers(3) == [0, 1, 2]
    numbers = alike.numbers(4)
    for number in numbers:
        names = alike.pictures.drawn(number)[0].names
        assert len(set(names)) < len(names)
    assert alike.numbers(2) == numbers[:2]
    trained = tool.Ablation(Path("nowhere"), SMALL, 1)
    assert {kind.pictures.split for kind in trained.numbers} == {"val"}
    assert {kind.pictures.seed for kind in trained.numbers} == {results.SEED} != {0}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[tool.Ablation, Path]:
    """The full model, and one without SAM."""
    out = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "VALIDATED", 1)
        ablation = tool.Ablation(out, SMALL, 2)
        ablation.run([FULL, COARSE])
    return ablation, out


@needs_sam
def test_a_row_is_what_the_records_come_to(done: tuple[tool.Ablation, Path]) -> None:
    ablation, out = done
    table = Table("Title", "model", {"coarse": COARSE, "full": FULL})
    for kind in results.KINDS:
        lines = ablation.table(table, kind).splitlines()[2:]
        coarse, full = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
        for row, variant in ((coarse, COARSE), (full, FULL)):
            (path,) = (out / "stage2" / variant.name).glob(f"{kind.name}-*.jsonl")
            records = [json.loads(line) for line in path.read_text().splitlines()]
            assert [record["key"] for record in records] == [kind.key(each) for each in kind.numbers(2)]
            each = [one for record in records for target in record["targets"] for one in target]
            ious = [i / u for i, u in each]
            assert float(row[1]) == pytest.approx(100 * sum(i for i, _ in each) / sum(u for _, u in each), abs=0.051)
            assert float(row[2].split()[0]) == pytest.approx(100 * sum(ious) / len(ious), abs=0.051)
            assert float(row[4]) == pytest.approx(100 * sum(iou > 0.5 for iou in ious) / len(ious), abs=0.051)
            learned = sum(
                tensor.numel() for tensor in read(out / "stage2" / variant.name / "best.safetensors")[2].values()
            )
            assert int(row[-1].replace(" ", "")) == learned
        assert full[3] == ""
        gain = float(coarse[2].split()[0]) - float(full[2].split()[0])
        assert float(coarse[3].split()[0]) == pytest.approx(gain, abs=0.11)


@needs_sam
def test_what_is_done_is_not_done_again(done: tuple[tool.Ablation, Path]) -> None:
    ablation, out = done
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    page = ablation.page([Table("Title", "model", {"full": FULL})])
    (path,) = (out / "stage2" / COARSE.name).glob("usual-*.jsonl")
    first, _ = before[path].splitlines(keepends=True)
    path.write_bytes(first + b'{"key": "usu')
    again = tool.Ablation(out, SMALL, 2)
    again.run([FULL, COARSE])
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    assert again.page([Table("Title", "model", {"full": FULL})]) == page


def test_a_stopped_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(told: Told) -> None:
        if told.step == 2:
            raise Stopped

    ablation = tool.Ablation(tmp_path, Budget(scenes=1, coarse_epochs=3, joint_epochs=1), 2)
    with pytest.raises(Stopped):
        ablation.train(COARSE, 1, stop)
    steps: list[int] = []
    ablation.train(COARSE, 1, lambda told: steps.append(told.step))
    assert steps == [3]
    for name in (STEPS, tool.SECONDS):
        assert [row["step"] for row in Curve(ablation.folder(COARSE, 1) / name).rows()] == [1, 2, 3]
    assert ablation.minutes(COARSE) > 0


@needs_sam
def test_the_command_writes_the_tables_asked_for(
    done: tuple[tool.Ablation, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = done
    # The rows that are trained already.
    monkeypatch.setitem(TABLES, "4", Table("Table 4: prompting", "prompting", {"coarse": COARSE, "full": FULL}))
    result = ablate(out, "--tables", "4")
    assert result.exit_code == 0, result.output
    page = (out / "tables.md").read_text()
    assert page in result.output
    assert re.findall(r"^## (Table \d)", page, re.MULTILINE) == ["Table 4"]
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["prompting", "---", "coarse", "full"] * 2
    assert "2 scenes like those trained on" in page
    other = ablate(out, "--tables", "4", "--joint-epochs", 2)
    assert other.exit_code == 1
    assert "holds a run with another `joint_epochs` (1, not 2)" in other.output


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    result = ablate(tmp_path, "--tables", "3,6")
    assert result.exit_code == 2
    assert "no table '6'; there are 3, 4, 5." in result.output


OVERLAPS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda each: Overlap(min(each), max(each)))


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.lists(OVERLAPS, min_size=1), min_size=1), min_size=1))
def test_records_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, pictures: dict) -> None:
    path = tmp_path_factory.mktemp("records") / "some.jsonl"
    written = results.Records(path)
    for key, targets in pictures.items():
        written.add(key, targets)
    found = results.Records(path).of(sorted(pictures))
    assert found.pictures == pictures
    each = [one for targets in pictures.values() for target in targets for one in target]
    assert (found.expressions, found.means.mean(pictures)) == (len(each), pytest.approx(found.scores["mIoU"]))


@needs_sam
def test_what_a_step_costs_is_told() -> None:
    model = small_model()
    picture, expression, step = cost.costs(model, 1, 2, torch.device("cpu"), torch.float32)
    assert step.what == "a step, 1 x 2 sentences"
    for each in (picture, expression, step):
        assert len(each.seconds) == cost.TIMES
        assert all(seconds > 0 for seconds in each.seconds)
        assert each.peak is None or each.peak > 2**20
    told = cost.parameters(model)
    assert told.startswith(f"{sum(p.numel() for p in model.learned().values()):,} learned".replace(",", " "))
