import hashlib
import logging
import sys
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from car.errors import CheckpointError, InputError, MissingError
from car.refine.iom import merge
from car.refine.mask_files import FileProposer
from car.refine.regions import RegionProposer
from car.refine.sam import CAR_SETTINGS, SamProposer, SamSettings, load_mask_proposer
from car.refine.sam_checkpoint import WEIGHTS, build, import_package, load_sam
from car.vlm.download import Download

OPEN = SamSettings(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
"""Settings that let every mask of an untrained model through."""

needs_sam = pytest.mark.skipif(find_spec("segment_anything") is None, reason="the extra [sam] is not installed")
PACKAGES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"the package {name} is not installed"))
    for name in ("segment_anything", "segment_anything_hq")
]


def tiny_sam(package: str = "segment_anything", seed: int = 0) -> torch.nn.Module:
    """SAM's architecture with random weights, every size unlike that of the published models."""
    modeling = import_module(import_package(package).__name__ + ".modeling")
    torch.manual_seed(seed)
    encoder = modeling.ImageEncoderViT(
        img_size=128, patch_size=16, embed_dim=32, depth=3, num_heads=4, mlp_ratio=2.5, out_chans=64, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=3, global_attn_indexes=(1,),
    )  # fmt: skip
    prompts = modeling.PromptEncoder(64, (8, 8), (128, 128), mask_in_chans=8)
    options = {
        "num_multimask_outputs": 2,
        "transformer": modeling.TwoWayTransformer(depth=3, embedding_dim=64, mlp_dim=48, num_heads=8),
        "transformer_dim": 64,
        "iou_head_depth": 2,
        "iou_head_hidden_dim": 24,
    }
    if package == "segment_anything_hq":
        decoder = modeling.MaskDecoderHQ(**options, vit_dim=32)
    else:
        decoder = modeling.MaskDecoder(**options)
    sam = modeling.Sam(encoder, prompts, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    for parameter in sam.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return sam.eval()


def picture(height: int = 30, width: int = 45) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_saved_model_is_read_back_by_path_and_proposes_the_same_masks(package, tmp_path):
    sam = tiny_sam(package)
    torch.save(sam.state_dict(), path := tmp_path / "mine.pth")
    read = load_sam(path)
    assert read.image_encoder.img_size == 128
    assert [block.window_size for block in read.image_encoder.blocks] == [3, 0, 3]
    assert read.image_encoder.blocks[0].attn.num_heads == 4
    given = SamProposer(sam, settings=OPEN)(picture())
    loaded = load_mask_proposer(path, "cpu", settings=OPEN)(picture())
    assert given.shape == ((9, 30, 45) if package == "segment_anything_hq" else (18, 30, 45))
    assert given.dtype == bool
    assert given.any()
    assert np.array_equal(given, loaded)
    assert not np.array_equal(given, SamProposer(tiny_sam(package, seed=1), settings=OPEN)(picture()))


@needs_sam
@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_architectures_are_inferred_from_their_tensors(name):
    package = import_package("segment_anything")
    with torch.device("meta"):
        published = package.sam_model_registry[name]()
        built = build(published.state_dict(), package)
    shapes = {key: value.shape for key, value in published.state_dict().items()}
    assert {key: value.shape for key, value in built.state_dict().items()} == shapes
    assert str(built) == str(published)
    for ours, theirs in zip(built.image_encoder.blocks, published.image_encoder.blocks, strict=True):
        assert (ours.window_size, ours.attn.num_heads) == (theirs.window_size, theirs.attn.num_heads)
    assert built.image_encoder.img_size == published.image_encoder.img_size
    assert built.prompt_encoder.input_image_size == published.prompt_encoder.input_image_size


@needs_sam
@pytest.mark.parametrize(("size", "found"), [((1, 1), 18), ((1, 200), 18), ((1, 5000), 0), ((5000, 1), 0)])
def test_any_size(size, found, caplog):
    with caplog.at_level(logging.WARNING):
        masks = SamProposer(tiny_sam(), settings=OPEN)(picture(*size))
    assert masks.shape == (found, *size)
    assert ("narrow" in caplog.text) == (found == 0)


@needs_sam
def test_large_images_take_fewer_points_at_once_and_give_the_same_masks(monkeypatch):
    proposer = SamProposer(tiny_sam(), settings=OPEN)
    expected = proposer(picture())
    monkeypatch.setattr("car.refine.sam._BATCHED_PIXELS", 30 * 45 / 32)
    assert np.array_equal(proposer(picture()), expected)
    assert proposer._generator.points_per_batch == 2


@needs_sam
def test_a_cpu_takes_few_points_at_once_and_gives_the_masks_of_the_package():
    sam = tiny_sam()
    proposer = SamProposer(sam, device="cpu", settings=OPEN)
    package = import_package("segment_anything")
    expected = package.SamAutomaticMaskGenerator(sam, **asdict(OPEN)).generate(picture())
    assert np.array_equal(proposer(picture()), [record["segmentation"] for record in expected])
    assert proposer._generator.points_per_batch == 4 < OPEN.points_per_batch
    single = SamProposer(sam, settings=replace(OPEN, points_per_batch=1))
    assert np.array_equal(single(picture()), proposer(picture()))
    assert single._generator.points_per_batch == 1


@needs_sam
def test_settings_reach_the_generator():
    strict = SamProposer(tiny_sam(), settings=SamSettings(points_per_side=2, box_nms_thresh=0.1))
    assert len(strict._generator.point_grids[0]) == 4
    assert strict._generator.box_nms_thresh == 0.1
    assert strict(picture()).shape[1:] == (30, 45)
    assert (CAR_SETTINGS.points_per_side, CAR_SETTINGS.pred_iou_thresh) == (64, 0.88)
    assert (CAR_SETTINGS.stability_score_thresh, CAR_SETTINGS.box_nms_thresh) == (0.95, 0.7)


@pytest.mark.parametrize(
    "setting",
    [
        {"points_per_side": 0},
        {"points_per_batch": 1.5},
        {"crop_n_layers": -1},
        {"pred_iou_thresh": 1.1},
        {"box_nms_thresh": float("nan")},
        {"stability_score_offset": -1.0},
    ],
)
def test_bad_settings(setting):
    with pytest.raises(InputError, match=f"`{next(iter(setting))}`"):
        SamSettings(**setting)


@needs_sam
@pytest.mark.parametrize("name", ["sam_vit_b", pytest.param("sam_hq_vit_b", marks=PACKAGES[1].marks)])
def test_absent_weights_say_what_from_where_and_where_to(name, tmp_path, monkeypatch):
    def offline(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("car.vlm.download.receive", offline)
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MissingError) as error:
        load_mask_proposer(name, "cpu")
    message = str(error.value)
    assert WEIGHTS[name].url in message
    assert f"{tmp_path / 'cache'} as {WEIGHTS[name].file_name}" in message
    assert "regions" in message
    assert "\n" not in message
    with pytest.raises(MissingError, match="given"):
        load_mask_proposer(name, "cpu", weights_dir=tmp_path / "given")


def test_the_official_names():
    assert WEIGHTS["sam_vit_b"].url == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
    assert [WEIGHTS[f"sam_vit_{size}"].file_name for size in "lh"] == ["sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth"]


def test_an_absent_file():
    with pytest.raises(InputError, match=r"absent\.pth"):
        load_mask_proposer("absent.pth", "cpu")


@needs_sam
def test_named_weights_are_verified(tmp_path, monkeypatch):
    torch.save(tiny_sam().state_dict(), path := tmp_path / "tiny.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHTS, "tiny", Download("tiny", "https://example.org/tiny.pth", digest, 1))
    assert load_sam("tiny", tmp_path).image_encoder.img_size == 128
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(CheckpointError, match=r"tiny\.pth.*SHA-256"):
        load_sam("tiny", tmp_path)
    monkeypatch.setitem(WEIGHTS, "tiny", Download("tiny", "https://example.org/tiny.pth", "", 1))
    torch.save(tiny_sam().state_dict(), path)
    assert load_sam("tiny", tmp_path).image_encoder.img_size == 128


@needs_sam
def test_damaged_and_foreign_checkpoints_are_refused_by_name(tmp_path):
    whole = tmp_path / "whole.pth"
    state = tiny_sam().state_dict()
    torch.save(state, whole)
    contents = {
        "empty": b"",
        "text": b"no checkpoint",
        "short": whole.read_bytes()[:5000],
        "list": [1, 2],
        "objects": {"a": object()},
        "numbers": {"a": 1},
        "other": {"weight": torch.zeros(2)},
        "lacking": {key: value for key, value in state.items() if "blocks.2.mlp" not in key},
        "longer": state | {"another": torch.zeros(1)},
        "scalar": state | {"image_encoder.pos_embed": torch.tensor(1.0)},
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=rf"{name}\.pth") as error:
            load_sam(path)
        assert "\n" not in str(error.value), name


@needs_sam
def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_sam(tmp_path / "evil.pth")
    assert not (tmp_path / "written").exists()


def test_load_mask_proposer_takes_every_kind(tmp_path):
    (tmp_path / "masks.json").write_text("[]")
    assert isinstance(load_mask_proposer(str(tmp_path / "masks.json")), FileProposer)
    pytest.importorskip("skimage", reason="the extra [regions] is not installed")
    assert isinstance(load_mask_proposer("regions"), RegionProposer)

    def mine(image):
        return np.ones((1, *image.shape[:2]), bool)

    assert load_mask_proposer(mine) is mine


@pytest.mark.parametrize(
    ("spec", "message"),
    [("region", "'regions'"), ("sam_vit_g", "Did you mean 'sam_vit"), ("photo.jpg", "Available: regions"), (3, "int")],
)
def test_unknown_mask_proposers_list_the_choices(spec, message):
    with pytest.raises(InputError, match=message):
        load_mask_proposer(spec)
    with pytest.raises(InputError, match="SAM model"):
        SamProposer(3)
    with pytest.raises(InputError, match=r"Did you mean 'mini'.*Available: regions, mini, sam_vit_b"):
        load_mask_proposer("minni")


def test_absent_packages_name_the_pip_command(monkeypatch):
    monkeypatch.setattr("car.refine.sam_checkpoint.import_torchvision", lambda: None)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[sam\]'"):
        import_package("segment_anything")
    for name in ("mini", "sam_vit_b"):
        with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[sam\]'"):
            load_mask_proposer(name, "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[regions\]'"):
        load_mask_proposer("regions")


@needs_sam
def test_proposals_of_sam_merge():
    masks = SamProposer(tiny_sam(), settings=OPEN)(picture())
    pred = masks[0] ^ (np.random.default_rng(0).random(masks[0].shape) < 0.02)
    merged = merge(pred, masks[:1])
    assert np.array_equal(merged, masks[0])
