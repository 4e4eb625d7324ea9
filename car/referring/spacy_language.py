"""Expressions parsed by spaCy, for the published rules to run on the trees they were written for."""

from typing import TYPE_CHECKING

from car.errors import InputError, MissingError
from car.referring.grammar_tree import Chunk, Tree, Word

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

PIPELINES = ("en_core_web_lg", "en_core_web_trf", "en_core_web_md", "en_core_web_sm")
"""In the order they are looked for: Global-Local CLIP and HybridGL were run with the first, TAS with the second."""

INSTALL = "Install spaCy with: pip install 'car-segmentation[nlp]'"
DOWNLOAD = f"Install a pipeline with: python -m spacy download {PIPELINES[0]}"
UNUSED = ("ner", "lemmatizer", "senter")
"""Components that the rules do not read, and that nothing they read depends on."""


def installed() -> str | None:
    """The first of `PIPELINES` that is installed, if any."""
    try:
        from spacy.util import is_package
    except ImportError:
        return None
    return next(filter(is_package, PIPELINES), None)


class SpacyParser:
    """Parses with a spaCy pipeline.

    Args:
        pipeline: a loaded English pipeline with a dependency parser.
        name: what the parses are marked with, after "spacy:".
    """

    def __init__(self, pipeline: "Language", name: str) -> None:
        self.pipeline = pipeline
        self.name = f"spacy:{name}"

    def tree(self, text: str) -> Tree:
        """The tree of a text.

        Raises:
            InputError: the pipeline does not parse.
        """
        doc = self.pipeline(text)
        if not doc.has_annotation("DEP"):
            raise InputError(f"Pipeline {self.name!r} has no dependency parser. {DOWNLOAD}.")
        return tree(doc)


def tree(doc: "Doc") -> Tree:
    """The tree of a parsed document."""
    words = (Word(token.text, token.tag_, token.head.i, token.idx, token.idx + len(token)) for token in doc)
    chunks = (Chunk(chunk.start, chunk.end, chunk.root.i) for chunk in doc.noun_chunks)
    return Tree(doc.text, tuple(words), tuple(chunks))


def load(name: str | None) -> SpacyParser:
    """A pipeline by name or path, or the first of `PIPELINES` that is installed.

    Raises:
        MissingError: spaCy or the pipeline is not installed.
        InputError: what the path holds is no pipeline.
    """
    try:
        import spacy
    except ImportError:
        raise MissingError(f"spaCy is not installed. {INSTALL}; or use the parser 'built-in'.") from None
    name = name or installed()
    if name is None:
        raise MissingError(f"No English pipeline of spaCy is installed. {DOWNLOAD}; or use the parser 'built-in'.")
    try:
        return SpacyParser(spacy.load(name, exclude=UNUSED), name)
    except OSError:
        raise MissingError(f"spaCy has no pipeline {name!r}. {DOWNLOAD}; or use the parser 'built-in'.") from None
    except ValueError as error:
        raise InputError(f"{name!r} is no pipeline that spaCy can load: {str(error).splitlines()[0]}") from None
