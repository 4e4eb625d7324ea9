"""CaR's parts beside the published code: encoders, gradCAM and affinity, visual prompts, CRF, scores, merging."""

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F
from parity_rows import Arrays, Row

from car.classify.scores import score_matrix
from car.classify.visual_prompts import VisualPrompter
from car.propose.affinity import Affinity, box_mask, boxes
from car.propose.gradcam import GradCAM
from car.propose.proposals import Proposals, min_max
from car.referring.recurrent import merge_expressions
from car.refine.crf import DenseCRF
from car.refine.iom import iom
from car.vlm.model import CLIP

PROMPTS = ("circle", "rectangle", "contour", "blur", "gray", "black", "circle_blur", "circle_gray_blur")
PROMPTS += ("blur_gray", "contour_blur")


def classifier_rows(z: Arrays, vit: CLIP) -> Iterator[Row]:
    """The mask classifier, and what is made of its scores and of masks."""
    images = z.tensor("images")
    yield z.far("ViT, image features", vit.encode_image(images), "features_full")
    skipped = vit.encode_image(images, skip_last=True)
    yield z.far("ViT, last block left out", skipped, "features_without_last_block")
    texts = F.normalize(vit.encode_text(z.tensor("text_tokens")), dim=-1).unflatten(0, (2, 3))
    logits = vit.logit_scale.exp() * F.normalize(skipped, dim=-1) @ texts.mT
    for t in range(2):
        yield z.far(
            f"scores, template {t + 1}", score_matrix(logits[t : t + 1], fusion="sum-softmax"), f"prob_template{t}"
        )
    both = score_matrix(logits, fusion="sum-softmax")
    yield z.far("scores, two templates", both, "prob_two_templates")
    yield z.far("scores, two templates, diagonal", both.diagonal(), "diag_two_templates")
    yield z.far("IoM with mask proposals", iom(z["sam_pred"] > 0.5, z["sam_masks"] > 0.5, 0.05), "sam_iom_min005")
    for name, what in (("merge", "masks of one object, merged"), ("merge_tiny", "the same, a tiny object")):
        merged = merge_expressions(z[f"{name}_masks"], z["merge_scores"], z[f"{name}_out"].shape)
        yield z.same(what, merged.astype(np.uint8), f"{name}_out")


def proposal_rows(z: Arrays, vit: CLIP) -> Iterator[Row]:
    """gradCAM and attention affinity."""
    taps = vit.visual.taps(z.tensor("image"))
    yield z.far("tokens before the last block", taps.tokens[0], "tokens_before_last_block")
    yield z.far("attention, mean of 8 blocks", taps.attention[0], "attn_mean_last8")
    texts = [F.normalize(vit.encode_text(z.tensor(f"{kind}_tokens")), dim=-1) for kind in ("fg", "bg")]
    yield z.far("text features", texts[0], "fg_text_features")
    cam = GradCAM(vit.visual, taps.tokens[0], *texts, logit_scale=vit.logit_scale.exp().item(), grid=taps.grid)
    yield z.far("channel weights", cam.weights([0, 1, 2]), "channel_weights")
    # CLIP-ES normalises twice, with an epsilon that shows.
    maps = min_max(cam.maps([0, 1, 2], eps=1e-7), 1e-7)
    yield z.far("CAM", maps, "cam")
    affinity = Affinity(taps.attention[0])
    for lam, key in ((0.4, "t04"), (0.7, "t07")):
        refined = affinity.refine(maps, lam)
        yield z.far(f"refined, lambda {lam}", refined, f"refined_{key}")
        full = Proposals(min_max(refined, 1e-7), tuple(z["ori_hw"].tolist())).full()
        yield z.far(f"refined at image size, lambda {lam}", full, f"refined_highres_{key}")
        yield box_row(z, lam, key)


def box_row(z: Arrays, lam: float, key: str) -> Row:
    """Sets of boxes that are not those of the reference, and masks of boxes at the image's edges."""
    each = zip(z["cam"], z[f"boxes_{key}"], z[f"boxes_{key}_count"], strict=True)
    edges = zip(z["edge_scoremaps"], z[f"edge_boxmask_{key}"], strict=True)
    wrong = [not np.array_equal(boxes(cam, lam), expected[:count]) for cam, expected, count in each]
    wrong += [not np.array_equal(box_mask(score, lam), mask) for score, mask in edges]
    return Row(z.file, f"sets of boxes, lambda {lam}", unequal=sum(wrong), of=len(wrong))


def prompt_rows(z: Arrays) -> Iterator[Row]:
    """Visual prompts, byte by byte."""
    for prompts in PROMPTS:
        yield z.same(
            prompts.replace("_", "+"), drawn(z, VisualPrompter(z["image"], prompts.split("_"))), f"out_{prompts}"
        )
    thick = VisualPrompter(z["image"], ["circle"], thickness=3)
    yield z.same("circle, 3 pixels thick", drawn(z, thick), "out_circle_thickness3")


def drawn(z: Arrays, prompter: VisualPrompter) -> np.ndarray:
    return np.stack([prompter.render(mask.astype(bool)) for mask in z["masks"]])


def crf_rows(z: Arrays) -> Iterator[Row]:
    """Q of the dense CRF."""
    classic = {"sxy_gaussian": 3, "compat_gaussian": 3, "sxy_bilateral": 80, "srgb": 13, "compat_bilateral": 10}
    for name, params in (("car", {}), ("classic", classic)):
        crf = DenseCRF(z["image"], **params)
        for steps in (1, 5, 10):
            yield z.far(f"Q {name}, iterations: {steps}", crf.infer(z["prob"], steps), f"Q_{name}_{steps}")
    two = np.stack([1 - z["two_heat"], z["two_heat"]])
    for name, image in (("wrapped", z["two_image_wrapped_bgr"]), ("rgb", z["image"])):
        yield z.far(f"Q two labels, {name}", DenseCRF(image).infer(two, 10), f"two_Q_{name}")
