import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car import rle
from car.data import open_video
from car.errors import InputError
from car.evaluate import ReferringJob, RunDirectory, Shard, VideoJob, merge, run
from car.evaluate.expression_report import FILES
from car.evaluate.label_maps import LabelMaps
from car.evaluate.method import prepare
from car.evaluate.referring_evaluator import ReferringEvaluator
from car.evaluate.video_evaluator import VideoEvaluator
from car.evaluate.video_methods import Found, painted
from car.metrics.video import RULES, score_sequence, video_scores
from car.referring.load import load_referrer
from car.video import VideoSegmenter
from tests.evaluate.films import FRAMES, SEEDS, jpeg, say, truths, write_films

FAST = {"proposer": "gradcam"}
REPORT = set(FILES) - {"timing.json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_films(tmp_path_factory.mktemp("data") / "DAVIS")


def job(root, **changes):
    return VideoJob(**{"benchmark": "ref-davis17", "data_root": root, "threads": 1, "options": FAST, **changes})


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(job(root), folder).complete
    return folder


def report_files(folder) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in REPORT}


def without_seconds(folder):
    return [replace(record, seconds={}) for record in RunDirectory(folder).records()]


def check_against_the_segmenter(root, records, **settings):
    """The scores of a run are those of `score_sequence`, applied to what `VideoSegmenter` gives."""
    dataset = open_video("ref-davis17", root)
    video = VideoSegmenter(load_referrer("car", **FAST).segmenter, together=False, **settings)
    found = 0
    for record in records:
        images = [frame.image for frame in dataset.frames(record.key)]
        assert record.frames == len(images) == FRAMES
        for name, said in record.annotators.items():
            texts = dataset.expressions(record.key, name)
            results = list(video.segment(images, [*texts.values()]))
            ids = np.array([0, *texts], np.uint8)
            frames = [(ids[each.labels], truth) for each, truth in zip(results, truths(root, record.key), strict=True)]
            assert said.scores == {rule: score_sequence(frames, rule) for rule in RULES}
            assert said.masks == sum(int(each.present.sum()) for each in results)
            assert said.uncertain == sum(int(each.uncertain.sum()) for each in results)
            assert (said.asked, said.problems) == (len(texts), {})
            found += said.masks
    assert found


def test_a_run_counts_what_the_segmenter_gives(root, whole):
    records = list(RunDirectory(whole).records())
    assert [record.key for record in records] == sorted(SEEDS)
    check_against_the_segmenter(root, records)
    figures = json.loads((whole / "report.json").read_text())
    said = [each for record in records for each in record.annotators.values()]
    for rule in RULES:
        ours = figures["rules"][rule]
        scores = video_scores(each for one in said for each in one.scores[rule])
        assert ours["j_and_f"] == pytest.approx(scores.j_and_f, abs=1e-9)
        assert ours["j"] == pytest.approx(scores.region._asdict(), abs=1e-9)
        assert ours["f"] == pytest.approx(scores.boundary._asdict(), abs=1e-9)
        assert ours["flicker"] == pytest.approx(scores.flicker, abs=1e-9)
        each = [found["j_and_f"] for found in ours["annotators"].values()]
        assert len(each) == 4
        assert ours["j_and_f"] == pytest.approx(np.mean(each), abs=1e-9)
        low, high = ours["interval"]
        assert low <= ours["j_and_f"] <= high
    assert (figures["main"], next(iter(figures["rules"]))) == ("fixed-ids", "fixed-ids")
    assert figures["sequences"] == {"all": 2, "evaluated": 2, "failed": 0, "missing": 0}
    assert (figures["frames"], figures["objects"]) == (2 * FRAMES, 4)
    page = (whole / "report.md").read_text()
    assert page.startswith("# ref-davis17 val (unsupervised), car carried: ")
    assert "| CaR | 30.34 | 28.15 | 32.53 | on photographs; protocol not released, rule not stated |" in page
    timing = json.loads((whole / "timing.json").read_text())
    spent = timing["seconds_per_sequence"]["segment"]["sum"]
    assert timing["frames_per_second"] == pytest.approx(4 * 2 * FRAMES / spent, rel=1e-4)
    assert {"read", "segment", "score", "all"} == set(timing["seconds_per_sequence"])


def test_every_frame_can_be_taken_alone(root, whole, tmp_path):
    asked = job(root, mode="per-frame", limit=1)
    report = run(asked, tmp_path / "run")
    assert report.figures["plan"]["film"]["mode"] == "per-frame"
    assert "car per-frame" in report.summary
    check_against_the_segmenter(root, RunDirectory(tmp_path / "run").records(), mode="per-frame")
    with pytest.raises(InputError, match=r"film\.mode is 'carried' there, 'per-frame' here"):
        run(replace(asked, limit=None), whole)


def test_it_goes_on_to_the_same_report(root, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    records = tmp_path / "run" / "records.jsonl"
    first, second = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(first + second[:40])
    for name in FILES:
        (tmp_path / "run" / name).unlink()
    told = []
    run(job(root), tmp_path / "run", on_progress=lambda each: told.append((each.there, each.unit, each.measure)))
    assert told == [(1, "sequences", "J&F")] * 2
    assert report_files(tmp_path / "run") == report_files(whole)


def test_shards_merge_to_the_report_of_one_run(root, whole, tmp_path):
    for index in (2, 1):
        run(job(root), tmp_path, shard=Shard(index, 2))
    merged = merge([tmp_path])
    assert merged.report.complete
    assert report_files(tmp_path) == report_files(whole)
    assert without_seconds(tmp_path) == without_seconds(whole)


def test_a_damaged_frame_is_told(tmp_path):
    root = write_films(tmp_path / "DAVIS")
    sound = jpeg(root, "two", FRAMES - 1).read_bytes()
    jpeg(root, "two", FRAMES - 1).write_bytes(b"")
    figures = run(job(root), tmp_path / "run").figures
    assert not figures["complete"]
    assert list(figures["failures"]) == ["two"]
    assert f"JPEGImages/480p/two/{FRAMES - 1:05}.jpg" in figures["failures"]["two"]
    assert str(tmp_path) not in figures["failures"]["two"]
    jpeg(root, "two", FRAMES - 1).write_bytes(sound)
    assert run(job(root), tmp_path / "run").complete


TOO_LONG = "very " * 100 + "long"


def check_nothing_found(scores, root, key):
    """An object had an empty mask in every frame."""
    assert scores.region == tuple(float(not (truth == 2).any()) for truth in truths(root, key))


def test_expressions_that_cannot_be_asked_are_named_and_those_said_twice_go_to_the_first(tmp_path):
    root = write_films(tmp_path / "DAVIS")
    say(root, "Davis17_annot1", "one", 2, TOO_LONG)
    same = next(iter(open_video("ref-davis17", root).expressions("two", "annot2").values()))
    say(root, "Davis17_annot2", "two", 2, same.upper())
    report = run(job(root), tmp_path / "run")
    assert report.complete
    (problem,) = report.figures["problems"]
    assert (problem["sequence"], problem["annotator"], problem["object"]) == ("one", "annot1", "2")
    assert "## Expressions that were not asked\n\n- `one`, annot1, object 2: " in report.page
    assert report.figures["expressions"] == {"asked": 15, "failed": 1}
    one, two = RunDirectory(tmp_path / "run").records()
    check_nothing_found(one.annotators["annot1"].scores["fixed-ids"][1], root, "one")
    check_nothing_found(two.annotators["annot2"].scores["fixed-ids"][1], root, "two")


def test_rivals_take_every_frame_among_its_proposals(tmp_path):
    root, masks = write_films(tmp_path / "DAVIS"), tmp_path / "masks"
    say(root, "Davis17_annot1", "one", 2, TOO_LONG)
    dataset = open_video("ref-davis17", root)
    masks.mkdir()
    for frame in dataset.frames("one"):
        entries = [{"segmentation": rle.encode(frame.labels == i)} for i in range(3)]
        (masks / f"one-{frame.name}.json").write_text(json.dumps({"annotations": entries}))
    asked = job(root, method="global-local", parser="built-in", proposals=str(masks), options={})
    report = run(asked, tmp_path / "run")
    assert list(report.figures["failures"]) == ["two"], "it has no proposals"
    assert report.figures["plan"]["film"] == {}
    assert "Every frame is segmented alone" in report.page
    record = next(each for each in RunDirectory(tmp_path / "run").records() if each.error is None)
    referrer = load_referrer("global-local", parser="built-in", proposals=str(masks))
    frames = {name: [] for name in dataset.annotators}
    for frame in dataset.frames("one"):
        prepared = prepare(referrer, f"one-{frame.name}", frame.image)
        for name, pairs in frames.items():
            pairs.append((in_front(prepared, dataset.expressions("one", name), frame.labels.shape), frame.labels))
    for name, said in record.annotators.items():
        assert said.scores == {rule: score_sequence(frames[name], rule) for rule in RULES}
        assert said.masks == (1 if name == "annot1" else 2) * FRAMES
    assert [*record.annotators["annot1"].problems] == ["2"]
    check_nothing_found(record.annotators["annot1"].scores["fixed-ids"][1], root, "one")


def in_front(prepared, texts, shape) -> np.ndarray:
    """The label map of a frame, pixel by pixel."""
    labels, best = np.zeros(shape, np.uint8), np.full(shape, -np.inf)
    for id, text in texts.items():
        if text != TOO_LONG:
            answer = prepared.refer(text)
            wins = answer.mask & (answer.score > best)
            labels[wins], best[wins] = id, answer.score
    return labels


@given(arrays.arrays(bool, (4, 3, 5)), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=4, max_size=4))
def test_the_highest_score_is_in_front_and_the_first_of_equals(masks, scores):
    found = [Found(i, score, mask, False) for i, (score, mask) in enumerate(zip(scores, masks, strict=True), 1)]
    best = np.where(masks, np.array(scores)[:, None, None], 0)
    expected = np.where(masks.any(axis=0), best.argmax(axis=0) + 1, 0)
    assert np.array_equal(painted(reversed(found), (3, 5)), expected)


@given(st.lists(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5))), max_size=4))
def test_label_maps_come_back_as_they_were(maps):
    with LabelMaps() as kept:
        for each in maps:
            kept.append(each)
        for _ in range(2):
            again = list(kept)
            assert len(again) == len(maps)
            assert all(np.array_equal(*pair) for pair in zip(again, maps, strict=True))


class Watched:
    """A data set that knows how many of the frames it gave are still in memory."""

    def __init__(self, dataset):
        self.dataset, self.given, self.most = dataset, [], 0

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def frames(self, key):
        for number in range(2 * FRAMES):
            frame = next(iter(self.dataset.frames(key)))
            frame.image[0, 0] = number
            self.given.append(weakref.ref(frame.image))
            self.most = max(self.most, sum(each() is not None for each in self.given))
            yield frame
            del frame


def test_no_film_is_held_in_memory(root):
    evaluator = VideoEvaluator(job(root))
    watched = evaluator.dataset = Watched(evaluator.dataset)
    assert evaluator("one").record.frames == len(watched.given) == 2 * FRAMES
    assert watched.most <= 3


def test_plans_and_records_of_other_kinds_are_not_taken_for_these(whole):
    records = whole / "records.jsonl"
    line = records.read_bytes().splitlines()[0]
    plan = RunDirectory(whole).plan
    assert type(plan).from_dict(json.loads(json.dumps(plan.to_dict()))).to_dict() == plan.to_dict()
    with pytest.raises(InputError, match="not the plan of a video run"):
        type(plan).from_dict({**plan.to_dict(), "kind": "referring"})
    record = RunDirectory(whole).parse(line)
    assert record.to_line().encode() == line
    for bad in ("{}", "[1]", '{"key": "one", "frames": 3, "annotators": [], "seconds": {}}'):
        with pytest.raises(InputError, match="Expected a line of records of films"):
            RunDirectory(whole).parse(bad)


def test_a_record_that_does_not_fit_is_refused(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    records = tmp_path / "run" / "records.jsonl"
    first, second = map(json.loads, records.read_bytes().splitlines())
    del first["annotators"]["annot1"]["scores"]["fixed-ids"][0]
    records.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(InputError, match="does not fit the plan"):
        merge([tmp_path / "run"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"benchmark": "refcoco"}, "benchmark of pictures"),
        ({"method": "hybrid"}, "No method 'hybrid'"),
        ({"method": "hybridgl", "mode": "per-frame"}, "`mode` is of the method 'car'"),
        ({"method": "tas", "check_every": 4}, "`check_every` is of the method 'car'"),
        ({"mode": "both"}, "carried, per-frame"),
        ({"check_every": 0}, "check_every"),
        ({"proposals": "regions"}, "'car' has no choice of `proposals`"),
        ({"options": {**FAST, "sam": "regions"}}, "competing queries only"),
        ({"annotations": "boxes"}, "boxes"),
    ],
)
def test_what_does_not_fit_is_refused(root, changes, told):
    with pytest.raises(InputError, match=told):
        VideoEvaluator(job(root, **changes))


def test_the_job_of_pictures_points_to_that_of_films(root):
    with pytest.raises(InputError, match="takes a `VideoJob`"):
        ReferringEvaluator(ReferringJob(benchmark="ref-davis17", data_root=root))


def test_predictions_are_refused(root, tmp_path):
    with pytest.raises(InputError, match="Predictions are not kept of films"):
        run(job(root), tmp_path / "run", predictions=True)
    assert not (tmp_path / "run").exists()
