"""Largest deviation from the reference arrays that the published code made, quantity by quantity.

python tools/parity.py [FOLDER]        # default: ../shared/golden beside the checkout

A row has the reference file, the quantity, the largest absolute deviation, and that as a share of the reference's
largest magnitude; where values have to be equal (boxes, choices, bytes), how many are not. At the end, the arrays that
no row needed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from parity_metrics import metric_rows
from parity_parts import classifier_rows, crf_rows, prompt_rows, proposal_rows
from parity_rivals import gem_rows, global_local_rows, guidance_rows, hybrid_rows, tas_rows
from parity_rows import Arrays, Row

from car.vlm.model import CLIP
from car.vlm.registry import load_clip

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"


def rows(folder: Path, z: dict[str, Arrays]) -> Iterator[Row]:
    """Every quantity, file by file."""
    vit, resnet = (load_clip(folder / f"tiny_{kind}.pt") for kind in ("vit", "rn"))
    yield from proposal_rows(z["clip_es_cam"], vit)
    yield from prompt_rows(z["visual_prompts"])
    yield from crf_rows(z["densecrf"])
    yield from classifier_rows(z["car"], vit)
    yield from global_local_rows(z["global_local"], {"vit": vit, "rn": resnet})
    yield from hybrid_rows(z["hybridgl"], vit)
    yield from guidance_rows(z["hybridgl"])
    yield from gem_rows(z["gem"], vit, with_positions(folder / "tiny_vit.pt", z["gem"].tensor("pos_embed_resampled")))
    yield from tas_rows(z["tas"], vit)
    yield from metric_rows(z["metrics"])


def with_positions(checkpoint: Path, table: torch.Tensor) -> CLIP:
    """A model with another position table."""
    state = torch.load(checkpoint, weights_only=True)
    state["visual.positional_embedding"] = table
    return CLIP.from_state_dict(state)


@torch.inference_mode()
def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    if not folder.is_dir():
        sys.exit(f"The reference arrays are not in {folder}; they are not part of the repository.")
    z = {path.stem: Arrays(path) for path in sorted(folder.glob("*.npz"))}
    for row in rows(folder, z):
        print(row)
    for file, arrays in z.items():
        if arrays.unread:
            print(f"{file:15} not compared: {', '.join(sorted(arrays.unread))}")


if __name__ == "__main__":
    main()
