import random
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.evaluate.kinds import plan_from
from car.evaluate.referring_plan import ReferringPlan
from car.evaluate.referring_published import published
from car.evaluate.referring_record import Answer, ReferringRecord, TargetRecord
from car.evaluate.referring_report import ReferringReport
from car.evaluate.referring_statistics import ReferringStatistics, ReferringTally


def plan_of(keys, **changes) -> ReferringPlan:
    listed = "".join(f"{key}\n" for key in keys).encode()
    values = {
        "benchmark": "refcoco", "split": "testA", "variant": "unc", "images": len(keys),
        "keys_sha256": sha256(listed).hexdigest(), "protocol": "sentence", "skip_empty": False,
        "reading": {"overlap": "union"}, "method": "hybridgl", "preset": None, "model": "mini",
        "weights": {"clip": "0" * 64}, "device": "cpu", "dtype": "float32", "threads": 1, "config": {"r": 0.5},
        "proposals": {"source": "regions"}, "language": {"parser": "built-in"}, "captions": {}, "limit": None,
        "seed": 0, "versions": {"car": "0"},
    }  # fmt: skip
    return ReferringPlan(**{**values, **changes})


def made(seed, count=12, generalized=False):
    """Random records; of gRefCOCO some targets are nothing."""
    rng = random.Random(seed)
    records = []
    for index in range(count):
        targets = []
        for number in range(rng.randint(1, 3)):
            nothing, answers = generalized and rng.random() < 0.4, []
            for _ in range(rng.randint(1, 3)):
                flagged = rng.random() < 0.3
                union = 0 if flagged and nothing else rng.randint(1, 900)
                inside = 0 if nothing or flagged else rng.randint(0, union)
                answers.append(Answer(inside, union, not flagged, flagged))
            targets.append(TargetRecord(str(number), nothing, tuple(answers)))
        records.append(ReferringRecord(f"{index:03}", rng.randint(0, 2), tuple(targets), {"read": 0.25, "text": 0.5}))
    return [record.key for record in records], records


@given(st.integers(0, 1000), st.booleans())
def test_scores_are_those_of_brute_force(seed, skip):
    keys, records = made(seed)
    scores = ReferringReport.of(ReferringStatistics.of(plan_of(keys, skip_empty=skip), keys, records)).figures["scores"]
    answers = [
        answer
        for record in records
        if not (skip and record.proposals == 0)
        for target in record.targets
        for answer in target.answers
    ]
    ious = [answer.intersection / answer.union for answer in answers]
    if not ious:
        assert set(scores.values()) == {None}
        return
    assert scores["mIoU"] == pytest.approx(sum(ious) / len(ious), abs=1e-9)
    over = sum(each.intersection for each in answers) / sum(each.union for each in answers)
    assert scores["oIoU"] == pytest.approx(over, abs=1e-9)
    for x in (0.5, 0.9):
        assert scores[f"P@{x}"] == pytest.approx(sum(value >= x for value in ious) / len(ious), abs=1e-9)


@given(st.integers(0, 1000), st.booleans())
def test_instances_and_images_are_right_where_all_of_their_answers_are(seed, skip):
    keys, records = made(seed, count=30)
    # Most made answers are wrong, and then hardly an image is right as a whole.
    better = [
        replace(record, targets=tuple(replace(each, answers=tuple(map(improved, each.answers))) for each in of))
        for record in records
        for of in [record.targets]
    ]
    failed = replace(better[0], targets=(), proposals=None, error="bad")
    statistics = ReferringStatistics.of(plan_of(keys, skip_empty=skip), keys, [failed, *better[1:]])
    scores = ReferringReport.of(statistics).figures["scores"]
    counted = [record for record in better[1:] if not (skip and record.proposals == 0)]
    rights = [[[2 * a.intersection > a.union for a in each.answers] for each in record.targets] for record in counted]
    if not rights:
        assert (scores["InstAcc"], scores["ImgAcc"]) == (None, None)
        return
    instances = [all(each) for image in rights for each in image]
    assert scores["InstAcc"] == pytest.approx(sum(instances) / len(instances), abs=1e-9)
    assert scores["ImgAcc"] == pytest.approx(sum(all(map(all, image)) for image in rights) / len(rights), abs=1e-9)
    assert list(scores)[-2:] == ["InstAcc", "ImgAcc"]


def improved(answer):
    return replace(answer, intersection=answer.union - answer.intersection // 3) if answer.intersection else answer


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, {"InstAcc", "ImgAcc"}),
        ({"benchmark": "refcocog"}, {"InstAcc", "ImgAcc"}),
        ({"protocol": "object"}, {"ImgAcc"}),
        ({"benchmark": "phrasecut"}, set()),
        ({"benchmark": "grefcoco"}, set()),
    ],
)
def test_groups_are_scored_where_they_have_several_answers(changes, there):
    keys, records = made(3)
    single = [
        replace(record, targets=tuple(replace(each, answers=each.answers[:1]) for each in record.targets))
        for record in records
    ]
    report = ReferringReport.of(ReferringStatistics.of(plan_of(keys, **changes), keys, single))
    assert {"InstAcc", "ImgAcc"} & set(report.figures["scores"]) == there
    for name in ("InstAcc", "ImgAcc"):
        assert (f"{name}: share of" in report.page) == (f"| {name} |" in report.page) == (name in there)
        assert (f"{name} " in report.summary) == (name in there)


@given(st.integers(0, 1000))
def test_generalized_scores_are_those_of_brute_force(seed):
    keys, records = made(seed, generalized=True)
    plan, values, nothing, something = plan_of(keys, benchmark="grefcoco"), [], [], []
    for target in (target for record in records for target in record.targets):
        for answer in target.answers:
            (nothing if target.no_target else something).append(answer.flagged)
            right = float(answer.flagged) if target.no_target else answer.intersection / answer.union
            values.append(0.0 if answer.flagged and not target.no_target else right)
    statistics, tally = ReferringStatistics.of(plan, keys, records), ReferringTally(plan)
    for record in records:
        tally.add(record)
    scores = ReferringReport.of(statistics).figures["scores"]
    assert scores["gIoU"] == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert (tally.measure, tally.value) == ("gIoU", pytest.approx(scores["gIoU"], abs=1e-9))
    assert scores["N-acc"] == (pytest.approx(sum(nothing) / len(nothing), abs=1e-9) if nothing else None)
    assert scores["T-acc"] == (pytest.approx(1 - sum(something) / len(something), abs=1e-9) if something else None)


@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_records_does_not_matter(rng, generalized):
    keys, records = made(5, generalized=generalized)
    plan = plan_of(keys, benchmark="grefcoco" if generalized else "refcoco")
    first = ReferringReport.of(ReferringStatistics.of(plan, keys, records))
    shuffled = ReferringReport.of(ReferringStatistics.of(plan, keys, rng.sample(records, len(records))))
    assert shuffled == first
    assert shuffled.page == first.page


def test_records_and_plans_survive_their_lines():
    keys, records = made(3)
    assert [ReferringRecord.from_line(record.to_line()) for record in records] == records
    failed = ReferringRecord("a", error="bad")
    assert ReferringRecord.from_line(failed.to_line()) == failed
    assert plan_from(plan_of(keys).to_dict()) == plan_of(keys)
    for line in ("{}", "[1]", '{"key": "a", "targets": 3}', "{"):
        with pytest.raises(InputError, match="Expected a line of referring records"):
            ReferringRecord.from_line(line)
    before = plan_of(keys).to_dict()
    del before["categories"]
    assert plan_from(before) == plan_of(keys), "plans of runs that knew of no categories stay what they were"
    with pytest.raises(InputError, match="not the plan"):
        plan_from({"kind": "referring"})


def test_what_does_not_fit_is_refused():
    keys, (first, second, *_) = made(3)
    statistics = ReferringStatistics.of(plan_of(keys), keys, [first])
    with pytest.raises(InputError, match="two records"):
        statistics.add(first)
    with pytest.raises(InputError, match="not among its images"):
        statistics.add(replace(first, key="elsewhere"))
    with pytest.raises(InputError, match="does not fit"):
        statistics.add(replace(second, proposals=None))
    with pytest.raises(InputError, match="does not fit"):
        statistics.add(replace(second, targets=()))


def test_published_scores_stand_beside_ours():
    keys, records = made(1)
    report = ReferringReport.of(ReferringStatistics.of(plan_of(keys), keys, records))
    assert "| HybridGL | per sentence | 44.52 | 53.37 |" in report.page
    assert "| CaR | per object | - | 35.36 |" in report.page
    assert "published: CaR" not in report.summary
    assert "published: HybridGL" in report.summary
    assert published("refcoco", "google", "val") == ()


def test_published_scores_do_not_stand_beside_those_of_some_categories():
    keys, records = made(1)
    some = {"source": "coco-unseen.txt", "sha256": "0" * 64}
    report = ReferringReport.of(ReferringStatistics.of(plan_of(keys, categories=some), keys, records))
    assert report.figures["published_per_cent"] == []
    assert "published" not in report.summary
    assert report.summary.startswith("refcoco testA, categories of coco-unseen.txt, hybridgl, per sentence: mIoU ")
    assert report.page.startswith("# refcoco testA (unc), categories of coco-unseen.txt, hybridgl: ")
    assert "is listed in `coco-unseen.txt`" in report.page
    assert "HybridGL" not in report.page
