from pathlib import Path

from tests.evaluate.films import jpeg, write_films

FAST = ("--set", "proposer=gradcam", "--threads", 1)


def test_a_run_from_the_command_line(car, tmp_path):
    root = write_films(tmp_path / "DAVIS")
    asked = ["eval", "ref-davis17", "--data-root", root, *FAST]
    status, out, err = car(*asked, "--quiet", "--predictions")
    assert (status, out) == (2, "")
    assert err.startswith("error: Predictions are not kept of films")
    assert len(err.splitlines()) == 1
    status, out, err = car(*asked, "--shard", "1/2", "--check-every", 4)
    assert status == 0
    assert "1 of 1 sequences, 4 frames, 2 objects" in out
    status, out, err = car("eval", "merge", "runs/ref-davis17-car-mini")
    assert status == 1
    assert "1 of 2 sequences are in none of the runs: two." in err
    jpeg(root, "two", 1).write_bytes(b"")
    status, out, err = car(*asked, "--check-every", 4)
    assert status == 1
    assert "1 of 2 sequences were there already." in err
    assert "two: error: 'JPEGImages/480p/two/00001.jpg'" in err
    assert out.startswith("ref-davis17 val, car carried: J&F ")
    assert "by the rule fixed-ids" in out
    assert "published: CaR: J&F 30.34, J 28.15, F 32.53 (on photographs;" in out
    assert "frames/s per annotator" in out
    page = Path("runs/ref-davis17-car-mini/report.md").read_text()
    status, out, err = car("eval", "report", "runs/ref-davis17-car-mini", "--out", "told")
    assert (status, out) == (1, page)
    assert "1 of 2 sequences have a result; 1 failed" in err
    assert sorted(path.name for path in Path("told").iterdir()) == ["report.json", "report.md", "timing.json"]


def test_a_mode_has_a_folder_of_its_own(car, tmp_path):
    root = write_films(tmp_path / "DAVIS")
    status, out, _ = car("eval", "ref-davis17", "--data-root", root, *FAST, "--mode", "per-frame", "--limit", 1)
    assert status == 0
    assert out.startswith("ref-davis17 val, car per-frame: J&F ")
    assert Path("runs/ref-davis17-car-per-frame-mini/report.md").exists()


def test_help_says_what_is_done(car):
    status, out, _ = car("eval", "--help")
    assert status == 0
    assert "ref-davis17" in out
    status, out, _ = car("eval", "ref-davis17", "--help")
    assert status == 0
    for said in ("--mode", "--check-every", "--annotations", "fixed-ids", "label map is made per frame"):
        assert said in " ".join(out.split())
