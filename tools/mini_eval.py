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
from mini_prompts import draw_prompt, jitter
from safetensors.torch import load_file
from torch import Tensor

from car.propose.gradcam import GradCAM
from car.scenes import Scene, concepts, scene
from car.vlm.model import CLIP
from car.vlm.preprocess import normalise, proposer_input
from car.vlm.tokenizer import tokenize

SCENES = 60
"""How many scenes the trainer's own evaluation looks at."""
SIDE = 112
BACKGROUND = ("grass", "water", "sky", "road", "wall", "sand", "snow", "forest", "ground", "rock", "wood", "mountain")
ETA = 0.4
CHECKED_PROMPTS = ("gray", "blur", "circle", "circle+blur")


def held_out(count: int, artwork: str) -> list[Scene]:
    """Scenes of seeds that training never sees: half with one or two objects, half with two to four."""
    return [scene(i, size=(SIDE, SIDE), objects=(1, 2) if i % 2 else (2, 4), artwork=artwork) for i in range(count)]


def text_features(model: CLIP, sentences: list[str]) -> Tensor:
    return F.normalize(model.encode_text(tokenize(sentences)), dim=-1)


def iou(maps: Tensor, made: Scene) -> list[float]:
    """IoU of each object when every pixel goes to its best map, or to the background where none exceeds ETA."""
    full = F.interpolate(maps[None], size=made.masks.shape[1:], mode="bilinear", align_corners=False)[0]
    best, label = full.max(dim=0)
    label = torch.where(best > ETA, label, -1).numpy()
    found = [label == i for i in range(len(made.masks))]
    return [float((f & m).sum() / (f | m).sum()) for f, m in zip(found, made.masks, strict=True)]


def map_scores(model: CLIP, made: Scene, background: Tensor, input_side: int) -> tuple[list[float], list[float]]:
    """IoU of patch-mean gradCAM and of the patches' own softmax, told what is there."""
    scale = float(model.logit_scale.exp())
    taps = model.visual.taps(proposer_input(made.image, 8, input_side))
    queries = text_features(model, [f"a clean origami {name}." for name in made.names])
    cam = GradCAM(model.visual, taps.tokens[0], queries, background, logit_scale=scale, grid=taps.grid)
    maps = cam.maps(range(len(queries)))
    patches = F.normalize(model.visual.project(model.visual.blocks[-1](taps.tokens))[0, 1:], dim=-1)
    own = (scale * patches @ torch.cat([queries, background]).T).softmax(dim=-1)[:, : len(queries)]
    return iou(maps, made), iou(own.T.unflatten(1, taps.grid), made)


def prompted_accuracy(model: CLIP, scenes: list[Scene], classes: Tensor) -> dict[str, float]:
    """Share of prompted objects whose concept comes first among all concepts, per visual prompt."""
    names = list(concepts())
    out = {}
    for prompt in CHECKED_PROMPTS:
        rng = np.random.default_rng(3)
        pairs = [(s, i) for s in scenes for i in range(len(s.names))]
        images = [draw_prompt(s.image, jitter(s.masks[i], rng), prompt, rng) for s, i in pairs]
        features = model.encode_image(normalise(np.stack(images)))
        first = (features @ classes.T).argmax(dim=-1)
        out[prompt] = float(np.mean([names[k] == s.names[i] for k, (s, i) in zip(first, pairs, strict=True)]))
    return out


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
        cam, dense: mean IoU over objects, told what is there; top1: share of one-object scenes named right among all
        concepts; the visual prompts: share of prompted objects named right.
    """
    model = CLIP.from_state_dict(state)
    count = SCENES if scenes is None else scenes
    made = held_out(count, artwork)
    background = text_features(model, [f"a clean origami {name}." for name in BACKGROUND])
    scores = [map_scores(model, one, background, input_side) for one in made]
    classes = text_features(model, [f"a photo of a {name}." for name in concepts()])
    single = [scene(10**6 + i, size=(SIDE, SIDE), objects=(1, 1), artwork=artwork) for i in range(count)]
    first = (model.encode_image(normalise(np.stack([s.image for s in single]))) @ classes.T).argmax(dim=-1)
    names = list(concepts())
    return {
        "cam": float(np.mean([x for cam, _ in scores for x in cam])),
        "dense": float(np.mean([x for _, dense in scores for x in dense])),
        "top1": float(np.mean([names[k] == s.names[0] for k, s in zip(first, single, strict=True)])),
        **prompted_accuracy(model, made, classes),
    }


@click.command(help=__doc__)
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--scenes", default=200, show_default=True)
@click.option("--input-side", default=SIDE, show_default=True, help="Side in pixels of the proposer's input.")
@click.option("--artwork", type=click.Choice(["train", "held"]), default="train", show_default=True)
def main(checkpoint: Path, scenes: int, input_side: int, artwork: str) -> None:
    figures = evaluate(load_file(checkpoint), scenes=scenes, input_side=input_side, artwork=artwork)
    click.echo(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
