"""What a benchmark is: its classes, where its files are, how its label maps are read, where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from car.data.labels import Coding

Part = Literal["images", "truths", "keys", "classes", "expressions"]
"""What a layout has: pictures, label maps or other masks, the lists of its splits, a class file, and expressions."""

ALL = "all"
"""The split of everything that is labelled, where a layout needs no lists."""

CLASS_FILE = "classes.txt"


@dataclass(frozen=True)
class Layout:
    """Where the files are; in every text, {split} stands for the split as it is called on disk.

    bases: folders below the data root that may hold it, "" for the root itself.
    images: folders of the pictures, of which the first that is there counts.
    truths: the folder of the label maps.
    truth_suffix: what follows the key in the name of a label map.
    image_suffix: what follows the key in the name of a picture; None for any suffix of an image.
    keys: the list of a split; None where the label maps themselves are the list.
    """

    bases: tuple[str, ...]
    images: tuple[str, ...]
    truths: str
    truth_suffix: str = ".png"
    image_suffix: str | None = ".jpg"
    keys: str | None = None


@dataclass(frozen=True)
class Download:
    """A file that a benchmark comes from.

    file: its name.
    parts: what it holds, or what is made from it.
    url: where its authors have it.
    mirror: where people find it when it is not there, or what serves instead.
    """

    file: str
    parts: tuple[Part, ...]
    url: str
    mirror: str = ""

    def __str__(self) -> str:
        return f"{self.file} ({self.url}{f', or {self.mirror}' if self.mirror else ''})"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of the catalogue.

    name: as the command line takes it.
    title: what it is.
    classes: name of its class list; None where the data bring one (`CLASS_FILE`).
    preset: name of the settings published for it, if any.
    background: whether pixels of no class are scored as a class; None where the data's class file says so.
    layout, coding: where its files are, and how its label maps are read.
    words: whether its label maps have 16 bits.
    splits: by the name of a split, what it is called on disk; empty where any list makes one.
    val_images: the numbers of pictures that its val split is published with.
    downloads: what it comes from.
    prepared: which parts `car data prepare` makes.
    """

    name: str
    title: str
    classes: str | None
    preset: str | None
    background: bool | None
    layout: Layout
    coding: Coding = field(default_factory=Coding)
    words: bool = False
    splits: Mapping[str, str] = field(default_factory=dict)
    val_images: tuple[int, ...] = ()
    downloads: tuple[Download, ...] = ()
    prepared: tuple[Part, ...] = ()

    @property
    def default_split(self) -> str:
        """The split that is meant where none is named: "val", or `ALL` where there need be no lists."""
        return "val" if self.splits else ALL

    def sources(self, parts: set[Part]) -> list[Download]:
        """The files that hold one of the parts, or of which it is made."""
        return [each for each in self.downloads if parts & set(each.parts)]

    def makes(self, split: str) -> str:
        """What `car data prepare` writes for a split; empty for nothing."""
        layout = self.layout
        written: dict[Part, str] = {
            "images": f"{layout.images[0]}/*{layout.image_suffix}",
            "truths": f"{layout.truths}/*{layout.truth_suffix}",
            "keys": layout.keys or "",
        }
        return ", ".join(written[part].format(split=self.splits[split]) for part in self.prepared)


@dataclass(frozen=True)
class Source:
    """A file or folder that a referring benchmark is read from; in paths, {split} stands for the split, and {variant}
    for the variant as it is called on disk.

    part: what it holds.
    paths: where it may lie below a base, of which the first that is there counts.
    what: what it is, in a few words.
    """

    part: Part
    paths: tuple[str, ...]
    what: str


@dataclass(frozen=True)
class Variant:
    """One of the ways that a referring benchmark is split or annotated.

    on_disk: what stands for it in paths.
    splits: by name, the number of pictures or sequences that a split is published with; None where it is not known.
    downloads: what it comes from, besides those of the benchmark.
    """

    on_disk: str
    splits: Mapping[str, int | None]
    downloads: tuple[Download, ...] = ()


@dataclass(frozen=True)
class ReferringBenchmark:
    """One benchmark of the referring catalogue.

    name: as the command line takes it.
    title: what it is.
    preset: name of the settings published for it, if any.
    unit: what a key is: "pictures" or "sequences".
    bases: folders below the data root that may hold it, "" for the root itself.
    sources: what it is read from, by role.
    variants: by name, the default first.
    variant_option: the argument that names the variant; empty where there is one.
    default_split: the split that is meant where none is named.
    choices: the arguments of `open_referring` that change what is read.
    downloads: what it comes from.
    """

    name: str
    title: str
    preset: str | None
    unit: Literal["pictures", "sequences"]
    bases: tuple[str, ...]
    sources: Mapping[str, Source]
    variants: Mapping[str, Variant]
    downloads: tuple[Download, ...]
    variant_option: str = ""
    default_split: str = "val"
    choices: frozenset[str] = frozenset()

    @property
    def default_variant(self) -> str:
        """The variant that is meant where none is named."""
        return next(iter(self.variants))
