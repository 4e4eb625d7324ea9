"""Semantic segmentation scores over one dataset-wide confusion matrix, never a mean of per-image means."""

from dataclasses import dataclass

import numpy as np

from car.errors import InputError


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int, *, ignore: int = 255) -> np.ndarray:
    """Count the pixels of one image by true and predicted class; the sum over images is the dataset's matrix.

    Args:
        predicted: (H, W) of any integer dtype, labels in [0, classes), also where the truth is ignored.
        truth: (H, W) of any integer dtype, labels in [0, classes) or `ignore`.
        classes: K, at least 1.
        ignore: the label of pixels that are not counted, outside [0, classes).

    Returns:
        (K, K) int64, rows truth, columns predicted.

    Raises:
        InputError: shapes or dtypes do not fit, a label is outside its range, or `ignore` is the label of a class.

    >>> confusion(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), 2).tolist()
    [[1, 1], [0, 0]]
    """
    if classes < 1:
        raise InputError(f"Expected argument `classes` to be at least 1, but got {classes}.")
    if 0 <= ignore < classes:
        raise InputError(f"Expected argument `ignore` to be outside [0, {classes}), but got {ignore}.")
    if predicted.shape != truth.shape:
        raise InputError(f"Expected `predicted` of the shape of `truth`, {truth.shape}, but got {predicted.shape}.")
    for name, labels in (("predicted", predicted), ("truth", truth)):
        if labels.dtype.kind not in "iu":
            raise InputError(f"Expected `{name}` of an integer dtype, but got {labels.dtype}.")
    counted = truth != ignore
    rows = truth[counted]
    _check_range("truth", rows, classes)
    _check_range("predicted", predicted, classes)
    cells = rows.astype(np.int64)
    cells *= classes
    cells += predicted[counted].astype(np.int64, copy=False)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class SemanticScores:
    """Scores in [0, 1]; a class occurs where it has true pixels, and every mean is over the classes that occur.

    Attributes:
        class_iou: (K,) float64; NaN where a class has neither truth nor prediction, 0 where it is only predicted.
        miou: mean IoU. A class that is only predicted does not enter it, as in the 21-class evaluation of CLIP-ES; its
            pixels still count against the classes they were taken from.
        pixel_accuracy: share of pixels with the right label.
        mean_accuracy: mean over classes of the share of true pixels found.
        frequency_weighted_iou: mean IoU weighted by true pixels.
    """

    class_iou: np.ndarray
    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float


def semantic_scores(confusion: np.ndarray) -> SemanticScores:
    """Score a dataset; where no pixel was counted, every score is NaN.

    Args:
        confusion: (K, K) of any integer dtype, the sum of the images' counts, rows truth, columns predicted.

    Raises:
        InputError: no such matrix, or a count is negative.

    >>> semantic_scores(np.array([[3, 1], [0, 4]])).class_iou.tolist()
    [0.75, 0.8]
    """
    if confusion.dtype.kind not in "iu" or confusion.ndim != 2 or len(set(confusion.shape)) != 1 or not confusion.size:
        raise InputError(f"Expected `confusion` (K, K) of integers, but got {confusion.shape} of {confusion.dtype}.")
    if confusion.min() < 0:
        raise InputError(f"Expected counts of at least 0 in `confusion`, but got {confusion.min()}.")
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = true > 0
    # 0 / 0 is meant: what has no pixels has no score.
    with np.errstate(invalid="ignore"):
        class_iou = hits / (true + predicted - hits)
        return SemanticScores(
            class_iou=class_iou,
            miou=float(class_iou[occurs].sum() / occurs.sum()),
            pixel_accuracy=float(hits.sum() / true.sum()),
            mean_accuracy=float((hits[occurs] / true[occurs]).sum() / occurs.sum()),
            frequency_weighted_iou=float((true[occurs] * class_iou[occurs]).sum() / true.sum()),
        )


def _check_range(name: str, labels: np.ndarray, classes: int) -> None:
    if not labels.size:
        return
    for label in (labels.min(), labels.max()):
        if not 0 <= label < classes:
            raise InputError(f"Expected the labels of `{name}` to be in [0, {classes}), but got {label}.")
