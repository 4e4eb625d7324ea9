"""The trainer in tools/: its losses, its resuming, its export."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from car.scenes import scene
from car.vlm.model import CLIP
from car.vlm.preprocess import normalise
from car.vlm.tokenizer import tokenize

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import mini_captions
import mini_data
import mini_eval
import mini_prompts
import mini_words
import train_mini
from mini_model import Mini, export, rescale

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"width": 64, "layers": 2, "text_width": 64, "text_layers": 1, "embed": 32}


def new_run(out: Path) -> train_mini.Run:
    return train_mini.Run(out, 3, 8, 6, SMALL)


def test_a_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path: Path) -> None:
    data = mini_data.Batches(3, 8, 6)
    unbroken, broken = new_run(tmp_path / "a"), new_run(tmp_path)
    whole = [unbroken.learn(data[i]) for i in range(5)]
    parts = [broken.learn(data[i]) for i in range(2)]
    broken.save()
    again = new_run(tmp_path)
    assert again.load()
    assert again.step == 2
    parts += [again.learn(data[i]) for i in range(2, 5)]
    assert parts == whole
    assert all((again.average[k] == v).all() for k, v in unbroken.average.items())


def test_a_few_steps_lower_the_loss(tmp_path: Path) -> None:
    run, batch = train_mini.Run(tmp_path, 3, 10**6, 6, SMALL), mini_data.Batches(3, 8, 6)[0]
    first = sum(run.learn(batch).values())
    for _ in range(12):
        run.step = train_mini.WARM_UP
        last = sum(run.learn(batch).values())
    assert last < 0.7 * first


def test_the_export_is_the_model(tmp_path: Path) -> None:
    """The exported file, read by the library, gives what the trainer computes, up to float16."""
    torch.manual_seed(1)
    model = Mini(len(mini_words.token_ids()), **SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
            parameter.copy_(parameter.half().float())
    state = export(model.state_dict(), torch.from_numpy(mini_words.token_ids()))
    clip = CLIP.from_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    kept = torch.arange(64).expand(2, 64)
    with torch.no_grad():
        ours, _, _ = model.visual(torch.from_numpy(images), kept)
        theirs = clip.encode_image(normalise(images))
        assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 1 - 1e-4
        sentences = ["a photo of a cat.", "a clean origami xylophone."]
        rows = torch.from_numpy(np.stack([mini_words.rows_of(s) for s in sentences]))
        texts = model.encode_text(rows), clip.encode_text(tokenize(sentences))
        assert torch.nn.functional.cosine_similarity(*texts).min() > 1 - 1e-4


def test_silu_becomes_quick_gelu_exactly() -> None:
    torch.manual_seed(2)
    block = Mini(5, **SMALL).visual.transformer.resblocks[0].mlp.double()
    x = torch.randn(7, 64, dtype=torch.float64)
    silu = block["c_proj"](torch.nn.functional.silu(block["c_fc"](x)))
    scaled = {k: v.double() for k, v in export_exact(block.state_dict()).items()}
    hidden = x @ scaled["c_fc.weight"].T + scaled["c_fc.bias"]
    quick = (hidden * torch.sigmoid(1.702 * hidden)) @ scaled["c_proj.weight"].T + scaled["c_proj.bias"]
    assert torch.allclose(silu, quick, rtol=1e-12, atol=1e-12)


def export_exact(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The export's scaling in the precision of its input."""
    return {k: v * rescale(f"x.{k}") for k, v in state.items()}


def test_one_command_trains_judges_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_eval, "SCENES", 2)
    arguments = ["--out", str(tmp_path), "--batch", "4", "--text-steps", "1", "--images", "8"]
    result = CliRunner().invoke(train_mini.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 2
    assert {"cam", "dense", "top1", "given gray", "own circle", "unknown"} <= set(log[-1])
    assert {p.name for p in tmp_path.iterdir()} == {"log.jsonl", "state.pt", "best.safetensors"}
    state = load_file(tmp_path / "best.safetensors")
    assert state["visual.proj"].dtype == torch.float16
    assert len(state["token_ids"]) == len(state["token_embedding.weight"])


def test_patches_must_share_what_is_there() -> None:
    words, scale = torch.eye(4), torch.tensor(20.0)
    target = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    fair, greedy, wrong = (words[list(i)][None] for i in ((0, 1, 0, 1), (0, 0, 0, 1), (2, 3, 2, 3)))
    (some, share), (_, greedy_share), (wrong_some, wrong_share) = (
        train_mini.own(patches, words, target, scale) for patches in (fair, greedy, wrong)
    )
    assert share == pytest.approx(math.log(2), abs=1e-4)
    assert some == pytest.approx(math.log(2), abs=1e-4)
    assert share < greedy_share < wrong_share
    assert some < wrong_some


def test_targets_are_distributions_over_what_is_there() -> None:
    row = mini_data.target(["cat", "dog"], ["grass"])
    index = mini_words.index()
    assert row.sum() == pytest.approx(1)
    assert row[index["cat"]] == row[index["dog"]] == pytest.approx(0.45)
    assert row[index["grass"]] == pytest.approx(0.1)


def test_every_word_has_its_own_rows_in_the_token_table() -> None:
    for names in mini_words.vocabulary():
        for name in names:
            rows = mini_words.rows_of(name)
            assert (rows[: rows.argmax()] > 0).all()


def test_repeated_things_count_more() -> None:
    row = mini_data.target(["cat", "cat", "dog"], [])
    assert row[mini_words.index()["cat"]] == pytest.approx(2 / 3)


def test_nonsense_holds_an_unknown_word_and_no_name() -> None:
    rows = mini_words.nonsense(200, np.random.default_rng(0)).numpy()
    rows_of_names = [mini_words.rows_of(names[0]) for names in mini_words.vocabulary()]
    names = [int(row[1]) for row in rows_of_names if row.argmax() == 2]
    inside = np.arange(rows.shape[1]) < rows.argmax(axis=1)[:, None]
    assert ((rows == 0) & inside).any(axis=1).mean() > 0.9
    assert not np.isin(rows[inside], names).any()


def test_an_inserted_word_moves_the_rest_along() -> None:
    rows = np.stack([mini_words.rows_of("a photo of a cat.")] * 300)
    out = mini_words.inserted(rows, np.random.default_rng(0))
    changed = (out != rows).any(axis=1)
    assert 0.03 < changed.mean() < 0.2
    for row in out[changed]:
        kept = np.delete(row, np.flatnonzero(row[: row.argmax()] == 0))
        assert (kept[: rows[0].argmax() + 1] == rows[0][: rows[0].argmax() + 1]).all()


def test_the_wrong_caption_is_another_one_in_the_same_manner() -> None:
    rng = np.random.default_rng(0)
    for seed in range(60):
        made = scene(seed, objects=(1, 6), textured=0.2)
        for right, wrong in (mini_captions.caption_of(made, rng), mini_captions.object_caption(made, 0, rng)):
            assert right != wrong
            assert right.startswith("a photo of ") == wrong.startswith("a photo of ")


def test_an_image_must_tell_its_caption_from_the_wrong_one() -> None:
    images, scale, same = torch.eye(4), torch.tensor(20.0), torch.arange(4)
    far, near = torch.eye(4).roll(1, dims=0), torch.eye(4)
    plain, easy, hard = (train_mini.contrast(images, torch.eye(4), same, scale, w) for w in (None, far, near))
    assert plain == pytest.approx(float(easy), abs=1e-4)
    assert hard == pytest.approx(math.log(2) / 2, abs=1e-4)


@pytest.mark.parametrize("prompt", sorted(set(mini_prompts.PROMPTS)))
def test_prompts_leave_the_object_alone(prompt: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:30] = True
    out = mini_prompts.draw_prompt(image, mask, prompt, rng)
    assert out.shape == image.shape
    assert (out != image).any()
    if prompt != "crop":
        inner = np.zeros_like(mask)
        inner[17:23, 12:23] = True
        assert (out[inner] == image[inner]).all()
