"""Which words name which things of a scene, and what else they may be taken to mean."""

from functools import cache

from car.scenes.sprites import concepts
from car.scenes.words import is_plural


def listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


LOOSE = listed(
    """people, man, woman, person with clothes, pony, ox, ram, rat, hen, rooster, bird avian, hawk, pottedplant, grape,
    cherries, chips, steak, mug, coffee cup, dessertspoon, dining table, diningtable, dish, amphora, jar, earth globe,
    office building, ship, football, sports ball, rugby ball, tennis ball, ski, trousers, pants, glove, luggage,
    musical keyboard, tvmonitor, tvmonitor screen, armchair, chair seat"""
)
"""Synonyms that are not true of every drawing of their concept, or not English: a scene can be asked for them, but
nobody would single a thing out by them."""

COVERS = {
    "person": ("boy", "girl", "skis", "snowboard", "surfboard"),
    "boy": ("person",),
    "girl": ("person",),
    "kid": ("girl", "person"),
    "bear": ("koala", "panda"),
    "bird": ("chicken", "duck", "swan", "owl", "eagle", "penguin", "flamingo", "peacock", "parrot"),
    "bug": ("bee", "spider", "butterfly"),
    "fish": ("shark", "dolphin", "whale"),
    "flower": ("rose", "sunflower", "tulip", "potted plant"),
    "potted plant": ("cactus", "flower"),
    "tree": ("cactus",),
    "car": ("taxi", "ambulance"),
    "truck": ("ambulance", "tractor"),
    "bike": ("motorcycle", "scooter"),
    "scooter": ("motorcycle",),
    "glasses": ("wine glass", "cup", "beer"),
    "cup": ("wine glass", "beer", "trophy", "ice cream", "bowl"),
    "bowl": ("salad", "soup", "cup"),
    "bread": ("croissant", "sandwich", "hamburger", "hot dog"),
    "meat": ("hamburger", "hot dog"),
    "shoe": ("high heel", "boot", "skis"),
    "boot": ("skis",),
    "hat": ("helmet", "crown"),
    "shirt": ("tie", "coat", "dress"),
    "bag": ("backpack", "suitcase"),
    "telephone": ("cell phone",),
    "bell": ("clock",),
    "fire": ("candle",),
    "watch": ("clock",),
    "clock": ("watch",),
    "star": ("sun",),
    "diamond": ("ring",),
}
"""Words that hold for other concepts; a word that ends another concept's name ("bear", "teddy bear") always does so."""

ALIKE = (
    ("dog", "wolf", "fox"),
    ("lion", "tiger", "leopard", "cat"),
    ("horse", "unicorn", "zebra", "deer"),
    ("cow", "goat", "sheep", "llama", "camel"),
    ("rhinoceros", "hippopotamus", "elephant"),
    ("mouse", "rabbit"),
    ("panda", "polar bear", "koala"),
    ("duck", "swan"),
    ("crocodile", "dragon", "dinosaur", "frog"),
    ("whale", "dolphin", "shark"),
    ("shrimp", "crab", "lobster", "octopus"),
    ("snake", "bug"),
    ("rose", "tulip", "sunflower"),
    ("apple", "tomato", "pear"),
    ("soup", "salad", "frying pan"),
    ("hamburger", "sandwich"),
    ("bottle", "vase"),
    ("wine glass", "beer"),
    ("fork", "knife", "spoon"),
    ("house", "castle", "building"),
    ("train", "tram", "bus"),
    ("fire engine", "truck", "ambulance"),
    ("moon", "sun"),
    ("soccer ball", "volleyball", "basketball", "baseball"),
    ("plate", "frisbee"),
    ("skis", "snowboard", "surfboard"),
    ("tie", "scarf"),
    ("handbag", "suitcase", "backpack"),
    ("trumpet", "saxophone"),
    ("guitar", "violin"),
    ("piano", "keyboard"),
    ("television", "monitor", "laptop"),
    ("book", "newspaper"),
    ("pencil", "paintbrush", "toothbrush"),
    ("bed", "couch"),
    ("gift", "envelope"),
    ("video game", "radio"),
)
"""Concepts whose drawings are easily taken for each other."""

FACES = listed(
    """person, boy, girl, ghost, skull, robot, snowman, dog, cat, lion, tiger, leopard, horse, zebra, unicorn, deer,
    cow, pig, sheep, goat, camel, llama, giraffe, elephant, rhinoceros, hippopotamus, mouse, rabbit, bear, koala, panda,
    polar bear, fox, wolf, kangaroo, monkey, chicken, bird, duck, swan, owl, eagle, penguin, flamingo, peacock, parrot,
    frog, crocodile, turtle, snake, dragon, dinosaur, whale, dolphin, fish, shark, octopus, shrimp, crab, lobster,
    snail, bug, bee, spider, moon, sun, skis, snowboard, surfboard, teddy bear"""
)
SEEN_ON = {
    "eye": FACES,
    "mouth": FACES,
    "hand": ("person", "robot", "skis", "snowboard", "surfboard", "teddy bear", "monkey", "clock"),
    "hat": ("snowman", "skis", "snowboard"),
    "helmet": ("skis", "snowboard"),
    "scarf": ("snowman",),
    "shirt": ("person",),
    "jeans": ("person",),
    "dress": ("person",),
    "coat": ("person",),
    "shoe": ("person",),
    "leaf": listed(
        """flower, rose, sunflower, tulip, potted plant, tree, palm tree, apple, pear, orange, lemon, strawberry,
        cherry, pineapple, tomato, eggplant, carrot, corn, grapes, salad, bird"""
    ),
    "tree": ("house",),
    "palm tree": ("house",),
    "door": ("house", "castle", "building", "bus", "tram"),
    "flag": ("castle",),
    "flower": ("suitcase", "cactus"),
    "star": ("christmas tree",),
    "candle": ("cake",),
    "fire": ("fire extinguisher", "rocket", "cake"),
    "strawberry": ("cake",),
    "cherry": ("cake", "ice cream"),
    "tomato": ("salad", "hamburger", "sandwich", "pizza"),
    "cheese": ("hamburger", "sandwich", "pizza"),
    "egg": ("frying pan", "soup", "salad"),
    "fish": ("sushi",),
    "shrimp": ("sushi", "soup"),
    "plate": ("cup", "bowl"),
    "bowl": ("sushi",),
    "fork": ("plate",),
    "knife": ("plate",),
    "spoon": ("bowl", "soup"),
    "cup": ("bottle",),
    "ladder": ("fire engine",),
    "boot": ("snowboard",),
    "tie": ("teddy bear", "person"),
    "keyboard": ("laptop", "monitor"),
    "diamond": ("crown",),
    "light bulb": ("couch", "traffic light"),
    "paintbrush": ("violin",),
    "beer": ("cup",),
}
"""Concepts in whose drawings another is to be seen: a plate comes with a fork, a dog has an eye."""

BEHIND = {
    "forest": ("tree", "palm tree", "christmas tree", "leaf", "potted plant"),
    "facade": ("building", "house", "door"),
    "brick wall": ("building", "house", "castle"),
    "night sky": ("star", "moon"),
    "field": ("corn",),
    "grass": ("leaf",),
    "wood": ("door",),
}
"""Concepts that a background may be taken to show."""

PATTERNED = {
    "striped": listed(
        """zebra, tiger, bee, fish, watermelon, umbrella, rainbow, tent, tie, scarf, socks, bug, basketball, volleyball,
        truck, piano, ladder, newspaper, shrimp, lobster, drum, bread"""
    ),
    "dotted": listed(
        """leopard, giraffe, mushroom, strawberry, cow, dog, cookie, donut, pizza, watermelon, peacock, butterfly,
        snowman, kiwi, cheese, christmas tree, cake, video game, keyboard, octopus, globe"""
    ),
    "checked": listed("soccer ball, turtle, pineapple, giraffe, kite, corn, building, tennis racket, piano"),
}
"""Concepts whose own drawings may pass for such a texture."""

MASS = listed("bread, broccoli, cheese, corn, fire, flame, ice cream, meat, salad, soup, sushi")
"""Words that are not counted."""


@cache
def nouns() -> dict[str, tuple[str, ...]]:
    """The words that single out each concept, its name first."""
    return {
        name: (name, *(word for word in concept.synonyms if word not in LOOSE)) for name, concept in concepts().items()
    }


@cache
def concept_of(noun: str) -> str:
    """The concept that a word of `nouns()` names."""
    return next(name for name, words in nouns().items() if noun in words)


@cache
def confusable(noun: str) -> frozenset[str]:
    """Other concepts that a word may mean: those it covers, those that look alike, and those that show one."""
    name = concept_of(noun)
    mates = {mate for group in ALIKE if name in group for mate in group}
    heads = {c.name for c in concepts().values() if any(w.endswith(f" {noun}") for w in (c.name, *c.synonyms))}
    covered = {*COVERS.get(noun, COVERS.get(name, ()))}
    return frozenset((mates | heads | covered | {*SEEN_ON.get(name, ())}) - {name})


@cache
def broader(noun: str) -> frozenset[str]:
    """Concepts that may pass for this one where there is none of it: a bear for a teddy bear."""
    name = concept_of(noun)
    return frozenset(wider for wider in concepts() if wider != name and name in confusable(wider))


def countable(noun: str) -> bool:
    """Whether "two" can go before the plural of a word."""
    return noun not in MASS and not is_plural(noun)
