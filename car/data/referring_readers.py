"""Referring benchmarks on disk, opened by name; their readers, which bring SciPy, are imported when called for."""

from pathlib import Path

from car.data.referring import INSTANCES, OVERLAPS, SENTENCES, ReferringDataset, VideoDataset
from car.data.referring_catalogue import find_referring
from car.data.referring_layout import Chosen, choose
from car.errors import InputError

_CHOICES = {"overlap": OVERLAPS, "instances": INSTANCES, "sentence": SENTENCES}


def choose_referring(
    name: str,
    root: str | Path,
    *,
    split: str | None = None,
    split_by: str | None = None,
    annotations: str | None = None,
) -> Chosen:
    """What is asked for, arguments as of `open_referring` and `open_video`.

    Raises:
        InputError: no such benchmark, split or variant.
    """
    benchmark = find_referring(name)
    given = {"split_by": split_by, "annotations": annotations}
    variant = given.pop(benchmark.variant_option, None)
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{name} has no choice of {option!r}, but got {value!r}.")
    return choose(benchmark, root, split, variant)


def open_referring(
    name: str,
    root: str | Path,
    *,
    split: str | None = None,
    split_by: str | None = None,
    overlap: str = "union",
    instances: str = "merged",
    sentence: str = "sent",
) -> ReferringDataset:
    """Open a referring benchmark of pictures, once every file of the split is known to be there.

    Annotations are read here, and of them only what the split needs is kept; pictures are not opened.

    Args:
        name: one of `list_referring()`.
        root: the data root; where in it the files may lie, `car data check` shows.
        split: "val" by default, "test" for PhraseCut.
        split_by: who made the splits: "unc" or "google" for RefCOCO, "umd" or "google" for RefCOCOg; the first by
            default.
        overlap: one of `OVERLAPS`. PhraseCut and several objects of gRefCOCO are joined in any case.
        instances: one of `INSTANCES`, for gRefCOCO.
        sentence: one of `SENTENCES`, for the RefCOCO family.

    Raises:
        InputError: no such benchmark, split or choice; or a file is damaged, or does not fit another.
        MissingError: files are missing; one line that says which, and where they come from.
    """
    chosen = choose_referring(name, root, split=split, split_by=split_by)
    if chosen.benchmark.unit != "pictures":
        raise InputError(f"{name} is a benchmark of video; `open_video` opens it.")
    choices = {"overlap": overlap, "instances": instances, "sentence": sentence}
    for option, value in choices.items():
        allowed = _CHOICES[option]
        if value not in allowed:
            raise InputError(f"Expected argument `{option}` to be {' or '.join(allowed)}, but got {value!r}.")
        if option not in chosen.benchmark.choices and value != allowed[0]:
            raise InputError(f"{name} has no choice of {option!r}, but got {value!r}.")
    taken = {option: choices[option] for option in chosen.benchmark.choices}
    if not taken:
        from car.data.phrasecut import open_phrasecut

        return open_phrasecut(chosen)
    if "instances" in taken:
        from car.data.grefcoco import open_grefcoco

        return open_grefcoco(chosen, **taken)
    from car.data.refcoco import open_refcoco

    return open_refcoco(chosen, **taken)


def open_video(
    name: str, root: str | Path, *, split: str | None = None, annotations: str | None = None
) -> VideoDataset:
    """Open a referring benchmark of video, once every file of the split is known to be there; none is opened but texts.

    Args:
        name: "ref-davis17".
        root: the data root; where in it the files may lie, `car data check` shows.
        split: "train" or "val", "val" by default.
        annotations: the label maps of DAVIS's "unsupervised" task, as in ReferFormer's evaluation and by default; or of
            its "semi-supervised" task.

    Raises:
        InputError: no such benchmark, split or annotations; or a list or text makes no sense.
        MissingError: files are missing; one line that says which, and where they come from.
    """
    from car.data.refdavis import open_refdavis

    chosen = choose_referring(name, root, split=split, annotations=annotations)
    if chosen.benchmark.unit != "sequences":
        raise InputError(f"{name} is a benchmark of pictures; `open_referring` opens it.")
    return open_refdavis(chosen)
