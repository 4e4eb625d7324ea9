"""Reference arrays made by the published code; they live beside a development checkout, not in it."""

from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"


def golden_path(name: str) -> Path:
    """Path of a reference file; skips the calling test where the reference folder is absent."""
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"the reference file {name} is not on this machine (it is not part of the repository)")
    return path


def golden(name: str) -> dict[str, np.ndarray]:
    """All arrays of one reference file."""
    with np.load(golden_path(f"{name}.npz")) as arrays:
        return {key: arrays[key] for key in arrays.files}
