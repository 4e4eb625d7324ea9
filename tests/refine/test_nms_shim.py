import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from car.refine.nms_shim import import_torchvision, nms

needs_torchvision = pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")


def plain_nms(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """Box by box, best first: keep it unless a kept one overlaps it too much."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(not overlap(boxes[i], boxes[j]) > threshold for j in kept):
            kept.append(i)
    return kept


def overlap(a: list[float], b: list[float]) -> float:
    width, height = (max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else float("nan")


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_nms_is_greedy_suppression(seed, count, threshold, ties):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 20, (count, 2))], axis=1).astype(np.float64)
    scores = rng.integers(0, 4, count) / 4 if ties else rng.random(count)
    found = nms(torch.tensor(boxes), torch.tensor(scores), threshold)
    assert found.dtype == torch.int64
    assert found.tolist() == plain_nms(boxes.tolist(), scores.tolist(), threshold)


@needs_torchvision
def test_torchvision_imports_and_suppresses():
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.95])
    assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [3, 2]
    categories = torch.tensor([0, 0, 0, 1])
    assert torchvision.ops.batched_nms(boxes, scores, categories, 0.5).tolist() == [3, 1, 2]
    many = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0))
    many[:, 2:] += many[:, :2]
    ranks = torch.linspace(1, 0, 2000)
    assert torch.equal(torchvision.ops.batched_nms(many, ranks, torch.zeros(2000), 0.5), nms(many, ranks, 0.5))


@needs_torchvision
def test_the_repair_runs_only_where_it_is_needed_and_says_so():
    code = (
        "import logging; logging.basicConfig(format='%(name)s %(message)s')\n"
        "try:\n    import torchvision\n    works = True\nexcept RuntimeError:\n    works = False\n"
        "import car.refine.nms_shim as shim\n"
        "shim.import_torchvision()\n"
        "assert works == (shim._library is None)\n"
        "print('works' if works else 'repaired')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("car.refine.nms_shim torchvision" in run.stderr) == (run.stdout.strip() == "repaired")
