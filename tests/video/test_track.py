"""Films through `car.video`: what goes from frame to frame, and what must not."""

import gc
import itertools
import json
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import car
from car import rle
from car.config import Config
from car.errors import InputError
from car.referring.recurrent import PreparedRecurrent
from car.scenes.film import Film, film
from car.video import Frame, FrameResult, VideoSegmenter
from car.video.claims import NOBODY, Claims
from car.video.hidden import Hidden
from car.video.identity import overlaps
from tests.models import random_vit

QUERIES = ["cat", "dog", "pizza", "car", "flower"]


@pytest.fixture(scope="module")
def segmenter() -> car.Segmenter:
    return car.load("mini", dtype="fp32", device="cpu", proposer="gradcam")


@pytest.fixture(scope="module")
def made() -> Film:
    """Two actors, 64 x 96, one cut."""
    return film(11, frames=8, size=(64, 96), objects=(2, 2), cuts=1, repeats=0, camera=0)


@pytest.fixture(scope="module")
def alone(segmenter, made) -> list:
    """Each frame as a picture of its own."""
    return [segmenter.segment(frame.image, names(made)) for frame in made]


@pytest.fixture(scope="module")
def results(segmenter, made) -> list[FrameResult]:
    """The film, with what is carried from frame to frame."""
    return run(segmenter, [frame.image for frame in made], names(made))


def names(made: Film) -> list[str]:
    return [*made.names, "pizza", "submarine"]


def run(segmenter: car.Segmenter, pictures, queries, **settings) -> list[FrameResult]:
    return list(VideoSegmenter(segmenter, **settings).segment(pictures, queries))


def keeping(**options) -> car.Segmenter:
    """Random weights that keep every query."""
    clip = random_vit()
    return car.Segmenter(clip, clip, Config(against_background=False, crf="none", theta=0, **options))


def noise(count: int, size=(24, 32)) -> np.ndarray:
    """Nearly the same picture, again and again."""
    rng = np.random.default_rng(0)
    base = rng.integers(60, 180, (*size, 3))
    return np.stack([(base + rng.integers(0, 2, base.shape)).astype(np.uint8) for _ in range(count)])


def same(one: FrameResult, other: FrameResult) -> None:
    for name in ("present", "masks", "scores", "uncertain", "taken_from", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_per_frame_is_every_frame_alone(segmenter, made, alone):
    results = run(segmenter, [f.image for f in made], names(made), mode="per-frame")
    for frame, expected, result in zip(made, alone, results, strict=True):
        same_as_alone(result, expected)
        np.testing.assert_array_equal(result.masks, expected.masks)
        assert result.checked
        assert result.cut == (frame.time in made.shots[1:])


def same_as_alone(result: FrameResult, expected: car.Segmentation) -> None:
    for name in ("labels", "scores", "present"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name), err_msg=name)


def test_a_cascade_lists_what_is_new_and_all_that_is_carried_is_asked(made):
    short = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", cascade=1, cascade_floor=1)
    frames = [Frame(f.time, "", made.size, f.image) for f in map(made.frame, (0, 1))]
    track = VideoSegmenter(short, check_every=1).track(names(made))
    first = track.step(frames[0])
    same_as_alone(first, short.segment(frames[0].image, names(made)))
    assert np.isfinite(first.scores).sum() == 1
    unlisted = np.flatnonzero(np.isnan(first.scores))
    track.hidden = replace(track.hidden, survivors=unlisted, masks=np.ones((len(unlisted), *made.size), bool))
    assert np.isfinite(track.step(frames[1]).scores[unlisted]).all()


def test_a_shot_begins_as_a_picture_alone_and_goes_on_otherwise(made, alone, results):
    assert [r.frame.number for r in results if r.cut] == list(made.shots[1:])
    assert any(r.present.any() for r in results)
    for first in made.shots:
        np.testing.assert_array_equal(results[first].labels, alone[first].labels)
        np.testing.assert_array_equal(results[first].scores, alone[first].scores)
        assert results[first].checked
    assert any((r.labels != a.labels).any() for r, a in zip(results, alone, strict=True))


def test_masks_are_a_partition_of_what_is_found(segmenter, results):
    for result in results:
        assert result.masks.dtype == bool
        assert result.masks.shape == (4, 64, 96)
        assert (result.masks.sum(0) == (result.labels > 0)).all()
        assert not result.masks[~result.present].any()
        assert result.found == tuple(q for q, there in zip(result.queries, result.present, strict=True) if there)
        assert (result.scores[result.present] >= segmenter.config.theta).all()
        assert not result.uncertain[~result.present].any()
        assert result.uncertain[result.taken_from != NOBODY].all()


@pytest.mark.parametrize("together", [True, False])
def test_a_film_that_stands_still_has_one_answer(segmenter, made, together):
    first, *others = run(segmenter, [made.frame(0).image] * 5, names(made), together=together)
    assert not first.reused
    for result in others:
        assert result.reused
        assert not result.checked
        assert not result.cut
        same(result, first)


def test_a_film_that_comes_to_a_stand_is_still_checked():
    pictures = noise(4)
    results = run(keeping(), [*pictures, *[pictures[3]] * 6], QUERIES)
    # Full checks are due in frames 0, 1, 3; this one in frame 7 would be of a picture that frame 3 was checked for.
    assert [r.checked for r in results] == [True, True, False, True, *[False] * 6]
    results = run(keeping(), [*pictures[:3], *[pictures[2]] * 4], QUERIES)
    assert [r.checked for r in results] == [True, True, False, True, False, False, False]
    assert [r.reused for r in results] == [False, False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("every", "checks"),
    [(1, range(16)), (2, [0, 1, *range(3, 16, 2)]), (4, [0, 1, 3, 7, 11, 15]), (99, [0, 1, 3, 7, 15])],
)
def test_checks_grow_rare_while_nothing_changes(every, checks):
    results = run(keeping(), noise(16), QUERIES, check_every=every)
    assert [i for i, r in enumerate(results) if r.checked] == list(checks)


def test_after_a_change_the_next_frame_is_checked(results):
    for before, after in itertools.pairwise(results):
        if (before.present != after.present).any() and after.frame.number + 1 < len(results):
            assert results[after.frame.number + 1].checked


def test_between_checks_only_survivors_are_judged(segmenter, made):
    results = run(segmenter, [made.frame(0).image, *noisy(made.frame(0).image, 5)], names(made))
    between = [(a, b) for a, b in itertools.pairwise(results) if not b.checked]
    assert between
    for before, after in between:
        absent = ~before.present
        assert (after.scores[absent] == before.scores[absent]).all()
        assert not after.present[absent].any()


def noisy(image: np.ndarray, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.clip(image + rng.integers(-2, 3, image.shape), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("together", [True, False])
def test_queries_in_another_order_have_the_same_answers(segmenter, made, together):
    pictures, order = [f.image for f in made][:4], [2, 0, 3, 1]
    one = run(segmenter, pictures, names(made), together=together)
    other = run(segmenter, pictures, [names(made)[i] for i in order], together=together)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(b.present, a.present[order])
        np.testing.assert_allclose(b.scores, a.scores[order], atol=1e-4)
        assert (b.masks == a.masks[order]).mean() > 0.999
        assert a.checked == b.checked


def test_expressions_have_masks_of_their_own(made):
    keeps_all = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", theta=0)
    queries = [made.names[0], f"small {made.names[0]}", "pizza"]
    first = run(keeps_all, [made.frame(0).image], queries, together=False)[0]
    alone = PreparedRecurrent(keeps_all.prepare(made.frame(0).image)).refer_together(queries)
    np.testing.assert_array_equal(first.masks, [each.mask for each in alone])
    shared = first.masks[0] & first.masks[1]
    assert shared.any()
    best = 1 + int(np.argmax(first.scores[:2]))
    assert (first.labels[shared] == best).all()
    assert first.uncertain[:2].any()


def test_two_expressions_for_one_thing_are_in_no_doubt_about_each_other():
    lenient = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", theta=0.3)
    made = film(7_000_402, frames=8, size=(72, 96), objects=(2, 2), cuts=1, repeats=0, camera=0)
    queries = [made.names[0], f"the {made.names[0]}"]
    results = run(lenient, [frame.image for frame in made], queries, together=False)
    assert all(result.present.all() for result in results)
    assert all(overlaps(result.masks, result.masks).min() > 0.9 for result in results)
    assert not any(result.uncertain.any() for result in results)


@pytest.fixture(scope="module")
def side_by_side() -> list:
    """Frames of one shot in which two actors are whole and apart."""
    made = film(11, frames=8, size=(64, 96), objects=(2, 2), cuts=0, repeats=0, camera=0)
    return [frame for frame in made if all(frame.mask([actor]).sum() > 100 for actor in (0, 1))]


def test_two_queries_whose_masks_are_exchanged_are_marked_until_they_are_exchanged_back(side_by_side):
    """With the carried masks as proposals, queries are what they are told to be; that is how they swap here."""
    keeps_all = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", theta=0)
    queries = list(side_by_side[0].film.names)
    track, found = VideoSegmenter(keeps_all, carry=1.0).track(queries), []
    for number, frame in enumerate(side_by_side):
        if number == 0:
            track.step(Frame(0, "", frame.film.size, frame.image))
            told_apart(track, frame)
            continue
        if number in (2, 4):
            track.hidden = replace(track.hidden, masks=track.hidden.masks[::-1])
        result = track.step(Frame(number, "", frame.film.size, frame.image))
        truth = np.array([frame.mask([actor]) for actor in (0, 1)])
        on = overlaps(result.masks, truth).argmax(axis=1).tolist()
        found.append((on, result.taken_from.tolist(), result.uncertain.tolist()))
    own, exchanged = ([0, 1], [NOBODY, NOBODY], [False, False]), ([1, 0], [1, 0], [True, True])
    assert found == [own, exchanged, exchanged, own]


def test_a_mask_that_comes_to_cover_two_objects_is_marked_until_the_other_query_is_back(side_by_side):
    keeps_all = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", theta=0)
    track, found = VideoSegmenter(keeps_all, carry=1.0).track(list(side_by_side[0].film.names)), []
    for number, frame in enumerate(side_by_side[:4]):
        if number == 1:
            both = track.hidden.masks.any(axis=0)[None]
            track.hidden = replace(track.hidden, survivors=np.zeros(1, np.int64), masks=both, wait=8, since=0)
        elif number == 3:
            apart = np.array([side_by_side[2].mask([actor]) for actor in (0, 1)])
            track.hidden = replace(track.hidden, survivors=np.arange(2), masks=apart)
        result = track.step(Frame(number, "", frame.film.size, frame.image))
        if number == 0:
            told_apart(track, frame)
            continue
        shares = [result.masks[0][frame.mask([actor])].mean() for actor in (0, 1)]
        found.append((result.present.tolist(), result.taken_from.tolist(), [share > 0.25 for share in shares]))
    covering = ([True, False], [1, NOBODY], [True, True])
    assert found == [covering, covering, ([True, True], [NOBODY, NOBODY], [True, False])]


def told_apart(track, frame) -> None:
    """Have a track begin with the true masks."""
    masks = np.array([frame.mask([actor]) for actor in (0, 1)])
    claims = Claims.none(2, masks.shape[1:]).after([0, 1], masks, np.ones(2), track.hidden.claims.looks)
    track.hidden = replace(track.hidden, survivors=np.arange(2), masks=masks, claims=claims)


@pytest.mark.parametrize("mode", ["carried", "per-frame"])
def test_no_mask_depends_on_the_claims(segmenter, made, results, mode):
    track = VideoSegmenter(segmenter, mode=mode).track(names(made))
    expected = results if mode == "carried" else run(segmenter, [f.image for f in made], names(made), mode=mode)
    for frame, result in zip(made, expected, strict=True):
        if track.hidden is not None:
            track.hidden = replace(track.hidden, claims=Claims.none(4, made.size))
        forgetful = track.step(Frame(frame.time, "", made.size, frame.image))
        for name in ("present", "masks", "scores", "checked"):
            np.testing.assert_array_equal(getattr(forgetful, name), getattr(result, name), err_msg=name)


def test_what_leaves_is_dropped_and_what_comes_back_is_found_and_named_as_before(segmenter):
    made = film(41, frames=24, size=(72, 96), objects=(2, 2), cuts=0, repeats=0, camera=0)
    shots = [made.frame(time) for time in range(4, 24)]
    truth = np.array([[frame.mask([actor]).any() for actor in (0, 1)] for frame in shots])
    leaves, returns = truth[:, 1].argmin(), len(shots) - truth[::-1, 1].argmin()
    assert 0 < leaves < returns < len(shots)
    results = run(segmenter, [frame.image for frame in shots], names(made))
    present = np.array([result.present for result in results])
    assert present[:, 0].all()
    assert present[0, 1]
    assert not present[leaves:returns, 1].any()
    assert present[-1, 1]
    assert not present[:, 2:].any()
    for frame, result in ((shots[0], results[0]), (shots[-1], results[-1])):
        shared = overlaps(result.masks[:2], np.array([frame.mask([actor]) for actor in (0, 1)]))
        assert shared.argmax(axis=1).tolist() == [0, 1]
        assert shared[1, 1] > 0.5


def test_a_long_film_takes_no_more_memory_than_a_short_one():
    """Of the frames and answers handed out, none but the last ones stay; what else is kept does not grow."""
    alive: list[weakref.ref] = []
    traced: dict[int, int] = {}
    size = (48, 64)

    def endless(count: int) -> Iterator[np.ndarray]:
        pictures = noise(8, size)
        for number in range(count):
            image = np.roll(pictures[number % 8], number % 5, axis=1)
            alive.append(weakref.ref(image))
            yield image

    tracemalloc.start()
    try:
        for result in VideoSegmenter(keeping(), check_every=4).segment(endless(70), QUERIES):
            alive.append(weakref.ref(result))
            if result.frame.number in (29, 69):
                gc.collect()
                traced[result.frame.number] = tracemalloc.get_traced_memory()[0]
                assert sum(each() is not None for each in alive) <= 4
    finally:
        tracemalloc.stop()
    # One mask kept per frame would be twice as much.
    assert traced[69] - traced[29] < 40 * size[0] * size[1] / 2


def test_a_track_goes_on_from_its_state(segmenter, made, results):
    frames, stop = [Frame(f.time, "", made.size, f.image) for f in made], made.shots[1] - 2
    one, other = (VideoSegmenter(segmenter).track(names(made)) for _ in range(2))
    for frame in frames[:stop]:
        one.step(frame)
    other.hidden = Hidden.from_bytes(one.hidden.to_bytes())
    for frame, expected in zip(frames[stop:], results[stop:], strict=True):
        result = other.step(frame)
        same(result, expected)
        assert (result.checked, result.cut, result.reused) == (expected.checked, expected.cut, expected.reused)


def test_a_frame_that_cannot_be_read_changes_nothing_after_it(segmenter, made, results):
    frames = [Frame(f.time, "", made.size, f.image) for f in made][:4]
    bad = Frame(2, "two", made.size, None, "two is damaged.")
    with_bad = run(segmenter, [*frames[:2], bad, *frames[2:]], names(made))
    assert not with_bad[2].present.any()
    assert with_bad[2].masks.shape == (4, 64, 96)
    assert not with_bad[2].masks.any()
    assert np.isnan(with_bad[2].scores).all()
    assert with_bad[2].record()["error"] == "two is damaged."
    for a, b in zip([*with_bad[:2], *with_bad[3:]], results[:4], strict=True):
        same(a, b)


def test_a_film_may_begin_with_a_frame_that_cannot_be_read(segmenter, made, results):
    bad = Frame(0, "zero", made.size, None, "zero is damaged.")
    after = run(segmenter, [bad, made.frame(0).image], names(made))
    same(after[1], results[0])


def test_nothing_there_costs_nothing_until_the_next_check():
    grey = np.full((8, 32, 48, 3), 128, np.uint8)
    grey[:, 0, 0, 0] = np.arange(8)
    segmenter = car.load("mini", dtype="fp32", device="cpu")
    results = run(segmenter, grey, ["cat", "pizza"])
    assert not any(r.present.any() for r in results)
    assert [r.checked for r in results] == [True, True, False, True, False, False, False, True]


def test_a_picture_of_another_size_begins_a_shot():
    results = run(keeping(), [noise(1)[0], noise(1, (32, 24))[0], noise(1, (48, 36))[0]], QUERIES)
    assert [r.cut for r in results] == [False, True, True]
    assert [r.masks.shape[1:] for r in results] == [(24, 32), (32, 24), (48, 36)]


def test_synonyms_are_one_query(segmenter, made):
    results = run(segmenter, [f.image for f in made][:3], [(made.names[0], "thing"), "pizza"])
    assert results[0].queries == (made.names[0], "pizza")


def test_what_was_pruned_is_no_background_of_those_left(segmenter):
    track = VideoSegmenter(segmenter).track(["cat", "grass"])
    assert "grass" in segmenter.background
    assert "grass" not in track.background


def test_images_are_worked_on_at_a_bounded_size_and_answered_at_their_own(made):
    segmenter = car.load("mini", dtype="fp32", device="cpu", proposer="gradcam", max_side=48)
    for result in run(segmenter, [f.image for f in made][:3], names(made)):
        assert result.labels.shape == (64, 96)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "both"}, "carried, per-frame"),
        ({"check_every": 0}, "check_every"),
        ({"carry": 1.5}, r"\[0, 1\]"),
    ],
)
def test_bad_settings_are_refused(segmenter, settings, message):
    with pytest.raises(InputError, match=message):
        VideoSegmenter(segmenter, **settings)


@pytest.mark.parametrize("queries", [[], [" "], ["x" * 999]])
def test_bad_queries_are_refused_before_any_frame(segmenter, queries):
    with pytest.raises(InputError):
        VideoSegmenter(segmenter).segment(iter(()), queries)


def test_mask_proposals_are_for_competing_queries(made):
    segmenter = car.load("mini", dtype="fp32", device="cpu", sam="regions")
    assert run(segmenter, [made.frame(0).image], names(made))
    with pytest.raises(InputError, match="sam"):
        run(segmenter, [made.frame(0).image], names(made), together=False)


def test_a_record_is_plain_and_complete(results):
    result = results[-1]
    record = json.loads(json.dumps(result.record(), allow_nan=False))
    assert {each["query"] for each in record["objects"]} == set(result.found)
    assert len(record["objects"]) + len(record["absent"]) == 4
    for each in record["objects"]:
        np.testing.assert_array_equal(rle.decode(each["segmentation"]), result.masks[each["label"] - 1])
