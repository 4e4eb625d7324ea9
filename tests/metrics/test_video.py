import json
import random
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from itertools import permutations
from math import isnan

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.metrics.region import boundary_accuracy, region_similarity
from car.metrics.video import (
    MAX_PROPOSALS,
    RULES,
    VOID,
    ObjectScores,
    flicker,
    score_sequence,
    statistics,
    video_scores,
)
from tests.golden import golden

SIZE = (9, 13)
OBJECTS = 3
Film = list[tuple[np.ndarray, np.ndarray]]


def films(*values: int, least: int = 1, most: int = 5) -> st.SearchStrategy[Film]:
    """Frames of blocks with ids up to OBJECTS; the truth has these further values too."""
    blocks = st.tuples(st.integers(least, most), st.just(3), st.just(4))
    labels = st.sampled_from([*range(OBJECTS + 1)])
    more = st.sampled_from([*range(OBJECTS + 1), *values])

    def film(shape: tuple[int, ...]) -> st.SearchStrategy[Film]:
        pair = (hnp.arrays(np.uint8, shape, elements=each).map(grown) for each in (labels, more))
        return st.tuples(*pair).map(lambda maps: list(zip(*maps, strict=True)))

    return blocks.flatmap(film)


def grown(blocks: np.ndarray) -> np.ndarray:
    return blocks.repeat(3, axis=1).repeat(4, axis=2)[:, : SIZE[0], : SIZE[1]]


def blank(count: int = 1) -> np.ndarray:
    return np.zeros((count, 12, 16), np.uint8)


def values() -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_statistics_match_the_reference():
    z = golden("metrics")
    np.testing.assert_allclose(statistics(z["davis_stat_values"]), z["davis_stat_MRD"], atol=1e-6)


def test_frames_of_a_sequence_match_the_reference():
    z = golden("metrics")
    (scores,) = score_sequence(zip(z["davis_pred"], z["davis_gt"], strict=True), "fixed-ids", objects=1)
    np.testing.assert_allclose(scores.region, z["davis_J"], atol=1e-6)
    np.testing.assert_allclose(scores.boundary, z["davis_F"], atol=1e-6)


@given(films())
def test_fixed_ids_are_each_object_frame_by_frame(film):
    scores = score_sequence(iter(film), "fixed-ids", objects=OBJECTS)
    assert [each.proposal for each in scores] == [1, 2, 3]
    for i, each in enumerate(scores, 1):
        masks = [(predicted == i, truth == i) for predicted, truth in film]
        assert list(each.region) == [region_similarity(*pair) for pair in masks]
        assert list(each.boundary) == [boundary_accuracy(*pair) for pair in masks]


@given(films(VOID))
def test_what_is_predicted_in_void_pixels_counts_for_nobody(film):
    removed, filled = ([(np.where(truth == VOID, by, found), truth) for found, truth in film] for by in (0, OBJECTS))
    empty = [(found, np.where(truth == VOID, 0, truth)) for found, truth in removed]
    for rule in ("fixed-ids", "unsupervised"):
        expected = [(each.region, each.boundary) for each in score_sequence(film, rule, objects=OBJECTS)]
        for other in (removed, filled, empty):
            assert [(each.region, each.boundary) for each in score_sequence(other, rule, objects=OBJECTS)] == expected


@given(films(VOID, least=3, most=6))
def test_semi_supervised_drops_both_ends_and_takes_void_for_background(film):
    inner = [(found, np.where(truth == VOID, 0, truth)) for found, truth in film[1:-1]]
    dropped: Film = [(None, film[0][1]), *film[1:-1], (None, None)]
    found = score_sequence(iter(dropped), "semi-supervised", objects=OBJECTS)
    assert found == score_sequence(inner, "fixed-ids", objects=OBJECTS)


@given(films())
def test_assigned_proposals_are_the_best_of_all_permutations(film):
    scores = score_sequence(film, "unsupervised", objects=OBJECTS)
    quality = [
        [
            np.mean([region_similarity(found == p, truth == i) for found, truth in film])
            + np.mean([boundary_accuracy(found == p, truth == i) for found, truth in film])
            for p in range(1, OBJECTS + 1)
        ]
        for i in range(1, OBJECTS + 1)
    ]
    best = max(sum(quality[i][p] for i, p in enumerate(order)) for order in permutations(range(OBJECTS)))
    assert sum(np.mean(each.region) + np.mean(each.boundary) for each in scores) == pytest.approx(best, abs=1e-9)


@given(films(), st.permutations(range(1, OBJECTS + 1)))
def test_renaming_proposals_changes_nothing_where_they_are_assigned(film, order):
    names = np.array([0, *order], np.uint8)
    found, renamed = (
        video_scores(score_sequence(each, "unsupervised", objects=OBJECTS))
        for each in (film, [(names[predicted], truth) for predicted, truth in film])
    )
    assert renamed.j_and_f == pytest.approx(found.j_and_f, abs=1e-12)


@given(films())
def test_fixed_ids_are_at_most_as_good_as_assigned_ones(film):
    fixed, assigned = (
        video_scores(score_sequence(film, rule, objects=OBJECTS)) for rule in ("fixed-ids", "unsupervised")
    )
    assert fixed.j_and_f <= assigned.j_and_f + 1e-12


def test_assigned_scores_are_listed_by_object():
    truth = blank()
    truth[0, :4, :4], truth[0, 8:, 8:] = 1, 2
    predicted = blank()
    predicted[0, :4, :4], predicted[0, 8:, 8:], predicted[0, :4, 8:] = 7, 3, 1
    first, second = score_sequence([(predicted[0], truth[0])] * 2, "unsupervised")
    assert (first.proposal, second.proposal) == (7, 3)
    assert first.region == second.region == first.boundary == (1.0, 1.0)


def test_fewer_proposals_than_objects():
    truth = blank()
    truth[0, :4, :4], truth[0, 8:, 8:] = 1, 2
    first, second = score_sequence([(np.where(truth[0] == 2, 1, 0), truth[0])], "unsupervised")
    assert (first.proposal, first.region, first.boundary) == (0, (0.0,), (0.0,))
    assert (second.proposal, second.region, second.boundary) == (1, (1.0,), (1.0,))


def test_no_more_empty_masks_are_at_hand_than_the_reference_has():
    truth, predicted = blank(4), blank(4)
    truth[0, :4, :4] = 1
    predicted[:, 8:, 8:] = 1
    (scores,) = score_sequence(zip(predicted, truth, strict=True), "unsupervised")
    # An empty mask would have J 1 in three frames of four, but the only proposal has to be taken.
    assert (scores.proposal, scores.region) == (1, (0.0,) * 4)


def test_more_objects_than_proposals_are_allowed():
    truth = np.arange(1, 26, dtype=np.uint8).reshape(5, 5).repeat(4, axis=0).repeat(4, axis=1)
    predicted = np.where(truth <= MAX_PROPOSALS, truth, 0)
    scores = score_sequence([(predicted, truth)], "unsupervised")
    assert [each.proposal for each in scores] == [*range(1, 21), 0, 0, 0, 0, 0]
    assert [each.region for each in scores] == [(1.0,)] * 20 + [(0.0,)] * 5


def test_objects_are_those_of_the_first_frame():
    truth = blank(2)
    truth[0, :2], truth[0, 2], truth[1, :3] = 2, VOID, 5
    frames = [(np.zeros_like(each), each) for each in truth]
    for rule in ("fixed-ids", "unsupervised"):
        scores = score_sequence(frames, rule)
        assert [each.region for each in scores] == [(1.0, 1.0), (0.0, 1.0)]
    assert len(score_sequence(frames, "fixed-ids", objects=5)) == 5
    assert score_sequence(frames[:1], "fixed-ids", objects=0) == score_sequence(frames, "unsupervised", objects=0) == ()


def test_scores_by_hand():
    truth, predicted = blank(3), blank(3)
    truth[:, :, :8] = 1
    predicted[0, :, :8], predicted[1, :, :4] = 1, 1
    (scores,) = score_sequence(zip(predicted, truth, strict=True), "fixed-ids")
    assert scores == ObjectScores(1, (1.0, 0.5, 0.0), (1.0, 0.0, 0.0), (0.5, 1.0))
    total = video_scores([scores])
    assert total.region == (0.5, 1 / 3, 0.75)
    assert total.boundary == (1 / 3, 1 / 3, 0.5)
    assert (total.objects, total.flicker) == (1, 0.75)
    assert total.j_and_f == pytest.approx(5 / 12)


def test_label_maps_of_any_integer_dtype():
    truth = blank()[0]
    truth[3:9, 3:9] = 1
    expected = score_sequence([(truth, truth)], "unsupervised")
    for dtype in (np.int16, np.uint16, np.int64, np.uint64):
        assert score_sequence([(truth.astype(dtype), truth)], "unsupervised") == expected


@given(values())
def test_mean_and_recall_are_the_definition(found):
    mean, recall, _ = statistics(found)
    assert mean == pytest.approx(sum(found) / len(found), abs=1e-12)
    assert recall == sum(value > 0.5 for value in found) / len(found)


@pytest.mark.parametrize("frames", [*range(1, 30), 69, 70, 104, 253, 254, 255, 256])
def test_decay_is_the_reference_rule(frames):
    found = np.random.default_rng(frames).random(frames)
    edges = (np.round(np.linspace(1, frames, 5) + 1e-10) - 1).astype(np.uint8).tolist()
    expected = found[edges[0] : edges[1] + 1].mean() - found[edges[3] : edges[4] + 1].mean()
    assert statistics(found).decay == pytest.approx(expected, abs=1e-12)
    assert statistics(found, as_released=True) == statistics(found)


def test_decay_of_long_sequences():
    found = np.concatenate([np.ones(150), np.zeros(150)])
    assert statistics(found).decay == 1.0
    # Frame 299 is taken for 43, which lies before the start of the last quarter.
    assert isnan(statistics(found, as_released=True).decay)
    # Of 1000 frames the last quarter would be 749 to 999, and is taken to be 237 to 231; of 1100, 56 to 75.
    assert isnan(statistics(np.arange(1000.0), as_released=True).decay)
    released = statistics(np.arange(1100.0), as_released=True)
    assert released.decay == np.arange(20).mean() - np.arange(56, 76).mean()


@given(st.lists(values().map(lambda each: ObjectScores(1, each, each[::-1], each[1:])), max_size=5), st.randoms())
def test_sums_are_the_same_in_any_order_and_through_json(objects, generator: random.Random):
    expected = repr(video_scores(objects))
    assert repr(video_scores(iter(generator.sample(objects, len(objects))))) == expected
    text = json.dumps([asdict(each) for each in objects])
    assert repr(video_scores(ObjectScores(**each) for each in json.loads(text))) == expected


def test_means_are_over_objects_and_not_over_frames():
    objects = [ObjectScores(1, [1.0], [0.5], []), ObjectScores(2, [0.0] * 9, [1.0] * 9, [0.5] * 8)]
    scores = video_scores(objects)
    assert (scores.region.mean, scores.region.recall, scores.boundary.mean, scores.j_and_f) == (0.5, 0.5, 0.75, 0.625)
    assert scores.flicker == 0.5


@pytest.mark.filterwarnings("error")
def test_nothing_has_no_score():
    scores = video_scores([])
    assert scores.objects == 0
    assert np.isnan([*scores.region, *scores.boundary, scores.j_and_f, scores.flicker]).all()


@given(films())
def test_changes_of_a_sequence_are_its_flicker(film):
    predicted, truth = (np.stack(maps) for maps in zip(*film, strict=True))
    for i, each in enumerate(score_sequence(film, "fixed-ids", objects=OBJECTS), 1):
        expected = flicker(predicted == i, truth == i)
        assert len(each.changes) == len(film) - 1
        assert video_scores([each]).flicker == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(films(least=2))
def test_the_truth_itself_does_not_flicker(film):
    truth = [(each, each) for _, each in film]
    for rule in ("fixed-ids", "unsupervised"):
        for each in score_sequence(truth, rule, objects=OBJECTS):
            assert set(each.changes) == {0.0}


@given(hnp.arrays(bool, (6, 7)), hnp.arrays(bool, (6, 7)), st.integers(2, 5))
def test_a_constant_mask_over_a_constant_truth_does_not_flicker(predicted, truth, frames):
    assert flicker(np.stack([predicted] * frames), np.stack([truth] * frames)) == 0.0


@given(hnp.arrays(bool, (4, 6, 7)), hnp.arrays(bool, (4, 6, 7)))
def test_flicker_changes_its_sign_with_its_sides(predicted, truth):
    assert -1 <= flicker(predicted, truth) <= 1
    assert flicker(predicted, truth) == -flicker(truth, predicted)


def test_flicker_by_hand():
    still, moving, blinking = (np.zeros((3, 4, 12), bool) for _ in range(3))
    still[:, :, :4] = True
    for time in range(3):
        moving[time, :, 2 * time : 2 * time + 4] = True
        blinking[time, :, :4] = time != 1
    # Moved by half of its width, a mask keeps a third of the union.
    assert flicker(moving, still) == pytest.approx(2 / 3)
    assert flicker(still, moving) == pytest.approx(-2 / 3)
    assert flicker(blinking, still) == 1.0
    assert flicker(blinking, moving) == pytest.approx(1 / 3)
    assert isnan(flicker(still[:1], still[:1]))


def test_assigned_proposals_carry_their_own_changes():
    truth, predicted = blank(3), blank(3)
    truth[:, :4, :4], truth[:, 8:, 8:] = 1, 2
    predicted[:, :4, :4], predicted[::2, 8:, 8:] = 2, 1
    first, second = score_sequence(zip(predicted, truth, strict=True), "unsupervised")
    assert (first.proposal, first.changes) == (2, (0.0, 0.0))
    assert (second.proposal, second.changes) == (1, (1.0, 1.0))


def frame_with(label: int, dtype: type = np.uint8) -> np.ndarray:
    frame = np.zeros((3, 4), dtype)
    frame[0, 0] = label
    return frame


@pytest.mark.parametrize(
    ("predicted", "truth", "rule", "message"),
    [
        (frame_with(3), frame_with(2), "fixed-ids", "ids up to 2, the number of objects, but got 3"),
        (frame_with(VOID), frame_with(2), "fixed-ids", "ids up to 2, the number of objects, but got 255"),
        (frame_with(21), frame_with(2), "unsupervised", "ids up to 20, the most there may be, but got 21"),
        (frame_with(-1, np.int16), frame_with(2), "unsupervised", r"`predicted` to be in \[0, 255\], but got -1"),
        (frame_with(1), frame_with(300, np.uint16), "fixed-ids", r"`truth` to be in \[0, 255\], but got 300"),
        (frame_with(1)[:2], frame_with(2), "fixed-ids", r"shape of `truth`, \(3, 4\), but got \(2, 4\)"),
        (frame_with(1, float), frame_with(2), "fixed-ids", "`predicted`.*integer dtype, but got.*float64"),
        (frame_with(1), frame_with(1)[None], "fixed-ids", r"`truth`.*but got \(1, 3, 4\)"),
        (frame_with(1)[:0], frame_with(1)[:0], "fixed-ids", r"`truth`.*but got \(0, 4\)"),
        (frame_with(1), frame_with(1), "davis", "No rule 'davis' for video. Available: semi-supervised, unsuperv"),
        (frame_with(1), frame_with(1), "semi-supervised", "drops the first and the last frame"),
    ],
)
def test_sequences_that_cannot_be_scored(predicted, truth, rule, message):
    with pytest.raises(InputError, match=message):
        score_sequence([(predicted, truth)] * 2, rule)


@pytest.mark.parametrize("rule", RULES)
def test_sequences_without_frames(rule):
    with pytest.raises(InputError, match="`frames` to have a frame"):
        score_sequence([], rule)


def test_frames_of_two_sizes():
    frames = [(frame_with(1), frame_with(1)), (frame_with(1).T, frame_with(1).T)]
    with pytest.raises(InputError, match=r"of one size, \(3, 4\), but got \(4, 3\)"):
        score_sequence(frames, "fixed-ids")


@pytest.mark.parametrize("objects", [-1, 255])
def test_numbers_of_objects_that_cannot_be(objects):
    with pytest.raises(InputError, match=r"`objects` to be in \[0, 255\)"):
        score_sequence([(frame_with(0), frame_with(0))], "fixed-ids", objects=objects)


@pytest.mark.parametrize("found", [[], [[0.5]]])
def test_values_that_are_none_per_frame(found):
    with pytest.raises(InputError, match="`values` to be one number per frame"):
        statistics(found)


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (np.zeros((2, 3, 4), bool), np.zeros((3, 3, 4), bool)),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool)),
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), bool)),
    ],
)
def test_masks_that_cannot_flicker(predicted, truth):
    with pytest.raises(InputError, match="of bool"):
        flicker(predicted, truth)


@pytest.mark.parametrize("rule", RULES)
def test_a_sequence_of_any_length_is_not_kept_in_memory(rule):
    maps: list[weakref.ref] = []

    def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(12):
            pair = frame_with(1), frame_with(1)
            maps.extend(map(weakref.ref, pair))
            assert sum(each() is not None for each in maps) <= 2 * 4
            yield pair

    (scores,) = score_sequence(frames(), rule)
    assert set(scores.region) == {1.0}
    assert len(maps) == 24
