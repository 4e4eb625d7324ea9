"""The benchmarks that can be read, one entry each."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from car.data.benchmark import CLASS_FILE, Benchmark, Download, Layout
from car.data.labels import Coding
from car.errors import InputError

_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_MERGED = "https://codalabuser.blob.core.windows.net/public/trainval_merged.json"

_VOC2012 = Download(
    "VOCtrainval_11-May-2012.tar",
    ("images", "truths", "keys"),
    f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
    "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
)
_VOC2010 = Download(
    "VOCtrainval_03-May-2010.tar",
    ("images",),
    f"{_VOC}/voc2010/VOCtrainval_03-May-2010.tar",
    "https://www.dropbox.com/s/wtdibo9lb2fur70/VOCtrainval_03-May-2010.tar?dl=1",
)
_DETAIL = Download("trainval_merged.json", ("truths", "keys"), _MERGED, f"https://web.archive.org/web/{_MERGED}")
_COCO_OBJECT = (
    Download("val2017.zip", ("images",), f"{_COCO}/zips/val2017.zip"),
    Download(
        "stuffthingmaps_trainval2017.zip",
        ("truths",),
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
        f"instances_val2017.json of {_COCO}/annotations/annotations_trainval2017.zip",
    ),
)
_ADE150 = Download(
    "ADEChallengeData2016.zip",
    ("images", "truths"),
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
)
_ADE_FULL = Download(
    "ADE20K_2021_17_01, for registered users",
    ("images", "truths"),
    "https://groups.csail.mit.edu/vision/datasets/ADE20K/",
)
_PC459 = (
    Download(
        "trainval.tar.gz",
        ("truths",),
        "https://www.cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
        "https://roozbehm.info/pascal-context/trainval.tar.gz",
    ),
    Download(
        "pascalcontext_val.txt",
        ("truths",),
        "https://drive.google.com/file/d/1BCbiOKtLvozjVnlTJX51koIveUZHCcUh",
        "the val.txt that `car data prepare context59` makes",
    ),
)

_VOC_LAYOUT = Layout(
    bases=("", "VOCdevkit/VOC2012", "VOC2012"),
    images=("JPEGImages",),
    truths="SegmentationClass",
    keys="ImageSets/Segmentation/{split}.txt",
)
_CONTEXT_LAYOUT = Layout(
    bases=("", "VOCdevkit/VOC2010", "VOC2010"),
    images=("JPEGImages",),
    truths="SegmentationClassContext",
    keys="ImageSets/SegmentationContext/{split}.txt",
)
_VOC_SPLITS = {"train": "train", "val": "val", "trainval": "trainval"}
_CONTEXT_SPLITS = {"train": "train", "val": "val"}
_ADE_SPLITS = {"train": "training", "val": "validation"}

_ENTRIES = (
    Benchmark(
        name="voc21",
        title="Pascal VOC 2012 with background",
        classes="voc20",
        preset="voc21",
        background=True,
        layout=_VOC_LAYOUT,
        splits=_VOC_SPLITS,
        val_images=(1449,),
        downloads=(_VOC2012,),
    ),
    Benchmark(
        name="voc20",
        title="Pascal VOC 2012 without background",
        classes="voc20",
        preset="voc20",
        background=False,
        layout=_VOC_LAYOUT,
        splits=_VOC_SPLITS,
        val_images=(1449,),
        downloads=(_VOC2012,),
    ),
    Benchmark(
        name="context60",
        title="Pascal Context with background",
        classes="context59",
        preset="context60",
        background=True,
        layout=_CONTEXT_LAYOUT,
        splits=_CONTEXT_SPLITS,
        val_images=(5104, 5105),
        downloads=(_VOC2010, _DETAIL),
        prepared=("truths", "keys"),
    ),
    Benchmark(
        name="context59",
        title="Pascal Context without background",
        classes="context59",
        preset="context59",
        background=False,
        layout=_CONTEXT_LAYOUT,
        splits=_CONTEXT_SPLITS,
        val_images=(5104, 5105),
        downloads=(_VOC2010, _DETAIL),
        prepared=("truths", "keys"),
    ),
    Benchmark(
        name="coco-object",
        title="COCO 2017, 80 things with background",
        classes="coco_object80",
        preset="coco-object",
        background=True,
        layout=Layout(
            bases=("", "coco", "coco_stuff164k"),
            images=("images/{split}", "{split}"),
            truths="annotations/{split}",
            truth_suffix="_instanceTrainIds.png",
        ),
        splits={"val": "val2017"},
        val_images=(5000,),
        downloads=_COCO_OBJECT,
        prepared=("truths",),
    ),
    Benchmark(
        name="ade150",
        title="ADE20K, 150 classes",
        classes="ade150",
        preset="ade150",
        background=False,
        layout=Layout(
            bases=("", "ADEChallengeData2016"),
            images=("images/{split}",),
            truths="annotations/{split}",
        ),
        coding=Coding(void=False),
        splits=_ADE_SPLITS,
        val_images=(2000,),
        downloads=(_ADE150,),
    ),
    Benchmark(
        name="ade847",
        title="ADE20K full, 847 classes",
        classes="ade847",
        preset="ade847",
        background=False,
        layout=Layout(
            bases=("", "ADE20K_2021_17_01"),
            images=("images_detectron2/{split}",),
            truths="annotations_detectron2/{split}",
            truth_suffix=".tif",
        ),
        coding=Coding(first=0),
        words=True,
        splits=_ADE_SPLITS,
        val_images=(2000,),
        downloads=(_ADE_FULL,),
        prepared=("images", "truths"),
    ),
    Benchmark(
        name="pc459",
        title="Pascal Context, 459 classes",
        classes="pc459",
        preset="pc459",
        background=False,
        layout=Layout(
            bases=("", "VOCdevkit/VOC2010", "VOC2010"),
            images=("JPEGImages",),
            truths="annotations_detectron2/pc459_{split}",
            truth_suffix=".tif",
        ),
        coding=Coding(first=0),
        words=True,
        splits={"val": "val"},
        val_images=(5104, 5105),
        downloads=(_VOC2010, *_PC459),
        prepared=("truths",),
    ),
    Benchmark(
        name="folder",
        title=f"your own pictures, label maps and {CLASS_FILE}",
        classes=None,
        preset=None,
        background=None,
        layout=Layout(bases=("",), images=("images",), truths="labels", image_suffix=None, keys="{split}.txt"),
    ),
)

DATASETS: Mapping[str, Benchmark] = MappingProxyType({each.name: each for each in _ENTRIES})
"""The benchmarks by name."""


def list_benchmarks() -> list[str]:
    """Names of the benchmarks that `open_dataset` can open.

    >>> list_benchmarks()[:2]
    ['voc21', 'voc20']
    """
    return list(DATASETS)


def find_benchmark(name: str) -> Benchmark:
    """The entry of a benchmark.

    Raises:
        InputError: there is none of this name; the closest one is given.
    """
    if name in DATASETS:
        return DATASETS[name]
    close = get_close_matches(name, DATASETS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"No benchmark {name!r}.{hint} Available: {', '.join(DATASETS)}.")
