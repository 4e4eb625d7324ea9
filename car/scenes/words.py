"""Articles, plurals and number words for the names of things."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
IRREGULAR = {
    "broccoli": "broccoli",
    "deer": "deer",
    "fish": "fish",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "luggage": "luggage",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "potato": "potatoes",
    "scarf": "scarves",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "snowman": "snowmen",
    "sushi": "sushi",
    "tomato": "tomatoes",
    "wolf": "wolves",
    "woman": "women",
}
ALREADY_PLURAL = {
    "bricks",
    "cherries",
    "chips",
    "clouds",
    "eyeglasses",
    "fries",
    "glasses",
    "gloves",
    "grapes",
    "headphones",
    "jeans",
    "lips",
    "mountains",
    "pants",
    "people",
    "planks",
    "rocks",
    "scissors",
    "skis",
    "socks",
    "tracks",
    "trees",
    "trousers",
}
"""Last words that name one thing in the plural."""


def is_plural(name: str) -> bool:
    """Whether a name is plural in form: "scissors", "french fries"."""
    return name.rsplit(" ", 1)[-1] in ALREADY_PLURAL


def with_article(words: str) -> str:
    """ "a cat", "an apple", "some scissors"."""
    if is_plural(words):
        return f"some {words}"
    return f"an {words}" if words[0] in "aeiou" and not words.startswith("uni") else f"a {words}"


def plural(name: str) -> str:
    """The plural of a name: "cats", "wine glasses", "computer mice"; a name that is plural already stays.

    Examples:
        >>> [plural(name) for name in ("cat", "bus", "cherry", "toy", "scissors", "glass of wine")]
        ['cats', 'buses', 'cherries', 'toys', 'scissors', 'glasses of wine']
    """
    for joint in (" of ", " with "):
        if joint in name:
            head, rest = name.split(joint, 1)
            return f"{plural(head)}{joint}{rest}"
    first, last = name.rpartition(" ")[::2]
    return f"{first} {_plural(last)}".strip()


def _plural(word: str) -> str:
    if word in ALREADY_PLURAL:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
