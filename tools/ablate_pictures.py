"""Scenes of a row with their true masks and those found: the median, the best and the worst, and a contact sheet."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from ablate_measure import CRF, Bench, Visit
from ablate_records import Records
from PIL import Image

from car.canvas import INK, PAPER, Canvas
from car.draw import overlay
from car.result import Segmentation
from car.scenes import Split

WIDTH, GAP, TITLE = 1000, 20, 40
CONTACT_WIDTH, CONTACT_COLUMNS = 500, 4


def choose(values: Sequence[float]) -> dict[str, int]:
    """Numbers of the worst, the (lower) median and the best of the scenes' values; the first of equal ones."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    best = max(values)
    return {"worst": order[0], "median": order[(len(order) - 1) // 2], "best": list(values).index(best)}


def draw_pictures(
    bench: Bench, records: Records, split: Split, proposer: str, scenes: int, folder: Path, contact: int
) -> list[str]:
    """Write median.png, best.png and worst.png by mIoU of recurrent + CRF, and contact.jpg; returns what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [record["miou"][CRF] for record in records.of("main", split.name, proposer, scenes)]
    lines = []
    for name, index in choose(values).items():
        save(page(bench, split, proposer, index, values[index], WIDTH), folder / f"{name}.png")
        lines.append(f"{name}.png: scene {split.first + index}, mIoU {100 * values[index]:.1f} ({proposer}, {CRF})")
    if contact:
        shown = values[:contact]
        pages = [page(bench, split, proposer, i, value, CONTACT_WIDTH) for i, value in enumerate(shown)]
        save(sheet(pages), folder / "contact.jpg")
        lines.append(f"contact.jpg: scenes {split.first} to {split.first + len(shown) - 1}")
    return lines


def page(bench: Bench, split: Split, proposer: str, index: int, value: float, width: int) -> np.ndarray:
    """The true masks on the left, those found on the right, uint8 RGB (h, width, 3).

    Of the queries only those are named that are there or were kept: listed as absent are, on the left, the ones wrongly
    kept, and on the right the ones missed.
    """
    visit = Visit(bench, split.name, index)
    found = bench.under(proposer=proposer).segment(visit.scene.image, visit.queries)
    there = np.array([query in visit.scene.concepts for query in found.queries])
    truth = replace(
        found,
        labels=visit.truth(found.queries).astype(np.int32),
        present=there,
        scores=there.astype(np.float32),
    )
    shown = np.flatnonzero(there | found.present)
    pictures = [overlay(among(result, shown)) for result in (truth, found)]
    across = sum(picture.shape[1] for picture in pictures) + GAP
    canvas = Canvas(across, max(picture.shape[0] for picture in pictures) + TITLE, PAPER)
    canvas.text(f"scene {split.first + index}: what is there", 0, TITLE / 2, TITLE // 2, INK, bold=True)
    left = pictures[0].shape[1] + GAP
    canvas.text(f"what was found: mIoU {100 * value:.1f}", left, TITLE / 2, TITLE // 2, INK, bold=True)
    canvas.picture(pictures[0], 0, TITLE)
    canvas.picture(pictures[1], left, TITLE)
    height = round(width * canvas.page.height / across)
    return cv2.resize(canvas.pixels(), (width, height), interpolation=cv2.INTER_AREA)


def among(result: Segmentation, shown: np.ndarray) -> Segmentation:
    """The result as if only some of the queries had been asked, by number."""
    relabel = np.zeros(len(result.queries) + 1, np.int32)
    relabel[shown + 1] = np.arange(1, len(shown) + 1)
    return replace(
        result,
        queries=tuple(result.queries[i] for i in shown),
        labels=relabel[result.labels],
        scores=result.scores[shown],
        present=result.present[shown],
    )


def sheet(pages: Sequence[np.ndarray]) -> np.ndarray:
    """Pages of the same width in rows, uint8 RGB."""
    rows = [pages[i : i + CONTACT_COLUMNS] for i in range(0, len(pages), CONTACT_COLUMNS)]
    heights = [max(len(one) for one in row) + GAP for row in rows]
    canvas = Canvas(len(rows[0]) * (CONTACT_WIDTH + GAP), sum(heights), PAPER)
    for row, top in zip(rows, np.cumsum([0, *heights[:-1]]).tolist(), strict=True):
        for i, one in enumerate(row):
            canvas.picture(one, i * (CONTACT_WIDTH + GAP), top)
    return canvas.pixels()


def save(pixels: np.ndarray, path: Path) -> None:
    """Write a PNG, or a JPEG where the name says so."""
    Image.fromarray(pixels).save(path, optimize=True, quality=80)
