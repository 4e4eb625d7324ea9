"""What the small SAM is trained on: batches of scenes, their objects' masks, and the first prompt for each."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from mini_sam_model import SIDE
from torch.utils.data import Dataset

from car.scenes import LAYOUTS, Scene, scene

FIRST_SEED = 2**40
"""Training scenes have seeds from here on."""
RESERVE = 2**62
OBJECTS = ((1, 2), (2, 4), (5, 6))
SHARES = (0.25, 0.4, 0.35)
"""How often scenes have so many objects."""
TEXTURED = 0.15
STUFF = 0.12
"""Share of the prompts that ask for the stuff behind the objects."""
BOXED = 0.5
"""Share of the prompts that begin with a box."""
OBLONG = 0.3
"""Share of the scenes that are not square; what is missing is black, as SAM pads it."""
LEAST = 6
"""Cells of the mask decoder's answer that a mask must fill to be asked for."""
PATCH = 8
MOST = 0.6
"""Share of a patch that one object must have for the patch to be its own."""
BOX_NOISE, MOST_BOX_NOISE = 0.1, 20
"""Of a box's sides: standard deviation as a share of each, and the most in pixels."""


@dataclass(frozen=True)
class Batch:
    """B images and N = B * P prompts, P for each image in turn.

    images: uint8 (B, S, S, 3).
    masks: bool (N, S / 2, S / 2), what each prompt asks for, as large as the mask decoder's answers.
    points: float32 (N, 2), x and y of a random pixel of it; coordinates are pixels of SIDE x SIDE, whatever S.
    boxes: float32 (N, 4), x0, y0, x1, y1 around it, moved a little.
    boxed: bool (N,), whether the prompt begins with the box instead of the point.
    owners: int64 (B, S / 8, S / 8), which object or stuff a patch shows, counted from 0; -1 where it shows several.
    """

    images: torch.Tensor
    masks: torch.Tensor
    points: torch.Tensor
    boxes: torch.Tensor
    boxed: torch.Tensor
    owners: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


class Batches(Dataset[Batch]):
    """Batch number i of a run, composed from (seed, i) alone.

    Args:
        seed: of the run.
        sides: S of each step's batch, in pixels; their number is that of the steps.
        images: B.
        prompts: P.
    """

    def __init__(self, seed: int, sides: list[int], images: int, prompts: int) -> None:
        self.seed, self.sides, self.images, self.prompts = seed, sides, images, prompts

    def __len__(self) -> int:
        return len(self.sides)

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, step])
        first = FIRST_SEED + (self.seed * 2**40 + step) * self.images
        rows = [self.row(first + i, self.sides[step], rng) for i in range(self.images)]
        images, masks, points, boxes, owners = (np.stack(arrays) for arrays in zip(*rows, strict=True))
        return Batch(
            images=torch.from_numpy(images),
            masks=torch.from_numpy(masks.reshape(-1, *masks.shape[2:])),
            points=torch.from_numpy(points.reshape(-1, 2).astype(np.float32)),
            boxes=torch.from_numpy(boxes.reshape(-1, 4).astype(np.float32)),
            boxed=torch.from_numpy(rng.random(self.images * self.prompts) < BOXED),
            owners=torch.from_numpy(owners),
        )

    def row(self, seed: int, side: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """One image (S, S, 3), its prompts' masks (P, S / 2, S / 2), points (P, 2), boxes (P, 4), and who owns its
        patches (S / 8, S / 8)."""
        made = draw_scene(seed, side, rng)
        things, behind = ([m for m in masks if enough(m, side)] for masks in (made.masks, stuff_masks(made)))
        if not things:
            # All are hidden or cut away, which is rare: another scene instead.
            return self.row(seed + RESERVE, side, rng)
        image, things, behind = turned(made.image, things, behind, rng)
        order = rng.permutation(len(things))
        asked = [things[order[i % len(things)]] for i in range(self.prompts)]
        if behind:
            asked = [behind[rng.integers(len(behind))] if rng.random() < STUFF else mask for mask in asked]
        masks = np.stack([fitted(mask, side // 2) for mask in asked])
        scale = SIDE / max(image.shape[:2])
        points = np.stack([draw_point(mask, scale, rng) for mask in asked])
        boxes = np.stack([draw_box(mask, scale, rng) for mask in asked])
        return fitted(coloured(image, rng), side), masks, points, boxes, owners_of([*things, *behind], side // PATCH)


def draw_scene(seed: int, side: int, rng: np.random.Generator) -> Scene:
    """A scene about as large as it will be shown, some oblong."""
    longest = round(side * rng.uniform(0.75, 1.3))
    shortest = round(longest * rng.uniform(0.6, 1)) if rng.random() < OBLONG else longest
    size = (longest, shortest) if rng.random() < 0.5 else (shortest, longest)
    layout = tuple(LAYOUTS)[rng.integers(len(LAYOUTS))]
    objects = OBJECTS[rng.choice(len(OBJECTS), p=SHARES)]
    return scene(seed, size=size, objects=objects, layout=layout, textured=TEXTURED)


def stuff_masks(made: Scene) -> list[np.ndarray]:
    """The visible pixels (H, W) of each kind of stuff."""
    behind = ~made.masks.any(axis=0)
    if made.horizon is None:
        return [behind]
    upper = np.arange(len(behind))[:, None] < made.horizon
    return [behind & upper, behind & ~upper]


def enough(mask: np.ndarray, side: int) -> bool:
    """Whether a mask is large enough to be asked for at a training size."""
    return np.count_nonzero(fitted(mask, side // 2)) >= LEAST


def turned(
    image: np.ndarray, things: list[np.ndarray], behind: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """The picture and its masks mirrored, or on their side, so that no drawing has one way up."""
    turns, mirrored = int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1))), rng.random() < 0.5

    def turn(array: np.ndarray) -> np.ndarray:
        array = np.rot90(array, turns)
        return np.ascontiguousarray(array[:, ::-1] if mirrored else array)

    return turn(image), [turn(mask) for mask in things], [turn(mask) for mask in behind]


def coloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Now and then with channels exchanged, or none: outlines must do where colours are unlike any seen."""
    draw = rng.random()
    if draw < 0.2:
        return image[..., rng.permutation(3)]
    if draw < 0.25:
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    return image


def fitted(array: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) uint8 or mask (H, W) bool with its longest side at `side`, padded to a square."""
    height, width = (max(1, round(length * side / max(array.shape[:2]))) for length in array.shape[:2])
    smaller = height < array.shape[0]
    small = cv2.resize(
        array.astype(np.float32) if array.dtype == bool else array,
        (width, height),
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
    out = np.zeros((side, side, *array.shape[2:]), array.dtype)
    out[:height, :width] = small > 0.5 if array.dtype == bool else small
    return out


def owners_of(masks: list[np.ndarray], grid: int) -> np.ndarray:
    """Index (grid, grid) int64 of the mask that has most of each patch of the padded square; -1 where none has."""
    height, width = masks[0].shape
    longest = max(height, width)
    shares = np.zeros((len(masks), grid, grid), np.float32)
    for share, mask in zip(shares, masks, strict=True):
        padded = np.pad(mask.astype(np.float32), ((0, longest - height), (0, longest - width)))
        cv2.resize(padded, (grid, grid), dst=share, interpolation=cv2.INTER_AREA)
    return np.where(shares.max(axis=0) > MOST, shares.argmax(axis=0), -1)


def draw_point(mask: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """x and y of a random pixel of the mask, in pixels of the model's own side."""
    inside = np.flatnonzero(mask)
    y, x = divmod(int(inside[rng.integers(len(inside))]), mask.shape[1])
    return (np.array([x, y]) + 0.5) * scale - 0.5


def draw_box(mask: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """x0, y0, x1, y1 of the mask's first and last columns and rows, moved a little, as SAM was trained."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = (np.array([columns[0], rows[0], columns[-1], rows[-1]]) + 0.5) * scale - 0.5
    spread = np.tile(np.minimum(BOX_NOISE * (box[2:] - box[:2] + 1), MOST_BOX_NOISE), 2)
    noise = np.clip(rng.normal(size=4) * spread, -MOST_BOX_NOISE, MOST_BOX_NOISE)
    return np.clip(box + noise, 0, SIDE - 1)
