"""How good the mini model is: the CAM of the objects that are there, and the class token on prompted images.

    python tools/mini_eval.py car/vlm/mini.safetensors --scenes 200 --input-side 160

Run inside the repository, or with the package installed.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from mini_prompts import draw_prompt
from safetensors.torch import load_file
from torch import Tensor

from car.classify.visual_prompts import VisualPrompter
from car.propose.dense import Dense, output_embeddings
from car.propose.gradcam import GradCAM
from car.propose.proposals import Proposals
from car.scenes import COLOURS, Scene, concepts, scene
from car.vlm.model import CLIP
from car.vlm.preprocess import normalise, proposer_input
from car.vlm.tokenizer import tokenize

SCENES = 60
"""How many scenes the trainer's own evaluation looks at."""
SIDE = 112
BACKGROUND = ("grass", "water", "sky", "road", "wall", "sand", "snow", "forest", "ground", "rock", "wood", "mountain")
ETA = 0.4
PROMPTS = (("gray",), ("blur",), ("black",), ("circle",), ("blur", "gray"), ("blur", "circle"))
SMALL, BIG, CLEAR_SIDE = 0.03, 0.16, 0.17
"""Shares of the picture that an object covers, and of its width that a centre is off the middle or another one."""
UNKNOWN = ("xylophone", "screwdriver", "volcano", "spaghetti", "dragonfly", "wheelbarrow", "zeppelin", "quokka")
"""Words that no scene knows."""


def held_out(count: int, artwork: str) -> list[Scene]:
    """Scenes of seeds that training never sees: half with one or two objects, half with two to four."""
    return [scene(i, size=(SIDE, SIDE), objects=(1, 2) if i % 2 else (2, 4), artwork=artwork) for i in range(count)]


def text_features(model: CLIP, sentences: list[str]) -> Tensor:
    return F.normalize(model.encode_text(tokenize(sentences)), dim=-1)


def soft_masks(model: CLIP, made: Scene, background: Tensor, input_side: int) -> tuple[Tensor, Tensor]:
    """Maps (C, S, S) of the scene's concepts, told what is there: patch-mean gradCAM, and the patches' own softmax."""
    scale = float(model.logit_scale.exp())
    visual, taps = model.visual, model.visual.taps(proposer_input(made.image, 8, input_side), attention_blocks=0)
    queries = text_features(model, [f"a clean origami {name}." for name in made.concepts])
    everything = range(len(queries))
    cam = GradCAM(visual, taps.tokens[0], queries, background, logit_scale=scale, grid=taps.grid)
    patches = output_embeddings(visual, taps.tokens[0])
    dense = Dense(patches, queries, background, logit_scale=scale, grid=taps.grid)
    return tuple(Proposals(maps.maps(everything), made.image.shape[:2]).full() for maps in (cam, dense))


def iou(maps: Tensor, made: Scene) -> list[float]:
    """IoU of each concept when every pixel goes to its best map, or to the background where none exceeds ETA."""
    best, label = maps.max(dim=0)
    label = torch.where(best > ETA, label, -1).numpy()
    pairs = [(label == i, mask) for i, mask in enumerate(made.concepts.values())]
    return [float((found & mask).sum() / (found | mask).sum()) for found, mask in pairs]


def named_right(model: CLIP, images: list[np.ndarray], names: list[str], classes: Tensor) -> float:
    """Share of images whose own name comes first among all concepts."""
    known = list(concepts())
    first = (model.encode_image(normalise(np.stack(images))) @ classes.T).argmax(dim=-1)
    return float(np.mean([known[k] == name for k, name in zip(first, names, strict=True)]))


def prompted(model: CLIP, shown: list[tuple[Scene, list[np.ndarray]]], classes: Tensor) -> dict[str, float]:
    """Share of prompted concepts named right, per visual prompt, for these masks of each scene's concepts."""
    names = [name for made, _ in shown for name in made.concepts]
    out = {}
    for prompts in PROMPTS:
        prompters = [(VisualPrompter(made.image, prompts), masks) for made, masks in shown]
        images = [prompter.render(mask) for prompter, masks in prompters for mask in masks]
        out["+".join(prompts)] = named_right(model, images, names, classes)
    rng = np.random.default_rng(3)
    # An empty mask crops nothing: the whole image is shown, as the other prompts do.
    pairs = [(made.image, mask if mask.any() else ~mask) for made, masks in shown for mask in masks]
    out["crop"] = named_right(model, [draw_prompt(*pair, "crop", rng) for pair in pairs], names, classes)
    return out


def told_apart(model: CLIP, made: list[Scene]) -> dict[str, float]:
    """Share of sentences chosen rightly over those that differ in one word, for whole pictures or blurred around one.

    colour: of the eleven, of recoloured objects. size: small or big, where it is clear. side: left or right, where it
    is clear. relation: whether the first of two things is left or right of the second. Of two, chance is one half.
    """
    right: dict[str, list[bool]] = {"colour": [], "size": [], "side": [], "relation": []}

    def ask(what: str, image: np.ndarray, sentences: list[str], answer: int) -> None:
        feature = model.encode_image(normalise(image[None]))[0]
        right[what].append(int((text_features(model, sentences) @ feature).argmax()) == answer)

    for one in made:
        prompter = VisualPrompter(one.image, ("blur",))
        centres = [float(np.nonzero(mask)[1].mean()) / mask.shape[1] for mask in one.masks]
        for mask, name, colour, across in zip(one.masks, one.names, one.colours, centres, strict=True):
            image, area = prompter.render(mask), mask.mean()
            if colour is not None:
                ask("colour", image, [f"a {c} {name}" for c in COLOURS], list(COLOURS).index(colour))
            if abs(across - 0.5) > CLEAR_SIDE:
                ask("side", image, [f"a {name} on the left", f"a {name} on the right"], int(across > 0.5))
            if not SMALL <= area <= BIG:
                ask("size", image, [f"a small {name}", f"a big {name}"], int(area > BIG))
        if len(set(one.names)) == len(one.names) == 2 and abs(centres[0] - centres[1]) > CLEAR_SIDE:
            sentences = [f"a {one.names[0]} {where} of a {one.names[1]}" for where in ("left", "right")]
            ask("relation", one.image, sentences, int(centres[0] > centres[1]))
    return {what: float(np.mean(answers)) if answers else float("nan") for what, answers in right.items()}


def unknown_rank(model: CLIP, images: list[np.ndarray], classes: Tensor) -> float:
    """Mean share of the concepts that a word no scene knows scores above; at random it would be one half."""
    features = model.encode_image(normalise(np.stack(images)))
    words = text_features(model, [f"a photo of a {word}." for word in UNKNOWN])
    return float(((features @ words.T)[:, :, None] > (features @ classes.T)[:, None]).float().mean())


@torch.no_grad()
def evaluate(
    state: Mapping[str, Tensor], *, scenes: int | None = None, input_side: int = SIDE, artwork: str = "train"
) -> dict[str, float]:
    """Figures of an exported checkpoint on scenes of 112 pixels that training never saw.

    Args:
        state: the checkpoint.
        scenes: how many scenes, and as many again of single objects for top1; SCENES by default.
        input_side: side in pixels that the proposer enlarges them to.
        artwork: as in `car.scenes.scene`.

    Returns:
        cam, dense: mean IoU over concepts, told what is there; top1: share of one-object scenes named right among all
        concepts; given, own: for each visual prompt, the share of concepts named right, shown their true masks or the
        masks of cam; unknown: see `unknown_rank`; colour, size, side, relation: see `told_apart`.
    """
    model = CLIP.from_state_dict(state)
    count = SCENES if scenes is None else scenes
    made = held_out(count, artwork)
    background = text_features(model, [f"a clean origami {name}." for name in BACKGROUND])
    cams, dense = zip(*(soft_masks(model, one, background, input_side) for one in made), strict=True)
    classes = text_features(model, [f"a photo of a {name}." for name in concepts()])
    single = [scene(10**6 + i, size=(SIDE, SIDE), objects=(1, 1), artwork=artwork) for i in range(count)]
    alone = [one.image for one in single]
    true = [(one, list(one.concepts.values())) for one in made]
    own = [(one, list((maps > ETA).numpy())) for one, maps in zip(made, cams, strict=True)]
    return {
        "cam": float(np.mean([x for maps, one in zip(cams, made, strict=True) for x in iou(maps, one)])),
        "dense": float(np.mean([x for maps, one in zip(dense, made, strict=True) for x in iou(maps, one)])),
        "top1": named_right(model, alone, [one.names[0] for one in single], classes),
        **{f"given {prompt}": share for prompt, share in prompted(model, true, classes).items()},
        **{f"own {prompt}": share for prompt, share in prompted(model, own, classes).items()},
        "unknown": unknown_rank(model, alone, classes),
        **told_apart(model, made),
    }


@click.command(help=__doc__.replace("\n\n    ", "\n\n\b\n    "))
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--scenes", default=200, show_default=True)
@click.option("--input-side", default=SIDE, show_default=True, help="Side in pixels of the proposer's input.")
@click.option("--artwork", type=click.Choice(["train", "held"]), default="train", show_default=True)
def main(checkpoint: Path, scenes: int, input_side: int, artwork: str) -> None:
    figures = evaluate(load_file(checkpoint), scenes=scenes, input_side=input_side, artwork=artwork)
    click.echo(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
