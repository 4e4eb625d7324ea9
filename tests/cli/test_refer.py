import json
from pathlib import Path

import pytest

from car.scenes import demo_path


def test_expressions_are_answered_one_by_one(car):
    status, out, _ = car("refer", demo_path(), "the red umbrella", "pizza")
    assert status == 0
    found, absent, where = out.splitlines()
    assert found.startswith("the red umbrella: ")
    assert absent == "pizza: nothing found"
    assert where == "-> out/demo.refer.png"
    assert [path.name for path in sorted(Path("out/demo.refer.masks").iterdir())] == ["the-red-umbrella.png"]
    kept = json.loads(Path("out/demo.refer.json").read_text())
    assert (kept["method"], [each["found"] for each in kept["referrals"]]) == ("car", [True, False])
    status, _, err = car("refer", demo_path(), "pizza")
    assert status == 2
    assert "--overwrite" in err
    assert car("refer", demo_path(), "pizza", "--overwrite")[0] == 0
    assert not list(Path("out/demo.refer.masks").glob("*.png"))


def test_several_expressions_can_mean_one_object(car):
    status, out, _ = car("refer", demo_path(), "umbrella", "the red umbrella", "--one-object")
    assert status == 0
    assert out.startswith("umbrella / the red umbrella: ")


@pytest.mark.parametrize("method", ["global-local", "tas", "hybridgl"])
def test_rivals_choose_among_proposals(car, method):
    status, out, _ = car("refer", demo_path(), "the umbrella", "--method", method, "--proposals", "regions")
    assert status == 0
    assert "nothing found" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.jpg", "cat"), "nothing.jpg"),
        ((demo_path(), "  "), "blank"),
        ((demo_path(), "cat", "--method", "hybrid"), "Did you mean 'hybridgl'?"),
        ((demo_path(), "cat", "--method", "tas", "--eta", "0.5"), "No setting 'eta'"),
        ((demo_path(),), "EXPRESSIONS"),
    ],
)
def test_bad_input_is_one_line(car, arguments, message):
    status, out, err = car("refer", *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not out
