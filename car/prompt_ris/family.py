"""The training pictures of the RefCOCO family: several benchmarks of the same pictures, told as one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from car.data.instances import Instance, Photo, instance_mask
from car.data.json_files import read_json
from car.data.of_categories import OfCategories
from car.data.plain_pickle import read_plain_pickle
from car.data.refcoco import AnnotatedTarget, CocoReferring, read_refs
from car.data.referring import ReferringTruth, Target
from car.data.referring_layout import find_files
from car.data.referring_readers import choose_referring, open_referring
from car.errors import InputError
from car.io import read_image

FAMILY = ("refcoco", "refcoco+", "refcocog", "grefcoco")
"""Benchmarks of COCO's pictures and annotations: the same number, of a picture or an object, is the same in all."""
TRAIN = "train"


@dataclass(frozen=True)
class Shown:
    """A picture, and what all benchmarks say of it.

    key: its file name without suffix, as of `CocoReferring`.
    file: the picture.
    photo: its size by the annotations.
    targets: each with the annotation file it is from, for messages; their ids begin with the benchmark.
    """

    key: str
    file: Path
    photo: Photo
    targets: tuple[tuple[Path, AnnotatedTarget], ...]


@dataclass(frozen=True)
class Family:
    """Pictures to train on, as `Pictures`: no benchmark of the family has one of them in another split.

    shown: the pictures, by key, ascending.
    removed: how many pictures of the training splits are not among them, since another split of a benchmark has them.
    """

    shown: tuple[Shown, ...]
    removed: int

    def __len__(self) -> int:
        return len(self.shown)

    def read(self, index: int) -> ReferringTruth:
        """Picture `index` with the targets of all benchmarks, in their order; the ids are "refcoco:12". An annotated
        object has the same mask in each.

        Raises:
            InputError: the picture is damaged or of another size than its annotations, or an annotation makes no sense;
                one line that names the file.
        """
        shown = self.shown[index]
        image, photo = read_image(shown.file), shown.photo
        if image.shape[:2] != (photo.height, photo.width):
            raise InputError(
                f"{str(shown.file)!r} has {image.shape[1]} x {image.shape[0]} pixels, "
                f"but {photo.width} x {photo.height} in {str(shown.targets[0][0])!r}."
            )
        masks: dict[int, np.ndarray] = {}
        targets = []
        for annotations, each in shown.targets:
            for instance in each.instances:
                if instance.id not in masks:
                    masks[instance.id] = _mask(instance, photo, annotations)
            mask = np.any([masks[instance.id] for instance in each.instances], axis=0)
            targets.append(Target(each.id, each.expressions, mask, False, each.category))
        return ReferringTruth(image, tuple(targets))


def open_family(
    names: Sequence[str],
    root: str | Path,
    *,
    split_by: Mapping[str, str] | None = None,
    categories: Collection[str] | None = None,
    sentence: str = "sent",
) -> Family:
    """Open the training splits of benchmarks, without the pictures that another split of any of them has.

    Left out besides are targets that are nothing, blank expressions, and pictures that nothing is left of.

    Args:
        names: some of `FAMILY`.
        root: the data root of all, as of `open_referring`.
        split_by: who made the splits, by benchmark; the first of each by default.
        categories: keep only targets that are annotated as one of these, as of `OfCategories`; all by default.
        sentence: as of `open_referring`.

    Raises:
        InputError: no such benchmark, choice or category; a file is damaged, or does not fit another; nothing is left.
        MissingError: files are missing; one line that says which, and where they come from.
    """
    makers = dict(split_by or {})
    _check(names, makers)
    opened = [_opened(name, root, makers.get(name), categories, sentence) for name in names]
    kept_back = {number for name in names for number in _other_splits(name, root, makers.get(name))}
    pictures = _merged(opened)
    shown = tuple(pictures[key] for key in sorted(pictures) if _number(pictures[key].targets) not in kept_back)
    if not shown:
        raise InputError(
            f"No picture to train on is left of {', '.join(names)}: of {len(pictures)} with targets to train on, "
            "each is in another split."
        )
    _check_apart(shown, kept_back)
    return Family(shown, len(pictures) - len(shown))


def _check(names: Sequence[str], makers: Mapping[str, str]) -> None:
    if not names or len(set(names)) < len(names):
        raise InputError(f"Expected argument `names` to be benchmarks, each once, but got {list(names)}.")
    for name in (*names, *makers):
        if name not in FAMILY:
            raise InputError(f"{name!r} is no benchmark to train on. Available: {', '.join(FAMILY)}.")
    if other := [name for name in makers if name not in names]:
        raise InputError(f"Got who split {other[0]}, which is not among the benchmarks: {', '.join(names)}.")


def _opened(
    name: str, root: str | Path, split_by: str | None, categories: Collection[str] | None, sentence: str
) -> CocoReferring:
    """A training split, of its targets those to train on, under the ids that they have here."""
    dataset = open_referring(name, root, split=TRAIN, split_by=split_by, sentence=sentence)
    if not isinstance(dataset, CocoReferring):
        raise TypeError(f"{name} is not of COCO's pictures.")
    if categories is not None:
        OfCategories(dataset, categories)  # refuses those that the benchmark does not have
    targets = {key: tuple(_usable(name, found, categories)) for key, found in dataset.targets.items()}
    return replace(dataset, targets={key: found for key, found in targets.items() if found})


def _usable(
    name: str, targets: Iterable[AnnotatedTarget], categories: Collection[str] | None
) -> Iterable[AnnotatedTarget]:
    for each in targets:
        said = tuple(text for text in each.expressions if text.strip())
        if said and each.instances and (categories is None or each.category in categories):
            yield replace(each, id=f"{name}:{each.id}", expressions=said)


def _other_splits(name: str, root: str | Path, split_by: str | None) -> set[int]:
    """The numbers of all pictures of a benchmark that are in a split other than the training split."""
    path = find_files(choose_referring(name, root, split=TRAIN, split_by=split_by))["refs"]
    data = read_plain_pickle(path) if path.suffix == ".p" else read_json(path)
    return {ref.image for ref in read_refs(data, path, lambda split: split != TRAIN, "sent")}


def _merged(opened: Sequence[CocoReferring]) -> dict[str, Shown]:
    """The pictures of several benchmarks by key, each with the targets of all."""
    found: dict[str, Shown] = {}
    for dataset in opened:
        for key, targets in dataset.targets.items():
            told = tuple((dataset.annotations, each) for each in targets)
            photo = dataset.photos[key]
            before = found.setdefault(key, Shown(key, dataset.images / photo.file, photo, ()))
            if photo != before.photo or (before.targets and _number(before.targets) != _number(told)):
                raise InputError(
                    f"{str(dataset.annotations)!r} has another number or size of the picture {key!r} than "
                    f"{str(before.targets[0][0])!r}; both should be COCO's."
                )
            found[key] = replace(before, targets=before.targets + told)
    if not found:
        names = ", ".join(dataset.name for dataset in opened)
        raise InputError(
            f"No target to train on in {names}: none has an expression, and is of the categories asked for."
        )
    return found


def _number(targets: Sequence[tuple[Path, AnnotatedTarget]]) -> int:
    """COCO's number of the picture that targets are in."""
    return targets[0][1].instances[0].image


def _check_apart(shown: Iterable[Shown], kept_back: Collection[int]) -> None:
    """Nothing that is trained on may be in a picture of another split."""
    for each in shown:
        for _, target in each.targets:
            if not {instance.image for instance in target.instances}.isdisjoint(kept_back):
                raise RuntimeError(f"{each.key} is in another split, and was not removed from the training pictures.")


def _mask(instance: Instance, photo: Photo, annotations: Path) -> np.ndarray:
    try:
        return instance_mask(instance.segmentation, photo.height, photo.width, "union")
    except InputError as error:
        raise InputError(f"{str(annotations)!r}, annotation {instance.id}: {error}") from None
