"""Which class of a benchmark each thing and each kind of stuff of scenes is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from car.scenes import STUFF, concepts
from car.wordlists import ClassEntry, read_classes

ALIASES: dict[str, tuple[str, ...]] = {
    "animal": ("dog", "lion"),
    "apparel": ("shirt",),
    "ball": ("soccer ball",),
    "bonfire": ("fire",),
    "cellular telephone": ("cell phone",),
    "chips": (),
    "cloth": ("scarf",),
    "earth": ("ground",),
    "eyeglass": ("glasses",),
    "floor": ("wood",),
    "food": ("pizza",),
    "fruit": ("apple",),
    "gift box": ("gift",),
    "headphone": ("headphones",),
    "house exterior": ("house",),
    "leaves": ("leaf",),
    "light": ("light bulb",),
    "minibike": ("motorcycle",),
    "mouse": ("computer mouse",),
    "musical instrument": ("trumpet",),
    "plant": ("potted plant",),
    "plaything": ("teddy bear",),
    "racket": ("tennis racket",),
    "ring": (),
    "sign": ("stop sign",),
    "signal light": ("traffic light",),
    "signboard": ("stop sign",),
    "sknowboard": ("snowboard",),
    "skyscraper": ("facade",),
    "streetcar": ("tram",),
    "television receiver": ("television",),
    "tool": ("axe",),
    "toy": ("teddy bear",),
    "track": ("railway",),
    "trouser": ("jeans",),
    "wall": ("brick wall",),
    "wineglass": ("wine glass",),
}
"""What a class is in scenes, the best word first, where its name does not say so or means something else there."""

BIRDS = ("chicken", "bird", "duck", "swan", "owl", "eagle", "penguin", "flamingo", "peacock", "parrot")
FLOWERS = ("flower", "rose", "sunflower", "tulip")
TREES = ("tree", "palm tree", "christmas tree", "forest")
FRUIT = (
    *("apple", "pear", "orange", "lemon", "banana", "watermelon", "grapes", "strawberry", "cherry", "pineapple"),
    *("kiwi", "tomato", "avocado"),
)
FOOD = (
    *FRUIT,
    *("mushroom", "eggplant", "potato", "carrot", "corn", "broccoli", "bread", "croissant", "cheese", "egg", "meat"),
    *("hamburger", "french fries", "pizza", "hot dog", "sandwich", "salad", "soup", "sushi", "ice cream", "donut"),
    *("cookie", "cake"),
)
ANIMALS = (
    *("dog", "cat", "lion", "tiger", "leopard", "horse", "zebra", "unicorn", "deer", "cow", "pig", "sheep", "goat"),
    *("camel", "llama", "giraffe", "elephant", "rhinoceros", "hippopotamus", "mouse", "rabbit", "bear", "koala"),
    *("panda", "polar bear", "fox", "wolf", "kangaroo", "monkey", *BIRDS, "frog", "crocodile", "turtle", "snake"),
    *("dragon", "dinosaur", "whale", "dolphin", "fish", "shark", "octopus", "shrimp", "crab", "lobster", "snail"),
    *("butterfly", "bug", "bee", "spider"),
)
CLOTHES = ("shirt", "jeans", "scarf", "gloves", "coat", "socks", "dress", "tie", "hat")
BALLS = ("soccer ball", "baseball", "basketball", "volleyball", "american football")
KINDS = {
    "animal": ANIMALS,
    "apparel": CLOTHES,
    "bag": ("handbag", "backpack"),
    "ball": BALLS,
    "bear": ("polar bear", "panda"),
    "bird": BIRDS,
    "building": ("house", "castle", "facade"),
    "car": ("taxi", "police car", "race car"),
    "cat": ("lion", "tiger", "leopard"),
    "cloth": CLOTHES,
    "flower": FLOWERS,
    "food": FOOD,
    "fruit": FRUIT,
    "glass": ("wine glass", "beer"),
    "grass": ("field",),
    "ground": ("field",),
    "monitor": ("television",),
    "motorcycle": ("scooter",),
    "musical instrument": ("guitar", "piano", "trumpet", "violin", "drum", "saxophone"),
    "person": ("boy", "girl", "hand", "eye", "mouth"),
    "plant": (*FLOWERS, "potted plant", "cactus", "leaf"),
    "plaything": ("robot", "balloon"),
    "shoe": ("high heel", "boot"),
    "sky": ("cloud", "night sky"),
    "sports ball": BALLS,
    "telephone": ("cell phone",),
    "television": ("monitor",),
    "tool": ("hammer", "axe"),
    "train": ("tram",),
    "tree": TREES,
    "truck": ("fire engine", "ambulance"),
}
"""What else is of a class, by the class's name or its word in scenes: it would be mislabelled without that label, and
is not shown unless it is a class of its own."""


def scene_words() -> tuple[str, ...]:
    """All that scenes show: concepts, then stuff."""
    return (*concepts(), *STUFF)


@dataclass(frozen=True)
class Wording:
    """The classes of a benchmark in the words of scenes.

    name: of its class list.
    classes: ids are 0, 1, ..., K - 1.
    words: what each class is in scenes, or None where nothing there is of that class; no word twice.
    """

    name: str
    classes: tuple[ClassEntry, ...]
    words: tuple[str | None, ...]

    @classmethod
    def of_list(cls, name: str) -> "Wording":
        """The wording of a class list: classes take the words they are called by, then aliases, then synonyms."""
        classes = tuple(read_classes(name))
        words: list[str | None] = [None] * len(classes)
        for choices in (own_names, aliases, synonyms):
            for i, entry in enumerate(classes):
                if words[i] is None:
                    words[i] = next((word for word in choices(entry) if word not in words), None)
        return cls(name, classes, tuple(words))

    @classmethod
    def of_words(cls, name: str, words: Sequence[str]) -> "Wording":
        """The wording of a class list that is made of words of scenes."""
        kinds = ("thing" if word in concepts() else "stuff" for word in words)
        classes = tuple(ClassEntry(i, kind, word) for i, (kind, word) in enumerate(zip(kinds, words, strict=True)))
        return cls(name, classes, tuple(words))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The class of each word that is one."""
        return {word: i for i, word in enumerate(self.words) if word is not None}

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The words that no class of the benchmark covers, rightly shown as background."""
        names = {name for entry in self.classes for name in names_of(entry)} | set(self.ids)
        covered = {word for kind, words in KINDS.items() if kind in names for word in words}
        return tuple(word for word in scene_words() if word not in self.ids and word not in covered)

    @property
    def queries(self) -> list[ClassEntry]:
        """The class list to ask the embedded model: the scenes' word where there is one, else the class's own name."""
        return [e._replace(query=word or e.query) for e, word in zip(self.classes, self.words, strict=True)]


def names_of(entry: ClassEntry) -> list[str]:
    """What a class is called: its query, and the parts of one with commas."""
    return list(dict.fromkeys([entry.query, *map(str.strip, entry.query.split(","))]))


def own_names(entry: ClassEntry) -> Iterator[str]:
    """Words that equal a name of the class."""
    return (name for name in names_of(entry) if name in scene_words() and name not in ALIASES)


def aliases(entry: ClassEntry) -> Iterator[str]:
    """Words that the table gives for the class."""
    return (word for name in names_of(entry) for word in ALIASES.get(name, ()))


def synonyms(entry: ClassEntry) -> Iterator[str]:
    """Words whose concept has a name of the class as a synonym."""
    names = {name for name in names_of(entry) if name not in ALIASES}
    return (concept.name for concept in concepts().values() if names & {*concept.synonyms})
