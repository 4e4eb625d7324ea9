"""A small benchmark of scenes in the layout of people's own data, for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from car.scenes import Scene, scene

SEED = 4100
NAMES = ("cat", "dog", "umbrella", "pizza", "unicorn")
SETTINGS = {"proposer": "gradcam", "max_steps": 4}


def picture(index: int) -> Scene:
    """A scene of two or three of `NAMES`, wider than high or the other way round."""
    size = ((96, 128), (128, 96))[index % 2]
    return scene(SEED + index, size=size, objects=(2, 3), among=NAMES)


def labels_of(made: Scene) -> np.ndarray:
    """Its true label map, uint8 (H, W): i + 1 for NAMES[i]."""
    labels = np.zeros(made.image.shape[:2], np.uint8)
    for name, mask in made.concepts.items():
        labels[mask] = NAMES.index(name) + 1
    return labels


def write_pictures(root: Path, count: int, *, background: bool = True, stuff: tuple[str, ...] = ()) -> Path:
    """Write the first scenes as a data set; `stuff` are classes after `NAMES` that no label map shows."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        made = picture(index)
        Image.fromarray(made.image).save(root / f"images/{index:03}.png")
        Image.fromarray(labels_of(made)).save(root / f"labels/{index:03}.png")
    classes = [("stuff", "background")] if background else []
    classes += [*(("thing", name) for name in NAMES), *(("stuff", name) for name in stuff)]
    lines = (f"{id}\t{kind}\t{name}\n" for id, (kind, name) in enumerate(classes))
    (root / "classes.txt").write_text("".join(lines))
    return root
