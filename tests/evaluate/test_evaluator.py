import json
import pickle

import numpy as np
import pytest
import torch

from car.data import IGNORE
from car.errors import InputError, MissingError
from car.evaluate.evaluator import Evaluator, drawn, plan_passes
from car.evaluate.job import Job
from car.evaluate.plan import Plan, differences
from car.evaluate.record import Record
from car.metrics.semantic import confusion
from tests.evaluate.pictures import NAMES, SETTINGS, labels_of, picture, write_pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("data") / "scenes", 4, stuff=("grass", "sky"))


@pytest.fixture(scope="module")
def two_passes(tmp_path_factory):
    """A file of settings that asks for things and stuff apart."""
    path = tmp_path_factory.mktemp("settings") / "mutual.yaml"
    path.write_text("about: {mutual_background: true, stuff_prompts: [gray], published: {mIoU: 12.5}}\ntheta: 0.5\n")
    return path


def job(root, **changes):
    return Job(benchmark="folder", data_root=root, threads=1, **{"options": SETTINGS, **changes})


def test_a_record_holds_the_confusion_of_the_labels(root):
    evaluator = Evaluator(job(root))
    assert evaluator.keys == ("000", "001", "002", "003")
    for index, key in enumerate(evaluator.keys):
        record, labels = evaluator(key).record, evaluator(key).labels
        assert labels.dtype == np.uint16
        counts = np.zeros((8, 8), np.int64)
        for row, column, pixels in record.cells:
            counts[row, column] = pixels
        assert np.array_equal(counts, confusion(labels, labels_of(picture(index)), 8, ignore=IGNORE))
        assert record.present == {NAMES.index(name) for name in picture(index).concepts}
        assert set(np.unique(labels)) - {0} <= {id + 1 for id in record.passes[0].kept}
        assert {"read", "text", "propose", "classify"} <= set(record.seconds)
        assert Record.from_line(record.to_line()) == record


def test_records_are_what_the_segmenter_answers(root):
    evaluator = Evaluator(job(root))
    result = evaluator.segmenter.segment(picture(0).image, [*NAMES, "grass", "sky"])
    outcome = evaluator("000")
    assert np.array_equal(outcome.labels, result.labels)
    assert [len(step) for step in outcome.record.passes[0].steps] == [step.kept.sum() for step in result.steps]
    assert outcome.record.passes[0].scores == tuple(round(float(s), 6) for s in result.scores[result.present])


def test_stuff_is_painted_first_and_things_over_it(root, two_passes):
    evaluator = Evaluator(job(root, config_file=two_passes))
    stuff, things = evaluator.plan.passes
    assert (stuff.kind, stuff.classes, stuff.prompts) == ("stuff", (5, 6), ("gray",))
    assert (things.kind, things.classes, things.prompts) == ("thing", (0, 1, 2, 3, 4), ("blur", "gray"))
    assert stuff.background[-5:] == NAMES
    assert things.background[-2:] == ("grass", "sky")
    assert evaluator.plan.published == {"mIoU": 12.5}
    assert evaluator.plan.config["theta"] == 0.5
    prepared = evaluator.segmenter.prepare(picture(1).image)
    below = prepared.segment(["grass", "sky"], background=stuff.background, prompts=stuff.prompts).labels
    above = prepared.segment(NAMES, background=things.background, prompts=things.prompts).labels
    expected = np.where(above > 0, above, np.where(below > 0, below + 5, 0))
    assert np.array_equal(evaluator("001").labels, expected)


def test_prompts_that_the_user_asks_for_are_those_of_both_passes(root, two_passes):
    evaluator = Evaluator(job(root, config_file=two_passes, options={**SETTINGS, "prompts": "circle"}))
    assert {each.prompts for each in evaluator.plan.passes} == {("circle",)}


def test_one_kind_of_class_is_one_pass():
    passes = plan_passes(["thing", "thing"], [("cat",), ("dog",)], ["sky"], ("blur",), ("gray",))
    assert [(each.kind, each.classes, each.background, each.prompts) for each in passes] == [
        ("all", (0, 1), ("sky",), ("blur",))
    ]


def test_a_bad_picture_is_recorded_with_its_reason(tmp_path):
    root = write_pictures(tmp_path / "scenes", 2)
    (root / "images/001.png").write_bytes(b"")
    outcome = Evaluator(job(root))("001")
    assert outcome.labels is None
    assert outcome.record.error == "'images/001.png' is empty (0 bytes)."
    assert Record.from_line(outcome.record.to_line()) == outcome.record


def test_plans_of_equal_jobs_are_equal_and_go_through_json(root):
    plan = Evaluator(pickle.loads(pickle.dumps(job(root)))).plan
    again = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert differences(plan, again) == []
    assert again.names == [*NAMES, "grass", "sky"]
    other = Evaluator(job(root, options={**SETTINGS, "theta": 0.3}, limit=2, seed=5)).plan
    assert "config.theta is 0.6 there, 0.3 here" in differences(plan, other)
    assert {text.split()[0] for text in differences(plan, other)} == {
        "config.theta", "images", "keys_sha256", "limit", "seed",
    }  # fmt: skip


def test_other_words_for_the_classes(root, tmp_path):
    (tmp_path / "words.txt").write_text("kitten, cat\ndog\numbrella\npizza\nunicorn\ngrass\nsky\n")
    plan = Evaluator(job(root, classes=tmp_path / "words.txt")).plan
    assert plan.classes[0] == {"id": 0, "kind": "thing", "names": ["kitten", "cat"]}


def test_what_is_drawn_depends_on_the_seed_alone():
    keys = [f"{i:03}" for i in range(100)]
    assert drawn(keys, None, 0) == tuple(keys) == drawn(keys, 100, 3)
    assert drawn(keys, 10, 1) == drawn(keys, 10, 1) != drawn(keys, 10, 2)
    assert list(drawn(keys, 10, 1)) == sorted(set(drawn(keys, 10, 1)))
    with pytest.raises(InputError, match="at least 1"):
        drawn(keys, 0, 0)


def test_data_is_looked_for_before_models_are_loaded(root, tmp_path):
    with pytest.raises(MissingError):
        Evaluator(Job(benchmark="voc21", data_root=tmp_path, model="no such model"))
    with pytest.raises(InputError, match="Model 'no such model' not found"):
        Evaluator(job(root, model="no such model"))
    (tmp_path / "words.txt").write_text("\n".join(["word " * 100, *"bcdefg"]))
    with pytest.raises(InputError, match="tokens"):
        Evaluator(job(root, classes=tmp_path / "words.txt"))


def test_threads_are_set_and_planned(root):
    before = torch.get_num_threads()
    try:
        assert Evaluator(job(root)).plan.threads == 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
