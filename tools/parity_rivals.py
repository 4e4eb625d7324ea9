"""The rivals beside the code their authors released: Global-Local CLIP, HybridGL, GEM and TAS."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from parity_rows import Arrays, Row, far, together

from car.prepared import Clock
from car.propose.dense import output_embeddings
from car.referring.captions import CaptionSource
from car.referring.fusion import BLUR, FUSIONS, class_row_mask, global_pictures, hybrid_features, local_pictures
from car.referring.hybrid import HybridSettings, scaled_cosines
from car.referring.mask_features import Encoder, local_images, make_encoder, mask_features, network_images
from car.referring.mask_filter import filtered
from car.referring.preprocess import blurred, on_background, soft_masks
from car.referring.proposals import MaskProposals
from car.referring.rectifier import part
from car.referring.spatial import (
    DIRECTIONS,
    GuidanceSettings,
    Guided,
    direction_mask,
    guide,
    likeliest,
    position_heat,
    relation_terms,
)
from car.referring.tas import BLUR as CAPTION_BLUR
from car.referring.tas import TAS, TASSettings, picture
from car.referring.texts import ensemble
from car.vlm.gem import DEPTH, gem_positions, gem_tokens, heat_maps
from car.vlm.gem import min_max as gem_min_max
from car.vlm.model import CLIP
from car.vlm.preprocess import classifier_views

MASKED_BLOCKS, SHARES = 3, (0.95, 0.85)
ENDINGS = {"": "", "_antialias": ", antialiased"}
GEM_SIDE = (144, 144)


def global_local_rows(z: Arrays, models: Mapping[str, CLIP]) -> Iterator[Row]:
    """Global-Local CLIP on both kinds of encoder."""
    proposals = MaskProposals(z["masks"] > 0)
    yield z.same("boxes (FreeSOLO)", proposals.freesolo_boxes, "boxes_xyxy")
    for name, title in (("vit", "ViT"), ("rn", "ResNet")):
        encoder = make_encoder(models[name], MASKED_BLOCKS)
        square, original = network_images(z["image"], encoder.side, torch.device("cpu"), antialias=False)
        yield z.far(f"{title}, whole picture", square, f"{name}_input")
        if name == "vit":
            yield z.far("normalised picture at image size", original[0], "orig_norm")
        crops = local_images(original, proposals, range(len(proposals)), encoder.side, antialias=False)
        yield z.far(f"{title}, pictures of masks", crops, f"{name}_crops")
        texts = encoder.texts(models[name].encode_text(z.tensor("text_tokens")))
        yield z.far(f"{title}, text features", texts, f"{name}_text_features")
        meant = ensemble(texts[0], texts[1], 0.5)
        yield z.far(f"{title}, mixed text feature", meant[None], f"{name}_text_ensemble")
        for ending in ENDINGS:
            yield from score_rows(z, encoder, proposals, meant, name, title, ending)
    yield z.far("ResNet, feature map", models["rn"].visual.features(z.tensor("rn_input")), "rn_feature_map")
    for blocks in (1, 2, 4, 6):
        encoder = make_encoder(models["vit"], blocks)
        whole = encoder.masked(encoder.start(z.tensor("vit_input")), z.tensor("vit_masks_small"))
        yield z.far(f"ViT, global features, masked blocks: {blocks}", whole, f"vit_mask_features_k{blocks}")


def score_rows(
    z: Arrays, encoder: Encoder, proposals: MaskProposals, meant: torch.Tensor, name: str, title: str, ending: str
) -> Iterator[Row]:
    """Masks, features and scores of one encoder and one way of resizing."""
    antialias, told = bool(ending), ENDINGS[ending]
    small = soft_masks(torch.from_numpy(proposals.masks), encoder.grid, antialias=antialias)
    yield z.far(f"{title}, masks on its grid{told}", small, f"{name}_masks_small{ending}")
    whole, alone = mask_features(encoder, z["image"], proposals, antialias=antialias, batch_size=64, clock=Clock())
    yield z.far(f"{title}, global features{told}", whole, f"{name}_mask_features{ending}")
    yield z.far(f"{title}, local features{told}", alone, f"{name}_crop_features{ending}")
    for alpha in SHARES:
        scores = encoder.scores(alpha * whole + (1 - alpha) * alone, meant)
        yield z.far(f"{title}, scores, alpha {alpha}{told}", scores, f"{name}_score_v{alpha * 100:.0f}{ending}")


def hybrid_rows(z: Arrays, vit: CLIP) -> Iterator[Row]:
    """HybridGL: pictures, features of every fusion, and scores."""
    image, masks = z["image"], z["masks"] > 0
    side, grid = vit.input_resolution, z["masks_small"].shape[1:]
    yield z.same("boxes (SAM)", MaskProposals(masks).sam_boxes, "boxes_xywh")
    yield z.far("local pictures", local_pictures(image, masks, side), "local_imgs")
    yield z.far("global pictures", global_pictures(image, masks, side, blurred(image, BLUR)), "global_imgs")
    for ending, told in ENDINGS.items():
        soft = soft_masks(torch.from_numpy(masks), grid, antialias=bool(ending))
        yield z.far(f"masks on the grid{told}", soft, f"masks_small{ending}")
    hidden = class_row_mask(z.tensor("masks_small").flatten(1))[:, 0].isinf()
    yield z.same("attention mask", hidden, "attn_mask_first_head")
    for fusion in FUSIONS:
        for ending, blocks in (("_block6", 6), ("", 3), ("_block11", 1)):
            features = hybrid_features(vit.visual, image, masks, fusion=fusion, fused_blocks=blocks)
            yield z.far(f"features, {fusion}, {blocks} fused", features, f"feat_{fusion}{ending}")
        features = hybrid_features(vit.visual, image, masks, fusion=fusion, antialias=True)
        yield z.far(f"features, {fusion}, 3 fused, antialiased", features, f"feat_{fusion}_antialias")
    texts = vit.encode_text(z.tensor("text_tokens"))
    yield z.far("text features", texts, "text_features")
    meant = ensemble(texts[0], texts[1], HybridSettings().r)
    yield z.far("mixed text feature", meant[None], "text_ensemble")
    features = hybrid_features(vit.visual, image, masks)
    yield z.far("scores", scaled_cosines(vit, features, meant), "score_clip")
    yield z.far("scores of the other noun", scaled_cosines(vit, features, texts[2]), "score_clip_neg")


def guidance_rows(z: Arrays) -> Iterator[Row]:
    """HybridGL's spatial guidance, as released."""
    size = z["dir_none"].shape
    for direction in (*DIRECTIONS, "none"):
        weights = direction_mask(direction, size, as_released=True)
        yield z.far(f"direction {direction}", weights, f"dir_{direction}")
    boxes = z.tensor("rel_boxes_xywh").float()
    p, q = (torch.full((len(boxes),), float(z[f"rel_score_{name}"])) for name in "ij")
    terms = [relation_terms(boxes, word, p, q, as_released=True).numpy() for word in z["rel_words"].tolist()]
    yield z.far(f"relations, {len(terms)} words, {len(boxes)} boxes", np.stack(terms), "rel_table")
    yield z.same("guidance, boxes", MaskProposals(z["sg_masks"] > 0).sam_boxes, "sg_boxes_xywh")
    cases = [guided(z, case) for case in range(len(z["sg_selected"]))]
    told = f"guidance, {len(cases)} cases"
    able = (z.same("", each.able, "sg_topk_idx") for each in cases)
    yield together(f"{told}, the masks that can win", able)
    yield z.same("guidance, the best of the other noun", likeliest(z.tensor("sg_logits_neg"), 6), "sg_topk_neg_idx")
    shares = np.stack([each.relation_share[each.able].numpy() for each in cases])
    yield z.far(f"{told}, relation's share", shares, "sg_rel_softmax")
    yield z.far(f"{told}, heat inside and outside", torch.stack([each.heat_score for each in cases]), "sg_score_gem")
    finals = np.stack([each.final[each.able].numpy() for each in cases])
    yield z.far(f"{told}, final score", finals, "sg_final_topk")
    yield z.same(f"{told}, the mask that is chosen", np.array([int(each.order[0]) for each in cases]), "sg_selected")


def guided(z: Arrays, case: int) -> Guided:
    """What the released guidance makes of one case of the reference."""
    direction, relation = str(z["sg_combo_dir"][case]), str(z["sg_combo_rel"][case])
    return guide(
        z.tensor("sg_logits"),
        z.tensor("sg_logits_neg") if z["sg_combo_has_other_nouns"][case] else None,
        z.tensor("sg_boxes_xywh").float(),
        torch.from_numpy(z["sg_masks"] > 0),
        position_heat(z.tensor("sg_heat"), direction, z["sg_masks"].shape[1:], as_released=True),
        relation,
        GuidanceSettings(as_released=True),
    )


def gem_rows(z: Arrays, vit: CLIP, on_own_positions: CLIP) -> Iterator[Row]:
    """GEM's two streams and heat maps.

    Args:
        on_own_positions: the same ViT with that code's resized position table, on which our dense proposer is compared.
    """
    image = z.tensor("image")
    tokens = gem_tokens(vit.visual, image)
    replaced = np.array(min(DEPTH - 1, len(vit.visual.blocks)))
    yield z.same("blocks with self-self attention", replaced, "n_replaced_blocks")
    positions = gem_positions(vit.visual.positional_embedding, tokens.grid)
    yield z.far("position table, resized", positions, "pos_embed_resampled")
    yield z.far("tokens, GEM stream", tokens.gem[0], "features_gem")
    yield z.far("tokens, ordinary stream", tokens.ordinary[0], "features_original_path")
    texts = vit.encode_text(z.tensor("text_tokens"))
    yield z.far("text features", F.normalize(texts, dim=-1), "text_features")
    raw = heat_maps(tokens.gem[0], tokens.grid, texts, GEM_SIDE)
    yield z.far("heat, cosine", raw, "heat_raw")
    yield z.far("heat", gem_min_max(raw), "heat")
    ordinary = heat_maps(tokens.ordinary[0], tokens.grid, texts, GEM_SIDE)
    yield z.far("heat of the ordinary stream", gem_min_max(ordinary), "heat_original_path")
    shallow = gem_tokens(vit.visual, image, depth=3)
    yield z.far(
        "heat, 2 blocks replaced", gem_min_max(heat_maps(shallow.gem[0], shallow.grid, texts, GEM_SIDE)), "heat_depth3"
    )
    # What HybridGL takes has mean 1; the reference ends one step earlier, at a maximum of 1.
    resized = position_heat(gem_min_max(raw)[0], None, z["heat_text0_resized_97x131_minmax"].shape, as_released=True)
    yield z.far("heat, resized for HybridGL", resized / resized.max(), "heat_text0_resized_97x131_minmax")
    visual = on_own_positions.visual
    dense = output_embeddings(visual, visual.taps(image, attention_blocks=0).tokens[0])
    yield far(z.file, "patch embeddings of the dense proposer", dense, z["features_original_path"][1:])


class Told:
    """A captioner with the captions of three masks."""

    name, identity = "told", None

    def whole(self, image: np.ndarray) -> str:
        return "others"

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        return ["one", "two", "three"]


class Apart:
    """A thesaurus for which no two words are the same."""

    name = "apart"

    def near(self, first: str, second: str) -> bool:
        return False


class Given:
    """Features of texts that the reference has as tokens alone, in place of `TextVectors`."""

    def __init__(self, features: Mapping[str, torch.Tensor]) -> None:
        self.features = features

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.stack([self.features[text] for text in texts])


def tas_rows(z: Arrays, vit: CLIP) -> Iterator[Row]:
    """TAS: which masks are kept, their pictures, scores, and quadrants."""
    masks = np.unpackbits(z["masks"], axis=-1, count=int(z["mask_hw"][1])).astype(bool)
    proposals = MaskProposals(masks)
    kept = filtered(proposals, min_area=TASSettings.min_area, max_overlap=TASSettings.max_overlap)
    yield z.same("areas", proposals.areas, "all_areas")
    yield z.same("boxes (SAM)", proposals.sam_boxes, "boxes_xywh")
    yield z.same("masks that are kept", kept.indices, "kept_indices")
    yield z.same("areas of these", proposals.areas[kept.indices], "kept_areas")
    rows, image = z["crop_source_mask_index"].tolist(), z["image"]
    black = [picture(image * masks[row][..., None], proposals, row) for row in rows]
    soft = blurred(image, CAPTION_BLUR)
    blurry = [picture(on_background(image, masks[row], soft), proposals, row) for row in rows]
    for what, pictures, name in (("on black", black, "crop"), ("on blur", blurry, "blurcrop")):
        yield together(f"pictures {what}, bytes", (z.same("", each, f"{name}_{i}") for i, each in enumerate(pictures)))
    # Pillow is given the square to resize, not the whole picture: a few values are one level of 255 off.
    views = classifier_views(black, vit.input_resolution, "crop")
    yield z.far("pictures as the encoder sees them", views, "crop_tensors")
    yield from tas_score_rows(z, vit, MaskProposals(masks[rows]))
    parted = part(z["quad_centres_rc"], z["quad_weights"])
    yield z.same("best mask of each quadrant", parted.best, "quad_best_index")
    yield z.same("its weight", parted.weights, "quad_best_weight")


def tas_score_rows(z: Arrays, vit: CLIP, proposals: MaskProposals) -> Iterator[Row]:
    """V, P, N and what is made of them, from the method as it is used."""
    others = [f"other {i}" for i in range(4)]
    method = TAS(
        vit,
        captions=CaptionSource(Told()),
        noun_phrases=lambda caption: others,
        thesaurus=Apart(),
        settings=TASSettings(),
    )
    names = ["sentence", "one", "two", "three", *(f"a photo of {other}" for other in others)]
    features = vit.encode_text(z.tensor("text_tokens"))
    method.sentences = method.phrases = Given(dict(zip(names, features, strict=True)))  # type: ignore[assignment]
    why = method.prepare(z["image"], proposals=proposals).refer("sentence").why
    titles = (("v", "V"), ("p", "P"), ("n", "N"), ("total", "raw"), ("weight", "similarity"))
    for name, array in titles:
        told = {"raw": "V + 0.1 P - 0.7 N", "similarity": "share of each mask"}.get(array, array)
        yield z.far(f"scores, {told}", np.array(why[name]), array)
    weights = np.array(why["weight"])
    yield z.far("scores, stretched to [0, 1]", np.log(weights / weights.min()), "minmax")
