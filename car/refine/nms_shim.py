"""Make torchvision usable beside a torch it was not built for.

torchvision's wheels on PyPI are CUDA builds. Beside a CPU build of torch their library of operators does not load, and
``import torchvision`` stops at "operator torchvision::nms does not exist". Non-maximum suppression is the one operator
that `segment_anything` needs, and importing needs no more than that its operators are declared.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from car.errors import MissingError

log = logging.getLogger(__name__)

_OPERATORS = ("nms", "qnms")  # those whose absence stops the import; qnms (quantised boxes) is declared alone
_BLOCK = 256
_library: torch.library.Library | None = None  # declarations last as long as this object


def import_torchvision() -> ModuleType:
    """Import torchvision; where its operators cannot be loaded, with a non-maximum suppression in plain torch.

    Raises:
        MissingError: torchvision is not installed, or cannot be imported for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError:
        raise MissingError("torchvision is not installed; run: pip install 'car-segmentation[sam]'") from None
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise MissingError(f"torchvision cannot be imported here: {' '.join(str(error).split())}") from error
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the stopped import left
    _declare()
    module = importlib.import_module("torchvision")
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = _assert_has_ops
    log.warning(
        "torchvision %s was built for another torch than %s: its nms now runs in plain torch, its other operators are "
        "not available. A torchvision from the index that torch came from needs no such stand-in.",
        module.__version__,
        torch.__version__,
    )
    return module


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, as `torchvision.ops.nms`.

    Args:
        boxes: (N, 4) float, XYXY, exclusive end.
        scores: (N,) float.
        iou_threshold: a box goes when its IoU with a kept box of higher score is above this.

    Returns:
        Indices of the boxes kept, (K,) int64, in descending order of score (equal scores: in the order given).
    """
    order = scores.argsort(descending=True, stable=True).cpu()
    left = boxes.detach().cpu()[order]
    kept = order[:0]
    for block in torch.arange(len(order)).split(_BLOCK):
        block = block[~(iou_matrix(left[block], left[kept]) > iou_threshold).any(dim=1)]
        over = iou_matrix(left[block], left[block]) > iou_threshold
        stays = torch.ones(len(block), dtype=torch.bool)
        for i in range(len(block)):
            if stays[i]:
                stays[i + 1 :] &= ~over[i, i + 1 :]
        kept = torch.cat([kept, block[stays]])
    return order[kept].to(boxes.device)


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (A, 4) with boxes (B, 4), XYXY: (A, B) float64; NaN where both are empty."""
    size_a, size_b = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (a, b))
    width, height = (
        (torch.minimum(a[:, None, i + 2], b[:, i + 2]) - torch.maximum(a[:, None, i], b[:, i])).clamp(min=0)
        for i in (0, 1)
    )
    shared = width * height
    # Divided in the boxes' own precision and compared in double, as torchvision's kernel does.
    return (shared / (size_a[:, None] + size_b - shared)).double()


def _declare() -> None:
    """Declare the operators, once per process."""
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.impl("nms", nms, "CompositeExplicitAutograd")


def _assert_has_ops() -> None:
    """What torchvision calls before an operator to stop unless its library was loaded."""
