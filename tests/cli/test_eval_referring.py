from pathlib import Path

from car.data import read_categories
from tests.evaluate.referring_pictures import write_categories, write_refcoco


def test_a_run_from_the_command_line(car, tmp_path):
    root = write_refcoco(tmp_path / "refer", 2)
    asked = ["eval", "refcoco", "--data-root", root, "--method", "global-local", "--parser", "built-in", "--threads", 1]
    asked += ["--proposals", root / "masks"]
    status, out, err = car(*asked, "--quiet", "--predictions")
    assert (status, out) == (2, "")
    assert err.startswith("error: Predictions are not kept")
    status, out, err = car(*asked)
    assert status == 0
    assert out.startswith("refcoco val, global-local, per sentence: mIoU ")
    assert "published: HybridGL, per sentence: oIoU 41.81, mIoU 49.48" in out
    page = Path("runs/refcoco-global-local-mini/report.md").read_text()
    assert car("eval", "report", "runs/refcoco-global-local-mini")[:2] == (0, page)
    status, _, err = car("eval", "report", "runs/refcoco-global-local-mini", root, "--quiet")
    assert status == 2
    assert len(err.splitlines()) == 1


def test_objects_of_a_named_list_of_categories(car, tmp_path):
    root = write_refcoco(tmp_path / "refer", 2)
    asked = ["eval", "refcoco", "--data-root", root, "--method", "global-local", "--parser", "built-in", "--threads", 1]
    asked += ["--proposals", root / "masks", "--out", "run", "--categories", "coco-unseen"]
    status, _, err = car(*asked)
    assert status == 2
    assert err == "error: refcoco has no category 'airplane'. Available: person, dog.\n"
    write_categories(root, *read_categories("coco-unseen"), *read_categories("coco-seen"))
    status, out, _ = car(*asked)
    assert status == 0
    assert out.startswith("refcoco val, categories of coco-unseen.txt, global-local, per sentence: mIoU ")
    assert "InstAcc " in out
    assert "published" not in out


def test_help_lists_them(car):
    status, out, _ = car("eval", "--help")
    assert status == 0
    assert "Referring benchmarks" in out
    assert "refcocog" in out
    assert "ref-davis17" in out
    status, out, _ = car("eval", "grefcoco", "--help")
    assert status == 0
    assert "--protocol" in out
    assert "--split-by" in out
    assert "--categories coco-unseen" in out
