"""The referring benchmarks that can be read, one entry each."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from car.data.benchmark import Download, ReferringBenchmark, Source, Variant
from car.errors import InputError

_UNC = "https://bvisionweb1.cs.unc.edu/licheng/referit/data"
_ARCHIVE = "https://web.archive.org/web"
_DAVIS = "https://data.vision.ee.ethz.ch/csergi/share/davis"
_TRAIN2014 = Download("train2014.zip", ("images",), "http://images.cocodataset.org/zips/train2014.zip")
_DAVIS_TEXTS = "https://www.mpi-inf.mpg.de/fileadmin/inf/d2/khoreva/davis_text_annotations.zip"


def _referit(name: str, archived: str) -> Download:
    """The annotations of one of the three that the refer API reads; the server of their authors is down for years."""
    url = f"{_UNC}/{name}.zip"
    return Download(f"{name}.zip", ("expressions", "truths"), url, f"{_ARCHIVE}/{archived}/{url}")


def _davis(file: str) -> Download:
    return Download(file, ("images", "truths", "keys"), f"{_DAVIS}/{file}", "https://davischallenge.org")


_IMAGES = Source(
    "images",
    (
        "images/mscoco/images/train2014",
        "images/mscoco/train2014",
        "images/train2014",
        "train2014",
        "coco/train2014",
        "coco/images/train2014",
        "mscoco/train2014",
        "images/mscoco",
    ),
    "pictures: COCO_train2014_*.jpg",
)
_COCO_BASES = ("", "refer/data", "refer")
_COCO_CHOICES = frozenset({"overlap", "sentence"})
_UNC_SPLITS = {"train": 16994, "val": 1500, "testA": 750, "testB": 750, "test": 1500}


def _refs(name: str) -> dict[str, Source]:
    return {
        "refs": Source("expressions", (f"{name}/refs({{variant}}).p",), "expressions, and which annotation each is of"),
        "instances": Source("truths", (f"{name}/instances.json",), "annotations: polygons, in COCO's format"),
        "images": _IMAGES,
    }


_PHRASECUT_SOURCES = {
    "tasks": Source("expressions", ("refer_{split}.json",), "phrases and their polygons"),
    "sizes": Source("truths", ("image_data_split.json", "image_data_split3000.json"), "sizes of the pictures"),
    "images": Source("images", ("images",), "pictures of Visual Genome: ID.jpg"),
}
_PHRASECUT_VARIANTS = {"": Variant("", {"train": 71746, "val": 2971, "test": 2545, "miniv": 100})}
_PHRASECUT_BASES = ("", "VGPhraseCut_v0", "data/VGPhraseCut_v0", "PhraseCutDataset/data/VGPhraseCut_v0")
_PHRASECUT_DOWNLOADS = (
    Download(
        "VGPhraseCut_v0",
        ("expressions", "truths"),
        "https://github.com/ChenyunWu/PhraseCutDataset, download_dataset.py",
        "https://drive.google.com/file/d/1SGVzPWkNaBOSbrlGGgsNTG4uGonQhE2U/view",
    ),
    Download(
        "the pictures of Visual Genome 1.2, both parts in one folder",
        ("images",),
        "https://visualgenome.org/api/v0/api_home.html",
        "download_dataset.py as above",
    ),
)


def _texts(file: str, what: str) -> Source:
    paths = (f"davis_text_annotations/{file}.txt", f"../davis_text_annotations/{file}.txt", f"{file}.txt")
    return Source("expressions", paths, what)


_ENTRIES = (
    ReferringBenchmark(
        name="refcoco",
        title="RefCOCO: objects in COCO pictures, by short expressions",
        preset="refcoco",
        unit="pictures",
        bases=_COCO_BASES,
        sources=_refs("refcoco"),
        variants={
            "unc": Variant("unc", _UNC_SPLITS),
            "google": Variant("google", {"train": 19213, "val": 4559, "test": 4527}),
        },
        variant_option="split_by",
        choices=_COCO_CHOICES,
        downloads=(_referit("refcoco", "20220413011718"), _TRAIN2014),
    ),
    ReferringBenchmark(
        name="refcoco+",
        title="RefCOCO+: the same without words of place",
        preset="refcoco+",
        unit="pictures",
        bases=_COCO_BASES,
        sources=_refs("refcoco+"),
        variants={"unc": Variant("unc", {**_UNC_SPLITS, "train": 16992})},
        variant_option="split_by",
        choices=_COCO_CHOICES,
        downloads=(_referit("refcoco+", "20220413011656"), _TRAIN2014),
    ),
    ReferringBenchmark(
        name="refcocog",
        title="RefCOCOg: objects in COCO pictures, by long expressions",
        preset="refcocog",
        unit="pictures",
        bases=_COCO_BASES,
        sources=_refs("refcocog"),
        variants={
            "umd": Variant("umd", {"train": 21899, "val": 1300, "test": 2600}),
            "google": Variant("google", {"train": 24698, "val": 4650}),
        },
        variant_option="split_by",
        choices=_COCO_CHOICES,
        downloads=(_referit("refcocog", "20220413012904"), _TRAIN2014),
    ),
    ReferringBenchmark(
        name="grefcoco",
        title="gRefCOCO: one object, several, or none",
        preset="gres",
        unit="pictures",
        bases=_COCO_BASES,
        sources={
            "refs": Source(
                "expressions",
                ("grefcoco/grefs({variant}).p", "grefcoco/grefs({variant}).json"),
                "expressions, and which annotations each is of",
            ),
            "instances": Source("truths", ("grefcoco/instances.json",), "annotations: polygons, in COCO's format"),
            "images": _IMAGES,
        },
        variants={"unc": Variant("unc", dict.fromkeys(("train", "val", "testA", "testB")))},
        variant_option="split_by",
        choices=_COCO_CHOICES | {"instances"},
        downloads=(
            Download(
                "grefs(unc).json and instances.json",
                ("expressions", "truths"),
                "https://github.com/henghuiding/gRefCOCO",
                "https://huggingface.co/datasets/FudanCVL/gRefCOCO",
            ),
            _TRAIN2014,
        ),
    ),
    ReferringBenchmark(
        name="phrasecut",
        title="PhraseCut: all that a phrase describes, stuff as well",
        preset=None,
        unit="pictures",
        bases=_PHRASECUT_BASES,
        sources=_PHRASECUT_SOURCES,
        variants=_PHRASECUT_VARIANTS,
        default_split="test",
        downloads=_PHRASECUT_DOWNLOADS,
    ),
    ReferringBenchmark(
        name="phrasecut-unseen",
        title="PhraseCut, phrases whose noun is none of COCO's 80",
        preset=None,
        unit="pictures",
        bases=_PHRASECUT_BASES,
        sources=_PHRASECUT_SOURCES,
        variants={"": Variant("", dict.fromkeys(_PHRASECUT_VARIANTS[""].splits))},
        default_split="test",
        downloads=_PHRASECUT_DOWNLOADS,
    ),
    ReferringBenchmark(
        name="ref-davis17",
        title="Ref-DAVIS 2017: objects in films, worded by two people in two ways",
        preset=None,
        unit="sequences",
        bases=("", "DAVIS", "ref-davis/DAVIS"),
        sources={
            "sequences": Source("keys", ("ImageSets/2017/{split}.txt",), "the sequences of the split, one a line"),
            "images": Source("images", ("JPEGImages/480p",), "frames: SEQUENCE/00000.jpg, ..."),
            "truths": Source("truths", ("{variant}/480p",), "label maps: SEQUENCE/00000.png, ..."),
            "annot1": _texts("Davis17_annot1", "by the first frame, UTF-8"),
            "annot1_full_video": _texts("Davis17_annot1_full_video", "by the whole film, UTF-8"),
            "annot2": _texts("Davis17_annot2", "by the first frame, Latin-1"),
            "annot2_full_video": _texts("Davis17_annot2_full_video", "by the whole film, Latin-1"),
        },
        variants={
            "unsupervised": Variant(
                "Annotations_unsupervised",
                {"train": 60, "val": 30},
                (_davis("DAVIS-2017-Unsupervised-trainval-480p.zip"),),
            ),
            "semi-supervised": Variant(
                "Annotations", {"train": 60, "val": 30}, (_davis("DAVIS-2017-trainval-480p.zip"),)
            ),
        },
        variant_option="annotations",
        downloads=(Download("davis_text_annotations.zip", ("expressions",), _DAVIS_TEXTS),),
    ),
)

REFERRING: Mapping[str, ReferringBenchmark] = MappingProxyType({each.name: each for each in _ENTRIES})
"""The referring benchmarks by name."""


def list_referring() -> list[str]:
    """Names of the benchmarks that `open_referring` and `open_video` can open.

    >>> list_referring()[:2]
    ['refcoco', 'refcoco+']
    """
    return list(REFERRING)


def find_referring(name: str) -> ReferringBenchmark:
    """The entry of a referring benchmark.

    Raises:
        InputError: there is none of this name; the closest one is given.
    """
    if name in REFERRING:
        return REFERRING[name]
    close = get_close_matches(name, REFERRING, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"No referring benchmark {name!r}.{hint} Available: {', '.join(REFERRING)}.")
