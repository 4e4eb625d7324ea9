"""Films as files: what is written, and that a run that was stopped ends in the bytes of one that was not."""

import itertools
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import car
from car import rle
from car.config import Config
from car.errors import CarError, InputError
from car.palette import voc_palette
from car.video import VideoSegmenter, open_frames
from car.video.run import FilmRun
from tests.models import random_vit
from tests.video.films import moving, write_film, write_pictures

SAVE_EVERY = 4
COUNT = 2 * SAVE_EVERY + 3
QUERIES = ["cat", "dog", "pizza"]


@pytest.fixture(autouse=True)
def states_are_kept_often(monkeypatch):
    monkeypatch.setattr("car.video.folder.SAVE_EVERY", SAVE_EVERY)


@pytest.fixture(scope="module")
def video() -> VideoSegmenter:
    """Random weights, some of whose queries come and go."""
    clip = random_vit()
    config = Config(against_background=False, crf="none", proposer="gradcam", theta=0.2)
    return VideoSegmenter(car.Segmenter(clip, clip, config))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("films") / "cat", moving(COUNT))


@pytest.fixture(scope="module")
def whole(video, source, tmp_path_factory) -> Path:
    """The files of a run that was not stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    complete(video, source, out)
    return out


def complete(video, source, out, **options) -> dict:
    with FilmRun(video, open_frames(source), QUERIES, out, **options) as run:
        for _ in run.segment():
            pass
        if run.overlay:
            assert len(list(run.draw())) == run.folder.done
        return run.finish()


def start(video, source, out, frames: int, queries=QUERIES, **options) -> None:
    """Segment some frames, and stop without a word, as after a kill."""
    with FilmRun(video, open_frames(source), queries, out, **options) as run:
        for _, _ in zip(range(frames), run.segment(), strict=False):
            pass


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_say_what_the_frames_are(video, source, whole):
    expected = list(video.segment(source, QUERIES))
    lines = [json.loads(line) for line in (whole / "cat.frames.jsonl").read_text().splitlines()]
    assert len(lines) == len(expected) == COUNT
    assert 0 < sum(result.present.sum() for result in expected) < COUNT * len(QUERIES)
    for result, line in zip(expected, lines, strict=True):
        assert line == json.loads(json.dumps(result.record()))
        image = Image.open(whole / f"Annotations/cat/{result.frame.number:05}.png")
        assert image.mode == "P"
        assert image.getpalette() == voc_palette().ravel().tolist()
        np.testing.assert_array_equal(np.array(image), result.labels)
        for each in line["objects"]:
            np.testing.assert_array_equal(rle.decode(each["segmentation"]), result.masks[each["label"] - 1])
    assert len(list(open_frames(whole / "cat.mp4").read())) == COUNT
    assert sorted(contents(whole)) == sorted(
        ["cat.json", "cat.frames.jsonl", "cat.mp4", *(f"Annotations/cat/{i:05}.png" for i in range(COUNT))]
    )


def test_the_summary_counts_frames(video, whole):
    lines = [json.loads(line) for line in (whole / "cat.frames.jsonl").read_text().splitlines()]
    summary = json.loads((whole / "cat.json").read_text())
    assert (summary["frames"], summary["damaged"], summary["missing"], summary["cuts"]) == (COUNT, 0, 0, [])
    for query in summary["queries"]:
        there = [line["frame"] for line in lines if query["label"] in [each["label"] for each in line["objects"]]]
        assert query["frames"] == len(there)
        assert (query["first"], query["last"]) == ((there[0], there[-1]) if there else (None, None))
        marked = [each for line in lines for each in line["objects"] if each["label"] == query["label"]]
        assert query["uncertain"] == sum(each["uncertain"] for each in marked)
        others = [str(each["taken_from"]) for each in marked if each["taken_from"] is not None]
        assert query["taken_from"] == {other: others.count(other) for other in others}
    plan = summary["plan"]
    assert plan["queries"] == [[query] for query in QUERIES]
    assert plan["video"] == vars(video.settings)
    assert plan["config"]["theta"] == 0.2


def test_the_summary_says_where_to_look_for_marked_masks(whole):
    lines = [json.loads(line) for line in (whole / "cat.frames.jsonl").read_text().splitlines()]
    doubt = json.loads((whole / "cat.json").read_text())["doubt"]
    marked = [each for line in lines for each in line["objects"] if each["uncertain"]]
    assert doubt["masks"] == len(marked) > 0
    assert doubt["taken"] == sum(each["taken_from"] is not None for each in marked) > 0
    there = [line["frame"] for line in lines if any(each["uncertain"] for each in line["objects"])]
    assert [number for first, last in doubt["frames"] for number in range(first, last + 1)] == there
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(doubt["frames"]))


@pytest.mark.parametrize("stops", [[0], [1], [SAVE_EVERY, SAVE_EVERY], [SAVE_EVERY + 2, 5, 99]])
def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(video, source, whole, tmp_path, stops):
    out = tmp_path / "out"
    for frames in stops:
        start(video, source, out, frames)
    (out / "Annotations/cat/.0123456789abcdef.tmp").write_bytes(b"what a kill left")
    complete(video, source, out)
    assert contents(out) == contents(whole)


def test_it_goes_on_from_the_last_state_not_from_the_start(video, source, tmp_path):
    start(video, source, tmp_path, SAVE_EVERY + 2)
    with FilmRun(video, open_frames(source), QUERIES, tmp_path) as run:
        assert run.folder.done == SAVE_EVERY
        assert next(run.segment()).frame.number == SAVE_EVERY


def test_a_film_stopped_while_it_was_drawn_is_not_segmented_again(video, source, whole, tmp_path):
    with FilmRun(video, open_frames(source), QUERIES, tmp_path) as run:
        for _ in run.segment():
            pass
        drawn = run.draw()
        next(drawn)
        del drawn
    assert not (tmp_path / "cat.mp4").exists()
    with FilmRun(video, open_frames(source), QUERIES, tmp_path) as run:
        assert not list(run.segment())
        list(run.draw())
        run.finish()
    assert contents(tmp_path) == contents(whole)


def test_lines_a_kill_cut_short_are_written_again(video, source, whole, tmp_path):
    start(video, source, tmp_path, SAVE_EVERY + 2)
    with (tmp_path / "cat.frames.jsonl").open("ab") as file:
        file.write(b'{"frame": 7, "na')
    complete(video, source, tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_a_damaged_state_begins_anew(video, source, whole, tmp_path, caplog):
    start(video, source, tmp_path, SAVE_EVERY + 2)
    state = tmp_path / ".cat.state"
    state.write_bytes(state.read_bytes()[:-40])
    complete(video, source, tmp_path)
    assert "damaged" in caplog.text
    assert contents(tmp_path) == contents(whole)


def test_lost_lines_are_an_error(video, source, tmp_path):
    start(video, source, tmp_path, SAVE_EVERY)
    (tmp_path / "cat.frames.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="lost lines"):
        start(video, source, tmp_path, 1)


def test_a_finished_film_is_kept(video, source, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    with pytest.raises(InputError, match="--overwrite"):
        start(video, source, tmp_path / "out", 1)
    assert contents(tmp_path / "out") == contents(whole)


def test_another_plan_is_refused_and_told_what_differs(video, source, tmp_path):
    start(video, source, tmp_path, 2)
    before = contents(tmp_path)
    other = VideoSegmenter(video.segmenter, check_every=3)
    with pytest.raises(InputError, match=r"video\.check_every is 8 there, 3 here\."):
        start(other, source, tmp_path, 1)
    with pytest.raises(InputError, match="queries"):
        start(video, source, tmp_path, 1, ["cat"])
    assert contents(tmp_path) == before


def test_another_film_of_the_same_name_is_refused(video, source, tmp_path):
    start(video, source, tmp_path / "out", 2)
    other = write_pictures(tmp_path / "cat", moving(COUNT)[::-1])
    with pytest.raises(InputError, match="first_frame"):
        start(video, other, tmp_path / "out", 1)


def test_overwriting_begins_anew_and_spares_what_is_not_its_own(video, source, whole, tmp_path):
    write_pictures(tmp_path / "cat", moving(2 * COUNT))
    start(video, tmp_path / "cat", tmp_path / "out", 2 * COUNT)
    (tmp_path / "out/Annotations/cat/mine.png").write_bytes(b"mine")
    complete(video, source, tmp_path / "out", overwrite=True)
    (tmp_path / "out/Annotations/cat/mine.png").unlink()
    assert contents(tmp_path / "out") == contents(whole)


def test_one_process_at_a_time_writes_a_film(video, source, tmp_path):
    with (
        FilmRun(video, open_frames(source), QUERIES, tmp_path),
        pytest.raises(InputError, match="Another process"),
    ):
        start(video, source, tmp_path, 1)


def test_films_of_other_names_share_a_folder(video, source, tmp_path):
    complete(video, source, tmp_path / "out", overlay=False)
    complete(video, write_pictures(tmp_path / "dog", moving(3)), tmp_path / "out", overlay=False)
    assert sorted(path.name for path in (tmp_path / "out/Annotations").iterdir()) == ["cat", "dog"]


def test_damaged_frames_are_counted_and_drawn_black(video, tmp_path):
    folder = write_pictures(tmp_path / "cat", moving(4))
    (folder / "2.png").write_bytes(b"damaged")
    summary = complete(video, folder, tmp_path / "out")
    assert (summary["frames"], summary["damaged"]) == (4, 1)
    film = [frame.image for frame in open_frames(tmp_path / "out/cat.mp4").read()]
    assert [image[:100].mean() > 30 for image in film] == [True, True, False, True]


def test_a_film_file_keeps_its_speed(video, tmp_path):
    path = write_film(tmp_path / "cat.avi", moving(5), fps=12)
    complete(video, path, tmp_path / "own")
    complete(video, path, tmp_path / "told", fps=30)
    assert open_frames(tmp_path / "own/cat.mp4").fps == 12
    assert open_frames(tmp_path / "told/cat.mp4").fps == 30


def test_a_folder_that_cannot_be_made_is_one_error(video, source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CarError, match="file"):
        start(video, source, tmp_path / "file/out", 1)


def test_what_was_written_does_not_stay_in_memory(video, source, tmp_path):
    with FilmRun(video, open_frames(source), QUERIES, tmp_path, overlay=False) as run:
        results = [weakref.ref(result) for result in run.segment()]
    assert sum(each() is not None for each in results) <= 1
