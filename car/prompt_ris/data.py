"""What Prompt-RIS is trained on: batches of pictures, each with several expressions and what these refer to."""

import logging
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from car.errors import InputError
from car.prompt_ris.pictures import Pictures
from car.prompt_ris.sentences import draw
from car.vlm.tokenizer import CONTEXT, tokenize

logger = logging.getLogger(__name__)

ORDER, SENTENCES = 1, 2
"""Keep the order of the pictures and the choice of their sentences apart, which are drawn from the same seed."""
TRIES = 32
"""Pictures in a row that may be damaged; after so many, what is wrong is not the pictures."""


@dataclass(frozen=True)
class Batch:
    """B pictures, and N = B * b sentences: b of the first picture, then b of the second, ...

    clip, sam: uint8 (B, S, S, 3) RGB, the pictures squashed to squares, for CLIP and for SAM.
    tokens: int64 (N, L), as of `car.vlm.tokenizer.tokenize`.
    masks: bool (N, M, M), what each sentence refers to, squashed in the same way; no mask is empty.
    texts: the N sentences.
    """

    clip: Tensor
    sam: Tensor
    tokens: Tensor
    masks: Tensor
    texts: tuple[str, ...]

    def to(self, device: torch.device | str) -> "Batch":
        """The batch with its tensors on a device."""
        clip, sam, tokens, masks = (each.to(device) for each in (self.clip, self.sam, self.tokens, self.masks))
        return replace(self, clip=clip, sam=sam, tokens=tokens, masks=masks)


class TrainingSet(Dataset[Batch]):
    """The batches of a run, one per step; to be loaded with `DataLoader(..., batch_size=None)`.

    Batch `step` is composed from (seed, step) and the pictures alone: it is the same in a run that was resumed, and
    whatever the number of workers. Every epoch shows all pictures in an order of its own; where its last batch is not
    full, it goes on with the first pictures of that order, so that an epoch has a whole number of batches. Several
    processes share the batches of a single one that takes `images * world` pictures at once: together they see what
    that one would.

    A picture that is damaged, or of which nothing is said, is logged once (once per worker) and replaced by the next.

    Args:
        pictures: what to train on, at least one.
        steps: how many batches there are.
        images: pictures in a batch of this process.
        sentences: b, sentences of each picture.
        seed: not negative.
        clip_side, sam_side, mask_side: S for CLIP, S for SAM, and M, in pixels.
        context_length: L.
        rank, world: which process of how many this is.

    Raises:
        InputError: no pictures, or a number that means nothing.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        steps: int,
        images: int,
        sentences: int,
        seed: int,
        clip_side: int,
        sam_side: int,
        mask_side: int,
        context_length: int = CONTEXT,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        counts = {"steps": steps, "images": images, "sentences": sentences, "world": world}
        sides = {"clip_side": clip_side, "sam_side": sam_side, "mask_side": mask_side}
        for name, value in {**counts, **sides}.items():
            if value < 1:
                raise InputError(f"Expected argument `{name}` to be at least 1, but got {value}.")
        if seed < 0 or not 0 <= rank < world:
            raise InputError(f"Expected `seed` >= 0 and `rank` in [0, {world - 1}], but got {seed} and {rank}.")
        if not len(pictures):
            raise InputError("There are no pictures to train on.")
        self.pictures, self.steps, self.images, self.sentences, self.seed = pictures, steps, images, sentences, seed
        self.clip_side, self.sam_side, self.mask_side = clip_side, sam_side, mask_side
        self.context_length, self.rank, self.world = context_length, rank, world
        self._damaged: set[int] = set()

    def __len__(self) -> int:
        return self.steps

    @property
    def steps_per_epoch(self) -> int:
        """How many batches show every picture once."""
        return steps_per_epoch(len(self.pictures), self.images * self.world)

    def places(self, step: int) -> list[tuple[int, int]]:
        """Of each picture of a batch, its number, and its place in the run, counted over all processes."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([ORDER, self.seed, epoch]).permutation(len(self.pictures))
        together = self.images * self.world
        first = self.rank * self.images
        return [
            (int(order[(within * together + i) % len(order)]), step * together + i)
            for i in range(first, first + self.images)
        ]

    def __getitem__(self, step: int) -> Batch:
        """Batch `step`.

        Raises:
            IndexError: there is no such step.
            InputError: many pictures in a row are damaged.
        """
        if not 0 <= step < self.steps:
            raise IndexError(step)
        if get_worker_info() is not None:
            cv2.setNumThreads(1)
        clip, sam, texts, masks = [], [], [], []
        for number, place in self.places(step):
            image, said, meant = self._drawn(number, np.random.default_rng([SENTENCES, self.seed, place]))
            clip.append(squashed(image, self.clip_side))
            sam.append(squashed(image, self.sam_side))
            texts += said
            masks += [squashed_mask(mask, self.mask_side) for mask in meant]
        return Batch(
            clip=torch.from_numpy(np.stack(clip)),
            sam=torch.from_numpy(np.stack(sam)),
            tokens=tokenize(texts, truncate=True, context_length=self.context_length),
            masks=torch.from_numpy(np.stack(masks)),
            texts=tuple(texts),
        )

    def _drawn(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Picture `number`, or the next that is whole: image, sentences, masks."""
        tries = min(TRIES, len(self.pictures))
        for one in ((number + i) % len(self.pictures) for i in range(tries)):
            try:
                truth = self.pictures.read(one)
                return truth.image, *draw(truth, self.sentences, rng)
            except InputError as error:
                if one not in self._damaged:
                    self._damaged.add(one)
                    logger.warning("Training goes on without picture %d: %s", one, error)
                last = error
        raise InputError(f"{tries} training pictures in a row are damaged; the last: {last}")


def steps_per_epoch(pictures: int, images: int) -> int:
    """How many batches of so many images show every picture at least once.

    >>> steps_per_epoch(9, 4)
    3
    """
    return -(-pictures // images)


def squashed(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) as a square, its shape not kept: averaged over areas along a side that is longer
    than `side`, bilinear along one that is shorter."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def squashed_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask (H, W) bool as a square (side, side): the cells of which it covers more than half. A mask that does so
    nowhere keeps the cell of which it covers most; only an empty one stays empty."""
    covered = squashed(mask.astype(np.float32), side)
    out = covered > 0.5
    if not out.any() and mask.any():
        out.flat[covered.argmax()] = True
    return out
