"""Files of trained models, and referring with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from car.errors import CheckpointError, InputError, MissingError
from car.prompt_ris import checkpoint
from car.prompt_ris.checkpoint import build_model, load_prompt_ris, read, save_model, start_from
from car.prompt_ris.referrer import PromptRISReferrer
from car.prompt_ris.settings import PromptRISSettings
from car.referring.load import load_referrer
from car.scenes import demo_image
from tests.prompt_ris.models import needs_sam, small_clip, small_sam

SETTINGS = PromptRISSettings(clip_side=48, prompts=3, heads=4)
COARSE = PromptRISSettings(clip_side=48, prompts=3, heads=4, sam_prompts=())


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a CLIP and of a SAM."""
    folder = tmp_path_factory.mktemp("backbones")
    paths = {"clip": folder / "clip.safetensors", "sam": folder / "sam.safetensors"}
    save_file({name: t.contiguous() for name, t in small_clip().state_dict().items()}, paths["clip"])
    save_file({name: t.contiguous() for name, t in small_sam().state_dict().items()}, paths["sam"])
    return paths


@pytest.fixture(scope="module")
def trained(backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model, of = build_model(backbones["clip"], backbones["sam"], SETTINGS)
    path = tmp_path_factory.mktemp("trained") / "best.safetensors"
    save_model(path, model, of, epoch=3)
    return path


@needs_sam
def test_what_was_saved_is_loaded(trained: Path, backbones: dict[str, Path]) -> None:
    settings, of, tensors = read(trained)
    assert settings == SETTINGS
    assert of.clip == str(backbones["clip"])
    model = load_prompt_ris(trained)
    assert {name: p.dtype for name, p in model.learned().items()} == dict.fromkeys(tensors, torch.float32)
    for name, p in model.learned().items():
        assert torch.equal(p, tensors[name].float())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


@needs_sam
def test_backbones_may_have_moved_but_not_changed(trained: Path, backbones: dict[str, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(backbones["clip"].read_bytes())
    load_prompt_ris(trained, clip=moved)
    load_referrer("prompt-ris", trained, clip=str(moved))
    with pytest.raises(CheckpointError, match="was trained on another CLIP"):
        load_prompt_ris(trained, clip="mini")
    other = {name: t.contiguous() for name, t in small_sam(seed=1).state_dict().items()}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="was trained on another SAM"):
        load_prompt_ris(trained, sam=tmp_path / "other.safetensors")


def test_a_model_without_sam_needs_none(tmp_path: Path) -> None:
    model, of = build_model("mini", "nowhere.pth", PromptRISSettings(clip_side=48, prompts=2, sam_prompts=()))
    assert of.sam is None
    save_model(tmp_path / "coarse.safetensors", model, of)
    assert load_prompt_ris(tmp_path / "coarse.safetensors").sam is None


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    model, of = build_model("mini", None, PromptRISSettings(clip_side=48, prompts=2, sam_prompts=()))
    for name in ("a", "b"):
        save_model(tmp_path / name, model, of, epoch=1, validation={"oIoU": 0.5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="There is no file"):
        load_prompt_ris(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_prompt_ris(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="is no model that `car train prompt-ris` wrote"):
        load_prompt_ris(tmp_path / "other")
    monkeypatch.setattr(checkpoint, "MINI_WEIGHTS", tmp_path / "mini.safetensors")
    with pytest.raises(MissingError, match="comes without a trained Prompt-RIS"):
        load_prompt_ris("mini")


@needs_sam
def test_a_coarse_model_is_where_another_starts(backbones: dict[str, Path], tmp_path: Path) -> None:
    coarse, of = build_model(backbones["clip"], None, COARSE)
    save_model(tmp_path / "coarse", coarse, of)
    torch.manual_seed(5)
    whole, _ = build_model(backbones["clip"], backbones["sam"], SETTINGS)
    before = {name: p.clone() for name, p in whole.learned().items()}
    start_from(whole, tmp_path / "coarse")
    taken = read(tmp_path / "coarse")[2]
    for name, p in whole.learned().items():
        assert torch.equal(p, taken[name].float() if name in taken else before[name])
    assert 0 < len(taken) < len(before)
    other, _ = build_model("mini", None, PromptRISSettings(clip_side=48, prompts=3, heads=4, sam_prompts=()))
    with pytest.raises(InputError, match="another CLIP or of other settings"):
        start_from(other, tmp_path / "coarse")
    with pytest.raises(InputError, match="no file"):
        start_from(whole, tmp_path / "none")


@needs_sam
def test_referring(trained: Path) -> None:
    image = demo_image()
    referrer = load_referrer("prompt-ris", trained)
    assert isinstance(referrer, PromptRISReferrer)
    prepared = referrer.prepare(image)
    one, other = prepared.refer("the  red   cat "), prepared.refer("dog")
    assert one.expression == "the red cat"
    assert one.method == "prompt-ris"
    assert one.mask.shape == image.shape[:2]
    assert one.mask.dtype == np.bool_
    masks = prepared.masks(["the red cat", "dog"])
    assert set(masks) == {"coarse", "final"}
    # Asked together or alone, but for rounding.
    assert (masks["final"] != np.stack([one.mask, other.mask])).mean() < 1e-2
    together = prepared.refer_object(["the red cat", "dog"])
    assert together.expression == "the red cat / dog"
    assert not (together.mask & ~(one.mask | other.mask)).any()
    with pytest.raises(InputError, match="blank"):
        prepared.refer("  ")
    with pytest.raises(InputError, match="tokens"):
        prepared.refer("word " * 40)


@needs_sam
def test_options_of_other_methods_are_refused(trained: Path) -> None:
    with pytest.raises(InputError, match="No setting 'alpha'"):
        load_referrer("prompt-ris", trained, alpha=0.5)
    with pytest.raises(InputError, match="Presets are of the method 'car'"):
        load_referrer("prompt-ris", trained, preset="refcoco")
    with pytest.raises(InputError, match="Expected a file of a trained Prompt-RIS"):
        load_referrer("prompt-ris", small_clip())
