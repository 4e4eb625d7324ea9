"""The paper's ablations in tools/: what runs, what is shared, what is printed."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from car.evaluate.job import Job
from car.evaluate.run_directory import RunDirectory
from tests.evaluate.pictures import write_pictures

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import ablate
from ablate_paper import T1, Row, tables


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data") / "scenes", 2)


def test_tables_have_the_rows_of_the_paper():
    found = tables([("mini", "mini")])
    assert list(found) == ["recurrence", "backbones", "prompts", "thresholds", "background", "merging"]
    assert "backbones" not in tables([])
    assert {row.label: row.published for row in found["recurrence"].rows} == {
        ("gradCAM", "no"): None,
        ("gradCAM", "yes"): 41.1,
        ("CLIP-ES (CAA)", "no"): 15.2,
        ("CLIP-ES (CAA)", "yes"): 67.6,
    }
    for table in found.values():
        assert len({row.label for row in table.rows}) == len(table.rows)
        assert all(len(row.label) == len(table.header) for row in table.rows)


def test_rows_of_the_same_settings_share_a_run(tmp_path):
    ablation = ablate.Ablation(Job(benchmark="folder", data_root="x", options={"theta": 0.5}), tmp_path)
    assert ablation.folder(Row(("a",), {"eta": 0.3})) == ablation.folder(Row(("b",), {"theta": 0.5, "eta": 0.3}))
    assert ablation.folder(Row(("a",), {"eta": 0.3})) != ablation.folder(Row(("a",), {"eta": 0.4}))
    assert ablation.job_of(Row(("a",), T1)).options == {**T1}
    assert ablation.job_of(Row(("a",), models=("p", "c"))).classifier == "c"


def test_what_is_merged_is_the_rows_own_choice(tmp_path):
    rows = {row.label[0]: row for row in tables([])["merging"].rows}
    merging = ablate.Ablation(Job(benchmark="folder", data_root="x", options={"eta": 0.3, "sam": "regions"}), tmp_path)
    assert merging.job_of(rows["none"]).options == {"eta": 0.3}
    assert merging.job_of(rows["mini"]).options == {"eta": 0.3, "sam": "mini"}
    assert merging.folder(rows["regions"]) == merging.folder(ablate.OWN)
    plain = ablate.Ablation(Job(benchmark="folder", data_root="x", options={"eta": 0.3}), tmp_path)
    assert plain.folder(rows["none"]) == plain.folder(ablate.OWN)


def run(*arguments):
    return CliRunner().invoke(ablate.main, [*map(str, arguments)])


def test_a_table_is_run_and_printed_and_goes_on(root, tmp_path):
    """Slow: each of its five rows is a process of its own, which loads the model."""
    command = ("folder", "--data-root", root, "--out", tmp_path, "--table", "recurrence", "--set", "crf=none")
    first = run(*command)
    assert first.exit_code == 0, first.output
    folders = sorted((tmp_path / "runs").iterdir())
    assert len(folders) == 5
    shown = (tmp_path / "tables.md").read_text()
    assert shown in first.stdout
    rows = [line for line in shown.splitlines() if line.startswith(("| gradCAM", "| CLIP-ES"))]
    assert len(rows) == 4
    # Without recurrence every absent query is kept and no present one dropped.
    assert all("| 100.0 | 0.0 |" in row for row in rows if "| no |" in row)
    assert {RunDirectory(folder).plan.config["crf"] for folder in folders} == {"none"}
    written = [(folder / "records.jsonl").read_bytes() for folder in folders]
    assert run(*command).stdout == first.stdout
    assert written == [(folder / "records.jsonl").read_bytes() for folder in folders]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--table", "tabel"), "no table 'tabel'; there are recurrence, prompts"),
        (("--pair", "ViT-B/16"), "PROPOSER+CLASSIFIER"),
        (("--set", "eta=2"), "in [0, 1]"),
    ],
)
def test_what_cannot_be_run_is_refused(root, tmp_path, options, message):
    refused = run("folder", "--data-root", root, "--out", tmp_path, *options)
    assert refused.exit_code != 0
    assert message in refused.output
