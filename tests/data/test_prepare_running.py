"""Preparations that are stopped, repeated, damaged, or find another's files."""

import json
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from car.data.prepare import NAMES, open_preparation, prepare
from car.errors import CarError, InputError
from tests.data.prepare_sources import (
    box,
    compressed,
    detail_image,
    detail_region,
    read,
    tree,
    write_ade,
    write_detail,
    write_list,
    write_many,
    write_map,
    write_mat,
)

COUNT = 6
FOLDER = "SegmentationClassContext"
LEDGER = f"{FOLDER}/.car-prepare-val.jsonl"


def run(root, **options):
    return prepare(open_preparation("context", root), **options)


@pytest.fixture
def base(tmp_path):
    """The folder of a prepared Pascal Context."""
    folder = write_many(tmp_path, COUNT)
    report = run(tmp_path)
    assert report.complete
    assert report.states == {"written": COUNT}
    return folder


def damage(path, how):
    content = path.read_bytes()
    torn = {"empty": b"", "torn": content[: len(content) // 2], "other": b"GIF89a", "zeros": bytes(len(content))}
    path.write_bytes(torn[how])


def test_a_second_run_changes_nothing(tmp_path, base):
    before, times = tree(base), {path: path.stat().st_mtime_ns for path in base.rglob("*") if path.is_file()}
    report = run(tmp_path)
    assert report.complete
    assert report.states == {"kept": COUNT}
    assert tree(base) == before
    assert all(path.stat().st_mtime_ns == then for path, then in times.items() if path.name[0] != ".")


def test_the_record_of_what_is_finished_can_be_lost(tmp_path, base):
    before, seen = tree(base), {int(i) - 1 for path in base.glob(f"{FOLDER}/*.png") for i in np.unique(read(path)) if i}
    assert len(seen) > 1
    for content in (None, b"", b"garbage\n[1]\n{}\nnull\n\xff\n" + b"[" * 100_000 + b"\n", before[LEDGER][:-9]):
        (base / LEDGER).unlink()
        if content is not None:
            (base / LEDGER).write_bytes(content)
        report = run(tmp_path)
        assert report.states == {"kept": COUNT}
        assert report.seen == seen
        assert tree(base)[LEDGER].endswith(before[LEDGER].splitlines(keepends=True)[-1])
        assert {key: value for key, value in tree(base).items() if key != LEDGER} == {
            key: value for key, value in before.items() if key != LEDGER
        }


@pytest.mark.parametrize("known", [True, False], ids=["ours", "of nobody"])
@pytest.mark.parametrize("how", ["empty", "torn", "other", "zeros"])
def test_a_damaged_file_is_written_anew(tmp_path, base, how, known):
    before = tree(base)
    damage(base / FOLDER / "2008_000003.png", how)
    if not known:
        (base / LEDGER).unlink()
    report = run(tmp_path)
    assert report.complete
    assert report.states == {"kept": COUNT - 1, "repaired": 1}
    assert tree(base) == before


def test_what_was_ours_and_cannot_be_right_is_written_anew(tmp_path, base):
    before = tree(base)
    for number, values in ((2, np.full((40, 50), 60)), (3, np.zeros((40, 49))), (4, np.full((40, 50), 254))):
        Image.fromarray(values.astype(np.uint8)).save(base / FOLDER / f"2008_{number:06}.png")
    Image.new("RGB", (50, 40)).save(base / FOLDER / "2008_000005.png")
    assert run(tmp_path).states == {"kept": COUNT - 4, "repaired": 4}
    assert tree(base) == before


def test_a_missing_file_is_written(tmp_path, base):
    before = tree(base)
    (base / FOLDER / "2008_000003.png").unlink()
    (base / "ImageSets/SegmentationContext/val.txt").unlink()
    assert run(tmp_path).states == {"kept": COUNT - 1, "written": 1}
    assert tree(base) == before


def test_what_a_kill_leaves_is_used_or_replaced(tmp_path, base):
    before = tree(base)
    lines = before[LEDGER].splitlines(keepends=True)
    # Killed after the second file, before its line was whole, and again while the third was written.
    (base / LEDGER).write_bytes(lines[0] + lines[1][:40])
    (base / FOLDER / ".2008_000003.png.tmp").write_bytes(before[f"{FOLDER}/2008_000003.png"][:30])
    for number in range(3, COUNT + 1):
        (base / FOLDER / f"2008_{number:06}.png").unlink()
    assert run(tmp_path).states == {"kept": 2, "written": COUNT - 2}
    assert tree(base) == before


def theirs(base, number, values):
    """Another's file, of whom nothing is recorded."""
    path = base / FOLDER / f"2008_{number:06}.png"
    Image.fromarray(values).save(path)
    lines = (base / LEDGER).read_bytes().splitlines(keepends=True)
    (base / LEDGER).write_bytes(b"".join(line for line in lines if path.stem.encode() not in line))
    return path


def test_the_same_from_somebody_else_is_kept(tmp_path, base):
    image = Image.open(base / FOLDER / "2008_000003.png")
    image.putpalette(bytes(range(256)) * 3)
    path = theirs(base, 3, np.asarray(image))
    image.save(path, optimize=True)
    content = path.read_bytes()
    assert run(tmp_path).states == {"kept": COUNT}
    assert path.read_bytes() == content
    assert run(tmp_path).states == {"kept": COUNT}


@pytest.mark.parametrize(
    "values",
    [np.zeros((40, 50), np.uint8), np.zeros((20, 25), np.uint8), np.full((40, 50), 99, np.uint8)],
    ids=["values", "size", "range"],
)
def test_something_else_from_somebody_else_is_replaced_only_if_asked(tmp_path, base, values):
    before = tree(base)
    path = theirs(base, 3, values)
    content = path.read_bytes()
    report = run(tmp_path)
    assert not report.complete
    assert report.states == {"kept": COUNT - 1, "differs": 1}
    assert report.problems == {"2008_000003": f"{str(path)!r} is there already and is not what would be written."}
    assert path.read_bytes() == content
    report = run(tmp_path, overwrite=True)
    assert report.complete
    assert report.states == {"kept": COUNT - 1, "replaced": 1}
    after = tree(base)
    assert {**after, LEDGER: b""} == {**before, LEDGER: b""}


def test_another_list_is_replaced_only_if_asked(tmp_path, base):
    path = base / "ImageSets/SegmentationContext/val.txt"
    path.write_text("2008_000001\n2008_000002\n")
    report = run(tmp_path)
    assert report.lists == [f"{str(path)!r} is there already and is not what would be written."]
    assert not report.complete
    assert run(tmp_path, overwrite=True).complete
    assert len(path.read_text().split()) == COUNT
    path.write_text("\n".join(path.read_text().split()) + "\r\n\r\n")
    assert run(tmp_path).complete


def test_other_sources_are_noticed(tmp_path, base):
    write_detail(tmp_path, [detail_image(n, (40, 50)) for n in range(1, COUNT + 1)], [])
    assert run(tmp_path).states == {"differs": COUNT}
    assert run(tmp_path, overwrite=True).states == {"replaced": COUNT}
    assert run(tmp_path).states == {"kept": COUNT}
    assert not read(base / FOLDER / "2008_000001.png").any()


def test_a_picture_that_failed_is_made_when_its_source_is_mended(tmp_path):
    images = [detail_image(n, (4, 4)) for n in (1, 2, 3)]
    mask = compressed(box((4, 4), 0, 0, 2, 2))
    base = write_detail(tmp_path, images, [detail_region(2, 3, mask)])
    assert run(tmp_path).states == {"written": 2, "failed": 1}
    write_detail(tmp_path, images, [detail_region(2, 2, mask)])
    assert run(tmp_path).states == {"written": 1, "kept": 2}
    assert (read(base / FOLDER / "2008_000002.png") == box((4, 4), 0, 0, 2, 2)).all()


def noise(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (520, 530, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(pixels, (0, 0), 9), None, 0, 255, cv2.NORM_MINMAX)


def write_pictures(root):
    for number in range(4):
        write_ade(root, f"ADE_val_{number:08}", np.full((520, 530), 2978 + number), noise(number))
    return root / "ADE20K_2021_17_01"


def test_results_do_not_depend_on_the_number_of_jobs(tmp_path):
    trees, seen = [], []
    for jobs in (1, 3, 8):
        base = write_pictures(tmp_path / str(jobs))
        seen += [[]]
        report = prepare(open_preparation("ade847", tmp_path / str(jobs)), jobs=jobs, done=seen[-1].append)
        assert report.states == {"written": 4}
        trees.append(tree(base))
    assert trees[0] == trees[1] == trees[2]
    assert seen[0] == seen[1] == seen[2]
    assert [outcome.key for outcome in seen[0]] == [f"ADE_val_{number:08}" for number in range(4)]


def test_a_picture_is_as_good_from_another_program(tmp_path):
    base = write_pictures(tmp_path)
    folder = base / "images_detectron2/validation"
    folder.mkdir(parents=True)
    for number in (0, 1):
        small = Image.fromarray(noise(number)).resize((522, 512), Image.Resampling.BILINEAR)
        small.save(folder / f"ADE_val_{number:08}.jpg", quality=90)
    Image.fromarray(noise(9)).resize((522, 512)).save(folder / "ADE_val_00000002.jpg")
    Image.fromarray(noise(3)).save(folder / "ADE_val_00000003.jpg")
    before = tree(folder)
    report = prepare(open_preparation("ade847", tmp_path))
    assert report.states == {"written": 2, "differs": 2}
    assert tree(folder) == before
    # A picture and its label map are made together or not at all.
    truths = {path.stem for path in (base / "annotations_detectron2/validation").glob("*.tif")}
    assert truths == {"ADE_val_00000000", "ADE_val_00000001"}


def test_what_cannot_be_written_is_an_error(tmp_path):
    base = write_many(tmp_path, 2)
    (base / FOLDER).write_text("in the way")
    with pytest.raises(InputError, match="Cannot make the folder"):
        run(tmp_path)
    (base / FOLDER).unlink()
    (base / FOLDER / "2008_000002.png").mkdir(parents=True)
    with pytest.raises(CarError, match=r"Cannot write to .*2008_000002"):
        run(tmp_path)
    assert not list(base.rglob("*.tmp"))


def test_only_what_is_to_be_prepared_can_be(tmp_path):
    assert NAMES == ("context", "context60", "context59", "coco-object", "ade847", "pc459")
    for name in ("voc21", "ade150", "folder"):
        with pytest.raises(InputError, match="needs no preparation"):
            open_preparation(name, tmp_path)
    with pytest.raises(InputError, match="Did you mean 'context'"):
        open_preparation("contxt", tmp_path)
    with pytest.raises(InputError, match=r"has no split 'test'\. Available: train, val"):
        open_preparation("context", tmp_path, "test")


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    peaks = []
    for count in (15, 90):
        root = tmp_path / str(count)
        keys = [f"2008_{number:06}" for number in range(count)]
        for key in keys:
            write_mat(root, key, np.ones((300, 300), np.uint16), do_compression=True)
        write_list(root, keys)
        preparation = open_preparation("pc459", root)
        tracemalloc.start()
        assert prepare(preparation).states == {"written": count}
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def sources(root, name):
    """Sources of many pictures of a benchmark; the folder of its label maps and where its files are."""
    if name == "context":
        base = write_many(root, 250)
        return base / FOLDER, base
    if name == "coco-object":
        for number in range(250):
            path = write_map(root, number, np.random.default_rng(number).integers(0, 11, (40, 50), dtype=np.uint8))
        return path.parent, path.parent
    if name == "pc459":
        keys = [f"2008_{number:06}" for number in range(250)]
        for key in keys:
            write_mat(root, key, np.random.default_rng(int(key[5:])).integers(0, 460, (40, 50), dtype=np.uint16))
        base = write_list(root, keys).parent
        return base / "annotations_detectron2/pc459_val", base
    base = write_pictures(root)
    for number in range(4, 20):
        write_ade(root, f"ADE_val_{number:08}", np.full((520, 530), number), noise(0))
    return base / "annotations_detectron2/validation", base


@pytest.mark.parametrize(("name", "jobs"), [("context", 1), ("coco-object", 1), ("ade847", 2), ("pc459", 3)])
def test_killed_at_any_moment_it_ends_in_the_same_files(tmp_path, name, jobs):
    truths, base = sources(tmp_path / "a", name)
    shutil.copytree(tmp_path / "a", tmp_path / "whole")
    prepare(open_preparation(name, tmp_path / "whole"))
    whole = tree(tmp_path / "whole")
    command = [sys.executable, "-m", "car.cli.main", "data", "prepare", name, "--data-root", str(tmp_path / "a")]
    total = len(open_preparation(name, tmp_path / "a").keys)
    suffix = open_preparation(name, tmp_path / "a").benchmark.layout.truth_suffix
    killed = 0
    for share in (0.1, 0.6) if name == "context" else (0.3,):
        running = subprocess.Popen([*command, "--jobs", str(jobs)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if truths.is_dir() and len(list(truths.glob(f"*{suffix}"))) >= share * total:
                break
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
    assert killed
    done = len(list(truths.glob(f"*{suffix}")))
    assert 0 < done < total
    report = prepare(open_preparation(name, tmp_path / "a"), jobs=jobs)
    assert report.complete
    assert report.states["kept"] >= done - 1 - 5 * jobs
    assert tree(tmp_path / "a") == whole
    assert json.loads(next(truths.glob(".car-prepare-*.jsonl")).read_bytes().splitlines()[0])["key"]
    assert base.is_dir()
