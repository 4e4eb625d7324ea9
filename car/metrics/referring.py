"""Scores of referring segmentation: an `Overlap` per expression, and what any number of them come to.

The masks are given: which pixels a referred object has (one instance or all of them, what becomes of pixels that two of
its polygons cover), and which expressions are told to have no target, is for those to choose who read and predict.
All scores are in [0, 1], and NaN where there is nothing they could be of.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, nan

import numpy as np

from car.errors import InputError

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""X of P@X in the RefCOCO family."""
GENERALIZED_THRESHOLDS = (0.7, 0.8, 0.9)
"""X of Pr@X in gRefCOCO."""
CORRECT = 0.5
"""The IoU above which an expression counts as right in `grouped_scores`."""
EMPTY_UNIONS: Mapping[str, float] = {"zero": 0.0, "one": 1.0}
"""The IoU of an empty prediction with an empty truth: "zero" in the code of Global-Local CLIP, HybridGL, TAS, CaR and
ReLA; "one" where to find nothing in nothing is right, as DAVIS has it."""


@dataclass(frozen=True)
class Overlap:
    """What is kept of one expression: plain numbers, so that `dataclasses.asdict` is its JSON and `Overlap(**values)`
    reads it back.

    intersection, union: pixels of the predicted and the true mask.
    no_target: the truth is that the expression refers to nothing.
    flagged: the prediction is that it refers to nothing, whatever mask came with it.

    Raises:
        InputError: not 0 <= intersection <= union, or an intersection without a target.
    """

    intersection: int
    union: int
    no_target: bool = False
    flagged: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.intersection <= self.union:
            raise InputError(f"Expected 0 <= intersection <= union, but got {self.intersection} and {self.union}.")
        if self.no_target and self.intersection:
            raise InputError(f"Expected no intersection without a target, but got {self.intersection} pixels.")

    def iou(self, empty_union: str = "zero") -> float:
        """Intersection over union of the masks, the flags aside; `empty_union` as in `EMPTY_UNIONS`.

        Raises:
            InputError: no such rule.

        >>> Overlap(3, 4).iou(), Overlap(0, 0).iou(), Overlap(0, 0).iou("one")
        (0.75, 0.0, 1.0)
        """
        if empty_union not in EMPTY_UNIONS:
            raise InputError(f"No rule {empty_union!r} for empty unions. Available: {', '.join(EMPTY_UNIONS)}.")
        return self.intersection / self.union if self.union else EMPTY_UNIONS[empty_union]


def overlap(predicted: np.ndarray, truth: np.ndarray, *, no_target: bool = False, flagged: bool = False) -> Overlap:
    """Count the pixels of one expression.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) bool; without a pixel where there is no target.
        no_target, flagged: as in `Overlap`.

    Raises:
        InputError: shapes or dtypes do not fit, or there are true pixels without a target.

    >>> overlap(np.array([[True, True, False]]), np.array([[False, True, True]]))
    Overlap(intersection=1, union=3, no_target=False, flagged=False)
    """
    for name, mask in (("predicted", predicted), ("truth", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2 or mask.shape != truth.shape:
            raise InputError(
                f"Expected `{name}` of bool, (H, W) of one size, but got {mask.dtype}, {mask.shape} "
                f"for a truth of {truth.shape}."
            )
    if no_target and truth.any():
        raise InputError("Expected `truth` to be empty where there is no target, but it has pixels.")
    intersection, union = np.count_nonzero(predicted & truth), np.count_nonzero(predicted | truth)
    return Overlap(int(intersection), int(union), bool(no_target), bool(flagged))


def precision_at(ious: Sequence[float] | np.ndarray, threshold: float, *, strict: bool = False) -> float:
    """P@X, the share of IoU that reach a threshold: IoU >= X as in CaR and ReLA, or IoU > X if `strict`, as in TAS and
    in PhraseCut's evaluator. The two differ where an IoU is exactly X.

    >>> precision_at([0.5, 0.8], 0.5), precision_at([0.5, 0.8], 0.5, strict=True)
    (1.0, 0.5)
    """
    values = np.asarray(ious, np.float64)
    reached = values > threshold if strict else values >= threshold
    return _ratio(int(reached.sum()), values.size)


@dataclass(frozen=True)
class ReferringScores:
    """Scores of the RefCOCO family and PhraseCut.

    Attributes:
        expressions: how many were counted.
        oiou: overall IoU, all intersections over all unions; large objects weigh more. Also called cumulative IoU.
        miou: mean IoU of the expressions.
        precision: P@X by X, the share with IoU >= X.
        strict_precision: the same with IoU > X.
    """

    expressions: int
    oiou: float
    miou: float
    precision: Mapping[float, float]
    strict_precision: Mapping[float, float]


def referring_scores(overlaps: Iterable[Overlap], *, empty_union: str = "zero") -> ReferringScores:
    """Score any number of expressions; the same to the last bit in any order.

    Flags do not count: an expression is what its masks are, and one without a target has IoU 0, or by "one" that of two
    empty masks. In memory it holds 8 bytes per expression.

    Args:
        overlaps: gone through once.
        empty_union: see `EMPTY_UNIONS`.

    Raises:
        InputError: no such rule.

    >>> scores = referring_scores([Overlap(1, 2), Overlap(90, 100)])
    >>> scores.miou, round(scores.oiou, 4), scores.strict_precision[0.5]
    (0.7, 0.8922, 0.5)
    """
    ious = array("d")
    intersection = union = 0
    for each in overlaps:
        ious.append(each.iou(empty_union))
        intersection += each.intersection
        union += each.union
    return ReferringScores(
        expressions=len(ious),
        oiou=_ratio(intersection, union),
        miou=_ratio(fsum(ious), len(ious)),
        precision={x: precision_at(ious, x) for x in THRESHOLDS},
        strict_precision={x: precision_at(ious, x, strict=True) for x in THRESHOLDS},
    )


@dataclass(frozen=True)
class GeneralizedScores:
    """Scores of gRefCOCO, where an expression may refer to several objects or to none; as fractions throughout.

    ReLA's evaluator prints gIoU, cIoU and Pr@X in per cent, N-acc and T-acc as fractions, and 0 for both of these where
    no expression is without a target.

    Attributes:
        expressions: how many were counted.
        no_targets: how many of them have no target.
        giou: mean IoU over all of them; without a target it is 1 if flagged and 0 if not.
        ciou: all intersections over all unions.
        n_acc: share of those without a target that were flagged.
        t_acc: share of those with a target that were not.
        precision: Pr@X by X, the share of those with a target that have IoU >= X.
    """

    expressions: int
    no_targets: int
    giou: float
    ciou: float
    n_acc: float
    t_acc: float
    precision: Mapping[float, float]


def generalized_scores(overlaps: Iterable[Overlap]) -> GeneralizedScores:
    """Score any number of expressions by ReLA's rules; the same to the last bit in any order.

    Without a target, a flagged expression has IoU 1 and adds no pixels, whatever its mask; one that is not flagged has
    IoU 0 and adds its predicted pixels to the unions. With a target, a flagged one has no intersection, and its union
    stays. In memory it holds 8 bytes per expression.

    Args:
        overlaps: gone through once.

    >>> scores = generalized_scores([Overlap(3, 4), Overlap(0, 9, no_target=True, flagged=True)])
    >>> scores.giou, scores.ciou, scores.n_acc, scores.t_acc, scores.precision[0.7]
    (0.875, 0.75, 1.0, 1.0, 1.0)
    """
    targeted = array("d")
    intersection = union = no_targets = rightly_flagged = wrongly_flagged = 0
    for each in overlaps:
        if each.no_target:
            no_targets += 1
            rightly_flagged += each.flagged
            union += 0 if each.flagged else each.union
            continue
        wrongly_flagged += each.flagged
        targeted.append(0.0 if each.flagged else each.iou())
        intersection += 0 if each.flagged else each.intersection
        union += each.union
    expressions = no_targets + len(targeted)
    return GeneralizedScores(
        expressions=expressions,
        no_targets=no_targets,
        giou=_ratio(fsum(targeted) + rightly_flagged, expressions),
        ciou=_ratio(intersection, union),
        n_acc=_ratio(rightly_flagged, no_targets),
        t_acc=_ratio(len(targeted) - wrongly_flagged, len(targeted)),
        precision={x: precision_at(targeted, x) for x in GENERALIZED_THRESHOLDS},
    )


@dataclass(frozen=True)
class GroupedScores:
    """How often all expressions of an instance, or of an image, are right.

    Attributes:
        instances, images: how many were counted.
        inst_acc: InstAcc, the share of instances all of whose expressions have IoU > `CORRECT`.
        img_acc: ImgAcc, the share of images all of whose expressions, of all their instances, have IoU > `CORRECT`.
    """

    instances: int
    images: int
    inst_acc: float
    img_acc: float


def grouped_scores(images: Iterable[Iterable[Sequence[Overlap]]], *, empty_union: str = "zero") -> GroupedScores:
    """Score instances and images by their worst expression: InstAcc and ImgAcc, which Prompt-RIS (CVPR 2024) reports.

    This is our reading of the paper, of which there is no code: an instance is a target with its expressions, an image
    is all its targets, and 0.5 has to be exceeded, for the paper counts an "IoU higher than" X. Only what is counted
    whole belongs here: an instance with all its expressions, an image with all its instances. With one expression per
    instance, InstAcc is the strict P@0.5.

    Args:
        images: of each image the instances, of each instance the overlaps of its expressions; gone through once.
        empty_union: see `EMPTY_UNIONS`.

    Raises:
        InputError: an image without an instance, or an instance without an expression; or no such rule.

    >>> right, exactly = Overlap(3, 4), Overlap(1, 2)
    >>> grouped_scores([[[right, right], [right, exactly]], [[right]]])
    GroupedScores(instances=3, images=2, inst_acc=0.6666666666666666, img_acc=0.5)
    """
    instances = right_instances = counted = right_images = 0
    for image in images:
        rights = [_all_right(instance, empty_union) for instance in image]
        if not rights:
            raise InputError("Expected every image to have at least one instance.")
        instances += len(rights)
        right_instances += sum(rights)
        counted += 1
        right_images += all(rights)
    return GroupedScores(instances, counted, _ratio(right_instances, instances), _ratio(right_images, counted))


def _all_right(overlaps: Sequence[Overlap], empty_union: str) -> bool:
    if not overlaps:
        raise InputError("Expected every instance to have at least one expression.")
    return all(each.iou(empty_union) > CORRECT for each in overlaps)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else nan
