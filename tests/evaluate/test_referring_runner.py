import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from car.data import open_referring
from car.errors import InputError
from car.evaluate import ReferringJob, RunDirectory, Shard, merge, run
from car.evaluate.expression_report import FILES
from car.evaluate.referring_evaluator import ReferringEvaluator
from car.referring.load import load_referrer
from car.referring.proposals import FolderOfMasks, MaskProposals
from tests.evaluate.referring_pictures import BLANK, IMAGES, key, write_categories, write_refcoco

PICTURES = 4
REPORT = set(FILES) - {"timing.json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_refcoco(tmp_path_factory.mktemp("data") / "refer", PICTURES)


def job(root, **changes):
    chosen = {"method": "global-local", "parser": "built-in", "proposals": str(root / "masks")}
    return ReferringJob(**{"benchmark": "refcoco", "data_root": root, "threads": 1, **chosen, **changes})


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(job(root), folder).complete
    return folder


def report_files(folder) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in REPORT}


def without_seconds(folder):
    return [replace(record, seconds={}) for record in RunDirectory(folder).records()]


def test_a_run_counts_what_the_method_answers(root, whole):
    referrer = load_referrer("global-local", parser="built-in")
    dataset, records = open_referring("refcoco", root), {each.key: each for each in RunDirectory(whole).records()}
    assert set(records) == set(dataset.keys)
    assert len(records) == PICTURES
    ious = []
    for name, record in records.items():
        truth = dataset.read(name)
        masks = MaskProposals(FolderOfMasks(root / "masks")(truth.image, name))
        prepared = referrer.prepare(truth.image, proposals=masks)
        assert record.proposals == len(prepared.proposals)
        for target, kept in zip(truth.targets, record.targets, strict=True):
            assert (kept.id, len(kept.answers)) == (target.id, len(target.expressions))
            for text, said in zip(target.expressions, kept.answers, strict=True):
                mask = prepared.refer(text).mask if text.strip() else np.zeros_like(target.mask)
                assert said.intersection == (mask & target.mask).sum()
                assert said.union == (mask | target.mask).sum()
                ious.append(said.intersection / said.union)
    figures = json.loads((whole / "report.json").read_text())
    assert figures["scores"]["mIoU"] == pytest.approx(np.mean(ious), abs=1e-9)
    assert figures["scores"]["P@0.5"] == pytest.approx(np.mean(np.array(ious) >= 0.5), abs=1e-9)
    low, high = figures["interval"]
    assert low <= figures["scores"]["mIoU"] <= high
    rights = [
        [[2 * said.intersection > said.union for said in kept.answers] for kept in record.targets]
        for record in records.values()
    ]
    instances = [all(each) for image in rights for each in image]
    assert 0 < figures["scores"]["InstAcc"] == pytest.approx(np.mean(instances), abs=1e-9)
    assert figures["scores"]["ImgAcc"] == pytest.approx(np.mean([all(map(all, image)) for image in rights]), abs=1e-9)


def test_a_blank_sentence_fails_and_is_named(whole):
    figures, page = json.loads((whole / "report.json").read_text()), (whole / "report.md").read_text()
    (problem,) = figures["problems"]
    assert (problem["image"], problem["problems"]) == (key(BLANK), ["expression 2 is blank"])
    assert figures["answers"]["failed"] == 1
    assert f"`{key(BLANK)}`" in page
    assert "expression 2 is blank" in page
    assert "per sentence" in page
    assert "not comparable" in page


def test_it_goes_on_to_the_same_report(root, whole, tmp_path):
    run(job(root), tmp_path / "run")
    records = tmp_path / "run" / "records.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[: PICTURES // 2]) + lines[-1][:20])
    told = []
    run(job(root), tmp_path / "run", on_progress=lambda progress: told.append((progress.there, progress.miou)))
    assert told[0][0] == PICTURES // 2
    assert len(told) == 1 + PICTURES - PICTURES // 2
    assert told[-1][1] == pytest.approx(json.loads((whole / "report.json").read_text())["scores"]["mIoU"], abs=1e-9)
    assert report_files(tmp_path / "run") == report_files(whole)


def test_shards_merge_to_the_report_of_one_run(root, whole, tmp_path):
    for index in (2, 1):
        run(job(root), tmp_path, shard=Shard(index, 2))
    merged = merge([tmp_path])
    assert merged.report.complete
    assert not merged.missing
    assert report_files(tmp_path) == report_files(whole)
    assert without_seconds(tmp_path) == without_seconds(whole)


@pytest.mark.parametrize("method", ["car", "tas", "hybridgl"])
def test_every_method_runs_by_both_protocols(root, tmp_path, method):
    fast = {"proposer": "gradcam"} if method == "car" else {}
    rival = {"parser": None, "proposals": None} if method == "car" else {}
    for protocol in ("sentence", "object"):
        asked = job(root, method=method, **rival, protocol=protocol, limit=2, options=fast)
        report = run(asked, tmp_path / protocol)
        assert report.complete
        figures = report.figures
        targets, scored = figures["targets"]["counted"], figures["answers"]["scored"]
        assert scored == (targets if protocol == "object" else 2 * targets)
        assert 0 < figures["scores"]["mIoU"] <= 1
        assert f"per {protocol}" in report.summary
    with pytest.raises(InputError, match="protocol is 'sentence' there, 'object' here"):
        run(asked, tmp_path / "sentence")


def test_without_proposals_nothing_is_found_and_it_counts_or_is_skipped(root, tmp_path):
    folder, dataset = tmp_path / "masks", open_referring("refcoco", root)
    shutil.copytree(root / "masks", folder)
    (folder / f"{key(2)}.json").write_text(json.dumps({"annotations": []}))
    counted = run(job(root, proposals=str(folder)), tmp_path / "counted").figures
    skipped = run(job(root, proposals=str(folder), skip_empty=True), tmp_path / "skipped").figures
    assert counted["images"]["without_proposals"] == skipped["images"]["without_proposals"] == 1
    assert (counted["skipped"], skipped["skipped"]) == ([], [key(2)])
    of_two = 2 * len(dataset.read(key(2)).targets)
    assert counted["answers"]["scored"] - skipped["answers"]["scored"] == of_two
    total = counted["scores"]["mIoU"] * counted["answers"]["scored"]
    assert total == pytest.approx(skipped["scores"]["mIoU"] * skipped["answers"]["scored"], abs=1e-6)


def test_other_masks_of_the_same_name_are_another_plan(root, whole, tmp_path):
    shutil.copytree(root / "masks", tmp_path / "masks")
    same = ReferringEvaluator(job(root, proposals=str(tmp_path / "masks"))).plan
    assert same == RunDirectory(whole).plan
    (tmp_path / f"masks/{key(1)}.json").write_text("{}")
    other = ReferringEvaluator(job(root, proposals=str(tmp_path / "masks"))).plan
    assert other.proposals["source"] == same.proposals["source"] == "masks"
    assert other.proposals["sha256"] != same.proposals["sha256"]


def test_only_targets_of_some_categories_are_asked_for_and_answered_as_ever(tmp_path):
    root = write_refcoco(tmp_path / "refer", 3)
    write_categories(root, "person", "dog", "cat", "bus")
    whole = run(job(root), tmp_path / "whole")
    (tmp_path / "mine.txt").write_text("# of four\ndog\nbus\n")
    report = run(job(root, categories=tmp_path / "mine.txt"), tmp_path / "some")
    some = {record.key: record for record in RunDirectory(tmp_path / "some").records()}
    wanted = {}
    for record in RunDirectory(tmp_path / "whole").records():
        # Reference i is of annotation i, whose category is the one in turn.
        if kept := tuple(each for each in record.targets if int(each.id) % 2 == 0):
            wanted[record.key] = kept
    assert {name: record.targets for name, record in some.items()} == wanted
    assert 0 < report.figures["targets"]["counted"] < whole.figures["targets"]["counted"]
    assert report.figures["plan"]["categories"]["source"] == "mine.txt"
    assert report.figures["published_per_cent"] == []
    with pytest.raises(InputError, match=r"categories.source is 'mine.txt' there, None here"):
        run(job(root), tmp_path / "some")
    (tmp_path / "mine.txt").write_text("dog\n")
    with pytest.raises(InputError, match=r"categories.sha256 is"):
        run(job(root, categories=tmp_path / "mine.txt"), tmp_path / "some")


def test_a_bad_picture_is_told(tmp_path):
    root = write_refcoco(tmp_path / "refer", 2)
    (root / IMAGES / f"{key(1)}.jpg").write_bytes(b"")
    figures = run(job(root), tmp_path / "run").figures
    assert list(figures["failures"]) == [key(1)]
    assert not figures["complete"]
    assert str(tmp_path) not in figures["failures"][key(1)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "word"}, "protocol"),
        ({"method": "car"}, "'car' has no choice of `proposals`"),
        ({"captions": "git"}, "'tas'"),
        ({"method": "tas", "classifier": "mini"}, "one CLIP"),
        ({"benchmark": "ref-davis17"}, "video"),
        ({"method": "hybrid"}, "No method 'hybrid'"),
        ({"overlap": "none"}, "overlap"),
        ({"categories": "coco-sen"}, "No list of categories 'coco-sen'. Did you mean 'coco-seen'"),
        ({"categories": "coco-unseen"}, "refcoco has no category 'airplane'"),
    ],
)
def test_what_does_not_fit_is_refused(root, changes, told):
    with pytest.raises(InputError, match=told):
        ReferringEvaluator(job(root, **changes))


def test_predictions_are_refused(root, tmp_path):
    with pytest.raises(InputError, match="Predictions are not kept"):
        run(job(root), tmp_path / "run", predictions=True)
    assert not (tmp_path / "run").exists()
