"""Metrics beside their evaluators: DAVIS, Global-Local CLIP's, ReLA's for gRefCOCO, and CLIP-ES's mIoU."""

from collections.abc import Iterator

import numpy as np
from parity_rows import Arrays, Row, far

from car.metrics.referring import THRESHOLDS, generalized_scores, overlap, referring_scores
from car.metrics.region import boundary_accuracy, boundary_map, boundary_reach, region_similarity
from car.metrics.semantic import confusion, semantic_scores
from car.metrics.video import score_sequence, statistics

CLASSES = 21


def metric_rows(z: Arrays) -> Iterator[Row]:
    """All metrics."""
    yield from referring_rows(z)
    yield from generalized_rows(z)
    yield from video_rows(z)
    yield from semantic_rows(z)


def masks(z: Arrays, *names: str) -> list[tuple[np.ndarray, ...]]:
    """Masks of several arrays, pair by pair."""
    return list(zip(*(z[name].astype(bool) for name in names), strict=True))


def referring_rows(z: Arrays) -> Iterator[Row]:
    samples = [overlap(*pair) for pair in masks(z, "ref_pred", "ref_gt")]
    scores = referring_scores(samples)
    yield z.far("referring, IoU", [each.iou() for each in samples], "ref_iou")
    yield z.same("referring, intersections", sum(each.intersection for each in samples), "ref_cumI")
    yield z.same("referring, unions", sum(each.union for each in samples), "ref_cumU")
    yield z.far("referring, oIoU", scores.oiou, "ref_oIoU")
    yield z.far("referring, mIoU", scores.miou, "ref_mIoU")
    yield z.far("referring, thresholds", THRESHOLDS, "ref_thresholds")
    yield z.far("referring, P@X, IoU >= X", list(scores.precision.values()), "ref_precision_ge")
    yield z.far("referring, P@X, IoU > X", list(scores.strict_precision.values()), "ref_precision_gt")


def generalized_rows(z: Arrays) -> Iterator[Row]:
    flags = zip(z["gref_gt_no_target"], z["gref_pred_no_target"], strict=True)
    scores = generalized_scores(
        overlap(predicted, truth, no_target=no_target, flagged=flagged)
        for (predicted, truth), (no_target, flagged) in zip(masks(z, "gref_pred", "gref_gt"), flags, strict=True)
    )
    # The evaluator prints these in per cent, and the accuracies as shares.
    yield far(z.file, "gRefCOCO, gIoU", scores.giou, z["gref_gIoU"] / 100)
    yield far(z.file, "gRefCOCO, cIoU", scores.ciou, z["gref_cIoU"] / 100)
    yield far(z.file, "gRefCOCO, Pr@X", list(scores.precision.values()), z["gref_Pr_789"] / 100)
    yield z.far("gRefCOCO, N-acc", scores.n_acc, "gref_N_acc")
    yield z.far("gRefCOCO, T-acc", scores.t_acc, "gref_T_acc")


def video_rows(z: Arrays) -> Iterator[Row]:
    pairs = masks(z, "davis_pred", "davis_gt")
    yield z.far("video, J", [region_similarity(*pair) for pair in pairs], "davis_J")
    yield z.far("video, F", [boundary_accuracy(*pair) for pair in pairs], "davis_F")
    (scores,) = score_sequence(zip(z["davis_pred"], z["davis_gt"], strict=True), "fixed-ids", objects=1)
    yield z.far("video, J of a sequence", scores.region, "davis_J")
    yield z.far("video, F of a sequence", scores.boundary, "davis_F")
    outlines = np.stack([boundary_map(truth) for _, truth in pairs]).astype(np.uint8)
    yield z.same("video, boundaries, pixels", outlines, "davis_gt_boundary")
    yield z.far("video, reach", boundary_reach(*z["davis_gt"].shape[1:]), "davis_bound_pix")
    height, width = z["davis_big_hw"].tolist()
    big = [
        np.unpackbits(z[f"davis_big_{name}"])[: height * width].reshape(height, width) > 0 for name in ("pred", "gt")
    ]
    yield z.far("video, J at 480 x 854", region_similarity(*big), "davis_big_J")
    yield z.far("video, F at 480 x 854", boundary_accuracy(*big), "davis_big_F")
    yield z.far("video, reach at 480 x 854", boundary_reach(height, width), "davis_big_bound_pix")
    yield z.far("video, mean, recall, decay", statistics(z["davis_stat_values"]), "davis_stat_MRD")


def semantic_rows(z: Arrays) -> Iterator[Row]:
    pairs = zip(z["sem_pred"], z["sem_gt"], strict=True)
    scores = semantic_scores(sum(confusion(predicted, truth, CLASSES) for predicted, truth in pairs))
    yield z.far("semantic, IoU of classes", scores.class_iou, "sem_class_iou")
    yield z.far("semantic, mIoU", scores.miou, "sem_mIoU")
    yield z.far("semantic, pixel accuracy", scores.pixel_accuracy, "sem_pixel_acc")
    yield z.far("semantic, mean accuracy", scores.mean_accuracy, "sem_mean_acc")
    yield z.far("semantic, frequency-weighted IoU", scores.frequency_weighted_iou, "sem_fw_iou")
