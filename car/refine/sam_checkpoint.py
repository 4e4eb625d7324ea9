"""Segment-anything checkpoints: which files there are, and models built to fit whatever a file holds."""

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from car.errors import CheckpointError, MissingError
from car.refine.nms_shim import import_torchvision
from car.vlm.checkpoints import read_state_dict
from car.vlm.download import Download, fetch, weights_folder

log = logging.getLogger(__name__)

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_HQ = "https://huggingface.co/lkeab/hq-sam/resolve/main/"
_PIP = {
    "segment_anything": "pip install 'car-segmentation[sam]'",
    "segment_anything_hq": "pip install segment-anything-hq timm",
}
_PIXEL_MEAN, _PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_DECODER_HEADS = 8  # of every published SAM; no weight's shape tells

# fmt: off
_PUBLISHED = (
    Download("sam_vit_b", _META + "sam_vit_b_01ec64.pth",
             "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375),
    Download("sam_vit_l", _META + "sam_vit_l_0b3195.pth",
             "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1250),
    Download("sam_vit_h", _META + "sam_vit_h_4b8939.pth",
             "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2565),
    Download("sam_hq_vit_b", _HQ + "sam_hq_vit_b.pth", "", 379),
    Download("sam_hq_vit_l", _HQ + "sam_hq_vit_l.pth", "", 1250),
    Download("sam_hq_vit_h", _HQ + "sam_hq_vit_h.pth",
             "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35", 2571),
)
# fmt: on
WEIGHTS = {download.name: download for download in _PUBLISHED}
"""Published checkpoints by name. Those whose SHA-256 we do not know are used where they are, but not downloaded."""
MINI = "mini"
"""The name of the small SAM that comes with the package."""
MINI_WEIGHTS = Path(__file__).parent / "mini_sam.safetensors"


def load_sam(source: str | Path, weights_dir: str | Path | None = None) -> torch.nn.Module:
    """Load a checkpoint of SAM's ViT architecture, of any size, or of HQ-SAM; on the CPU, in float32.

    Args:
        source: "mini", a name out of `WEIGHTS`, or a file.
        weights_dir: where named checkpoints are kept; default $CAR_CACHE, else ~/.cache/clip.

    Raises:
        InputError: there is no such file.
        MissingError: the weights of that name, or the package the model needs, are not here.
        CheckpointError: the file is damaged or holds something else.
    """
    state = read_state_dict(path := find_weights(source, weights_dir))
    package = import_package("segment_anything_hq" if "mask_decoder.hf_token.weight" in state else "segment_anything")
    try:
        model = build(state, package)
        model.load_state_dict(state)
    except (KeyError, IndexError, ValueError, RuntimeError, AssertionError, ArithmeticError) as error:
        reason = f"{error} is not in it" if isinstance(error, KeyError) else " ".join(str(error).split())[:160]
        raise CheckpointError(f"{str(path)!r} is no checkpoint of SAM or HQ-SAM with a ViT: {reason}.") from error
    return model.eval().requires_grad_(False)


def find_weights(source: str | Path, weights_dir: str | Path | None = None) -> Path:
    """The file of a SAM's weights: what a name means, once it is known that its package is here; or the path given.

    Raises:
        MissingError: the weights of that name, or the package the model needs, are not here.
        CheckpointError: the file is not the one of that name.
    """
    if str(source) != MINI and str(source) not in WEIGHTS:
        return Path(source)
    require_package("segment_anything_hq" if str(source).startswith("sam_hq") else "segment_anything")
    return embedded() if str(source) == MINI else locate(WEIGHTS[str(source)], weights_dir)


def embedded() -> Path:
    """The file of the small SAM; raises MissingError where the package came without it."""
    if MINI_WEIGHTS.is_file():
        return MINI_WEIGHTS
    raise MissingError(
        f"This installation comes without the small SAM ({MINI_WEIGHTS.name}). Use `--sam regions` (`--proposals "
        "regions`), which needs no weights, or a file of SAM weights."
    )


def locate(weights: Download, weights_dir: str | Path | None = None) -> Path:
    """The file of a published checkpoint: found, or downloaded, and its SHA-256 verified; raises as `load_sam` does."""
    path = weights_folder(weights_dir) / weights.file_name
    if weights.sha256:
        try:
            return fetch(weights, weights_dir)
        except MissingError as error:
            log.info("%s", error)
    elif path.is_file():
        return path
    raise MissingError(
        f"The weights of {weights.name} are not here and cannot be downloaded. Put {weights.url} into {path.parent} "
        f"as {path.name}, or use `--sam regions`, which needs no download."
    )


def require_package(name: str) -> None:
    """Raise MissingError where `segment_anything` or `segment_anything_hq` is not installed; nothing is imported."""
    if importlib.util.find_spec(name) is None:
        raise MissingError(f"The package {name} is not installed; run: {_PIP[name]}")


def import_package(name: str) -> ModuleType:
    """Import `segment_anything` or `segment_anything_hq`, with a torchvision that works."""
    import_torchvision()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingError(f"The package {error.name} is not installed; run: {_PIP[name]}") from None


def build(state: Mapping[str, Tensor], package: ModuleType) -> torch.nn.Module:
    """A model of the shape of its tensors, weights not loaded; KeyError names the first tensor that is not there."""
    modeling: Any = importlib.import_module(package.__name__ + ".modeling")
    embed_dim, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    grid = state["image_encoder.pos_embed"].shape[1]
    prompt_dim = state["image_encoder.neck.0.weight"].shape[0]
    tokens = state["mask_decoder.mask_tokens.weight"].shape[0]
    encoder = modeling.ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=embed_dim,
        out_chans=prompt_dim,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        **_encoder_blocks(state, embed_dim, grid),
    )
    prompts = modeling.PromptEncoder(
        embed_dim=prompt_dim,
        image_embedding_size=(grid, grid),
        input_image_size=(grid * patch, grid * patch),
        mask_in_chans=state["prompt_encoder.mask_downscaling.6.weight"].shape[1],
    )
    decoder_options: dict[str, Any] = {
        "num_multimask_outputs": tokens - 1,
        "transformer": modeling.TwoWayTransformer(
            depth=_count(state, "mask_decoder.transformer.layers."),
            embedding_dim=prompt_dim,
            mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
            num_heads=_DECODER_HEADS,
        ),
        "transformer_dim": prompt_dim,
        "iou_head_depth": _count(state, "mask_decoder.iou_prediction_head.layers."),
        "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    }
    if hasattr(modeling, "MaskDecoderHQ"):
        decoder = modeling.MaskDecoderHQ(**decoder_options, vit_dim=embed_dim)
    else:
        decoder = modeling.MaskDecoder(**decoder_options)
    return modeling.Sam(encoder, prompts, decoder, pixel_mean=_PIXEL_MEAN, pixel_std=_PIXEL_STD)


def _encoder_blocks(state: Mapping[str, Tensor], embed_dim: int, grid: int) -> dict[str, Any]:
    """Depth, heads, windows and width of the image encoder's blocks.

    A block's table of relative positions has 2 * side - 1 rows of one head's width; side is the grid's where attention
    is global, the window's elsewhere.
    """
    depth = _count(state, "image_encoder.blocks.")
    tables = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
    sides = [(len(table) + 1) // 2 for table in tables]
    return {
        "depth": depth,
        "num_heads": embed_dim // tables[0].shape[1],
        "mlp_ratio": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / embed_dim,
        "global_attn_indexes": tuple(i for i, side in enumerate(sides) if side == grid),
        "window_size": min(sides),
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts the state has under a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
