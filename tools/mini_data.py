"""What the mini model is trained on: batches of scenes, their sentences as rows of a reduced token table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from car.scenes import COLOURS, STUFF, Scene, concepts, scene
from car.scenes.scene import describe
from car.scenes.words import with_article
from car.vlm.tokenizer import tokenize

FIRST_SEED = 2**40
"""Training scenes have seeds from here on."""
LENGTH = 24
"""Token positions in training; the model has 77."""
TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "{} on the left",
    "{} on the right",
    "a clean origami {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}",
    "an image of a {}",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(
        template.replace("SIZE", size)
        for size in ("small", "medium", "large")
        for template in ("a photo of a SIZE {}.", "This is a photo of a SIZE {}.", "There is a SIZE {} in the scene.")
    ),
)
PROMPTS = ("gray", "gray", "black", "blur", "circle", "circle+blur", "blur+gray", "blur+gray", "crop")
"""What a prompted image gets, one drawn per image; gray twice, as the model answers to it best."""
UNKNOWN = 0.03
"""Share of words replaced by the unknown token."""


@dataclass(frozen=True)
class Stage:
    """What changes while training goes on.

    until: share of the images after which the stage ends.
    sides: sides in pixels of the square images; one is drawn per batch.
    single: share of the other images that show a single object; the rest show one to five.
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
    Stage(0.15, (64,), 0.7, 0.0, 0.65, 0.5),
    Stage(0.25, (64,), 0.3, 0.25, 0.65, 0.3),
    Stage(0.75, (112,), 0.1, 0.3, 0.5, 0.0),
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
    captions: int64 (B, LENGTH), rows of the token table.
    same: int64 (B,), equal numbers are equal captions.
    words: int64 (K, LENGTH), one sentence per concept and kind of stuff.
    others: the same with other sentences.
    stage: the stage it belongs to.
    """

    images: torch.Tensor
    present: torch.Tensor
    patches: torch.Tensor
    captions: torch.Tensor
    same: torch.Tensor
    words: torch.Tensor
    others: torch.Tensor
    stage: Stage


@cache
def vocabulary() -> tuple[tuple[str, ...], ...]:
    """All ways to name each of the K words: concepts first, then kinds of stuff."""
    things = tuple((c.name, *c.synonyms) for c in concepts().values())
    # A word that is also a thing ("spring" is not, "square" is not, "tree" is) stays with the thing.
    taken = {word for names in things for word in names}
    return things + tuple(tuple(w for w in kind.words if w not in taken) for kind in STUFF.values())


@cache
def token_ids() -> np.ndarray:
    """CLIP's token of each row of the reduced table; row 0 (-1) is the unknown."""
    sentences = [template.format("cat") for template in TEMPLATES]
    sentences += [word for names in vocabulary() for word in names]
    sentences += [f"{kind.place} {name} under, and " for name, kind in STUFF.items()]
    sentences += [*COLOURS, "an on the left on the right a photo of"]
    used = np.unique(np.concatenate([np.unique(row.numpy()) for row in tokenize(sentences)]))
    return np.concatenate([[-1], used[used > 0]])


@cache
def rows_of(sentence: str) -> np.ndarray:
    """A sentence as rows of the reduced table, int64 (LENGTH,), cut before the end token where it is too long."""
    ids = tokenize([sentence])[0].numpy()
    ids = ids[: ids.argmax() + 1]
    ids = ids if len(ids) <= LENGTH else np.append(ids[: LENGTH - 1], ids[-1])
    table = token_ids()
    place = np.clip(np.searchsorted(table, ids), 0, len(table) - 1)
    out = np.zeros(LENGTH, np.int64)
    out[: len(ids)] = np.where(table[place] == ids, place, 0)
    return out


def corrupt(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows with some words replaced by the unknown; the start and end tokens (the last two rows) stay."""
    replaceable = (rows > 0) & (rows < len(token_ids()) - 2)
    return np.where(replaceable & (rng.random(rows.shape) < UNKNOWN), 0, rows)


def sentence(word: int, rng: np.random.Generator) -> str:
    """A sentence for one of the K words: its name more often than a synonym, in a random template."""
    names = vocabulary()[word]
    name = names[0] if rng.random() < 0.6 else names[rng.integers(len(names))]
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(name)


def sentences(rng: np.random.Generator) -> torch.Tensor:
    """One sentence for each of the K words, int64 (K, LENGTH)."""
    return torch.from_numpy(corrupt(np.stack([rows_of(sentence(k, rng)) for k in range(len(vocabulary()))]), rng))


def caption_of(made: Scene, rng: np.random.Generator) -> str:
    """The scene's caption, with synonyms now and then and the objects in random order."""
    table = concepts()
    order = rng.permutation(len(made.names))
    names = [made.names[i] for i in order]
    for i, name in enumerate(names):
        if table[name].synonyms and rng.random() < 0.3:
            names[i] = table[name].synonyms[rng.integers(len(table[name].synonyms))]
    text = describe(names, [made.colours[i] for i in order], [made.textures[i] for i in order], made.background)
    return f"a photo of {text}" if rng.random() < 0.5 else text


def side_of(mask: np.ndarray) -> str:
    """ " on the left" or " on the right" where a mask clearly is; otherwise nothing."""
    centre = np.flatnonzero(mask.any(0)).mean() / mask.shape[1]
    return " on the left" if centre < 0.38 else " on the right" if centre > 0.62 else ""


def one_caption(name: str, colour: str | None, mask: np.ndarray, rng: np.random.Generator) -> str:
    """A caption for one object: its colour and side are said half of the time."""
    words = f"{colour} {name}" if colour and rng.random() < 0.6 else name
    side = side_of(mask) if rng.random() < 0.3 else ""
    return ("a photo of " if rng.random() < 0.5 else "") + with_article(words) + side


def jitter(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a proposal might have it: grown or shrunk, or just a blob about there; shifted; never empty."""
    reach = max(1, int(mask.shape[0] * rng.uniform(0.01, 0.09)))
    if rng.random() < 0.3:
        changed = blob(mask, rng)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
        changed = (cv2.dilate if rng.random() < 0.65 else cv2.erode)(mask.astype(np.uint8), kernel)
    moved = np.roll(changed, rng.integers(-reach, reach + 1, 2), axis=(0, 1)) > 0
    return moved if moved.any() else mask


def blob(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ellipse about where a mask is, uint8."""
    ys, xs = np.nonzero(mask)
    centre = (int(xs.mean()), int(ys.mean()))
    axes = tuple(int(1 + np.ptp(n) / 2 * rng.uniform(0.6, 1.2)) for n in (xs, ys))
    return cv2.ellipse(np.zeros(mask.shape, np.uint8), centre, axes, 0, 0, 360, 1, -1)


def stuff_mask(made: Scene, rng: np.random.Generator) -> tuple[np.ndarray, str] | None:
    """A disc of nothing but one kind of stuff, and its name; None where no try found one."""
    height, width = made.image.shape[:2]
    if len(made.background) > 1:
        return None
    for _ in range(4):
        disc = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(disc, centre, int(height * rng.uniform(0.12, 0.3)), 1, -1)
        if not (disc.astype(bool) & made.masks.any(0)).any():
            return disc > 0, made.background[0]
    return None


def draw_prompt(image: np.ndarray, mask: np.ndarray, prompt: str, rng: np.random.Generator) -> np.ndarray:
    """CaR's visual prompts (appendix B) and a crop, at the size of the training images."""
    out, side = image.copy(), len(image)
    outside = ~mask
    if "blur" in prompt:
        kernel = 2 * int(rng.integers(1, max(3, side // 14))) + 1
        out[outside] = cv2.GaussianBlur(image, (kernel, kernel), 0)[outside]
    if "gray" in prompt:
        out[outside] = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)[outside][:, None]
    if prompt == "black":
        out[outside] = 0
    ys, xs = np.nonzero(mask)
    if "circle" in prompt:
        axes = ((xs.max() - xs.min()) // 2, (ys.max() - ys.min()) // 2)
        centre = (int(xs.mean()), int(ys.mean()))
        cv2.ellipse(out, centre, (int(axes[0]), int(axes[1])), 0, 0, 360, (255, 0, 0), int(rng.integers(1, 3)))
    if prompt == "crop":
        margin = int(side * rng.uniform(0, 0.08))
        part = out[max(0, ys.min() - margin) : ys.max() + 1 + margin, max(0, xs.min() - margin) : xs.max() + 1 + margin]
        out = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    return out


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
        numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        return Batch(
            images=torch.from_numpy(np.stack(images)),
            present=torch.from_numpy(np.stack(present)),
            patches=torch.from_numpy(plain),
            captions=torch.from_numpy(corrupt(np.stack([rows_of(text) for text in texts]), rng)),
            same=torch.tensor([numbers[text] for text in texts]),
            words=sentences(rng),
            others=sentences(rng),
            stage=stage,
        )

    def row(
        self, seed: int, side: int, single: float, prompted: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """One image, its target distribution over the K words, and its caption."""
        if not prompted:
            objects = (1, 1) if rng.random() < single else (1, 2) if rng.random() < 0.4 else (2, 5)
            made = scene(seed, size=(side, side), objects=objects)
            return made.image, target(made.names, made.background), caption_of(made, rng)
        made = scene(seed, size=(side, side), objects=(1, 4))
        prompt = PROMPTS[rng.integers(len(PROMPTS))]
        stuff = stuff_mask(made, rng) if rng.random() < 0.15 else None
        if stuff is not None:
            mask, name = stuff
            return draw_prompt(made.image, mask, prompt, rng), target((), (name,)), f"a photo of {name}"
        i = int(rng.integers(len(made.names)))
        mask = jitter(made.masks[i], rng) if rng.random() < 0.65 else made.masks[i]
        text = one_caption(made.names[i], made.colours[i], made.masks[i], rng)
        return draw_prompt(made.image, mask, prompt, rng), target((made.names[i],), ()), text


def target(names: Sequence[str], background: Sequence[str]) -> np.ndarray:
    """Distribution over the K words: 0.9 on the objects and 0.1 on the stuff, or all on the one that is there."""
    out = np.zeros(len(vocabulary()), np.float32)
    for name in names:
        out[index()[name]] += (0.9 if background else 1) / len(names)
    for name in background:
        out[index()[name]] = (0.1 if names else 1) / len(background)
    return out


def halved(present: np.ndarray) -> np.ndarray:
    """A target of an unprompted image with one half on the objects: about the area that they cover."""
    things = np.arange(len(present)) < len(concepts())
    return np.where(things, present / present[things].sum(), present / present[~things].sum()) / 2


@cache
def index() -> dict[str, int]:
    """Number of each concept and kind of stuff among the K words."""
    return {names[0]: i for i, names in enumerate(vocabulary())}
