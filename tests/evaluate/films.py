"""A small Ref-DAVIS of scene films, for the tests of runs over films."""

from pathlib import Path

import numpy as np
from PIL import Image

from car.scenes import film
from tests.data.writing_referring import TEXTS, write_davis

SIZE, FRAMES = (64, 96), 4
SEEDS = {"one": 17, "two": 23}
"""Films by sequence, with the same two things from the first frame on."""


def write_films(root: Path) -> Path:
    """The films of `SEEDS`; two annotators name the things, the others say where they are (which is often wrong)."""
    made = {key: film(seed, frames=FRAMES, size=SIZE, objects=(2, 2), cuts=0) for key, seed in SEEDS.items()}
    write_davis(root, {key: [frame.labels for frame in each] for key, each in made.items()})
    for key, each in made.items():
        for frame in each:
            Image.fromarray(frame.image).save(jpeg(root, key, frame.time), quality=95)
    for number, (file, encoding) in enumerate(TEXTS.items()):
        pattern = ("{}", "the {} on the left")[number % 2]
        said = [(key, i, pattern.format(name)) for key, each in made.items() for i, name in enumerate(each.names, 1)]
        lines = "".join(f'{key} {i} "{text}"\n' for key, i, text in said)
        (root / f"davis_text_annotations/{file}.txt").write_text(lines, encoding=encoding)
    return root


def jpeg(root: Path, key: str, number: int) -> Path:
    """The picture of a frame."""
    return root / f"JPEGImages/480p/{key}/{number:05}.jpg"


def say(root: Path, file: str, key: str, object: int, text: str) -> None:
    """Have one annotator say something else of an object."""
    path = root / f"davis_text_annotations/{file}.txt"
    lines = path.read_text(encoding=TEXTS[file]).splitlines()
    lines = [f'{key} {object} "{text}"' if line.startswith(f"{key} {object} ") else line for line in lines]
    path.write_text("".join(f"{line}\n" for line in lines), encoding=TEXTS[file])


def truths(root: Path, key: str) -> list[np.ndarray]:
    """The label maps of a film."""
    folder = root / f"Annotations_unsupervised/480p/{key}"
    return [np.array(Image.open(path)) for path in sorted(folder.iterdir())]
