"""The referring benchmarks that tools/ makes of scenes, small; and reading what is said in them."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from car.scenes import COLOURS, Scene
from car.scenes.nouns import nouns
from car.scenes.words import plural

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import benchmarks_films as films
import benchmarks_saying as saying
import make_benchmarks as tool

COUNT, FOR_FILMS, SIZES = 9, 32, ((96, 128), (128, 97))
JPEG_ERROR = 12
COCOS = ("refcoco", "refcoco+", "refcocog", "grefcoco")
THINGS = {"one", "ones", "thing", "things", "object", "objects"}
SPOKEN = (*COCOS, "phrasecut", "refdavis")


def counts(name: str) -> int:
    return FOR_FILMS if name == "refdavis" else COUNT


def run(*arguments: object) -> Result:
    return CliRunner().invoke(tool.main, [*map(str, arguments)])


def order(name: str, out: Path) -> tool.Order:
    return tool.Order(name, out, counts(name), 0, SIZES)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(out: Path, *names: str) -> Path:
    """Make referring benchmarks, small, on the command line."""
    sizes = [word for height, width in SIZES for word in ("--size", f"{height}x{width}")]
    for name in names:
        result = run(out, "--count", counts(name), *sizes, "--benchmark", name)
        assert result.exit_code == 0, result.output
    return out


@cache
def drawn(name: str, split: str) -> dict[str, saying.Told | saying.Phrased | films.Worded]:
    """By key, what was to be written."""
    asked = order(name, Path("nowhere"))
    layout = tool.BENCHMARKS[name].layout(asked.root, asked.drawing.wording)
    return {layout.key(split, i): asked.drawing.picture(split, i) for i in range(asked.counts[split])}


def everything(name: str) -> dict[str, saying.Told]:
    return {key: each for split in tool.BENCHMARKS[name].layout.splits for key, each in drawn(name, split).items()}


def merged(scene: Scene, objects: tuple[int, ...]) -> np.ndarray:
    return scene.masks[list(objects)].any(axis=0)


@cache
def forms() -> dict[str, str]:
    """The concept of each noun, one thing or many."""
    return {form: concept for concept, words in nouns().items() for word in words for form in (word, plural(word))}


def begun(words: list[str]) -> str | None:
    """The concept of the noun that words begin with, the longest; "thing" for such a word."""
    if words and words[0] in THINGS:
        return "thing"
    return next((forms()[text] for n in range(len(words), 0, -1) if (text := " ".join(words[:n])) in forms()), None)


def head(text: str) -> str | None:
    """The concept of the first noun of a text, unless that is "thing"."""
    words = text.split()
    for i, word in enumerate(words):
        concept = begun(words[i:])
        if concept and not (word in COLOURS and begun(words[i + 1 :])):
            return concept if concept != "thing" else None
    raise AssertionError(text)
