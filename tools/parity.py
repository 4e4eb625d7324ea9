"""Largest deviation from the reference arrays that the published code made, part by part.

python tools/parity.py [FOLDER]        # default: ../shared/golden beside the checkout
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from car.classify.scores import score_matrix
from car.classify.visual_prompts import VisualPrompter
from car.propose.affinity import Affinity, box_mask, boxes
from car.propose.dense import output_embeddings
from car.propose.gradcam import GradCAM
from car.propose.proposals import Proposals, min_max
from car.refine.crf import DenseCRF
from car.refine.iom import iom
from car.vlm.model import CLIP
from car.vlm.registry import load_clip

Row = tuple[str, str, float]
PROMPTS = ("circle", "rectangle", "contour", "blur", "gray", "black", "circle_blur", "circle_gray_blur")
PROMPTS += ("blur_gray", "contour_blur")


def difference(ours: object, reference: np.ndarray) -> float:
    """Largest absolute difference."""
    return float(np.abs(np.asarray(ours, dtype=np.float64) - reference.astype(np.float64)).max())


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def clip_rows(z: dict, local: dict, vit: CLIP, resnet: CLIP) -> Iterator[Row]:
    """Encoders of both kinds."""
    images = torch.from_numpy(z["images"])
    yield "car", "ViT image features", difference(vit.encode_image(images), z["features_full"])
    skipped = vit.encode_image(images, skip_last=True)
    yield "car", "ViT, last block left out", difference(skipped, z["features_without_last_block"])
    texts = unit(vit.encode_text(torch.from_numpy(z["text_tokens"]))).unflatten(0, (2, 3))
    logits = vit.logit_scale.exp() * unit(skipped) @ texts.mT
    yield (
        "car",
        "scores, two templates",
        difference(score_matrix(logits, fusion="sum-softmax").diagonal(), z["diag_two_templates"]),
    )
    pred, masks = z["sam_pred"] > 0.5, z["sam_masks"] > 0.5
    yield "car", "IoM with mask proposals", difference(iom(pred, masks, 0.05), z["sam_iom_min005"])
    feature_map = resnet.visual.features(torch.from_numpy(local["rn_input"]))
    yield "global_local", "ResNet feature map", difference(feature_map, local["rn_feature_map"])
    crops = unit(resnet.encode_image(torch.from_numpy(local["rn_crops"])))
    yield "global_local", "ResNet image features", difference(crops, local["rn_crop_features"])
    texts = unit(resnet.encode_text(torch.from_numpy(local["text_tokens"])))
    yield "global_local", "ResNet's text features", difference(texts, local["rn_text_features"])
    small = torch.from_numpy(local["vit_masks_small"]).flatten(1)
    masked = vit.visual(torch.from_numpy(local["vit_input"]).expand(3, -1, -1, -1), token_mask=small, mask_from=9)
    yield "global_local", "ViT, tokens masked", difference(masked, local["vit_mask_features"])


def proposal_rows(z: dict, vit: CLIP) -> Iterator[Row]:
    """gradCAM and attention affinity."""
    name = "clip_es_cam"
    taps = vit.visual.taps(torch.from_numpy(z["image"]))
    yield name, "tokens before the last block", difference(taps.tokens[0], z["tokens_before_last_block"])
    yield name, "attention, mean of 8 blocks", difference(taps.attention[0], z["attn_mean_last8"])
    texts = [unit(vit.encode_text(torch.from_numpy(z[f"{kind}_tokens"]))) for kind in ("fg", "bg")]
    yield name, "text features", difference(texts[0], z["fg_text_features"])
    cam = GradCAM(vit.visual, taps.tokens[0], *texts, logit_scale=vit.logit_scale.exp().item(), grid=taps.grid)
    weights = cam.weights([0, 1, 2])
    scale = np.abs(z["channel_weights"]).max()
    yield name, "channel weights (relative)", difference(weights, z["channel_weights"]) / scale
    # CLIP-ES normalises twice, with an epsilon that shows.
    maps = min_max(cam.maps([0, 1, 2], eps=1e-7), 1e-7)
    yield name, "CAM", difference(maps, z["cam"])
    affinity = Affinity(taps.attention[0])
    for lam, key in ((0.4, "t04"), (0.7, "t07")):
        refined = affinity.refine(maps, lam)
        yield name, f"refined, lambda {lam}", difference(refined, z[f"refined_{key}"])
        full = Proposals(min_max(refined, 1e-7), tuple(z["ori_hw"].tolist())).full()
        yield name, f"refined at image size, {lam}", difference(full, z[f"refined_highres_{key}"])
        found = [boxes(each, lam) for each in z["cam"]]
        wrong = sum(
            not np.array_equal(ours, theirs[:count])
            for ours, theirs, count in zip(found, z[f"boxes_{key}"], z[f"boxes_{key}_count"], strict=True)
        )
        edges = zip(z["edge_scoremaps"], z[f"edge_boxmask_{key}"], strict=True)
        wrong += sum(not np.array_equal(box_mask(score, lam), mask) for score, mask in edges)
        yield name, f"box sets that differ, {lam}", wrong


def dense_rows(z: dict, folder: Path) -> Iterator[Row]:
    """Patch embeddings, on that code's own position table."""
    state = torch.load(folder / "tiny_vit.pt", weights_only=True)
    state["visual.positional_embedding"] = torch.from_numpy(z["pos_embed_resampled"])
    visual = CLIP.from_state_dict(state).visual
    tokens = visual.taps(torch.from_numpy(z["image"]), attention_blocks=0).tokens[0]
    yield "gem", "patch embeddings", difference(output_embeddings(visual, tokens), z["features_original_path"][1:])


def prompt_rows(z: dict) -> Iterator[Row]:
    """Visual prompts, in grey levels."""
    for prompts in PROMPTS:
        prompter = VisualPrompter(z["image"], prompts.split("_"))
        drawn = np.stack([prompter.render(mask.astype(bool)) for mask in z["masks"]])
        yield "visual_prompts", prompts.replace("_", "+"), difference(drawn, z[f"out_{prompts}"])
    thick = VisualPrompter(z["image"], ["circle"], thickness=3)
    drawn = np.stack([thick.render(mask.astype(bool)) for mask in z["masks"]])
    yield "visual_prompts", "circle, 3 pixels thick", difference(drawn, z["out_circle_thickness3"])


def crf_rows(z: dict) -> Iterator[Row]:
    """Q of the dense CRF."""
    classic = {"sxy_gaussian": 3, "compat_gaussian": 3, "sxy_bilateral": 80, "srgb": 13, "compat_bilateral": 10}
    for name, params in (("car", {}), ("classic", classic)):
        crf = DenseCRF(z["image"], **params)
        for iterations in (1, 5, 10):
            q = crf.infer(z["prob"], iterations)
            yield "densecrf", f"Q {name}, {iterations} iterations", difference(q, z[f"Q_{name}_{iterations}"])
    two = np.stack([1 - z["two_heat"], z["two_heat"]])
    for name, image in (("wrapped", z["two_image_wrapped_bgr"]), ("rgb", z["image"])):
        q = DenseCRF(image).infer(two, 10)
        yield "densecrf", f"Q two labels, {name}", difference(q, z[f"two_Q_{name}"])


@torch.inference_mode()
def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "golden")
    if not folder.is_dir():
        sys.exit(f"The reference arrays are not in {folder}; they are not part of the repository.")
    z = {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}
    vit, resnet = (load_clip(folder / f"tiny_{kind}.pt") for kind in ("vit", "rn"))
    rows = [*clip_rows(z["car"], z["global_local"], vit, resnet), *proposal_rows(z["clip_es_cam"], vit)]
    rows += [*dense_rows(z["gem"], folder), *prompt_rows(z["visual_prompts"]), *crf_rows(z["densecrf"])]
    for file, what, deviation in rows:
        print(f"{file:16} {what:32} {deviation:.1e}")


if __name__ == "__main__":
    main()
