"""`car bench` from the command line."""

import json

import pytest

SMALL = ("--models", "mini", "--size", 64, 48, "--repeats", 1, "--device", "cpu", "--dtype", "fp32")


def test_tables_and_json(car, tmp_path) -> None:
    file = tmp_path / "made" / "speed.json"
    status, out, err = car("bench", *SMALL, "--queries", 1, "--queries", 3, "--json", file)
    assert (status, err) == (0, "")
    assert "mini, 64 x 48, 1 query, fp32 on cpu" in out
    assert out.count("| propose to crf |") == 2
    content = json.loads(file.read_text())
    assert content["machine"]["copy GB/s"] > 0
    assert content["machine"]["threads"] >= 1
    assert [row["case"]["queries"] for row in content["rows"]] == [1, 3]
    stages = {stage["name"]: stage for stage in content["rows"][1]["stages"]}
    assert stages["propose"]["median"] > 0
    assert stages["classify 1"]["floor"] > 0
    assert stages["text, disk"]["floor"] is None
    assert not [path for path in file.parent.iterdir() if path != file]


def test_referring(car) -> None:
    status, out, _ = car("bench", *SMALL, "--referring", "--queries", 2)
    assert status == 0
    assert "2 expressions" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--models", "ViT-B/16"), "No models 'ViT-B/16' to measure"),
        (("--queries", 100000), "queries to measure, but got 100000"),
        (("--queries", 0), "0 is not in the range"),
        (("--cascade", 0), "0 is not in the range"),
        (("--size", 0, 5), "0 is not in the range"),
        (("--dtype", "int8"), "`dtype`"),
        (("--device", "abacus"), "Device 'abacus' is not available"),
        (("--json", "."), "is a folder"),
    ],
)
def test_mistakes_are_told_in_a_line(car, arguments, says) -> None:
    status, out, err = car("bench", *arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_help_has_examples(car) -> None:
    status, out, _ = car("bench", "--help")
    assert status == 0
    assert "car bench --models mini" in out
