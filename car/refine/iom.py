"""Sharper masks by intersection over minimum (IoM): mask proposals that agree with a prediction replace it (CaR)."""

import numpy as np

from car.errors import InputError

_BLOCK = 2**22
"""Elements of one factor of a product: 16 MB of float32, and sums of 0 and 1 far below 2 ** 24, hence exact."""


def iom(pred: np.ndarray, masks: np.ndarray, min_pred_threshold: float) -> np.ndarray:
    """Intersection over minimum of one prediction with each mask proposal; see `iom_matrix`.

    Args:
        pred: (H, W) bool.
        masks: (M, H, W) bool.

    Returns:
        (M,) float64 in [0, 1].
    """
    return iom_matrix(pred[None], masks, min_pred_threshold)[0]


def iom_matrix(preds: np.ndarray, masks: np.ndarray, min_pred_threshold: float) -> np.ndarray:
    """max(I / |mask|, I / |prediction|) of every prediction with every mask proposal, I the intersection.

    I / |mask| counts as 0 where I / |prediction| is below `min_pred_threshold`: a small part of a prediction must not
    bring in everything that lies inside it. Over an empty mask or prediction the ratio is 0.

    Args:
        preds: (N, H, W) bool.
        masks: (M, H, W) bool.
        min_pred_threshold: in [0, 1].

    Returns:
        (N, M) float64 in [0, 1].

    Raises:
        InputError: shapes or dtypes do not match.
    """
    for name, array in (("preds", preds), ("masks", masks)):
        if array.dtype != np.bool_ or array.ndim != 3 or array.shape[1:] != preds.shape[1:]:
            raise InputError(
                f"Expected `{name}` of bool, (n, {', '.join(map(str, preds.shape[1:]))}), "
                f"but got {array.dtype}, {array.shape}."
            )
    shared = _intersections(preds, masks)
    of_pred = _ratio(shared, preds.sum(axis=(1, 2))[:, None])
    of_mask = _ratio(shared, masks.sum(axis=(1, 2))[None])
    return np.maximum(np.where(of_pred < min_pred_threshold, 0, of_mask), of_pred)


def merge(
    pred: np.ndarray,
    masks: np.ndarray,
    *,
    phi_iom: float = 0.7,
    phi_iou: float = 0.7,
    min_pred_threshold: float = 0.05,
) -> np.ndarray:
    """Replace predictions by the union of the mask proposals that match them, where the two agree.

    Mask proposals whose IoM with the prediction is above `phi_iom` are united (where there is none, the best single one
    is taken, as in the released code); the union replaces the prediction iff their IoU is above `phi_iou`.

    Args:
        pred: one prediction (H, W) bool, or several (N, H, W) which are matched in one product.
        masks: (M, H, W) bool, M may be 0.
        phi_iom, phi_iou, min_pred_threshold: in [0, 1].

    Returns:
        The prediction(s), of the shape given; a new array. An empty prediction stays empty.

    Raises:
        InputError: shapes or dtypes do not match, or a threshold is outside [0, 1].
    """
    thresholds = {"phi_iom": phi_iom, "phi_iou": phi_iou, "min_pred_threshold": min_pred_threshold}
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise InputError(f"Expected argument `{name}` to be in [0, 1], but got {value}.")
    if pred.ndim == 2:
        return merge(pred[None], masks, **thresholds)[0]
    merged = pred.copy()
    if not len(masks):
        return merged
    for i, row in enumerate(iom_matrix(pred, masks, min_pred_threshold)):
        if row.max() == 0:
            continue
        matching = row > phi_iom
        united = masks[matching].any(axis=0) if matching.any() else masks[row.argmax()]
        if np.count_nonzero(united & pred[i]) / np.count_nonzero(united | pred[i]) > phi_iou:
            merged[i] = united
    return merged


def _intersections(preds: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pixels shared, (N, M) float64, by products over blocks of pixels."""
    flat_preds, flat_masks = (array.reshape(len(array), np.prod(preds.shape[1:])) for array in (preds, masks))
    shared = np.zeros((len(preds), len(masks)))
    step = max(1, _BLOCK // max(1, len(preds), len(masks)))
    for start in range(0, flat_preds.shape[1], step):
        pixels = slice(start, start + step)
        shared += flat_preds[:, pixels].astype(np.float32) @ flat_masks[:, pixels].astype(np.float32).T
    return shared


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
