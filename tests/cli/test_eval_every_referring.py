"""Every referring benchmark, in its published layout, made of scenes and evaluated with the embedded model."""

from pathlib import Path

import pytest

from tests.data.spoken import SPOKEN, make

PLACES = {name: name for name in SPOKEN if name != "refdavis"} | {
    "phrasecut-unseen": "phrasecut",
    "ref-davis17": "refdavis",
}
"""The folder of each benchmark."""
SCORES = {"grefcoco": "gIoU", "ref-davis17": "J&F"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("referring"), *SPOKEN)


@pytest.mark.parametrize("name", PLACES)
def test_it_runs_from_end_to_end(car, made, name):
    asked = ("eval", name, "--data-root", made / PLACES[name], "--out", "run", "--limit", 1, "--threads", 1)
    status, out, err = car(*asked, "--set", "proposer=gradcam")
    assert status == 0, err
    assert SCORES.get(name, "mIoU") in out
    assert Path("run/report.md").read_text().startswith(f"# {name}")
    assert car(*asked, "--set", "proposer=gradcam")[1].splitlines()[0] == out.splitlines()[0]
