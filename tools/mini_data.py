"""What the mini model is trained on: batches of scenes, their targets and their sentences."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from mini_captions import Captions, caption_of, object_caption
from mini_prompts import PROMPTS, draw_prompt, jitter, stuff_mask
from mini_words import index, inserted, nonsense, rows_of, sentences, vocabulary
from torch.utils.data import Dataset

from car.scenes import concepts, scene

FIRST_SEED = 2**40
"""Training scenes have seeds from here on."""
RESERVE = 2**62
OBJECTS = ((1, 2), (2, 4), (5, 6))
SHARES = (0.4, 0.4, 0.2)
"""How often the scenes of several objects have so many."""
LAYOUTS = ("usual", "usual", "usual", "sparse", "crowded")
TEXTURED = 0.08
OTHERS = 64
NONSENSE = 8
"""Sentences about nothing that is known, per batch: no picture and no patch may answer with them."""


@dataclass(frozen=True)
class Stage:
    """What changes while training goes on.

    until: share of the images after which the stage ends.
    sides: sides in pixels of the square images; one is drawn per batch.
    single: share of the other images that show a single object.
    prompted: share of a batch that gets a visual prompt.
    keep: share of the patches that the encoder sees.
    spread: weight of the loss that keeps the words' sentences apart.
    """

    until: float
    sides: tuple[int, ...]
    single: float
    prompted: float
    keep: float
    spread: float


STAGES = (
    Stage(0.12, (64,), 0.7, 0.0, 0.65, 0.5),
    Stage(0.22, (64,), 0.3, 0.25, 0.65, 0.3),
    Stage(0.75, (112,), 0.1, 0.35, 0.5, 0.0),
    Stage(1.0, (96, 112, 112, 128, 144), 0.1, 0.45, 0.5, 0.0),
)


def stage_at(progress: float) -> Stage:
    """The stage that a share of the images falls into."""
    return next(stage for stage in STAGES if progress < stage.until or stage is STAGES[-1])


@dataclass(frozen=True)
class Batch:
    """One training batch; the prompted images come last.

    images: uint8 (B, H, W, 3).
    present: float32 (B, K), the distribution over the K words that the class token should answer with.
    patches: float32 (B - prompted, K), what the patch tokens should say between them.
    captions: int64 (2 B, LENGTH), rows of the token table: B captions, then B that are nearly the same and wrong.
    same: int64 (B,), equal numbers are equal captions.
    words: int64 (K, LENGTH), one sentence per concept and kind of stuff.
    drawn: int64 (OTHERS,), some of the K words.
    others: int64 (OTHERS, LENGTH), another sentence for each of those.
    nonsense: int64 (NONSENSE, LENGTH), sentences about nothing.
    stage: the stage it belongs to.
    """

    images: torch.Tensor
    present: torch.Tensor
    patches: torch.Tensor
    captions: torch.Tensor
    same: torch.Tensor
    words: torch.Tensor
    drawn: torch.Tensor
    others: torch.Tensor
    nonsense: torch.Tensor
    stage: Stage

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **moved)


class Batches(Dataset[Batch]):
    """Batch number i of a run, composed from (seed, i) alone."""

    def __init__(self, seed: int, steps: int, batch: int) -> None:
        self.seed, self.steps, self.batch = seed, steps, batch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, step])
        stage = stage_at(step / self.steps)
        side = stage.sides[rng.integers(len(stage.sides))]
        prompted = round(self.batch * stage.prompted)
        first = FIRST_SEED + (self.seed * 2**40 + step) * self.batch
        rows = [self.row(first + i, side, stage.single, i >= self.batch - prompted, rng) for i in range(self.batch)]
        images, present, texts = zip(*rows, strict=True)
        plain = np.stack([halved(target) for target in present[: self.batch - prompted]])
        right, wrong = zip(*texts, strict=True)
        drawn = rng.choice(len(vocabulary()), OTHERS, replace=False)
        numbers = {text: i for i, text in enumerate(dict.fromkeys(right))}
        return Batch(
            images=torch.from_numpy(np.stack(images)),
            present=torch.from_numpy(np.stack(present)),
            patches=torch.from_numpy(plain),
            captions=torch.from_numpy(inserted(np.stack([rows_of(text) for text in (*right, *wrong)]), rng)),
            same=torch.tensor([numbers[text] for text in right]),
            words=sentences(rng),
            drawn=torch.from_numpy(drawn),
            others=sentences(rng, drawn),
            nonsense=nonsense(NONSENSE, rng),
            stage=stage,
        )

    def row(
        self, seed: int, side: int, single: float, prompted: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, Captions]:
        """One image, its target distribution over the K words, and its captions."""
        layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        objects = OBJECTS[rng.choice(len(OBJECTS), p=SHARES)]
        objects = (1, 1) if not prompted and rng.random() < single else objects
        made = scene(seed, size=(side, side), objects=objects, layout=layout, textured=TEXTURED)
        if not made.names:
            # Nothing found its place, which is rare: another scene instead.
            return self.row(seed + RESERVE, side, single, prompted, rng)
        if not prompted:
            return made.image, target(made.names, made.background), caption_of(made, rng)
        prompt = PROMPTS[rng.integers(len(PROMPTS))]
        stuff = stuff_mask(made, rng) if rng.random() < 0.15 else None
        if stuff is not None:
            mask, name = stuff
            right, wrong = f"a photo of {name}", f"a photo of {made.names[0]}"
            return draw_prompt(made.image, mask, prompt, rng), target((), (name,)), (right, wrong)
        i = int(rng.integers(len(made.names)))
        mask = jitter(made.masks[i], rng) if rng.random() < 0.65 else made.masks[i]
        image = draw_prompt(made.image, mask, prompt, rng)
        return image, target((made.names[i],), ()), object_caption(made, i, rng)


def target(names: Sequence[str], background: Sequence[str]) -> np.ndarray:
    """Distribution over the K words: 0.9 on the objects and 0.1 on the stuff, or all on the one that is there."""
    out = np.zeros(len(vocabulary()), np.float32)
    for name, count in Counter(names).items():
        out[index()[name]] = (0.9 if background else 1) * count / len(names)
    for name in background:
        out[index()[name]] = (0.1 if names else 1) / len(background)
    return out


def halved(present: np.ndarray) -> np.ndarray:
    """A target of an unprompted image with one half on the objects: about the area that they cover."""
    things = np.arange(len(present)) < len(concepts())
    return np.where(things, present / present[things].sum(), present / present[~things].sum()) / 2
