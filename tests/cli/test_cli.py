"""The command line as a user runs it: arguments in, exit status, stdout, stderr and files out."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car.cli.main import COMMANDS
from car.cli.run import output_stems
from car.scenes.demo import DEMO_PRESENT, DEMO_QUERIES, demo_path


@pytest.fixture
def photo(tmp_path) -> Path:
    return Path(shutil.copy(demo_path(), tmp_path / "photo.jpg"))


QUERIES = ("-q", "cat", "-q", "dog", "-q", "unicorn")


def test_segment_writes_everything_and_says_what_it_found(car, photo):
    status, out, err = car("segment", "photo.jpg", *QUERIES, "--out", "results")
    assert (status, out) == (0, "")
    assert "cat" in err
    assert "absent: unicorn" in err
    files = {str(p.relative_to("results")) for p in Path("results").rglob("*") if p.is_file()}
    masks = {"photo.masks/cat.png", "photo.masks/dog.png"}
    assert files == {"photo.overlay.png", "photo.labels.png", "photo.json", *masks}
    labels = np.asarray(Image.open("results/photo.labels.png"))
    report = json.loads(Path("results/photo.json").read_text())
    assert set(np.unique(labels)) == {0, 1, 2}
    assert [a["query"] for a in report["annotations"]] == ["cat", "dog"]
    assert [a["query"] for a in report["absent"]] == ["unicorn"]
    assert report["config"]["theta"] == 0.6
    for annotation in report["annotations"]:
        mask = np.asarray(Image.open(f"results/photo.masks/{annotation['query']}.png")) > 0
        assert annotation["area"] == mask.sum() == (labels == annotation["label"]).sum()


def test_existing_results_are_kept_unless_told_otherwise(car, photo):
    assert car("segment", "photo.jpg", *QUERIES)[0] == 0
    before = Path("out/photo.json").read_bytes()
    status, _, err = car("segment", "photo.jpg", "-q", "cat")
    assert status == 2
    assert "--overwrite" in err
    assert Path("out/photo.json").read_bytes() == before
    assert car("segment", "photo.jpg", "-q", "cat", "--overwrite", "--quiet") == (0, "", "")
    assert Path("out/photo.json").read_bytes() != before
    assert not Path("out/photo.masks/dog.png").exists()


def test_json_goes_to_stdout_and_nowhere_else(car, photo):
    status, out, _ = car("segment", "photo.jpg", *QUERIES, "--json")
    assert status == 0
    assert {a["query"] for a in json.loads(out)["annotations"]} == {"cat", "dog"}
    assert not Path("out").exists()


def test_a_bad_file_does_not_stop_a_folder(car, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(photo, folder / "a.jpg")
    (folder / "b.jpg").write_text("not a picture")
    shutil.copy(photo, folder / "c.jpg")
    status, _, err = car("segment", "in", "-q", "cat")
    assert status == 1
    assert "b.jpg" in err
    assert "2 of 3 images done, 1 failed" in err
    assert {p.name for p in Path("out").glob("*.json")} == {"a.json", "c.json"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("segment", "nowhere.jpg", "-q", "cat"), 2, "nowhere.jpg"),
        (("segment", "photo.jpg"), 2, "No queries"),
        (("segment", "photo.jpg", "-q", " "), 2, "blank"),
        (("segment", "photo.jpg", "-q", "cat", "--theta", "nan"), 2, "theta"),
        (("segment", "photo.jpg", "-q", "cat", "--theta", "1.5"), 2, "[0, 1]"),
        (("segment", "photo.jpg", "-q", "cat", "--set", "teta=0.5"), 2, "theta"),
        (("segment", "photo.jpg", "-q", "cat", "--set", "theta"), 2, "KEY=VALUE"),
        (("segment", "photo.jpg", "-q", "cat", "--preset", "voc12"), 2, "voc"),
        (("segment", "photo.jpg", "-q", "cat", "--model", "minni"), 2, "mini"),
        (("segment", "photo.jpg", "-q", "cat", "--device", "cuda:99"), 2, "cuda:99"),
        (("segment", "photo.jpg", "-q", "cat", "--dtype", "int3"), 2, "dtype"),
        (("segment", "photo.jpg", "-q", "cat", "--prompt", "circel"), 2, "circle"),
        (("segment", "photo.jpg", "-q", "cat", "--sam", "magic"), 2, "magic"),
        (("segment", "photo.jpg", "-q", "cat", "--max-pixels", "10"), 2, "pixels"),
        (("segment", "photo.jpg", "--queries-file", "none.txt"), 2, "none.txt"),
        (("segment", "photo.jpg", "-q", "x " * 200), 2, "tokens"),
        (("segmnet", "photo.jpg"), 2, "Did you mean 'segment'"),
        (("presets", "voc12"), 2, "voc"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_users_mistake_is_one_line(car, photo, arguments, status, message):
    code, out, err = car(*arguments)
    assert (code, out) == (status, "")
    assert message in err
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith(("error:", "Error:"))]


def test_a_query_too_long_is_said_once_for_a_whole_folder(car, photo, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(photo, tmp_path / "in" / name)
    status, _, err = car("segment", "in", "-q", "cat", "-q", "x " * 200)
    assert status == 2
    assert err.count("tokens, more than") == 1


def test_absent_weights_are_status_3_and_name_the_way_out(car, photo, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    status, _, err = car("segment", "photo.jpg", "-q", "cat", "--model", "openai")
    assert status == 3
    assert "--model mini" in err
    assert "ViT-B-16.pt" in err


@pytest.mark.parametrize(
    "asked", [("segment", "-q", "cat", "--sam", "mini"), ("refer", "cat", "--method", "tas", "--proposals", "mini")]
)
def test_an_absent_extra_is_status_3_and_names_the_pip_command(car, photo, monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    status, out, err = car(asked[0], "photo.jpg", *asked[1:])
    assert (status, out) == (3, "")
    assert err == "error: The package segment_anything is not installed; run: pip install 'car-segmentation[sam]'\n"
    assert not Path("out").exists()


def test_queries_come_from_a_file_and_from_a_preset(car, photo):
    Path("words.txt").write_text("# animals\ncat\n\n  dog \n", encoding="utf-8")
    _, out, _ = car("segment", "photo.jpg", "--queries-file", "words.txt", "-q", "unicorn", "--json")
    report = json.loads(out)
    assert {a["query"] for a in [*report["annotations"], *report["absent"]]} == {"cat", "dog", "unicorn"}
    status, out, _ = car("segment", "photo.jpg", "--preset", "voc21", "--json")
    assert status == 0
    assert len(json.loads(out)["steps"][0]["queries"]) == 20


def test_settings_reach_the_configuration_in_order_of_precedence(car, photo):
    Path("mine.yaml").write_text("theta: 0.25\neta: 0.35\n")
    arguments = ("--preset", "coco-object", "--config", "mine.yaml", "--eta", "0.45", "--set", "crf_iterations=2")
    _, out, _ = car("segment", "photo.jpg", "-q", "cat", *arguments, "--json")
    config = json.loads(out)["config"]
    assert (config["lam"], config["theta"], config["eta"], config["crf_iterations"]) == (0.5, 0.25, 0.45, 2)


def test_explain_draws_every_step(car, photo):
    status, _, err = car("explain", "photo.jpg", *QUERIES, "--out", "why")
    assert status == 0
    assert "absent: unicorn" in err
    pictures = sorted(Path("why").glob("photo.step*.explain.png"))
    assert len(pictures) >= 2
    assert all(min(Image.open(p).size) > 200 for p in pictures)
    assert car("explain", "photo.jpg", "-q", "cat", "--out", "why")[0] == 2


def test_demo_finds_what_is_in_the_bundled_picture(car):
    status, out, _ = car("demo")
    assert status == 0
    assert ", ".join(DEMO_QUERIES) in out
    written = [Path(line.split(maxsplit=1)[1]) for line in out.splitlines() if line.startswith("wrote")]
    assert all(path.exists() for path in written)
    assert {p.stem for p in written if p.parent.name == "demo.masks"} == set(DEMO_PRESENT)


def test_models_and_presets_are_listed(car):
    status, out, _ = car("models")
    assert status == 0
    assert all(name in out for name in ("mini", "openai", "openai-b16", "ViT-L/14", "RN50"))
    status, out, _ = car("presets")
    assert status == 0
    assert "voc21" in out
    status, out, _ = car("presets", "voc21")
    Path("mine.yaml").write_text(out)
    assert "theta: 0.6" in out


def test_help_has_examples_everywhere(car):
    assert car("--version")[1].startswith("car, version")
    for name in COMMANDS:
        status, out, _ = car(name, "--help")
        assert status == 0
        assert "Examples:" in out


def test_help_does_not_wait_for_heavy_imports():
    code = "import sys; sys.argv = ['car', '--help']; from car.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'cv2', 'numpy', 'PIL', 'rich', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_stops_at_once_and_leaves_whole_files(photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(200):
        (folder / f"{i}.jpg").symlink_to(photo)
    command = [sys.executable, "-m", "car.cli.main", "segment", "in", "-q", "cat", "--out", "out"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.rstrip().endswith("Interrupted.")
    assert "Traceback" not in err
    for path in tmp_path.glob("out/*.json"):
        json.loads(path.read_text())
    for path in tmp_path.glob("out/*.overlay.png"):
        Image.open(path).load()


def test_results_of_images_with_one_name_do_not_meet():
    paths = [Path("a/x.jpg"), Path("b/x.jpg"), Path("b/x.png"), Path("b/y.jpg")]
    assert output_stems(paths) == ["a_x_jpg", "b_x_jpg", "b_x_png", "y"]
