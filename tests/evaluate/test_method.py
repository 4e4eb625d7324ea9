"""What a job's method is loaded with."""

from dataclasses import asdict
from importlib.util import find_spec

import pytest

from car.evaluate import ReferringJob
from car.evaluate.method import load
from car.referring.proposals import PHRASECUT_SAM, REFCOCO_SAM
from car.refine.sam import MINI_SETTINGS, SamSettings
from car.refine.sam_checkpoint import MINI_WEIGHTS

needs_sam = pytest.mark.skipif(find_spec("segment_anything") is None, reason="the extra [sam] is not installed")


@needs_sam
@pytest.mark.parametrize(
    ("benchmark", "proposals", "asked"),
    [
        ("refcoco", str(MINI_WEIGHTS), REFCOCO_SAM),
        ("phrasecut", str(MINI_WEIGHTS), PHRASECUT_SAM),
        ("refcoco", "mini", MINI_SETTINGS),
        ("phrasecut-unseen", "mini", MINI_SETTINGS),
    ],
)
def test_what_sam_is_asked_follows_the_benchmark_and_of_the_small_one_itself(
    benchmark: str, proposals: str, asked: SamSettings
) -> None:
    job = ReferringJob(benchmark=benchmark, data_root="x", method="global-local", proposals=proposals, device="cpu")
    identity = load(job).proposals.identity
    assert {key: value for key, value in identity.items() if key not in ("sam", "device")} == asdict(asked)
