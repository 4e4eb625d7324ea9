"""Films as files, laid out like DAVIS.

    out/JPEGImages/film-7/00000.jpg    the frames
    out/Annotations/film-7/00000.png   their actors: palette PNG, 0 is background, i + 1 is actor i
    out/Expressions/film-7.json        the actors, and what is said of them, all over and by frame (`film_record`)

The JSON is written last: where it stands, the others are complete and belong to it.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from car.export import dumps, make_folder, reported, write_atomically, write_labels
from car.scenes.expressions import expressions
from car.scenes.film import Film, FilmFrame
from car.scenes.film_expressions import film_expressions
from car.scenes.writing import expression_record

JPEG_QUALITY = 95


def film_paths(out: Path, name: str) -> tuple[Path, Path, Path]:
    """The folders of a film's frames and label maps, and its JSON file."""
    return out / "JPEGImages" / name, out / "Annotations" / name, out / "Expressions" / f"{name}.json"


def existing_film(out: Path, name: str) -> list[Path]:
    """What is there already of a film of that name."""
    return [path for path in film_paths(out, name) if os.path.lexists(path)]


def write_film(out: Path, name: str, film: Film, seed: int, settings: Mapping[str, Any]) -> Iterator[int]:
    """Write a film in place of one of the same name; see the top of this module for the files.

    Args:
        out: folder to write to; made when absent.
        name: what the film is called in file names.
        seed: of the film, and of the expressions of each frame.
        settings: what the film was made with, as plain data; goes into the JSON.

    Yields:
        The number of each frame, once it is written. The JSON is written when all are.

    Raises:
        InputError: a folder cannot be made.
        CarError: writing failed.
    """
    images, masks, report = film_paths(out, name)
    for folder in (images, masks, report.parent):
        make_folder(folder)
    with reported(out):
        for old in (report, *images.glob("[0-9]*.jpg"), *masks.glob("[0-9]*.png")):
            old.unlink(missing_ok=True)
    said = []
    for frame in film:
        with reported(out):
            write_atomically(images / f"{frame.time:05}.jpg", _jpeg(frame.image))
        write_labels(masks / f"{frame.time:05}.png", frame.labels, len(film.names))
        said.append(_frame_record(frame, seed))
        yield frame.time
    with reported(out):
        write_atomically(report, f"{dumps(film_record(film, said, seed, settings), indent=None)}\n".encode())


def film_record(film: Film, frames: list[dict[str, Any]], seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A film as plain data for JSON.

    Returns:
        seed, settings, size as [height, width], shots (the first frame of each) and backgrounds by shot; `actors`, each
        with its label in the mask files, name, colour and texture (or null); `expressions` that hold all over the film,
        as in `car.scenes.writing.record`; and `frames`, each with the actors present, a caption, and expressions that
        hold in this frame. Actors are named by their index in `actors`, from 0.
    """
    columns = zip(film.names, film.colours, film.textures, strict=True)
    return {
        "seed": seed,
        "settings": dict(settings),
        "size": list(film.size),
        "shots": list(film.shots),
        "backgrounds": [list(background) for background in film.backgrounds],
        "actors": [
            {"label": i + 1, "name": name, "colour": colour, "texture": texture}
            for i, (name, colour, texture) in enumerate(columns)
        ],
        "expressions": [expression_record(each) for each in film_expressions(film, seed=seed)],
        "frames": frames,
    }


def _frame_record(frame: FilmFrame, seed: int) -> dict[str, Any]:
    made = frame.scene()
    said = [expression_record(each) for each in expressions(made, seed=seed)]
    for each in said:
        each["objects"] = [frame.present[i] for i in each["objects"]]
    return {"present": list(frame.present), "caption": made.caption, "expressions": said}


def _jpeg(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
