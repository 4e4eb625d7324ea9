"""Ref-DAVIS 2017: the films of DAVIS, and in four text files one expression for each of their objects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from car.data.explain import missing_referring
from car.data.labels import map_values, open_map
from car.data.layout import listing
from car.data.referring import Frame
from car.data.referring_layout import Chosen, check_there, find_files
from car.errors import InputError
from car.io import read_image
from car.wordlists import read_lines

ANNOTATORS = {
    "annot1": "utf-8-sig",
    "annot1_full_video": "utf-8-sig",
    "annot2": "latin-1",
    "annot2_full_video": "latin-1",
}
"""Two people, each having seen the first frame or the whole film, and the encoding of their files; in ReferFormer's
order."""
_MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
_QUOTES = '"“”\x93\x94'
_MOST_OBJECTS = 254


@dataclass(frozen=True)
class RefDavis:
    """A `VideoDataset`.

    images, truths: the folders that hold a folder of frames, or of label maps, for every sequence.
    names: the names of frames without suffix, by sequence.
    texts: by annotator, sequence and object.
    """

    name: str
    split: str
    variant: str
    root: Path
    images: Path
    truths: Path
    names: Mapping[str, tuple[str, ...]]
    texts: Mapping[str, Mapping[str, Mapping[int, str]]]

    @property
    def keys(self) -> tuple[str, ...]:
        """The sequences, sorted."""
        return tuple(self.names)

    @property
    def annotators(self) -> tuple[str, ...]:
        """As in `ANNOTATORS`."""
        return tuple(self.texts)

    def expressions(self, key: str, annotator: str) -> Mapping[int, str]:
        """What an annotator says of the objects of a sequence, by object id, ascending.

        Raises:
            InputError: no such sequence or annotator.
        """
        self._check(key)
        if annotator not in self.texts:
            raise InputError(f"{self.name} has no annotator {annotator!r}. Available: {', '.join(self.texts)}.")
        return self.texts[annotator][key]

    def frames(self, key: str) -> Iterator[Frame]:
        """The frames of a sequence in order, one in memory at a time.

        Raises:
            InputError: no such sequence (when the first frame is asked for), or a frame or label map is damaged, or of
                another size; one line that names the file.
        """
        self._check(key)
        for name in self.names[key]:
            picture, truth = self.images / key / f"{name}.jpg", self.truths / key / f"{name}.png"
            image, labels = read_image(picture), _labels(truth)
            if labels.shape != image.shape[:2]:
                sizes = f"{labels.shape[1]} x {labels.shape[0]} pixels, but its frame {str(picture)!r}"
                raise InputError(f"{str(truth)!r} has {sizes} {image.shape[1]} x {image.shape[0]}.")
            yield Frame(name, image, labels)

    def _check(self, key: str) -> None:
        if key not in self.names:
            raise InputError(f"{self.name} has no sequence {key!r} in its split {self.split!r}.")


def open_refdavis(chosen: Chosen) -> RefDavis:
    """Open Ref-DAVIS 2017, once every frame, label map and expression is known to be there.

    Raises:
        InputError: a list or a file of expressions cannot be read or makes no sense.
        MissingError: files are missing.
    """
    files = find_files(chosen)
    keys = sorted(set(_sequences(chosen, files["sequences"])))
    for part in ("images", "truths"):
        check_there(chosen, files[part], keys, part, "sequences")
    texts = {each: read_texts(files[each], encoding) for each, encoding in ANNOTATORS.items()}
    for each, said in texts.items():
        if lost := [key for key in keys if key not in said]:
            raise InputError(f"{str(files[each])!r} says nothing of {len(lost)} sequences ({lost[0]!r} first).")
    return RefDavis(
        name=chosen.benchmark.name,
        split=chosen.split,
        variant=chosen.variant,
        root=chosen.root,
        images=files["images"],
        truths=files["truths"],
        names={key: _frames(chosen, files["images"] / key, files["truths"] / key) for key in keys},
        texts={each: {key: said[key] for key in keys} for each, said in texts.items()},
    )


def read_texts(path: Path, encoding: str) -> dict[str, dict[int, str]]:
    """Expressions by sequence and object, ascending; known misspellings of sequences are put right.

    Args:
        path: a text of lines SEQUENCE ID "EXPRESSION".
        encoding: of the text.

    Raises:
        InputError: it cannot be read, a line is another, or an object is there twice; one line that names the file.
    """
    try:
        lines = path.read_text(encoding=encoding).split("\n")
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Cannot read {str(path)!r}: it is not text in {encoding}.") from None
    said: dict[str, dict[int, str]] = {}
    for number, line in enumerate(lines, 1):
        if not (fields := line.split(maxsplit=2)):
            continue
        text = " ".join(fields[2].strip().strip(_QUOTES).split()) if len(fields) > 2 else ""
        if not text or not fields[1].isdecimal() or not 1 <= int(fields[1]) <= _MOST_OBJECTS:
            raise InputError(f'{str(path)!r}, line {number}: expected SEQUENCE ID "EXPRESSION", but got {line[:60]!r}.')
        objects = said.setdefault(_MISSPELT.get(fields[0], fields[0]), {})
        if int(fields[1]) in objects:
            raise InputError(f"{str(path)!r}, line {number}: object {fields[1]} of {fields[0]} is there twice.")
        objects[int(fields[1])] = text
    return {key: dict(sorted(objects.items())) for key, objects in said.items()}


def _sequences(chosen: Chosen, path: Path) -> list[str]:
    keys = read_lines(path)
    if not keys:
        raise missing_referring(chosen, f"{str(path)!r} names no sequence", {"keys"})
    for key in keys:
        if key in (".", "..") or Path(key).name != key or "\0" in key:
            raise InputError(f"{str(path)!r} names {key!r}, which cannot be a sequence.")
    return keys


def _frames(chosen: Chosen, images: Path, truths: Path) -> tuple[str, ...]:
    """Names of the frames of a sequence, for each of which there are a picture and a label map."""
    both = ((images, ".jpg"), (truths, ".png"))
    names = sorted({
        name.removesuffix(suffix)
        for folder, suffix in both
        for name in listing(folder)
        if name.endswith(suffix) and not name.startswith(".")
    })  # fmt: skip
    if not names:
        raise missing_referring(chosen, f"there is no frame in {str(images)!r}", {"images"})
    check_there(chosen, images, [f"{name}.jpg" for name in names], "images", "frames")
    check_there(chosen, truths, [f"{name}.png" for name in names], "truths", "label maps")
    return tuple(names)


def _labels(path: Path) -> np.ndarray:
    with open_map(path) as label_map:
        values = map_values(label_map)
        if values.dtype != np.uint8:
            raise InputError("has 16 bits a pixel; expected objects 1 to 254, and 255 for what is not counted.")
    return values
