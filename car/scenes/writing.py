"""Scenes as a folder of files.

    out/settings.json        what was asked for, with the versions that made it; written first
    out/images/0000007.png   the picture of seed 7
    out/masks/0000007.png    its objects: palette PNG in the colours of PASCAL VOC, 0 is background, i + 1 is object i
    out/scenes.jsonl         one line of JSON per scene, in the order of seeds (`record`)

The lines are collected in out/.scenes.jsonl.part, each after the files it names, and get their name at the end: where
scenes.jsonl stands, everything is there. Until then, writing the same scenes to the same folder goes on where it
stopped, and ends in the same bytes.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from car import rle
from car.errors import InputError
from car.export import dumps, make_folder, reported, write_atomically, write_labels
from car.scenes.expressions import Expression, expressions
from car.scenes.scene import VERSION, Scene
from car.scenes.series import Series

FOLDERS = ("images", "masks")
_OWN_NAME = re.compile(r"\d{7,}\.png")


class SceneWriter:
    """Writes scenes of consecutive seeds to a folder; see the top of this module for the files.

    As a context manager it makes the folder complete if the block ends well; if not, the next writer of the same
    scenes goes on.

    Args:
        out: folder to write to; made when absent.
        series: which scenes.
        seeds: their seeds.
        overwrite: replace the scenes that are there.

    Raises:
        InputError: other scenes, or all of these, are there already; or the folder cannot be made.
        CarError: writing failed.
    """

    def __init__(self, out: str | Path, series: Series, seeds: range, *, overwrite: bool = False) -> None:
        self.out, self.series, self.seeds = Path(out), series, seeds
        self.done = 0
        """How many of the scenes are in the folder."""
        self._finished, self._part = self.out / "scenes.jsonl", self.out / ".scenes.jsonl.part"
        settings = {**series.settings, "first": seeds.start, "count": len(seeds)}
        with reported(self.out):
            if overwrite:
                self._clear()
            elif self._goes_on(settings):
                self.done = _whole_lines(self._part)
            make_folder(self.out)
            write_atomically(self.out / "settings.json", f"{dumps(settings)}\n".encode())
            for folder in FOLDERS:
                make_folder(self.out / folder)
            self._lines: IO[bytes] = self._part.open("ab")

    def __enter__(self) -> "SceneWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with reported(self.out):
            self._lines.close()
            if kind is None and self.done == len(self.seeds):
                os.replace(self._part, self._finished)

    def write(self, made: Scene) -> None:
        """Write the next scene, that of the seed `seeds[done]`."""
        seed = self.seeds[self.done]
        image, masks = (f"{folder}/{seed:07}.png" for folder in FOLDERS)
        line = record(made, seed, expressions(made, seed=seed), self.series.queries(seed))
        with reported(self.out):
            write_atomically(self.out / image, encode_png(made.image))
            write_labels(self.out / masks, made.labels, len(made.names))
            self._lines.write(f"{dumps({'file': image, 'masks': masks, **line}, indent=None)}\n".encode())
            self._lines.flush()
        self.done += 1

    def _goes_on(self, settings: dict[str, Any]) -> bool:
        """Whether an unfinished writing of the same scenes is there; InputError where anything else is."""
        paths = (self._finished, self.out / "settings.json", *(self.out / folder for folder in FOLDERS))
        there = [path for path in paths if os.path.lexists(path)]
        if there and (self._finished in there or _read_json(self.out / "settings.json") != settings):
            raise InputError(f"{str(there[0])!r} exists already; add `--overwrite` or choose another folder.")
        return bool(there)

    def _clear(self) -> None:
        """Remove earlier scenes, and nothing that a user may have put beside them."""
        for path in (self._finished, self._part):
            path.unlink(missing_ok=True)
        if (self.out / "settings.json").exists():
            for folder in FOLDERS:
                for path in (self.out / folder).glob("*.png"):
                    if _OWN_NAME.fullmatch(path.name):
                        path.unlink()


def record(made: Scene, seed: int, expressed: Sequence[Expression], queries: Sequence[str]) -> dict[str, Any]:
    """A scene as plain data for JSON.

    Returns:
        seed, version (of the generator), size as [height, width], background, caption; `objects`, back to front, each
        with its label in the mask file, name, colour and texture (or null), area in pixels, bbox as [x, y, width,
        height] and segmentation (COCO RLE); `expressions`, each with text, kind, the objects it means (indices into
        `objects`, from 0) and whether it is ambiguous; and `queries`, where there are any.
    """
    return {
        "seed": seed,
        "version": VERSION,
        "size": list(made.image.shape[:2]),
        "background": list(made.background),
        "caption": made.caption,
        "objects": [_object(made, i) for i in range(len(made.names))],
        "expressions": [expression_record(each) for each in expressed],
        **({"queries": list(queries)} if queries else {}),
    }


def expression_record(each: Expression) -> dict[str, Any]:
    """An expression as plain data for JSON."""
    return {"text": each.text, "kind": each.kind, "objects": list(each.objects), "ambiguous": each.ambiguous}


def encode_png(image: np.ndarray) -> bytes:
    """A picture, uint8 RGB (H, W, 3), as PNG: packed lightly, which is several times as fast and a little larger."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _object(made: Scene, i: int) -> dict[str, Any]:
    mask = made.masks[i]
    return {
        "label": i + 1,
        "name": made.names[i],
        "colour": made.colours[i],
        "texture": made.textures[i],
        "area": int(np.count_nonzero(mask)),
        "bbox": list(cv2.boundingRect(mask.view(np.uint8))),
        "segmentation": rle.encode(mask),
    }


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _whole_lines(path: Path) -> int:
    """Lines of a file, after what a kill left of a last one is cut off; 0 where there is no file."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)
    return content.count(b"\n")
