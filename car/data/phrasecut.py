"""PhraseCut (VGPhraseCut_v0): phrases for pictures of Visual Genome, with the polygons of all that each describes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from car.data.explain import missing_referring
from car.data.json_files import read_json
from car.data.prepare.preparation import check_pixels
from car.data.referring import ReferringTruth, Target
from car.data.referring_layout import Chosen, check_there, find_files
from car.errors import InputError
from car.io import read_image

UNSEEN = "phrasecut-unseen"
COCO_NAMES = frozenset((
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
))  # fmt: skip
"""The categories of COCO; phrases about another noun are unseen by what was trained on them."""

_FARTHEST = 2**20
"""Corners farther out than this are no corners; Pillow would draw something else for them."""


@dataclass(frozen=True)
class Task:
    """A phrase.

    id, phrase: as in the file.
    noun: the noun of the phrase, without attributes.
    polygons: (N, 2) int32 each, x and y of N >= 2 corners; of all instances.
    """

    id: str
    phrase: str
    noun: str
    polygons: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class PhraseCut:
    """A `ReferringDataset`. Pictures of another size than their annotations are resized to that, bilinearly.

    images: the folder of pictures.
    sizes: height and width by key.
    tasks: by key.
    """

    name: str
    split: str
    variant: str
    root: Path
    images: Path
    sizes: Mapping[str, tuple[int, int]]
    tasks: Mapping[str, tuple[Task, ...]]

    @property
    def keys(self) -> tuple[str, ...]:
        """Visual Genome's numbers of the pictures, sorted as texts."""
        return tuple(self.tasks)

    def read(self, key: str) -> ReferringTruth:
        """One picture and its targets.

        Raises:
            InputError: no such key, or the picture is damaged; one line that names the file.
        """
        if key not in self.tasks:
            raise InputError(f"{self.name} has no picture {key!r} in its split {self.split!r}.")
        height, width = self.sizes[key]
        image = read_image(self.images / f"{key}.jpg")
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return ReferringTruth(image, tuple(_target(task, height, width) for task in self.tasks[key]))


def open_phrasecut(chosen: Chosen) -> PhraseCut:
    """Open PhraseCut, or of it the phrases whose noun is not among `COCO_NAMES`.

    Raises:
        InputError: a file is damaged, or does not fit the other.
        MissingError: files are missing.
    """
    files = find_files(chosen)
    tasks = read_tasks(files["tasks"], unseen=chosen.benchmark.name == UNSEEN)
    if not tasks:
        raise missing_referring(chosen, f"{str(files['tasks'])!r} has no phrase of this benchmark", {"expressions"})
    found = _read_sizes(files["sizes"], tasks)
    for number in tasks:
        if number not in found:
            raise InputError(f"{str(files['sizes'])!r} has no image {number}, which {str(files['tasks'])!r} is about.")
    sizes = {str(number): size for number, size in found.items()}
    check_there(chosen, files["images"], [f"{key}.jpg" for key in sorted(sizes)], "images", "pictures")
    return PhraseCut(
        name=chosen.benchmark.name,
        split=chosen.split,
        variant=chosen.variant,
        root=chosen.root,
        images=files["images"],
        sizes=sizes,
        tasks={str(number): tuple(tasks[number]) for number in sorted(tasks, key=str)},
    )


def read_tasks(path: Path, *, unseen: bool) -> dict[int, list[Task]]:
    """The phrases of a split by picture. An id that is there again gets #2, #3, ...

    Raises:
        InputError: it cannot be read, or is not laid out as such files are; one line that names the file.
    """
    times = Counter[str]()
    tasks: dict[int, list[Task]] = {}

    def keep(item: dict[str, Any]) -> dict[str, Any] | None:
        if "task_id" not in item:
            return {"name": item["name"]} if "name" in item else {}
        picture, task = _task(item)
        if not unseen or task.noun not in COCO_NAMES:
            times[task.id] += 1
            time = times[task.id]
            tasks.setdefault(picture, []).append(task if time == 1 else replace(task, id=f"{task.id}#{time}"))
        return None

    if not isinstance(read_json(path, keep), list):
        raise InputError(f"{str(path)!r} holds no list of tasks.")
    return tasks


def _task(item: dict[str, Any]) -> tuple[int, Task]:
    """A task and the number of its picture; InputErrors begin with what the file has."""
    name, picture, phrase, structure = (item.get(key) for key in ("task_id", "image_id", "phrase", "phrase_structure"))
    noun = structure.get("name") if isinstance(structure, dict) else None
    if type(name) is not str or type(picture) is not int or type(phrase) is not str or type(noun) is not str:
        raise InputError(f"has a task {name!r} without task_id, image_id, phrase, or the name in its phrase_structure.")
    return picture, Task(name, phrase, noun, _polygons(name, item.get("Polygons")))


def _polygons(name: str, value: Any) -> tuple[np.ndarray, ...]:
    """The polygons of all instances, corners cut to whole numbers; those of a single point or none are left out."""
    try:
        polygons = [np.array(polygon, np.float64) for instance in value for polygon in instance if len(polygon) > 1]
    except (TypeError, ValueError, OverflowError):
        polygons = [np.zeros(0)]
    for polygon in polygons:
        if polygon.ndim != 2 or polygon.shape[1] != 2 or not (np.abs(polygon) <= _FARTHEST).all():
            raise InputError(f"has a task {name!r} whose Polygons are no polygons of points [x, y].")
    return tuple(polygon.astype(np.int32) for polygon in polygons)


def _read_sizes(path: Path, wanted: Mapping[int, Any]) -> dict[int, tuple[int, int]]:
    """Height and width of pictures by number."""
    sizes: dict[int, tuple[int, int]] = {}

    def keep(item: dict[str, Any]) -> None:
        number, height, width = (item.get(key) for key in ("image_id", "height", "width"))
        if type(number) is not int or number not in wanted:
            return
        if type(height) is not int or type(width) is not int:
            raise InputError(f"has an image {number} without height and width.")
        try:
            check_pixels(height, width)
        except InputError as error:
            raise InputError(f"has an image {number} that {error}") from None
        sizes[number] = height, width

    read_json(path, keep)
    return sizes


def _target(task: Task, height: int, width: int) -> Target:
    layer = Image.new("L", (width, height))
    draw = ImageDraw.Draw(layer)
    for polygon in task.polygons:
        draw.polygon([(x, y) for x, y in polygon.tolist()], fill=1, outline=1)
    return Target(task.id, (task.phrase,), np.asarray(layer).astype(bool), no_target=False, category=task.noun)
