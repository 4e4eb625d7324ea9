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
