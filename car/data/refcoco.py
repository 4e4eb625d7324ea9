"""RefCOCO, RefCOCO+ and RefCOCOg as the refer API has them: refs(...).p, instances.json, COCO's pictures of 2014."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from car.data.explain import missing_referring
from car.data.instances import Instance, Instances, Photo, instance_mask, read_instances
from car.data.plain_pickle import read_plain_pickle
from car.data.referring import ReferringTruth, Target
from car.data.referring_layout import Chosen, check_there, find_files
from car.errors import InputError
from car.io import read_image


@dataclass(frozen=True)
class Ref:
    """An entry of the list of references.

    id, image: its number, and that of its picture.
    instances: the numbers of the annotations that are meant; none where there is no target.
    expressions: what is said.
    """

    id: int
    image: int
    instances: tuple[int, ...]
    expressions: tuple[str, ...]


@dataclass(frozen=True)
class AnnotatedTarget:
    """A `Target` before its mask is drawn.

    instances: those whose pixels it has.
    """

    id: str
    expressions: tuple[str, ...]
    instances: tuple[Instance, ...]
    no_target: bool
    category: str | None


@dataclass(frozen=True)
class CocoReferring:
    """A `ReferringDataset` over COCO's pictures and annotations.

    images: the folder of pictures.
    annotations: the file of the annotations, for messages.
    photos, targets: by key.
    overlap: as of `open_referring`.
    categories: the names of all categories that its annotations can have, in the file's order.
    """

    name: str
    split: str
    variant: str
    root: Path
    images: Path
    annotations: Path
    photos: Mapping[str, Photo]
    targets: Mapping[str, tuple[AnnotatedTarget, ...]]
    overlap: str
    categories: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The file names of the pictures without suffix, sorted."""
        return tuple(self.photos)

    def categories_of(self, key: str) -> tuple[str | None, ...]:
        """The categories of a picture's targets, in their order; the picture is not opened.

        Raises:
            InputError: no such key.
        """
        self._check(key)
        return tuple(each.category for each in self.targets[key])

    def read(self, key: str) -> ReferringTruth:
        """One picture and its targets.

        Raises:
            InputError: no such key; the picture is damaged or of another size than its annotations, or an annotation
                makes no sense; one line that names the file.
        """
        self._check(key)
        photo = self.photos[key]
        image = read_image(self.images / photo.file)
        if image.shape[:2] != (photo.height, photo.width):
            raise InputError(
                f"{str(self.images / photo.file)!r} has {image.shape[1]} x {image.shape[0]} pixels, "
                f"but {photo.width} x {photo.height} in {str(self.annotations)!r}."
            )
        return ReferringTruth(image, tuple(self._drawn(each, photo) for each in self.targets[key]))

    def _check(self, key: str) -> None:
        if key not in self.photos:
            raise InputError(f"{self.name} has no picture {key!r} in its split {self.split!r}.")

    def _drawn(self, target: AnnotatedTarget, photo: Photo) -> Target:
        mask = np.zeros((photo.height, photo.width), bool)
        for each in target.instances:
            try:
                mask |= instance_mask(each.segmentation, photo.height, photo.width, self.overlap)
            except InputError as error:
                raise InputError(f"{str(self.annotations)!r}, annotation {each.id}: {error}") from None
        return Target(target.id, target.expressions, mask, target.no_target, target.category)


def open_refcoco(chosen: Chosen, *, overlap: str, sentence: str) -> CocoReferring:
    """Open a benchmark of the refer API; arguments as of `open_referring`.

    Raises:
        InputError: a file is damaged, or does not fit the other.
        MissingError: files are missing.
    """
    files = find_files(chosen)
    refs = read_refs(read_plain_pickle(files["refs"]), files["refs"], splits_of_refer(chosen.split), sentence)
    return gather(chosen, files, refs, overlap, lambda instances: instances)


def splits_of_refer(split: str) -> Callable[[str], bool]:
    """Which splits of references a named one takes, by the refer API's rule: a reference of "testAB" is in testA, and
    "test" is all whose split has that in its name.

    >>> [name for name in ("train", "val", "testA", "testBC", "test") if splits_of_refer("testB")(name)]
    ['testBC']
    """
    if split in ("testA", "testB", "testC"):
        return lambda each: split[-1] in each
    return lambda each: "test" in each if split == "test" else each == split


def read_refs(data: Any, path: Path, wanted: Callable[[str], bool], sentence: str) -> list[Ref]:
    """The references of a split.

    Args:
        data: what the file holds, as plain data.
        path: the file, for messages.
        wanted: whether the references of a split are meant.
        sentence: one of `car.data.referring.SENTENCES`.

    Raises:
        InputError: it is no list of references; one line that names the file.
    """
    if not isinstance(data, list):
        raise InputError(f"{str(path)!r} holds no list of references.")
    refs = []
    for i, item in enumerate(data):
        try:
            if wanted(_typed(item, "split", str)):
                refs.append(_ref(item, sentence))
        except KeyError as error:
            raise InputError(
                f"{str(path)!r}, reference {i}: its `{error.args[0]}` is missing, or not what it should be."
            ) from None
    return refs


def gather(
    chosen: Chosen,
    files: Mapping[str, Path],
    refs: Sequence[Ref],
    overlap: str,
    meant: Callable[[tuple[Instance, ...]], tuple[Instance, ...]],
) -> CocoReferring:
    """A dataset of references, with what they refer to, once all pictures are known to be there.

    Args:
        files: as of `find_files`.
        meant: of the annotations of a reference, those whose pixels count.

    Raises:
        InputError: the annotation file is damaged, or lacks something that is referred to.
        MissingError: there are no references, or pictures are missing.
    """
    if not refs:
        text = f"{str(files['refs'])!r} has no reference of {chosen.described}"
        raise missing_referring(chosen, text, {"expressions"})
    path = files["instances"]
    found = read_instances(path, {ref.image for ref in refs}, {each for ref in refs for each in ref.instances})
    keys = _keys(found.photos, path)
    targets: dict[str, list[AnnotatedTarget]] = {}
    times = Counter[int]()
    for ref in refs:
        times[ref.id] += 1
        try:
            target = _target(ref, times[ref.id], found, meant)
        except KeyError as error:
            raise InputError(
                f"{str(path)!r} has no {error.args[0]}, which reference {ref.id} of {str(files['refs'])!r} is of."
            ) from None
        targets.setdefault(keys[ref.image], []).append(target)
    photos = {keys[number]: found.photos[number] for number in sorted(found.photos, key=keys.__getitem__)}
    check_there(chosen, files["images"], [photo.file for photo in photos.values()], "images", "pictures")
    return CocoReferring(
        name=chosen.benchmark.name,
        split=chosen.split,
        variant=chosen.variant,
        root=chosen.root,
        images=files["images"],
        annotations=path,
        photos=photos,
        targets={key: tuple(targets[key]) for key in photos},
        overlap=overlap,
        categories=tuple(dict.fromkeys(found.categories.values())),
    )


def _typed(item: Any, key: str, kind: type) -> Any:
    if type(item) is not dict or type(item.get(key)) is not kind:
        raise KeyError(key)
    return item[key]


def _ref(item: dict[str, Any], sentence: str) -> Ref:
    numbers = item.get("ann_id")
    if type(numbers) is not list:
        numbers = [_typed(item, "ann_id", int)]
    if not numbers or not all(type(each) is int for each in numbers) or (-1 in numbers and len(numbers) > 1):
        raise KeyError("ann_id")
    expressions = tuple(_typed(each, sentence, str) for each in _typed(item, "sentences", list))
    if not expressions:
        raise KeyError("sentences")
    instances = () if numbers == [-1] else tuple(dict.fromkeys(numbers))
    return Ref(_typed(item, "ref_id", int), _typed(item, "image_id", int), instances, expressions)


def _keys(photos: Mapping[int, Photo], path: Path) -> dict[int, str]:
    """The keys of pictures by number."""
    keys = {number: Path(photo.file).stem for number, photo in photos.items()}
    for key, count in Counter(keys.values()).items():
        if count > 1:
            raise InputError(f"{str(path)!r} has {count} images whose file is called {key!r}.")
    return keys


def _target(
    ref: Ref, time: int, found: Instances, meant: Callable[[tuple[Instance, ...]], tuple[Instance, ...]]
) -> AnnotatedTarget:
    """The target of a reference; KeyError with what is missing. A number that is there again gets #2, #3, ..."""
    if ref.image not in found.photos:
        raise KeyError(f"image {ref.image}")
    for number in ref.instances:
        if number not in found.instances or found.instances[number].image != ref.image:
            raise KeyError(f"annotation {number} in image {ref.image}")
    instances = tuple(found.instances[number] for number in ref.instances)
    return AnnotatedTarget(
        id=str(ref.id) if time == 1 else f"{ref.id}#{time}",
        expressions=ref.expressions,
        instances=meant(instances),
        no_target=not instances,
        category=_category(instances, found.categories),
    )


def _category(instances: Iterable[Instance], names: Mapping[int, str]) -> str | None:
    found = {each.category for each in instances}
    return names.get(found.pop()) if len(found) == 1 else None
