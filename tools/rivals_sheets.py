"""A contact sheet per method: the same expressions, what the method found, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rivals_runs import Entry, Rivals

from car.canvas import FAINT, INK, PAPER, SOFT, Canvas, shorten, wrap
from car.data import Target
from car.evaluate.referring_evaluator import ReferringEvaluator
from car.export import make_folder, write_atomically
from car.metrics.referring import overlap

SIDE, PAD, LINE, TEXT = 264, 12, 19, 14
COLUMNS = 4
DIMMED = 0.35
"""What is left of the light where nothing was found: unlike a tint, that shows on any colour."""
OUTLINE = (255, 255, 255)
MOST_BYTES = 200_000


@dataclass(frozen=True)
class Asked:
    """One expression of a sheet: the picture's key, the number of the target in it, and that of the expression."""

    benchmark: str
    key: str
    target: int
    expression: int


def choose(rivals: Rivals, benchmarks: Sequence[str], count: int) -> list[Asked]:
    """Expressions drawn with the run's seed, as evenly as can be from the benchmarks, each from another picture."""
    chosen = []
    for i, benchmark in enumerate(benchmarks):
        share = count // len(benchmarks) + (i < count % len(benchmarks))
        rng = np.random.default_rng([rivals.job.seed, i])
        dataset, keys = rivals.open(benchmark), rivals.keys(benchmark)
        for key in sorted(rng.choice(keys, min(share, len(keys)), replace=False).tolist()):
            targets = dataset.read(key).targets
            target = int(rng.integers(len(targets)))
            chosen.append(Asked(benchmark, key, target, int(rng.integers(len(targets[target].expressions)))))
    return chosen


def write_sheet(rivals: Rivals, entries: Sequence[Entry], asked: Sequence[Asked], path: Path) -> None:
    """Ask a method, whose runs are given, and write its sheet as a JPEG of less than `MOST_BYTES`.

    Raises:
        CarError: as `ReferringEvaluator`, or writing failed.
    """
    cards = []
    for entry in entries:
        with rivals.cache_of(entry):
            evaluator = ReferringEvaluator(rivals.job_of(entry))
            cards += [answered(evaluator, each) for each in asked if each.benchmark == entry.benchmark]
    make_folder(path.parent)
    write_atomically(path, jpeg(sheet(f"{entries[0].method.title}, {told_source(entries[0])}", cards)))


def told_source(entry: Entry) -> str:
    return "no mask proposals" if entry.proposals is None else f"mask proposals: {entry.proposals}"


def answered(evaluator: ReferringEvaluator, asked: Asked) -> np.ndarray:
    """The card of one expression."""
    truth = evaluator.dataset.read(asked.key)
    target = truth.targets[asked.target]
    text = target.expressions[asked.expression]
    mask = evaluator.prepare(asked.key, truth.image).refer(text).mask
    return card(truth.image, mask, target, text, asked.benchmark)


def card(image: np.ndarray, found: np.ndarray, target: Target, text: str, benchmark: str) -> np.ndarray:
    """What was found, the rest dimmed, and the outline of the truth, over expression and IoU: (h, SIDE, 3) uint8."""
    scale = SIDE / max(image.shape[:2])
    size = (round(scale * image.shape[1]), round(scale * image.shape[0]))
    picture = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    mask, true = (
        cv2.resize(each.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for each in (found, target.mask)
    )
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = np.where(mask[..., None] > 0, picture, (DIMMED * grey).astype(np.uint8))
    outlines, _ = cv2.findContours(true, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for color, thickness in ((INK, 4), (OUTLINE, 2)):
        cv2.drawContours(picture, outlines, -1, color, thickness, cv2.LINE_AA)
    canvas = Canvas(SIDE, SIDE + 4 * LINE)
    canvas.box((0, 0, SIDE, SIDE), FAINT)
    canvas.picture(picture, (SIDE - size[0]) // 2, (SIDE - size[1]) // 2)
    for i, line in enumerate(wrap(text, TEXT, SIDE, lines=2, bold=True)):
        canvas.text(line, 0, SIDE + (i + 0.8) * LINE, TEXT, INK, bold=True)
    canvas.text(shorten(f"{benchmark}: {verdict(found, target)}", TEXT, SIDE), 0, SIDE + 2.9 * LINE, TEXT, SOFT)
    return canvas.pixels()


def verdict(found: np.ndarray, target: Target) -> str:
    """How good it is, in words."""
    if target.no_target:
        return "no target, yet a mask" if found.any() else "no target, none found"
    return f"IoU {overlap(found, target.mask).iou():.2f}" + ("" if found.any() else ", nothing found")


def sheet(title: str, cards: Sequence[np.ndarray]) -> np.ndarray:
    """Cards in rows under a title, (H, W, 3) uint8."""
    height, across = cards[0].shape[:2]
    rows, top = -(-len(cards) // COLUMNS), 2 * LINE + PAD
    canvas = Canvas(COLUMNS * (across + PAD) + PAD, top + rows * (height + PAD), PAPER)
    end = canvas.text(title, PAD, top / 2, TEXT + 4, INK, bold=True)
    canvas.text("bright: what was found; white line: the truth", end + 2 * PAD, top / 2, TEXT, SOFT)
    for i, each in enumerate(cards):
        row, column = divmod(i, COLUMNS)
        canvas.picture(each, PAD + column * (across + PAD), top + row * (height + PAD))
    return canvas.pixels()


def jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG of less than `MOST_BYTES`, as good as that allows."""
    for quality in range(88, 8, -6):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() < MOST_BYTES:
            break
    return buffer.getvalue()
