"""`car train prompt-ris`, as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from car.cli.main import cli
from car.errors import CarError
from car.scenes import demo_path

SMALL = ("--sam-prompts", "none", "--clip-side", "48", "--prompts", "2", "--coarse-epochs", "2", "--scenes", "4")
QUICK = (*SMALL, "--images", "2", "--val-images", "2", "--workers", "0", "--dtype", "fp32", "--device", "cpu")


def train(out: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["train", "prompt-ris", "--out", str(out), *QUICK, *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("train") / "ris"
    return out, train(out)


def test_a_training_and_what_it_leaves(trained: tuple[Path, Result]) -> None:
    out, result = trained
    assert result.exit_code == 0, result.output
    assert {"best.safetensors", "state.pt", "steps.csv", "epochs.csv"} <= {path.name for path in out.iterdir()}
    assert not list(out.glob("*.tmp"))
    assert "4 scenes in an epoch, 2 to validate on" in result.output
    assert "epoch 2 (coarse): oIoU" in result.output
    assert f"--method prompt-ris --model {out / 'best.safetensors'}" in result.output


def test_curves_are_a_picture(trained: tuple[Path, Result]) -> None:
    pytest.importorskip("matplotlib")
    picture = np.asarray(Image.open(trained[0] / "curves.png"))
    assert picture.std() > 5


def test_its_model_refers(trained: tuple[Path, Result], tmp_path: Path) -> None:
    asked = [
        "refer",
        str(demo_path()),
        "the cat",
        "--method",
        "prompt-ris",
        "--model",
        str(trained[0] / "best.safetensors"),
    ]
    result = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "the cat: " in result.output


def test_a_finished_run_is_not_done_again(trained: tuple[Path, Result]) -> None:
    before = (trained[0] / "best.safetensors").stat().st_mtime_ns
    result = train(trained[0])
    assert result.exit_code == 0, result.output
    assert "epoch" not in result.output.replace("in an epoch", "")
    assert (trained[0] / "best.safetensors").stat().st_mtime_ns == before


def test_restart_begins_anew(tmp_path: Path) -> None:
    assert train(tmp_path).exit_code == 0
    other = train(tmp_path, "--rate", "0.01")
    assert isinstance(other.exception, CarError)
    assert "another `rate`" in str(other.exception)
    result = train(tmp_path, "--rate", "0.01", "--restart")
    assert result.exit_code == 0
    assert "epoch 1 (coarse)" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "refcoco", "--data-root", "."), "`--scenes` is of scenes"),
        (("--data-root", "."), "`--data-root` is of benchmarks"),
        (("--sam-prompts", "box"), "`sam_prompts` to be any of mask, point, text, but got 'box'"),
        (("--images", "3", "--at-once", "2"), "3 images to be shared out evenly"),
        (("--dtype", "fp16"), "`dtype` to be bf16 or fp32 in training, but got fp16"),
        (("--model", "ViT-B/99"), "Model 'ViT-B/99' not found"),
        (("--categories", "coco-sen"), "coco-sen"),
    ],
)
def test_what_cannot_be_is_one_line(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = train(tmp_path, *options)
    assert isinstance(result.exception, CarError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "refcoco"), "Name the folder of refcoco with `--data-root`"),
        (("--data", "cityscapes", "--data-root", "."), "'cityscapes' is no benchmark to train on"),
    ],
)
def test_data_that_are_not_there(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["train", "prompt-ris", "--out", str(tmp_path), *options])
    assert isinstance(result.exception, CarError)
    assert message in str(result.exception)


def test_ctrl_c_keeps_what_was_saved(tmp_path: Path) -> None:
    """Slow: a training that has to come to its second epoch, in a process of its own."""
    asked = [*QUICK, "--coarse-epochs", "500", "--val-images", "1"]
    command = [sys.executable, "-m", "car", "train", "prompt-ris", "--out", str(tmp_path), *asked]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (tmp_path / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert said.strip().splitlines()[-1] == "Interrupted. The same command goes on where it was saved last."
    assert not list(tmp_path.glob("*.tmp"))
