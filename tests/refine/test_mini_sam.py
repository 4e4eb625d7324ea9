"""The small SAM: its name in the library, and in tools/ its trainer, its batches and its evaluation."""

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, safe_open, save_file

from car.errors import CheckpointError, MissingError
from car.refine.sam import CAR_SETTINGS, MINI_SETTINGS, SamProposer, SamSettings, default_settings, load_mask_proposer
from car.refine.sam_checkpoint import load_sam
from car.scenes import TEST, TUNING, demo_image, scene

if find_spec("segment_anything") is None:
    pytest.skip("the extra [sam] is not installed", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import mini_sam_data
import mini_sam_eval
import mini_sam_model
import mini_sam_rounds
import train_mini_sam
from mini_sam_model import decode, embed_prompts, encode, export, new_sam

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"side": 256, "patch": 8, "width": 32, "depth": 2, "heads": 2, "everywhere": (1,), "prompt_width": 32}
OPEN = SamSettings(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
"""Settings that let every mask of an untrained model through."""


def small_sam(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    sam = new_sam(**SMALL)
    for parameter in sam.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return sam.eval()


def batches(steps: int = 8, side: int = 128) -> mini_sam_data.Batches:
    return mini_sam_data.Batches(3, [side] * steps, 2, 4)


@torch.no_grad()
def test_prompts_of_several_images_are_answered_as_segment_anything_answers_each() -> None:
    sam = small_sam()
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    embeddings = encode(sam, torch.from_numpy(images))
    points, boxes = torch.rand(4, 2, 2) * 256, torch.rand(4, 4) * 256
    labels, boxed = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([False, True, True, False])
    earlier = torch.randn(4, 1, 128, 128)
    for masks in (None, earlier):
        tokens = embed_prompts(sam, points, labels, boxes, boxed)
        logits, quality = decode(sam, embeddings[[0, 0, 1, 1]], tokens, masks)
        for i in range(4):
            record = {
                "image": torch.from_numpy(images[i // 2]).permute(2, 0, 1).float(),
                "original_size": (256, 256),
                "point_coords": points[i : i + 1, int(boxed[i]) :],
                "point_labels": labels[i : i + 1, int(boxed[i]) :],
            }
            record |= {"boxes": boxes[i : i + 1]} if boxed[i] else {}
            record |= {} if masks is None else {"mask_inputs": masks[i : i + 1]}
            for several, own in ((True, slice(1, 4)), (False, slice(0, 1))):
                (theirs,) = sam([record], multimask_output=several)
                torch.testing.assert_close(logits[i : i + 1, own], theirs["low_res_logits"], rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(quality[i : i + 1, own], theirs["iou_predictions"], rtol=1e-4, atol=1e-4)


def test_the_file_has_the_models_masks_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sam = small_sam()
    sam.load_state_dict(export(sam.state_dict()))
    path = tmp_path / "mini_sam.safetensors"
    save_file(export(sam.state_dict()), path, metadata={"images": "1"})
    monkeypatch.setattr("car.refine.sam_checkpoint.MINI_WEIGHTS", path)
    image = demo_image()[::4, ::4].copy()
    given = SamProposer(sam, settings=OPEN)(image)
    assert given.any(axis=(1, 2)).sum() > 1
    assert np.array_equal(load_mask_proposer(path, "cpu", settings=OPEN)(image), given)
    assert np.array_equal(load_mask_proposer("mini", "cpu", settings=OPEN)(image), given)
    assert load_sam("mini").image_encoder.img_size == 256


@torch.no_grad()
@pytest.mark.parametrize("side", [64, 128, 192, 256])
def test_a_file_for_a_smaller_size_is_the_model_as_it_is_trained_at_that_size(side: int) -> None:
    sam = small_sam()
    sam.load_state_dict(export(sam.state_dict()))
    smaller = new_sam(**SMALL | {"side": side})
    smaller.load_state_dict(export(sam.state_dict(), side // SMALL["patch"]))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8))
    theirs = smaller.image_encoder(smaller.preprocess(images.permute(0, 3, 1, 2).float()))
    torch.testing.assert_close(encode(sam, images), theirs, rtol=1e-2, atol=1e-2)


def test_a_name_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("car.refine.sam_checkpoint.MINI_WEIGHTS", path := tmp_path / "mini_sam.safetensors")
    with pytest.raises(MissingError, match=r"mini_sam\.safetensors.*--sam regions"):
        load_mask_proposer("mini")
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"mini_sam\.safetensors"):
        load_mask_proposer("mini")


def test_settings_follow_the_source_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(export(small_sam().state_dict()), path := tmp_path / "small.safetensors")
    monkeypatch.setattr("car.refine.sam_checkpoint.MINI_WEIGHTS", path)
    assert SamProposer("mini", device="cpu").settings == MINI_SETTINGS == default_settings("mini")
    assert SamProposer(path, device="cpu").settings == CAR_SETTINGS == default_settings("sam_vit_b")
    assert SamProposer("mini", device="cpu", settings=OPEN).settings == OPEN


def test_the_default_model_is_small_enough_to_ship() -> None:
    state = export(new_sam().state_dict())
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert sum(value.nbytes for value in state.values()) < 25e6


def test_a_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path: Path) -> None:
    data = batches()
    unbroken, broken = (train_mini_sam.Run(tmp_path / name, 3, 8, 2, SMALL) for name in ("a", ""))
    whole = [unbroken.learn(data[i]) for i in range(5)]
    parts = [broken.learn(data[i]) for i in range(2)]
    broken.save()
    again = train_mini_sam.Run(tmp_path, 3, 8, 2, SMALL)
    assert again.load()
    assert again.step == 2
    parts += [again.learn(data[i]) for i in range(2, 5)]
    assert [row["dice"] for row in parts] == [row["dice"] for row in whole]
    assert all((again.average[name] == value).all() for name, value in unbroken.average.items())


def test_some_steps_lower_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LEARNING_RATE": 1e-2, "MATRIX_RATE": 4e-2, "WARM_UP": 1}.items():
        monkeypatch.setattr(train_mini_sam, name, value)
    monkeypatch.setattr(mini_sam_rounds, "ROUNDS", (1.0,))
    run, batch = train_mini_sam.Run(tmp_path, 3, 10**6, 2, SMALL), batches(side=64)[0]
    figures = [run.learn(batch) for _ in range(45)]
    assert figures[-1]["focal"] < 0.3 * figures[0]["focal"]
    assert figures[-1]["dice"] < 0.75 * figures[0]["dice"]
    assert figures[-1]["click"] > figures[0]["click"] + 0.2


def test_one_command_trains_judges_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_sam_eval, "SCENES", 1)
    monkeypatch.setattr(train_mini_sam, "LOGGED", 1)
    monkeypatch.setattr(train_mini_sam, "new_sam", lambda **given: new_sam(**SMALL | given))
    arguments = ["--out", str(tmp_path), "--batch", "1", "--prompts", "2", "--images", "3"]
    assert CliRunner().invoke(train_mini_sam.main, [*arguments, "--minutes", "0"]).exit_code == 0
    with (tmp_path / "steps.csv").open("a") as file:
        file.write(f"2{',0' * 10}\r\n1,1")  # a step that was not saved, and one cut short
    result = CliRunner().invoke(train_mini_sam.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert {p.name for p in tmp_path.iterdir()} == {"steps.csv", "curve.csv", "state.pt", "best.safetensors"}
    with (tmp_path / "steps.csv").open(newline="") as file:
        rows = [(row["step"], row["side"]) for row in csv.DictReader(file)]
    assert rows == [("1", "64"), ("2", "128"), ("3", "128")]
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "3"]
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("click", "oracle", "single", "box"))
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        side = file.metadata()["side"]
    assert side == rows[np.argmax([float(row["click"]) + float(row["box"]) for row in rows])]["side"]
    assert load_sam(tmp_path / "best.safetensors").image_encoder.img_size == int(side)
    assert load_file(tmp_path / "best.safetensors")["image_encoder.pos_embed"].dtype == torch.float16


def test_training_seeds_are_none_that_figures_are_measured_on() -> None:
    measured = max(split.first for split in (*TEST, *TUNING)) + 10**6
    assert measured < mini_sam_data.FIRST_SEED


@pytest.mark.parametrize("side", [64, 128, 256])
def test_prompts_lie_where_their_masks_are(side: int) -> None:
    batch = batches(side=side)[1]
    assert batch.images.shape == (2, side, side, 3)
    assert batch.masks.shape == (8, side // 2, side // 2)
    again = batches(side=side)[1]
    assert all((value == getattr(again, name)).all() for name, value in vars(batch).items())
    cells = ((batch.points + 0.5) * (side / 2 / mini_sam_model.SIDE)).long()
    # A point on an outline may lie in the cell beside it.
    wider = torch.nn.functional.max_pool2d(batch.masks[:, None].float(), 3, stride=1, padding=1)[:, 0]
    assert all(mask[y, x] for mask, (x, y) in zip(wider, cells, strict=True))
    for mask, (x0, y0, x1, y1) in zip(batch.masks, batch.boxes.tolist(), strict=True):
        box = np.array(mini_sam_eval.box_of(mask.numpy())) * 2 * mini_sam_model.SIDE / side
        assert np.abs(box - [x0, y0, x1, y1]).max() < mini_sam_data.MOST_BOX_NOISE + 8
        assert mask.any()


def test_a_mirrored_picture_keeps_its_masks() -> None:
    made = scene(5, objects=(3, 3), camera=0)
    for seed in range(6):
        image, things, behind = mini_sam_data.turned(
            made.image, list(made.masks), mini_sam_data.stuff_masks(made), np.random.default_rng(seed)
        )
        for mask, before in zip(things, made.masks, strict=True):
            assert sorted(map(tuple, image[mask])) == sorted(map(tuple, made.image[before]))
        assert (np.sum([*things, *behind], axis=0) == 1).all()


def test_losses_know_right_from_wrong() -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.bool)
    target[:, 2:6, 2:6] = True
    right = torch.where(target, 12.0, -12.0)[:, None]
    both = torch.cat([right, -right], dim=1)
    assert torch.allclose(mini_sam_rounds.iou(both, target), torch.tensor([[1.0, 0.0]]))
    for loss in (mini_sam_rounds.focal(both, target), mini_sam_rounds.dice(both, target)):
        assert loss[0, 0] < 1e-3
        assert loss[0, 1] > 0.5
    logits = torch.cat([right, -right, right, -right], dim=1)
    parts = {
        alone: mini_sam_rounds.terms(logits, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), target, torch.tensor([alone]))
        for alone in (False, True)
    }
    assert all(float(value) < 1e-3 for part in parts.values() for value in part.values())
    wrong = mini_sam_rounds.terms(-logits, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), target, torch.tensor([True]))
    assert wrong["quality"] > 1


def test_the_next_click_is_where_the_mask_is_wrong() -> None:
    target = torch.zeros(3, 16, 16, dtype=torch.bool)
    target[:, 4:12, 4:12] = True
    logits = torch.where(target, 5.0, -5.0)
    logits[0, 6, 7], logits[1, 1, 2] = -5.0, 5.0
    points, labels = mini_sam_rounds.error_click(logits, target, torch.Generator().manual_seed(0))
    assert points[:2].tolist() == [[119.5, 103.5], [39.5, 23.5]]
    assert labels[:, 0].tolist() == [1, 0, 1]
    x, y = ((points[2] + 0.5) / 16).long()
    assert target[2, y, x]


def test_clicks_are_far_from_the_outline() -> None:
    mask = np.zeros((30, 40), bool)
    mask[:, :3] = True
    mask[5:26, 10:31] = True
    assert mini_sam_eval.click_point(mask) == (20, 15)
    assert mini_sam_eval.click_point(np.ones((5, 5), bool)) == (2, 2)
    assert mini_sam_eval.box_of(mask) == (0, 0, 30, 29)


def test_perfect_proposals_are_all_recalled() -> None:
    scenes = [("a", scene(1, objects=(2, 2), repeats=0)), ("b", scene(2, objects=(3, 3), repeats=0))]
    truth = {made.image.tobytes(): made.masks for _, made in scenes}
    scores, count = mini_sam_eval.proposed(lambda image: truth[image.tobytes()], scenes)
    assert [score.mean(score.scores) for score in scores.values()] == [1, 1]
    assert count == np.mean([len(made.masks) for _, made in scenes])
    halves = {key: masks & (np.arange(masks.shape[-1]) % 5 < 3) for key, masks in truth.items()}
    scores, _ = mini_sam_eval.proposed(lambda image: halves[image.tobytes()], scenes)
    assert [score.mean(score.scores) for score in scores.values()] == [1, 0]
    scores, count = mini_sam_eval.proposed(lambda image: np.zeros((0, *image.shape[:2]), bool), scenes)
    assert [score.mean(score.scores) for score in scores.values()] == [0, 0]


def test_the_evaluation_prints_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage", reason="the extra [regions] is not installed")
    monkeypatch.setattr(mini_sam_eval, "MINI_SETTINGS", OPEN)
    save_file(export(small_sam().state_dict()), path := tmp_path / "small.safetensors")
    result = CliRunner().invoke(mini_sam_eval.main, [str(path), "--scenes", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert sum(line.startswith("| 2-4 objects, held-out artwork |") for line in lines) == 3
    assert sum("| regions |" in line for line in lines) == len(TEST)
