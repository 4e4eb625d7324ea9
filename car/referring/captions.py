"""Captions of an image and of its mask proposals, for TAS: from a captioner, kept on disk, or from a file.

A file of captions is one JSON object for any number of images:

    {"kitchen_01": {"image": "a man at a table with two dogs",
                    "masks": ["a man in a red jacket", "a dog lying down", "a wooden table"]},
     "9f86d0…": {…}}

An image goes by the stem of its file, or by the hash of its pixels (`picture_key`). "masks" has one caption per mask
proposal, in the order of all the proposals, before TAS leaves any out.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from car.errors import InputError, MissingError
from car.export import dumps, write_atomically
from car.referring.proposals import content_key
from car.vlm.model import CLIP

log = logging.getLogger(__name__)

BUILT_IN = "built-in"
PUBLISHED = {"blip2": "Salesforce/blip2-opt-2.7b", "git": "microsoft/git-base-coco"}
"""Captioning models by name, as the Hugging Face Hub calls them; TAS's is the first."""
WHOLE = "image"
"""Key of the whole image's caption among those that are kept; those of pictures go by their hash."""
_FORM = 'Expected {"IMAGE": {"image": "caption", "masks": ["caption", ...]}, ...}'


class Captioner(Protocol):
    """Puts pictures into words.

    Attributes:
        name: what results call it.
        identity: what its captions depend on besides the picture, plain data; None where that is not known, which keeps
            them from being kept.
    """

    name: str

    @property
    def identity(self) -> Mapping[str, Any] | None: ...

    def whole(self, image: np.ndarray) -> str:
        """A caption of an image (H, W, 3) uint8 RGB that names the things in it."""

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """A caption for each of some pictures (h, w, 3) uint8 RGB that show one thing."""


@dataclass(frozen=True)
class Captions:
    """What was said of an image and of some of its mask proposals.

    image: caption of the whole image.
    masks: captions of the proposals.
    source: the captioner's name, or the file's.
    """

    image: str
    masks: tuple[str, ...]
    source: str


class CaptionSource:
    """Gives the captions of images.

    What a captioner says is kept on disk, under a hash of the picture, the captioner and its weights. A model of
    transformers is loaded once a picture comes that is not known yet.

    Args:
        spec: "built-in": phrases ranked with the CLIP at hand (`car.referring.phrases`); "blip2" (some 15 GB to
            download) or "git"; any other captioning model of transformers, as the name of a repository ("OWNER/MODEL")
            or a folder; a file of captions (.json), see the top of this module; or a `Captioner`.
        clip: what the built-in captioner ranks with; it alone needs one.
        device, dtype: where a model of transformers runs; see `car.device`.
        keep: keep captions on disk, in `captions_folder()`.

    Raises:
        InputError: none of these, or a broken file.
        MissingError: the file, or the package transformers, is absent.
    """

    def __init__(
        self,
        spec: Any = BUILT_IN,
        *,
        clip: CLIP | None = None,
        device: Any = "auto",
        dtype: Any = "auto",
        keep: bool = True,
    ) -> None:
        self.keep = keep
        self._source = load(spec, clip, device, dtype)
        self.name = self._source.name

    def __call__(
        self,
        image: np.ndarray,
        pictures: Sequence[np.ndarray],
        *,
        kept: Sequence[int],
        total: int,
        stem: str | None = None,
    ) -> Captions:
        """The captions of an image and of some of its mask proposals.

        Args:
            image: (H, W, 3) uint8 RGB.
            pictures: of the mask proposals, each (h, w, 3) uint8 RGB.
            kept: which of the image's proposals the pictures show; a file of captions goes by it.
            total: how many proposals the image has.
            stem: of the image's file; a file of captions may go by it.

        Raises:
            InputError: a file of captions has another number of them than there are mask proposals.
            MissingError: a file has none of the image; or weights are not here and cannot be downloaded.
            CheckpointError: weights that cannot be read, or are none of a captioning model.
        """
        if isinstance(self._source, CaptionFile):
            return self._source.captions(image, stem, kept, total)
        path = self._path(image)
        known = {} if path is None else read(path)
        keys = [picture_key(picture) for picture in pictures]
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
        made = {} if WHOLE in known else {WHOLE: self._source.whole(image)}
        made |= dict(zip(new, self._source.each(list(new.values())), strict=True)) if new else {}
        known |= {key: tidy(caption) for key, caption in made.items()}
        if made and path is not None:
            write(path, known)
        return Captions(known[WHOLE], tuple(known[key] for key in keys), self.name)

    def _path(self, image: np.ndarray) -> Path | None:
        """Where the captions of an image are kept, if they are."""
        identity = self._source.identity if self.keep and not isinstance(self._source, CaptionFile) else None
        return None if identity is None else captions_folder() / f"{content_key(image, identity)}.json"


def load(spec: Any, clip: CLIP | None, device: Any, dtype: Any) -> "Captioner | CaptionFile":
    """What `CaptionSource` gets captions from; arguments and errors as of it."""
    if not isinstance(spec, str | Path):
        if callable(getattr(spec, "whole", None)) and callable(getattr(spec, "each", None)):
            return spec
        raise InputError(f"Expected captions' name, path or a captioner, but got {type(spec).__name__}.")
    if str(spec) == BUILT_IN:
        from car.referring.phrases import PhraseCaptioner

        if clip is None:
            raise InputError(f"The captions {BUILT_IN!r} are ranked with a CLIP; give one.")
        return PhraseCaptioner(clip)
    if Path(spec).suffix.lower() == ".json":
        return CaptionFile(Path(spec))
    from car.referring.caption_model import ModelCaptioner

    name = PUBLISHED.get(str(spec), str(spec))
    if not Path(name).is_dir() and name.count("/") != 1:
        known = ", ".join((BUILT_IN, *PUBLISHED))
        raise InputError(
            f"No captions {name!r}. Available: {known}; a repository OWNER/MODEL, a model's folder, or a .json file."
        )
    return ModelCaptioner(name, device=device, dtype=dtype)


class CaptionFile:
    """Captions by image, as described at the top of this module.

    Raises:
        MissingError: there is no such file.
        InputError: it cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.entries = entries(path)

    def captions(self, image: np.ndarray, stem: str | None, kept: Sequence[int], total: int) -> Captions:
        """The captions of an image and of those of its mask proposals that are kept; as `CaptionSource.__call__`."""
        names = [name for name in (stem, picture_key(image)) if name is not None]
        entry = next((self.entries[name] for name in names if name in self.entries), None)
        if entry is None:
            raise MissingError(f"{self.name!r} has no captions of {' or '.join(map(repr, names))}.")
        masks = entry["masks"]
        if len(masks) != total:
            raise InputError(
                f"{self.name!r} has {len(masks)} captions of masks of {names[0]!r}, but the image has {total} mask "
                "proposals; give the proposals that were captioned."
            )
        return Captions(tidy(entry["image"]), tuple(tidy(masks[i]) for i in kept), self.name)


def entries(path: Path) -> dict[str, Any]:
    """What a file of captions holds, by image; errors as of `CaptionFile`."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"There is no file {str(path)!r} to take captions from.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {str(path)!r} as JSON: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{_FORM}, but {str(path)!r} holds no object.")
    for image, entry in content.items():
        if not well_formed(entry):
            raise InputError(f"{_FORM}, but in {str(path)!r} {image[:40]!r} has something else.")
    return content


def well_formed(entry: Any) -> bool:
    """Whether an entry of a file of captions is as it should be."""
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        return False
    masks = entry.get("masks")
    return isinstance(masks, list) and all(isinstance(caption, str) for caption in masks)


def captions_folder() -> Path:
    """Where captions are kept: $CAR_CACHE/captions, else in the user's cache folder."""
    if root := os.environ.get("CAR_CACHE"):
        return Path(root).expanduser() / "captions"
    from platformdirs import user_cache_path

    return user_cache_path("car") / "captions"


def picture_key(picture: np.ndarray) -> str:
    """What identifies a picture (h, w, 3) uint8 RGB: BLAKE2b, 20 bytes, of "HEIGHT WIDTH " and its bytes, hexadecimal.

    >>> picture_key(np.zeros((2, 3, 3), np.uint8))[:8]
    '6b11d456'
    """
    digest = hashlib.blake2b("{} {} ".format(*picture.shape[:2]).encode(), digest_size=20)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def read(path: Path) -> dict[str, str]:
    """Captions that were kept; none where there are none, or the file is damaged, which is logged."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or not all(isinstance(caption, str) for caption in content.values()):
            raise ValueError("it holds something else")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("Kept captions in %s are made anew: %s.", path, " ".join(str(error).split()))
        return {}
    return content


def write(path: Path, captions: Mapping[str, str]) -> None:
    """Keep captions; where that cannot be, it is logged and costs time later, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dumps(captions, indent=None).encode())
    except OSError as error:
        log.info("Captions are not kept in %s: %s", path.parent, error)


def tidy(caption: str) -> str:
    """A caption with single spaces between its words."""
    return " ".join(caption.split())
