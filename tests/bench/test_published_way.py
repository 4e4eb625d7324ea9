"""The published way, which ours is timed against: it gives the same masks, scores and features."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from car.bench import Case, load_models, measure
from car.bench.figures import TOTAL, stage_of
from car.bench.models import ModelPair
from car.bench.report import caption
from car.prepared import PreparedImage
from car.scenes import scene
from car.vlm.text import TextEncoder
from tests.bench.test_bench import CONFIG
from tests.models import random_vit

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import bench as tool
import published_parts as parts
from published_way import TEXTS, Published, _Loop, converted

QUERIES = ("cat", "dog", "tree")


@pytest.fixture(scope="module")
def mini() -> ModelPair:
    return load_models("mini", device="cpu", dtype="fp32")


def tiny(**changes) -> ModelPair:
    clip = random_vit(embed_dim=32)
    return ModelPair("tiny", clip, clip, CONFIG.replace(**changes))


def loop(prepared: PreparedImage, *, together: bool = True, part: int | None = None) -> _Loop:
    clips = prepared.segmenter.proposer, prepared.segmenter.classifier
    return _Loop(prepared, QUERIES, clips, dtype="fp32", together=together, part=part)


@pytest.mark.parametrize("referring", [False, True])
@pytest.mark.parametrize("queries", [1, 6])
def test_the_masks_are_ours(mini, queries, referring) -> None:
    case = Case(models="mini", size=(120, 90), queries=queries, referring=referring)
    row = measure(mini, case, repeats=1, rival=Published())
    assert row.agreement >= 0.995
    assert row.kept >= 1
    assert row.rival_entered[: len(row.entered)] == row.entered
    assert len(row.rival_entered) >= 2
    assert row.rival_dtype == "fp32"
    for stage in row.stages:
        if stage_of(stage.name) in ("propose", "prompt", "classify", "crf"):
            assert len(stage.rival) == 1
            assert not stage.estimated
    assert row.stage(TOTAL).speed_up > 0


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "changes", [{}, {"proposer": "gradcam"}, {"against_background": False, "prompts": ("gray", "contour")}]
)
def test_proposals_and_scores_are_ours(tmp_path, changes, together) -> None:
    pair = tiny(**changes, theta=0)
    prepared = PreparedImage(pair.segmenter(pair.config, tmp_path), scene(3, size=(24, 32)).image)
    turn = prepared.ask(QUERIES, together=together).turns()[0]
    plain = loop(prepared, together=together)
    soft, scores = plain.step(range(3))
    np.testing.assert_allclose(soft, turn.proposals.full(), atol=2e-3)
    np.testing.assert_allclose(scores, turn.scores, rtol=1e-3)


def test_half_precision_is_float16_throughout() -> None:
    pair = tiny(theta=0)
    answers = []
    for dtype in (None, "fp16"):
        published = Published(dtype=dtype)
        row = measure(pair, Case(models="tiny", size=(32, 24), queries=3, all_kept=True), repeats=1, rival=published)
        assert f"the published way in {dtype or 'fp32'};" in caption(row)
        answers.append(row.agreement)
    assert pair.proposer.dtype == torch.float32
    assert answers[0] >= 0.995
    assert answers[1] >= 0.9
    half = converted(pair.proposer, "fp16")
    assert half.dtype == torch.float16
    assert converted(half, "fp16") is half


def test_texts_at_all_positions_have_the_same_features() -> None:
    clip, texts = random_vit(), ["a cat", "the long grey cat on the roof of the house over there"]
    torch.testing.assert_close(parts.text_features(clip, texts), TextEncoder(clip).encode(texts), rtol=1e-4, atol=1e-5)


def test_images_have_the_same_features() -> None:
    clip = random_vit()
    view = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    ours = torch.nn.functional.normalize(clip.encode_image(view)[0], dim=-1)
    torch.testing.assert_close(parts.image_feature(clip.visual, view), ours, rtol=1e-4, atol=1e-5)


def test_a_part_stands_for_the_whole(tmp_path) -> None:
    pair = tiny()
    row = measure(pair, Case(models="tiny", size=(32, 24), queries=3, all_kept=True), repeats=1, rival=Published(2))
    assert row.agreement is None
    assert row.rival_entered == (3, 3)
    assert {stage.name for stage in row.stages if stage.estimated} >= {
        "propose",
        "prompt 1",
        "classify 2",
        "crf",
        TOTAL,
    }
    prepared = PreparedImage(pair.segmenter(pair.config, tmp_path), scene(3, size=(24, 32)).image)
    plain = loop(prepared, part=2)
    plain.meter.seconds = {
        "encode": [10.0, 10.0],
        "propose": [2.0, 1.0],
        "prompt": [4.0, 1.0],
        "classify": [6.0, 1.0],
        "crf": 6.0,
    }
    assert plain.in_proportion((8, 2), 5, 2) == {
        "propose": 29.0,
        "prompt": [16.0, 1.0],
        "classify": [24.0, 1.0],
        "crf": 12.0,
    }


def test_nothing_is_left_of_nothing(tmp_path) -> None:
    pair = tiny(theta=1)
    prepared = PreparedImage(pair.segmenter(pair.config, tmp_path), scene(3, size=(24, 32)).image)
    answer = loop(prepared).run(prepared.ask(QUERIES).turns())
    assert not answer.masks.any()
    assert answer.estimated == {"text"}
    assert len(prepared.segmenter.background) > TEXTS


def test_the_tool_has_two_columns(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--models", "mini", "--size", "64", "48", "--queries", "2", "--repeats", "1", "--dtype", "fp32"]
    result = CliRunner().invoke(tool.main, [*asked, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "published way" in result.output
    assert "speed-up" in result.output
    wrong = CliRunner().invoke(tool.main, ["--models", "nano"])
    assert wrong.exit_code == 2
    assert "No models 'nano'" in wrong.output
