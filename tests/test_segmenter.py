import dataclasses
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import car
from car.cli.run import summary
from car.config import CHOICES, Config
from car.errors import InputError
from car.export import to_json
from car.prepared import resized, shrink
from car.queries import clean_queries
from car.refine.sam import MINI_SETTINGS
from tests.models import random_resnet, random_vit


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return car.demo_image()


@pytest.fixture(scope="module")
def segmenter() -> car.Segmenter:
    return car.load("mini", dtype="fp32", device="cpu")


def random_segmenter(**options) -> car.Segmenter:
    """Random weights have no opinion: background rivals would prune every query at once."""
    clip = random_vit()
    return car.Segmenter(clip, clip, Config(**{"against_background": False, "crf": "none", **options}))


def test_the_demo_keeps_what_is_there_and_drops_what_is_not(segmenter, picture):
    from car.scenes.demo import DEMO_PRESENT, DEMO_QUERIES, demo_masks

    result = segmenter.segment(picture, DEMO_QUERIES)
    assert set(result.found) == set(DEMO_PRESENT)
    assert set(result.absent) == set(DEMO_QUERIES) - set(DEMO_PRESENT)
    for query, truth in demo_masks().items():
        mask = result.mask(query)
        iou = (mask & truth).sum() / (mask | truth).sum()
        assert iou > 0.5, f"{query}: IoU {iou:.2f}"


def test_a_result_is_consistent(segmenter, picture):
    queries = ["cat", "dog", "unicorn", "pizza"]
    result = segmenter.segment(picture, queries)
    assert result.queries == tuple(queries)
    assert result.labels.shape == picture.shape[:2]
    assert result.labels.dtype == np.int32
    assert result.masks.shape == (4, *picture.shape[:2])
    assert result.masks.dtype == bool
    assert (result.masks.sum(0) == (result.labels > 0)).all()
    assert not result.masks[~result.present].any()
    for index, (query, score) in enumerate(zip(queries, result.scores, strict=True)):
        last = [s for s in result.steps if query in s.queries][-1]
        assert score == last.scores[last.queries.index(query)]
        assert result.present[index] == last.kept[last.queries.index(query)]
        assert (score >= result.config["theta"]) == result.present[index]


def test_steps_tell_the_whole_story(segmenter, picture):
    result = segmenter.segment(picture, ["cat", "dog", "unicorn", "pizza"])
    first, last = result.steps[0], result.steps[-1]
    assert first.queries == result.queries
    assert last.pruned == () or not result.found
    for before, after in zip(result.steps, result.steps[1:], strict=False):
        assert after.queries == tuple(q for q, kept in zip(before.queries, before.kept, strict=True) if kept)
    assert first.proposals.shape == (4, *first.image.shape[:2])
    assert first.proposals.min() >= 0
    assert first.proposals.max() <= 1
    np.testing.assert_array_equal(first.proposal(2), first.proposals[2])
    prompted = first.prompted(0)
    inside = first.proposal(0) > result.config["eta"]
    assert prompted.shape == first.image.shape
    assert (prompted != first.image).any()
    # Blur leaves the mask's own pixels alone; only the circle's red line may cross it.
    changed = (prompted != first.image).any(-1) & inside
    assert (prompted[changed] == (255, 0, 0)).all()


def test_the_same_input_gives_the_same_bytes(segmenter, picture):
    one, two = (segmenter.segment(picture, ["cat", "dog", "unicorn"]) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.scores, two.scores)


def test_a_prepared_image_answers_as_a_fresh_one(segmenter, picture):
    prepared = segmenter.prepare(picture)
    for queries in (["cat", "unicorn"], ["dog"]):
        again, fresh = prepared.segment(queries), segmenter.segment(picture, queries)
        np.testing.assert_array_equal(again.labels, fresh.labels)
        np.testing.assert_array_equal(again.scores, fresh.scores)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_results_do_not_depend_on_the_batch_size(segmenter, picture, batch_size):
    queries = ["cat", "dog", "unicorn", "pizza"]
    whole = segmenter.segment(picture, queries)
    config = segmenter.config.replace(batch_size=batch_size)
    other = car.Segmenter(segmenter.proposer, segmenter.classifier, config).segment(picture, queries)
    np.testing.assert_allclose(other.scores, whole.scores, atol=1e-4)
    assert (other.labels == whole.labels).mean() > 0.999


def test_a_cascade_shows_the_classifier_the_likeliest_alone(segmenter, picture):
    absent = ["unicorn", "pizza", "bicycle", "rocket", "banana", "guitar"]
    queries = [*absent[:3], "cat", "dog", "umbrella", *absent[3:]]
    short = car.Segmenter(segmenter.proposer, segmenter.classifier, segmenter.config.replace(cascade=4))
    result = short.segment(picture, queries)
    assert len(result.steps[0].queries) >= 4
    assert set(result.skipped) == set(queries) - set(result.steps[0].queries)
    assert set(result.skipped) < set(absent)
    assert np.isnan(result.scores[[queries.index(query) for query in result.skipped]]).all()
    assert result.found == segmenter.segment(picture, queries).found
    assert to_json(result, "a")["skipped"] == list(result.skipped)
    assert f"{len(result.skipped)} of {len(queries)}" in summary(result)
    result.draw()


def test_a_cascade_of_all_is_none(segmenter, picture):
    wide = car.Segmenter(segmenter.proposer, segmenter.classifier, segmenter.config.replace(cascade=3))
    result, whole = (each.segment(picture, ["cat", "dog", "pizza"]) for each in (wide, segmenter))
    assert result.skipped == ()
    np.testing.assert_array_equal(result.scores, whole.scores)


def test_nothing_in_the_image_is_an_empty_answer(segmenter):
    grey = np.full((90, 120, 3), 128, np.uint8)
    result = segmenter.segment(grey, ["cat", "pizza"])
    assert result.found == ()
    assert not result.labels.any()
    lone = segmenter.segment(grey, "cat")
    assert lone.absent == ("cat",)


def test_keep_best_never_answers_nothing(segmenter):
    config = segmenter.config.replace(keep_best=True)
    keeping = car.Segmenter(segmenter.proposer, segmenter.classifier, config)
    assert len(keeping.segment(np.full((90, 120, 3), 128, np.uint8), ["cat", "pizza"]).found) == 1


@pytest.mark.parametrize("proposer", CHOICES["proposer"])
def test_the_proposer_runs_once_however_many_steps(picture, proposer):
    """Promise 2: after step 1 nothing passes through the proposer, forward or backward."""
    queries = [f"thing number {i}" for i in range(12)]
    config = Config(proposer=proposer, against_background=False, crf="none", theta=0.25)
    calls: list[str] = []
    clip, judge = random_vit(), random_vit(seed=1)
    clip.visual.register_forward_pre_hook(lambda *_: calls.append("forward"))
    original = clip.visual.taps
    clip.visual.taps = lambda *args, **kwargs: (calls.append("taps"), original(*args, **kwargs))[1]
    for block in clip.visual.blocks:
        block.mlp.c_fc.register_forward_pre_hook(lambda *_: calls.append("block"))
    prepared = car.Segmenter(clip, judge, config).prepare(picture)
    single = prepared.segment(queries[:1])
    assert len(single.steps) == 1
    after_one_step = len(calls)
    calls.clear()
    several = car.Segmenter(clip, judge, config).prepare(picture).segment(queries)
    assert len(several.steps) > 1
    assert len(calls) == after_one_step


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (17, 31)])
@pytest.mark.parametrize("crf", ["lattice", "none"])
def test_odd_sizes_work(size, crf):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    result = random_segmenter(theta=0, crf=crf).segment(image, ["cat", "dog"])
    assert result.labels.shape == size
    assert len(result.found) == 2


def test_thousands_of_queries_work():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    result = random_segmenter(templates=["a photo of a {}."]).segment(image, [f"word {i}" for i in range(3000)])
    assert len(result.scores) == 3000


def test_non_latin_text_and_braces_work():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    queries = ["猫", "кошка", "🦄", "{0}", "{}", "قطة"]
    assert random_segmenter(theta=0).segment(image, queries).found == tuple(queries)


def test_queries_are_tidied(caplog):
    assert clean_queries("cat") == ("cat",)
    assert clean_queries(["  big \n cat ", "dog", "Big Cat"]) == ("big cat", "dog")
    assert "repeats 'big cat'" in caplog.text


@pytest.mark.parametrize(
    ("queries", "message"),
    [([], "No queries"), (["cat", ""], "Query 2 is blank"), ([" \t"], "blank"), (["cat", 3], "to be a string")],
)
def test_bad_queries_are_refused(queries, message):
    with pytest.raises(InputError, match=message):
        clean_queries(queries)


def test_a_text_too_long_is_refused_with_its_length_unless_truncated():
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(InputError, match=r"\d+ tokens"):
        random_segmenter().segment(image, "word " * 100)
    assert random_segmenter(truncate=True).segment(image, "word " * 100)


def test_a_resnet_may_judge_but_not_propose():
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    judged = car.Segmenter(random_vit(), random_resnet(), Config(against_background=False, crf="none", theta=0))
    assert len(judged.segment(image, ["cat", "dog"]).found) == 2
    with pytest.raises(InputError, match="must be a ViT"):
        car.Segmenter(random_resnet(), random_vit(), Config())


def test_a_large_image_is_worked_on_smaller_and_answered_in_full(segmenter, picture):
    big = np.kron(picture, np.ones((3, 3, 1), np.uint8))
    result = segmenter.segment(big, ["cat", "dog", "unicorn"])
    assert result.labels.shape == big.shape[:2]
    assert max(result.steps[0].image.shape) == segmenter.config.max_side
    small = segmenter.segment(picture, ["cat", "dog", "unicorn"])
    assert (result.labels[1::3, 1::3] == small.labels).mean() > 0.9


def test_shrinking_keeps_the_aspect_and_small_images():
    image = np.zeros((300, 600, 3), np.uint8)
    assert shrink(image, 200).shape == (100, 200, 3)
    assert shrink(image, 600) is image
    assert shrink(image, None) is image
    labels = np.arange(6, dtype=np.int32).reshape(2, 3) * 1000
    np.testing.assert_array_equal(resized(labels, (4, 6)), np.kron(labels, np.ones((2, 2), int)))


def test_regions_by_iom_keep_labels_disjoint_and_present(segmenter, picture):
    config = segmenter.config.replace(sam="regions", phi_iou=0.3)
    merging = car.Segmenter(segmenter.proposer, segmenter.classifier, config)
    result = merging.segment(picture, ["cat", "dog", "unicorn"])
    assert set(np.unique(result.labels)) <= {0, 1, 2}
    assert "sam" in result.seconds


@pytest.mark.skipif(find_spec("segment_anything") is None, reason="the extra [sam] is not installed")
def test_the_small_sam_is_asked_what_suits_it_but_for_what_is_given(segmenter, picture):
    asked = {}
    for given in ({}, {"points_per_side": 2, "pred_iou_thresh": 0.0}):
        config = segmenter.config.replace(sam="mini", sam_settings=given)
        merging = car.Segmenter(segmenter.proposer, segmenter.classifier, config)
        asked[len(given)] = merging.mask_proposer.settings
    assert asked[0] == MINI_SETTINGS
    assert list(merging.networks) == ["proposer", "classifier", "sam"]
    assert asked[2] == dataclasses.replace(MINI_SETTINGS, points_per_side=2, pred_iou_thresh=0.0)
    result = merging.segment(picture, ["cat", "dog", "unicorn"])
    assert set(np.unique(result.labels)) <= {0, 1, 2}
    assert result.seconds["sam"] > 0


def test_masks_of_a_file_are_merged_at_any_working_size(segmenter, picture, tmp_path):
    from car.rle import encode
    from car.scenes.demo import demo_masks

    truth = demo_masks()["cat"]
    (tmp_path / "masks.json").write_text(json.dumps([encode(truth)]))
    for max_side in (1024, 250):
        config = segmenter.config.replace(sam=str(tmp_path / "masks.json"), max_side=max_side)
        merging = car.Segmenter(segmenter.proposer, segmenter.classifier, config)
        mask = merging.segment(picture, ["cat", "dog", "unicorn"]).mask("cat")
        assert (mask & truth).sum() / (mask | truth).sum() > (0.99 if max_side == 1024 else 0.95)


def test_the_effective_configuration_is_plain_data(segmenter, picture):
    result = segmenter.segment(picture, ["cat"])
    assert json.loads(json.dumps(result.config)) == result.config
    assert Config.from_mapping(result.config) == segmenter.config


def test_bf16_masks_agree_with_fp32(segmenter, picture):
    half = car.load("mini", dtype="bf16", device="cpu")
    queries = ["cat", "dog", "unicorn"]
    full_labels, half_labels = (s.segment(picture, queries).labels for s in (segmenter, half))
    assert (full_labels == half_labels).mean() > 0.98
    assert half.proposer.dtype == torch.bfloat16


def test_synonyms_answer_for_one_query():
    image = car.demo_image()
    segmenter = car.load("mini")
    plain = segmenter.segment(image, ["cat", "dog", "pizza"])
    same = segmenter.segment(image, [["cat"], ("dog", "Dog", " dog "), "pizza"])
    assert same.queries == plain.queries
    assert np.array_equal(same.labels, plain.labels)
    both = segmenter.segment(image, [("cat", "dog"), "pizza"])
    assert both.queries == ("cat", "pizza")
    assert (both.labels[np.isin(plain.labels, (1, 2))] == 1).mean() > 0.5
    assert not both.present[1]


def test_background_and_prompts_can_be_given_for_once():
    prepared = car.load("mini").prepare(car.demo_image())
    usual = prepared.segment(["cat", "unicorn"])
    other = prepared.segment(["cat", "unicorn"], background=["dog", "Cat"], prompts=["circle"])
    assert not np.array_equal(other.scores, usual.scores)
    assert np.array_equal(prepared.segment(["cat", "unicorn"]).scores, usual.scores)
    with pytest.raises(InputError, match="Unknown visual prompt"):
        prepared.segment("cat", prompts=["squircle"])


@pytest.mark.parametrize("queries", [[()], [["cat", " "]], [["cat", 3]], [{"cat": 1}]])
def test_synonyms_that_are_none_are_refused(queries):
    with pytest.raises(InputError, match=r"[Qq]uery \d"):
        clean_queries(queries)
