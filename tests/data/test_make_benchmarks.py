"""The semantic benchmarks that tools/ makes of scenes: classes, files, and the labels that are read from them."""

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.io import loadmat

from car.config import Config, load_preset
from car.data import DATASETS, IGNORE, open_dataset
from car.data.prepare import NAMES as PREPARED
from car.data.prepare import open_preparation, prepare
from car.data.prepare.ade847 import object_ids
from car.palette import voc_palette
from car.scenes import STUFF, TEST, TUNING, concepts
from car.wordlists import read_classes

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import benchmarks_annotations as annotations
import benchmarks_words as words
import make_benchmarks as tool
from benchmarks_pictures import SEEDS, Drawing, Picture
from benchmarks_words import Wording

LISTS = {"voc20": 20, "context59": 47, "coco_object80": 69, "ade150": 52, "ade847": 113, "pc459": 134}
"""How many classes of each list can occur in scenes."""
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
COUNT, SIZES = 7, ((60, 80), (80, 61))
JPEG_ERROR = 12
SEMANTIC = [name for name, each in tool.BENCHMARKS.items() if each.semantic]
NAMED = tuple(word for name in SEMANTIC for word in ("--benchmark", name))
READ = [
    (name, benchmark, split)
    for name, each in tool.BENCHMARKS.items()
    if each.semantic
    for benchmark in each.serves.split(", ")
    for split in ("val", "train")
    if split in (DATASETS[benchmark].splits or each.layout.splits)
]
"""Every split of every benchmark that can be read."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(tool.main, [*map(str, arguments)])


def order(name: str, out: Path, count: int = COUNT) -> tool.Order:
    return tool.Order(name, out, count, 0, SIZES)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every semantic benchmark, small."""
    out = tmp_path_factory.mktemp("benchmarks")
    sizes = (f"{height}x{width}" for height, width in SIZES)
    result = run(out, "--count", COUNT, *NAMED, *(word for size in sizes for word in ("--size", size)))
    assert result.exit_code == 0, result.output
    return out


def pictures(name: str, out: Path, split: str = "val") -> dict[str, tuple[Picture, np.ndarray]]:
    """By key, what was to be written, and the labels that should be read, i + 1 for class i."""
    asked = order(name, out)
    layout = tool.BENCHMARKS[name].layout(out / "nowhere", asked.drawing.wording)
    drawn = [asked.drawing.picture(split, index) for index in range(asked.counts[split])]
    return {layout.key(split, index): (each, layout.truth(each)) for index, each in enumerate(drawn)}


def decoded(path: Path) -> np.ndarray:
    """The values of a label map as they are in the file."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("name", "count"), LISTS.items())
def test_so_many_classes_can_occur_and_no_word_is_two_classes(name: str, count: int) -> None:
    wording = Wording.of_list(name)
    there = [word for word in wording.words if word is not None]
    assert len(there) == len(set(there)) == len(wording.ids) == count
    assert set(there) <= set(words.scene_words())
    assert not set(there) & set(wording.others)
    assert len(wording.others) > 20


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (
            "voc20",
            {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor screen": "television"},
        ),
        (
            "coco_object80",
            {"mouse": "computer mouse", "necktie": "tie", "fire hydrant": None, "sknowboard": "snowboard"},
        ),
        ("context59", {"wall": "brick wall", "sky": "sky", "track": "railway", "bag": "handbag", "ceiling": None}),
        ("ade150", {"earth": "ground", "floor": "wood", "animal": "dog", "sea": None, "sand": "sand"}),
        ("ade847", {"animal": "lion", "dog": "dog", "ring": None, "railway": "railway", "forest": "forest"}),
        ("pc459", {"tvmonitor": "television", "wineglass": "wine glass", "glass": None, "mouse": "computer mouse"}),
    ],
)
def test_classes_are_what_they_are_called(name: str, meant: dict[str, str | None]) -> None:
    wording = Wording.of_list(name)
    found = {entry.query: word for entry, word in zip(wording.classes, wording.words, strict=True)}
    assert {query: found[query] for query in meant} == meant


@pytest.mark.parametrize("name", LISTS)
def test_nothing_is_shown_that_would_be_mislabelled(name: str) -> None:
    wording = Wording.of_list(name)
    for word in wording.others:
        known = {word, *(concepts()[word].synonyms if word in concepts() else ())} - {
            "bag",
            "computer",
            "mouse",
            "ring",
        }
        assert not known & {query for entry in wording.classes for query in words.names_of(entry)} - {"chips"}
    names = {query for entry in wording.classes for query in words.names_of(entry)}
    for kind, kin in words.KINDS.items():
        assert kind not in names or not set(kin) & set(wording.others)


def test_tables_only_name_what_scenes_show() -> None:
    named = {word for table in (words.ALIASES, words.KINDS) for entry in table.values() for word in entry}
    assert named <= set(words.scene_words()) == {*concepts(), *STUFF}
    every = {query for name in LISTS for entry in read_classes(name) for query in words.names_of(entry)}
    assert set(words.ALIASES) <= every


@pytest.mark.parametrize("name", ["voc20", "context59", "ade847"])
def test_labels_are_the_classes_of_things_and_stuff(name: str) -> None:
    drawing = Drawing(Wording.of_list(name), 3, SIZES)
    shown: Counter[bool] = Counter()
    for index in range(30):
        picture = drawing.picture("val", index)
        made, ids_of = picture.scene, drawing.wording.ids
        rows = [made.background[0]] * (made.horizon or len(made.image))
        rows += [made.background[-1]] * (len(made.image) - len(rows))
        labels = np.array([[ids_of.get(word, -1) + 1] for word in rows]) * np.ones(made.image.shape[1], int)
        for mask, concept in zip(made.masks, made.names, strict=True):
            labels[mask] = ids_of.get(concept, -1) + 1
            shown[concept in ids_of] += 1
        assert np.array_equal(picture.labels, labels)
        assert np.array_equal(sum(region.mask.astype(int) for region in picture.regions), np.ones(labels.shape))
        assert {*made.names, *made.background} <= {*ids_of, *drawing.wording.others}
    assert 0 < shown[False] < 0.4 * shown[True]


def test_pictures_differ_between_splits_seeds_and_benchmarks_and_come_again() -> None:
    drawings = [Drawing(Wording.of_list(name), seed, SIZES) for name in ("voc20", "pc459") for seed in (0, 1)]
    drawn = [(each, split, i) for each in drawings for split in ("val", "train") for i in range(5)]
    images = [each.picture(split, i).scene.image.tobytes() for each, split, i in drawn]
    assert len(set(images)) == len(images)
    assert images == [each.picture(split, i).scene.image.tobytes() for each, split, i in drawn]
    assert {each.picture(split, i).scene.image.shape[:2] for each, split, i in drawn} == set(SIZES)


def test_no_scene_is_one_that_figures_are_measured_on_or_mini_was_trained_on() -> None:
    assert max(split.first for split in (*TEST, *TUNING)) + 10**4 <= SEEDS[0] < SEEDS[1] <= 2**40


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any), st.integers(1, 5))
def test_outlines_are_filled_to_the_very_mask(small: np.ndarray, scale: int) -> None:
    mask = np.kron(small, np.ones((scale, scale), bool))
    found = annotations.polygons(mask)
    around = cv2.connectedComponents((~np.pad(mask, 1)).astype(np.uint8), connectivity=4)[0] - 1
    assert bool(found) == (around == 1)
    if found:
        filled = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(found, *mask.shape)))
        assert np.array_equal(filled, mask)
    for polygon in found:
        steps = np.diff(np.reshape(polygon, (-1, 2)), axis=0)
        assert (np.count_nonzero(steps, axis=1) == 1).all()


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_runs_are_those_of_coco(mask: np.ndarray) -> None:
    uncompressed = {"size": list(mask.shape), "counts": annotations.runs(mask)}
    assert np.array_equal(coco_mask.decode(coco_mask.frPyObjects(uncompressed, *mask.shape)), mask)


def test_the_same_arguments_write_the_same_bytes(made: Path, tmp_path: Path) -> None:
    for name in SEMANTIC:
        order(name, tmp_path).make(lambda: None)
        assert contents(tmp_path / name) == contents(made / name)
    tool.Order("folder", tmp_path / "other", COUNT, 1, SIZES).make(lambda: None)
    assert contents(tmp_path / "other" / "folder") != contents(made / "folder")


def test_an_interrupted_benchmark_is_made_again(made: Path, tmp_path: Path) -> None:
    def advance() -> None:
        left = list((tmp_path / ".voc.unfinished").rglob("*.jpg"))
        assert not (tmp_path / "voc").exists()
        if len(left) == 4:
            (tmp_path / ".voc.unfinished" / "more").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        order("voc", tmp_path).make(advance)
    order("voc", tmp_path).make(lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]
    assert contents(tmp_path / "voc") == contents(made / "voc")


def test_what_is_there_is_left_and_nothing_else_is_touched(tmp_path: Path) -> None:
    asked = (tmp_path, "--size", "60x80", "--benchmark", "ade150")
    assert run(*asked, "--count", 2).exit_code == 0
    before = contents(tmp_path)
    again = run(*asked, "--count", 2, "--benchmark", "voc")
    assert again.exit_code == 0
    assert "ade150 is there already" in again.output
    assert before.items() <= contents(tmp_path).items()
    assert (tmp_path / "voc").is_dir()
    (tmp_path / "pc459").mkdir()
    (tmp_path / "pc459" / "thesis").write_text("mine")
    before = contents(tmp_path)
    for refused in ((*asked, "--count", 3), (*asked[:-1], "pc459"), (*asked[:-1], "folder", "--benchmark", "pc459")):
        result = run(*refused)
        assert result.exit_code == 1
        assert "name another folder" in result.output
        assert contents(tmp_path) == before
    (tmp_path / "mini.yaml").write_text("eta: 0.1")
    result = run(*asked[:-1], "folder")
    assert "mini.yaml' exists already" in result.output
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("size", ["60", "0x8", "8x-1", "axb"])
def test_sizes_that_mean_nothing_are_refused(tmp_path: Path, size: str) -> None:
    result = run(tmp_path / "out", "--size", size)
    assert result.exit_code == 2
    assert "expected HxW in pixels" in result.output
    assert not (tmp_path / "out").exists()


def test_the_table_says_how_many_classes_can_occur(made: Path) -> None:
    sizes = (word for height, width in SIZES for word in ("--size", f"{height}x{width}"))
    output = run(made, "--count", COUNT, *NAMED, *sizes).output
    assert "| voc | voc21, voc20 | 7 | 2 | 20 | 20 | 0 |" in output
    assert "| coco-object | coco-object | 7 | 0 | 80 | 69 | 0 |" in output
    assert "| ade847 | ade847 | 7 | 2 | 847 | 113 | 14 |" in output


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("voc", "voc20"),
        ("context", "context59"),
        ("coco-object", "coco_object80"),
        ("ade150", "ade150"),
        ("ade847", "ade847"),
        ("pc459", "pc459"),
    ],
)
def test_class_lists_are_the_published_ones_in_words_of_scenes(made: Path, name: str, published: str) -> None:
    ours, theirs = read_classes(made / name / "classes.txt"), read_classes(published)
    assert [(entry.id, entry.kind) for entry in ours] == [(entry.id, entry.kind) for entry in theirs]
    asked = {entry.query for entry in ours}
    assert len(asked) >= len({entry.query for entry in theirs})
    same = {own.query for own, entry in zip(ours, theirs, strict=True) if own.query == entry.query}
    assert asked - same <= set(words.scene_words())


def test_the_settings_are_a_configuration(made: Path) -> None:
    config = Config.from_mapping(load_preset(made / "mini.yaml").settings)
    assert config.prompts == ("blur", "gray")
    assert (config.proposer, config.proposer_side, config.view) == ("gradcam", 144, "squash")
    assert (config.eta, config.theta, config.lam, config.background) == (0.4, 0.6, 0.4, ("scenes",))


def test_voc_has_void_around_every_object(made: Path) -> None:
    base = made / "voc" / "VOCdevkit" / "VOC2012"
    lists = {path.stem: path.read_text().split() for path in (base / "ImageSets" / "Segmentation").iterdir()}
    assert (len(lists["val"]), len(lists["train"])) == (COUNT, 2)
    assert lists["trainval"] == sorted(lists["val"] + lists["train"])
    for split in ("val", "train"):
        for key, (picture, truth) in pictures("voc", made, split).items():
            with Image.open(base / "SegmentationClass" / f"{key}.png") as image:
                assert image.mode == "P"
                assert np.array_equal(np.reshape(image.getpalette(), (-1, 3)), voc_palette())
                values = np.asarray(image).astype(int)
            assert np.array_equal(np.where(values == 255, IGNORE, values), truth)
            void, instances = values == 255, picture.instances
            assert 0 < void.mean() < 0.3
            assert np.array_equal(values[~void], picture.labels[~void])
            for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
                assert (void[one] & void[other])[instances[one] != instances[other]].all()


def test_context_is_painted_from_its_json(made: Path) -> None:
    data = json.loads((made / "context" / "VOCdevkit" / "VOC2010" / "trainval_merged.json").read_text())
    drawn = {key: split for split in ("val", "train") for key in pictures("context", made, split)}
    assert {image["file_name"][:-4]: image["phase"] for image in data["images"]} == drawn
    numbers = [category["category_id"] for category in data["categories"]]
    for image in data["images"]:
        labels = np.zeros((image["height"], image["width"]), int)
        for found in data["annos_segmentation"]:
            if found["image_id"] == image["image_id"]:
                mask = coco_mask.decode(found["segmentation"]).astype(bool)
                labels[mask] = numbers.index(found["category_id"]) + 1
                assert found["area"] == mask.sum()
        assert np.array_equal(labels, pictures("context", made, image["phase"])[image["file_name"][:-4]][1])


def test_coco_reads_its_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool.Order("coco-object", tmp_path, 60, 0, SIZES).make(lambda: None)
    coco = COCO(str(tmp_path / "coco-object" / "annotations" / "instances_val2017.json"))
    numbers = sorted(coco.cats)
    assert len(numbers) == 80
    assert coco.cats[18]["name"] == "dog"
    drawing = tool.Order("coco-object", tmp_path, 60, 0, SIZES).drawing
    forms: Counter[str] = Counter()
    for index, image in enumerate(coco.imgs.values()):
        labels = np.zeros((image["height"], image["width"]), int)
        for found in sorted(coco.imgToAnns[image["id"]], key=lambda found: -found["iscrowd"]):
            mask = coco.annToMask(found).astype(bool)
            labels[mask] = numbers.index(found["category_id"]) + 1
            assert found["area"] == mask.sum()
            assert found["bbox"] == list(cv2.boundingRect(mask.view(np.uint8)))
            shape = found["segmentation"]
            forms["parts" if isinstance(shape, list) and len(shape) > 1 else type(shape).__name__] += 1
            forms["crowd"] += found["iscrowd"]
        assert np.array_equal(labels, drawing.picture("val", index).labels)
        forms["empty"] += not coco.imgToAnns[image["id"]]
    assert all(forms[form] for form in ("list", "parts", "dict", "crowd", "empty")), forms
    assert forms["dict"] > forms["crowd"]


def test_ade_writes_objects_as_colours(made: Path) -> None:
    numbers = np.array([*object_ids()])
    folder = made / "ade847" / "ADE20K_2021_17_01" / "images" / "ADE"
    others = 0
    for split, name in (("val", "validation"), ("train", "training")):
        for key, (picture, truth) in pictures("ade847", made, split).items():
            (path,) = folder.glob(f"{name}/*/*/{key}_seg.png")
            assert path.with_name(f"{key}.jpg").is_file()
            red, green, blue = np.moveaxis(decoded(path).astype(int), -1, 0)
            objects = red // 10 * 256 + green
            labels = (objects[..., None] == numbers).argmax(axis=-1) + 1
            labels[~np.isin(objects, numbers)] = 0
            assert np.array_equal(labels, truth)
            others += (~np.isin(objects, [0, *numbers])).any()
            for number, region in enumerate(picture.regions, start=1):
                assert not objects[region.mask].any() or set(blue[region.mask]) == {number}
    assert others


def test_pc459_has_a_matlab_file_for_every_picture(made: Path) -> None:
    base = made / "pc459" / "VOCdevkit" / "VOC2010"
    drawn = {split: pictures("pc459", made, split) for split in ("val", "train")}
    assert (base / "pascalcontext_val.txt").read_text().split() == sorted(drawn["val"])
    for key, (_, truth) in {**drawn["val"], **drawn["train"]}.items():
        found = loadmat(base / "trainval" / f"{key}.mat")["LabelMap"]
        assert found.dtype == np.uint16
        assert np.array_equal(found, truth)


@pytest.mark.parametrize(("name", "benchmark", "split"), READ)
def test_every_benchmark_is_read_as_it_was_made(tmp_path: Path, name: str, benchmark: str, split: str) -> None:
    order(name, tmp_path).make(lambda: None)
    if benchmark in PREPARED:
        report = prepare(open_preparation(benchmark, tmp_path / name, split))
        assert report.complete, report.problems
    dataset = open_dataset(benchmark, tmp_path / name, split=split)
    drawn = pictures(name, tmp_path, split)
    assert list(dataset.keys) == sorted(drawn)
    for key, (picture, truth) in drawn.items():
        found = dataset.read(key)
        assert np.array_equal(found.labels, truth if dataset.background else np.where(truth, truth, IGNORE))
        assert found.image.shape == picture.scene.image.shape
        assert np.abs(found.image.astype(int) - picture.scene.image).mean() < JPEG_ERROR


def test_large_pictures_of_ade_are_reduced(tmp_path: Path) -> None:
    large = tool.Order("ade847", tmp_path, 2, 0, ((600, 720),))
    large.make(lambda: None)
    assert prepare(open_preparation("ade847", tmp_path / "ade847")).complete
    dataset = open_dataset("ade847", tmp_path / "ade847")
    for index, key in enumerate(dataset.keys):
        picture = large.drawing.picture("val", index)
        labels = cv2.resize(picture.labels, (614, 512), interpolation=cv2.INTER_NEAREST)
        found = dataset.read(key)
        assert found.image.shape == (512, 614, 3)
        assert np.array_equal(found.labels, np.where(labels, labels, IGNORE))
