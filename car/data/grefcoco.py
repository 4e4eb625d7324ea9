"""gRefCOCO: as RefCOCO, but an expression may mean several annotated objects, or nothing in the picture."""

from typing import Any

from car.data.instances import Instance
from car.data.json_files import read_json
from car.data.plain_pickle import read_plain_pickle
from car.data.refcoco import CocoReferring, gather, read_refs
from car.data.referring_layout import Chosen, find_files

_KEPT = frozenset(("ref_id", "ann_id", "image_id", "split", "sentences", "sent", "raw"))


def open_grefcoco(chosen: Chosen, *, overlap: str, instances: str, sentence: str) -> CocoReferring:
    """Open gRefCOCO; arguments as of `open_referring`.

    Crowds are left out, as its API does. Pixels of several objects are joined, whatever becomes of the polygons of one.

    Raises:
        InputError: a file is damaged, or does not fit the other.
        MissingError: files are missing.
    """
    files = find_files(chosen)
    path = files["refs"]
    data = read_plain_pickle(path) if path.suffix == ".p" else read_json(path, _kept)
    refs = read_refs(data, path, lambda split: split == chosen.split, sentence)
    return gather(chosen, files, refs, overlap, _first if instances == "first-instance" else _without_crowds)


def _kept(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key in _KEPT}


def _without_crowds(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    return tuple(each for each in instances if not each.crowd)


def _first(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    return _without_crowds(instances)[:1]
