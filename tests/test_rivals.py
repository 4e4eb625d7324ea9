"""The comparison in tools/: its scores against the library's, its bounds, its sheets, and that it goes on."""

import json
import os
import shutil
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from car.data import Target, open_referring
from car.errors import CarError
from car.evaluate import ReferringJob, RunDirectory
from car.evaluate.referring_report import ReferringReport
from car.evaluate.referring_statistics import ReferringStatistics
from car.referring.proposals import FolderOfMasks, MaskProposals, ProposalSource
from tests.data.writing_referring import annotation, box, reference, write_coco, write_refs
from tests.evaluate.referring_pictures import IMAGES, key, write_categories, write_refcoco
from tests.evaluate.test_referring_statistics import made, plan_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import rivals as tool
import rivals_bounds as bounds
import rivals_runs as runs
import rivals_scores as measures
import rivals_sheets as sheets

PICTURES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    write_refcoco(folder / "refcoco", PICTURES)
    return folder


def compare(data: Path, out: Path, *more: object) -> Result:
    """Two methods on given masks, which cost little."""
    asked = ("--benchmarks", "refcoco", "--methods", "car;global-local", "--proposals", data / "refcoco/masks")
    return CliRunner().invoke(tool.main, [*map(str, (data, "--out", out, *asked, "--limit", 2, *more))])


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory) -> tuple[Path, Path, str]:
    out, pictures = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("sheets")
    result = compare(data, out, "--sheets", pictures)
    assert result.exit_code == 0, result.output
    return out, pictures, (out / "table.md").read_text()


def rows_of(page: str) -> dict[tuple[str, str], list[str]]:
    """The cells of a page's first table by method and kind of proposals."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ref")]
    return {(row[2], row[1].split(" (")[0]): row for row in cells if len(row) == 9}


def test_a_row_is_what_the_run_reports(data, compared) -> None:
    out, _, page = compared
    masks = str(data / "refcoco/masks")
    rows = rows_of(page)
    assert set(rows) == {("car", "")} | {
        (method, kind)
        for kind in (masks, runs.TRUE)
        for method in ("any", "global-local", "best")
        if (method, kind) != ("best", runs.TRUE)
    }
    folders = {path.parent for path in (out / "runs").rglob("report.json")}
    assert len(folders) == 3
    for folder in folders:
        figures = json.loads((folder / "report.json").read_text())
        kind = {"alone": "", "true-masks": runs.TRUE}.get(folder.parent.name, masks)
        row, scores = rows[figures["plan"]["method"], kind], figures["scores"]
        for cell, name in zip(row[3:6], ("mIoU", "oIoU", "P@0.5"), strict=True):
            assert float(cell.split()[0]) == pytest.approx(100 * scores[name], abs=0.051)
        low, high = (round(100 * end, 1) for end in figures["interval"])
        assert row[3].endswith(f"[{low:.1f}, {high:.1f}]")
        assert float(row[8]) > 0


def test_nothing_is_better_than_the_best_proposal(compared) -> None:
    rows = rows_of(compared[2])
    best = {kind: float(row[3].split()[0]) for (method, kind), row in rows.items() if method == "best"}
    assert best
    for (_, kind), row in rows.items():
        assert float(row[3].split()[0]) <= best.get(kind, 100)


def test_true_masks_are_of_all_annotated_objects(tmp_path) -> None:
    root = tmp_path / "refcoco"
    shapes = [(2, 2, 10, 10), (20, 4, 8, 6), (5, 20, 9, 9)]
    annotations = [annotation(i, 1, box(*map(float, each))) for i, each in enumerate(shapes, 1)]
    write_coco(root, "refcoco", {1: (40, 50)}, annotations)
    write_refs(root, "refcoco", [reference(1, 1, 2, "the thing")])
    Image.new("RGB", (50, 40)).save(root / IMAGES / f"{key(1)}.jpg")
    rivals = runs.Rivals(tmp_path, tmp_path / "out", ReferringJob(benchmark="", data_root=root), "regions")
    rivals.write_true_masks("refcoco")
    masks = FolderOfMasks(rivals.true_masks("refcoco"))(np.zeros((40, 50, 3), np.uint8), key(1))
    assert sorted(mask.sum() for mask in masks) == sorted(width * height for _, _, width, height in shapes)


def test_it_goes_on_and_says_the_same(data, compared) -> None:
    out, _, page = compared
    records = sorted((out / "runs").rglob("records.jsonl"))
    before = [path.read_bytes() for path in records]
    torn = records[0].read_bytes().splitlines(keepends=True)[0]
    records[0].write_bytes(torn + b'{"key": "COCO')
    assert compare(data, out).exit_code == 0
    assert [len(path.read_bytes().splitlines()) for path in records] == [len(each.splitlines()) for each in before]
    assert [path.read_bytes() for path in records[1:]] == before[1:]
    again = rows_of((out / "table.md").read_text())
    assert [row[:8] for row in again.values()] == [row[:8] for row in rows_of(page).values()]


def test_other_proposals_are_not_compared(data, compared, tmp_path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(compared[0], out)
    path = next((out / "true/refcoco").iterdir())
    entries = json.loads(path.read_text())["annotations"]
    path.write_text(json.dumps({"annotations": [*entries, entries[0]]}))
    rivals = runs.Rivals(
        data, out, ReferringJob(benchmark="", data_root=data, limit=2, threads=1), str(data / "refcoco/masks")
    )
    method = next(each for each in runs.METHODS if each.title == "global-local")
    with pytest.raises(CarError, match=f"other mask proposals for {path.stem}"):
        tool.Comparison(rivals, ["refcoco"], [method]).bound(
            runs.Entry("refcoco", method, runs.TRUE), "any", bounds.any_one
        )


def test_some_categories_have_runs_of_their_own(tmp_path) -> None:
    data, out, names = write_refcoco(tmp_path / "refcoco", PICTURES).parent, tmp_path / "out", tmp_path / "mine.txt"
    write_categories(data / "refcoco", "person", "dog")
    names.write_text("dog\n")
    arguments = ("--benchmarks", "refcoco", "--methods", "global-local", "--proposals", str(data / "refcoco/masks"))
    for more in (("--categories", str(names), "--sheets", str(tmp_path / "sheets")), ()):
        result = CliRunner().invoke(tool.main, [str(data), "--out", str(out), *arguments, *more])
        assert result.exit_code == 0, result.output
    every, some = (
        {path.relative_to(out / folder): json.loads(path.read_text()) for path in (out / folder).rglob("report.json")}
        for folder in ("runs", "runs-mine")
    )
    assert every.keys() == some.keys()
    for path, figures in some.items():
        records = [RunDirectory((out / folder / path).parent).records() for folder in ("runs", "runs-mine")]
        whole, part = ({t.id: t.answers for record in found for t in record.targets} for found in records)
        assert 0 < len(part) < len(whole)
        assert part == {id: whole[id] for id in part}
        assert figures["plan"]["categories"]["source"] == names.name
    tables = [(out / name).read_text() for name in ("table.md", "table-mine.md")]
    assert ["categories of mine.txt" in page for page in tables] == [False, True]
    # What there is to choose from stays the same: all true masks of a picture, not those of the categories alone.
    candidates = [{row[1] for row in rows_of(page).values() if runs.TRUE in row[1]} for page in tables]
    assert candidates[0] == candidates[1]


def test_sheets_are_small_pictures_of_the_same_expressions(compared) -> None:
    _, pictures, _ = compared
    assert sorted(path.name for path in pictures.iterdir()) == ["car.jpg", "global-local.jpg"]
    sizes = set()
    for path in pictures.iterdir():
        assert path.stat().st_size < sheets.MOST_BYTES
        sizes.add(Image.open(path).size)
    assert len(sizes) == 1


@given(st.integers(0, 1000), st.booleans(), st.booleans())
def test_scores_and_their_intervals_are_those_of_the_report(seed: int, generalized: bool, skip: bool) -> None:
    keys, records = made(seed, generalized=generalized)
    plan = plan_of(keys, benchmark="grefcoco" if generalized else "refcoco", skip_empty=skip)
    figures = ReferringReport.of(ReferringStatistics.of(plan, keys, records)).figures
    found = measures.scores(plan, records)
    for name, score in found.items():
        expected = figures["scores"][name]
        assert (np.isnan(score.value) and expected is None) or score.value == pytest.approx(expected, abs=1e-9)
        low, high = score.ends
        assert not low > high
    if found and figures["interval"][0] is not None:
        assert found[figures["main"]].ends == pytest.approx(figures["interval"], abs=1e-6)


def test_differences_are_paired() -> None:
    keys, records = made(0)
    one = measures.scores(plan_of(keys), records)
    assert measures.difference(one, one, "mIoU") == (0, (0, 0))


def test_seconds_are_those_of_the_method() -> None:
    _, records = made(3)
    answers = sum(len(target.answers) for record in records for target in record.targets)
    # Each record has 0.25 s of reading and 0.5 s of text.
    assert measures.seconds_per_expression(records) == pytest.approx(0.5 * len(records) / answers)
    assert np.isnan(measures.seconds_per_expression([]))


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    masks = np.zeros((len(corners), 12, 12), bool)
    for mask, (y, x, height, width) in zip(masks, corners, strict=True):
        mask[y : y + height, x : x + width] = True
    return masks


BOX = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6))


@given(st.lists(BOX, min_size=1, max_size=6), BOX)
def test_nothing_is_better_than_the_best(corners, true) -> None:
    proposals, (truth,) = MaskProposals(boxes(*corners)), boxes(true)
    ious = [(mask & truth).sum() / (mask | truth).sum() for mask in proposals.masks]
    target = Target("1", ("it",), truth, False, None)
    chosen = bounds.best(proposals, target, "")
    assert ious[chosen] == max(ious)
    assert proposals.areas[chosen] == min(a for a, iou in zip(proposals.areas, ious, strict=True) if iou == max(ious))
    assert bounds.any_one(proposals, target, "name") == bounds.any_one(proposals, target, "name")


def test_chance_is_even() -> None:
    proposals, target = (
        MaskProposals(boxes(*[(0, 0, 1, 1)] * 4)),
        Target("1", ("it",), boxes((0, 0, 1, 1))[0], False, None),
    )
    counts = np.bincount([bounds.any_one(proposals, target, str(i)) for i in range(400)], minlength=4)
    assert counts.min() > 60


def test_of_nothing_nothing_is_chosen(data) -> None:
    dataset = open_referring("refcoco", data / "refcoco")
    nothing = ProposalSource(lambda image: np.zeros((0, *image.shape[:2]), bool))
    (record,) = bounds.records_of(bounds.best, dataset, [key(1)], nothing)
    answers = [answer for target in record.targets for answer in target.answers]
    assert (record.proposals, {each.intersection for each in answers}) == (0, {0})
    assert all(each.flagged and not each.found for each in answers)


def test_each_run_has_a_cache_of_its_own(data, tmp_path, monkeypatch) -> None:
    rivals = runs.Rivals(data, tmp_path, ReferringJob(benchmark="", data_root=data), "regions")
    entries = rivals.entries("refcoco", runs.METHODS)
    assert len({rivals.folder(entry) for entry in entries}) == len(entries) == 11
    for before in ("here", None):
        monkeypatch.delenv("CAR_CACHE") if before is None else monkeypatch.setenv("CAR_CACHE", before)
        inside = set()
        for entry in entries:
            with rivals.cache_of(entry):
                inside.add(os.environ["CAR_CACHE"])
        assert len(inside) == len(entries)
        assert os.environ.get("CAR_CACHE") == before
    assert not any(entry.method.preset for entry in rivals.entries("phrasecut", runs.METHODS))


def test_a_card_shows_what_was_found_and_the_truth() -> None:
    image = np.full((60, 80, 3), 120, np.uint8)
    found, truth = (np.zeros((60, 80), bool) for _ in range(2))
    found[10:30, 10:30] = truth[30:50, 50:70] = True
    card = sheets.card(image, found, Target("1", ("it",), truth, False, None), "the thing", "refcoco")
    top = (sheets.SIDE - round(60 * sheets.SIDE / 80)) // 2
    at = lambda y, x: card[top + round(y * sheets.SIDE / 80), round(x * sheets.SIDE / 80)].tolist()  # noqa: E731
    assert at(20, 20) == [120] * 3
    assert max(at(5, 40)) < 60
    assert min(at(40, 50.2)) > 200
    assert card.shape[:2] == (sheets.SIDE + 4 * sheets.LINE, sheets.SIDE)


@pytest.mark.parametrize(
    ("found", "true", "no_target", "told"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 4), False, "IoU 0.50"),
        (None, (0, 0, 2, 4), False, "IoU 0.00, nothing found"),
        (None, None, True, "no target, none found"),
        ((0, 0, 2, 2), None, True, "no target, yet a mask"),
    ],
)
def test_verdicts(found, true, no_target, told) -> None:
    mask, truth = (boxes((0, 0, 0, 0) if each is None else each)[0] for each in (found, true))
    assert sheets.verdict(mask, Target("1", ("it",), truth, no_target, None)) == told


def test_a_sheet_of_noise_is_small_nevertheless() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    content = sheets.jpeg(noise)
    assert len(content) < sheets.MOST_BYTES
    assert Image.open(BytesIO(content)).size == (1000, 1000)


def test_expressions_are_drawn_evenly(data) -> None:
    rivals = runs.Rivals(data, data, ReferringJob(benchmark="", data_root=data), "regions")
    asked = sheets.choose(rivals, ["refcoco"], 3)
    assert len({each.key for each in asked}) == 3
    assert asked == sheets.choose(rivals, ["refcoco"], 3)
    assert len(sheets.choose(rivals, ["refcoco"], 12)) == PICTURES


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--benchmarks", "refcoc"), "no 'refcoc'; there are refcoco, refcoco+,"),
        (("--methods", "car, no presets"), "no 'car, no presets'; there are car; car, no preset;"),
        (("--benchmarks", "grefcoco", "--methods", "car"), "grefcoco"),
        (("--categories", "coco-unseen"), "phrasecut has no categories; name others with --benchmarks: refcoco,"),
        (("--benchmarks", "refcoco", "--categories", "coco-unsee"), "Did you mean 'coco-unseen'"),
    ],
)
def test_what_is_not_there_is_told(data, tmp_path, asked, told) -> None:
    result = CliRunner().invoke(tool.main, [str(data), "--out", str(tmp_path), *asked])
    assert result.exit_code != 0
    assert told in result.output
    assert "Traceback" not in result.output


def test_names_may_hold_commas() -> None:
    read = tool.among([method.title for method in runs.METHODS], ";")
    assert read(None, None, "car, no preset") == ["car, no preset"]
    assert read(None, None, "tas;car, no preset") == ["car, no preset", "tas"]
    assert len(read(None, None, None)) == 7


def test_the_records_of_a_run_can_be_read(compared) -> None:
    for path in (compared[0] / "runs").rglob("run.json"):
        assert len(RunDirectory(path.parent)) == 2
