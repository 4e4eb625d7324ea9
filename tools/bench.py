"""Time and peak memory of `segment`, per stage.

Speed does not care what the weights are, so the OpenAI architectures are measured with random ones. Every query is kept
(theta = 0): one step with all prompted images, and a CRF over all labels, which is the most that one step can cost.
Each row runs in a process of its own, so that its peak memory is its own.

    python tools/bench.py                      # mini, and ViT-B/16 + ViT-L/14, fp32 and the automatic dtype
    python tools/bench.py --models mini --queries 20 --repeats 5
"""

import json
import resource
import statistics
import subprocess
import sys
from typing import Any

import click

STAGES = ("text", "propose", "classify", "crf")
VIT = {
    "ViT-B/16": {"patch": 16, "width": 768, "layers": 12, "embed_dim": 512, "text_width": 512},
    "ViT-L/14": {"patch": 14, "width": 1024, "layers": 24, "embed_dim": 768, "text_width": 768},
}


def random_clip(name: str) -> Any:
    """A CLIP of OpenAI's architecture with random weights."""
    import torch

    from car.vlm.model import CLIP
    from car.vlm.vit import VisionTransformer

    torch.manual_seed(0)
    shape = VIT[name]
    width = shape["width"]
    visual = VisionTransformer(
        resolution=224,
        patch=shape["patch"],
        width=width,
        layers=shape["layers"],
        heads=width // 64,
        hidden=4 * width,
        embed_dim=shape["embed_dim"],
    )
    text = {"text_width": shape["text_width"], "text_layers": 12, "text_heads": shape["text_width"] // 64}
    return CLIP(visual, embed_dim=shape["embed_dim"], **text).eval().requires_grad_(False)


def segmenter(models: str, dtype: str, device: str) -> Any:
    """The segmenter of one row."""
    import car
    from car.config import Config
    from car.device import choose_device, choose_dtype

    if models == "mini":
        return car.load("mini", theta=0, device=device, dtype=dtype)
    place = choose_device(device)
    clips = [random_clip(name).cast(choose_dtype(dtype, place)).to(place) for name in models.split("+")]
    return car.Segmenter(*clips, Config(theta=0), name=models)


def measure(models: str, dtype: str, device: str, queries: int, repeats: int, size: tuple[int, int]) -> dict:
    """Median seconds per stage after one warm-up, and the peak memory of the process in GiB."""
    from car.scenes import scene
    from car.wordlists import read_classes

    image = scene(10**6, size=size[::-1]).image
    words = [entry.query for entry in read_classes("ade847")][:queries]
    runs = []
    for turn in range(repeats + 1):
        # A fresh segmenter each time: the text features of the last one would be remembered.
        seconds = segmenter(models, dtype, device).segment(image, words).seconds
        if turn:
            runs.append({stage: total(seconds.get(stage, 0.0)) for stage in STAGES})
    row = {stage: statistics.median(run[stage] for run in runs) for stage in STAGES}
    row["total"] = statistics.median(sum(run.values()) for run in runs)
    row["spread"] = max(sum(run.values()) for run in runs) - min(sum(run.values()) for run in runs)
    row["peak GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return row


def total(seconds: float | list[float]) -> float:
    return sum(seconds) if isinstance(seconds, list) else seconds


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--models", multiple=True, default=("mini", "ViT-B/16+ViT-L/14"), show_default=True)
@click.option("--dtypes", multiple=True, default=("fp32", "auto"), show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--queries", default=20, show_default=True)
@click.option("--size", type=(int, int), default=(500, 375), show_default=True, metavar="WIDTH HEIGHT")
@click.option("--repeats", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of a table.")
@click.option("--one", is_flag=True, hidden=True, help="Measure in this process.")
def main(
    models: tuple[str, ...],
    dtypes: tuple[str, ...],
    device: str,
    queries: int,
    size: tuple[int, int],
    repeats: int,
    as_json: bool,
    one: bool,
) -> None:
    if one:
        print(json.dumps(measure(models[0], dtypes[0], device, queries, repeats, size)))
        return
    rows = []
    for model in models:
        for dtype in dtypes:
            arguments = ["--one", "--models", model, "--dtypes", dtype, "--device", device, "--queries", str(queries)]
            arguments += ["--size", *map(str, size), "--repeats", str(repeats)]
            done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
            rows.append({"models": model, "dtype": dtype, **json.loads(done.stdout)})
            if as_json:
                print(json.dumps(rows[-1]), flush=True)
    if not as_json:
        show(rows)


def show(rows: list[dict]) -> None:
    """The rows as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("models", "dtype", *(f"{stage} s" for stage in (*STAGES, "total", "spread")), "peak GiB")
    for row in rows:
        table.add_row(row["models"], row["dtype"], *(f"{row[key]:.2f}" for key in list(row)[2:]))
    Console().print(table)


if __name__ == "__main__":
    main()
