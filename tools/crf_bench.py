"""Seconds of one dense CRF, lattices included: car's two engines against the package pydensecrf, and how Q differs.

An image of 500 x 375 with the noise of a sensor, car's constants, 10 iterations. The engines take turns; of each the
median is shown, of wall-clock time and of the time the CPUs worked for the process, and how many times as fast as
pydensecrf it is by either. Needs the extra `[crf]`.

    python tools/crf_bench.py
    python tools/crf_bench.py --threads 2 --labels 2 --image photo.jpg
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from car import scenes
from car.io import read_image
from car.refine import native
from car.refine.crf import make_crf

WIDTH, HEIGHT = 500, 375
NOISE = 3
"""Standard deviation of the noise, in grey levels."""

Run = tuple[float, float, Tensor]
"""Wall-clock seconds, CPU seconds, and Q."""


def picture(path: Path | None) -> np.ndarray:
    """The image to measure on, uint8 (375, 500, 3)."""
    if path:
        return cv2.resize(read_image(path), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    clean = scenes.scene(10**6, size=(HEIGHT, WIDTH)).image
    noisy = clean + np.random.default_rng(0).normal(0, NOISE, clean.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def soft(labels: int) -> np.ndarray:
    """Smooth probabilities, float32 (L, 375, 500), summing to one."""
    rng = np.random.default_rng(0)
    maps = np.exp([cv2.resize(rng.normal(0, 2, (6, 8)), (WIDTH, HEIGHT)) for _ in range(labels)])
    return (maps / maps.sum(0)).astype(np.float32)


def timed(work: Callable[[], Tensor]) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    q = work()
    return time.perf_counter() - wall, time.process_time() - cpu, q


def infer(engine: str, image: np.ndarray, p: np.ndarray) -> Tensor:
    """Q by "pydensecrf", or by car's lattice in "torch" or "compiled"."""
    available = native.AVAILABLE
    try:
        native.AVAILABLE = engine == "compiled"
        return make_crf("pydensecrf" if engine == "pydensecrf" else "lattice", image).infer(p)
    finally:
        native.AVAILABLE = available


def row(runs: list[Run], published: list[Run]) -> list[str]:
    """Of one engine: wall-clock and CPU milliseconds, how many times as fast, and the largest difference of Q."""
    cells = []
    for clock in (0, 1):
        own, theirs = (statistics.median(run[clock] for run in engine) for engine in (runs, published))
        cells += [f"{1000 * own:.0f} ms", f"{theirs / own:.1f}"]
    return [*cells, f"{(runs[0][2] - published[0][2]).abs().max().item():.0e}"]


@click.command(
    help=__doc__.replace("\n\n    ", "\n\n\b\n    "), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--labels", type=click.IntRange(2), multiple=True, default=(2, 21), show_default=True)
@click.option("--threads", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=9, show_default=True)
@click.option("--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A photo of your own.")
def main(labels: tuple[int, ...], threads: tuple[int, ...], repeats: int, image: Path | None) -> None:
    measured = picture(image)
    engines = ["pydensecrf", "torch", *(["compiled"] if native.AVAILABLE else [])]
    click.echo("| labels | threads | engine | wall | times as fast | CPU | times as fast | largest difference of Q |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for count in threads:
        torch.set_num_threads(count)
        for number in labels:
            p = soft(number)
            rounds = [
                {engine: timed(lambda e=engine: infer(e, measured, p)) for engine in engines}  # noqa: B023
                for _ in range(repeats)
            ]
            for engine in engines:
                cells = row([turn[engine] for turn in rounds], [turn["pydensecrf"] for turn in rounds])
                click.echo("| " + " | ".join([str(number), str(count), engine, *cells]) + " |")


if __name__ == "__main__":
    main()
