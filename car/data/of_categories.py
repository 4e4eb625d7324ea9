"""Of a referring benchmark, the targets of some categories: those seen in training, say, or those not seen."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, runtime_checkable

from car.data.referring import ReferringDataset, ReferringTruth
from car.errors import InputError
from car.wordlists import find, read_lines


@runtime_checkable
class CategorizedDataset(ReferringDataset, Protocol):
    """A `ReferringDataset` whose annotations have categories, which it knows without opening a picture."""

    @property
    def categories(self) -> Sequence[str]:
        """The names of all categories that its annotations can have, whether the split shows them or not."""

    def categories_of(self, key: str) -> Sequence[str | None]:
        """The `Target.category` of a picture's targets, in their order.

        Raises:
            InputError: no such key.
        """


class OfCategories:
    """A `ReferringDataset` of those targets of another whose category is among some; pictures without one are left out.

    A target that is several objects of different categories, or nothing, has no category and is left out as well.

    Args:
        dataset: of the RefCOCO family, or of another whose annotations have categories.
        names: of categories, as the benchmark spells them; see `read_categories`.

    Attributes:
        dataset, names: as given.
        keys: of the pictures that have such a target, sorted.

    Raises:
        InputError: the benchmark has no categories, or none of such a name, which is answered with the closest one; or
            no target of the split has one of them.
    """

    def __init__(self, dataset: ReferringDataset, names: Iterable[str]) -> None:
        if not isinstance(dataset, CategorizedDataset):
            raise InputError(
                f"{dataset.name} cannot be reduced to categories: it has no list of them, as RefCOCO, RefCOCO+, "
                "RefCOCOg and gRefCOCO have."
            )
        self.dataset, self.names = dataset, frozenset(names)
        self.name, self.split, self.variant, self.root = dataset.name, dataset.split, dataset.variant, dataset.root
        for name in sorted(self.names.difference(dataset.categories)):
            raise _unknown(dataset, name)
        self.keys = tuple(key for key in dataset.keys if self.names.intersection(dataset.categories_of(key)))
        self._kept = frozenset(self.keys)
        if not self.keys:
            raise InputError(f"No target of {dataset.name} in its split {dataset.split!r} has one of the categories.")

    def read(self, key: str) -> ReferringTruth:
        """One picture and those of its targets.

        Raises:
            InputError: no such key, or as `dataset.read` does.
        """
        if key not in self._kept:
            raise InputError(
                f"{self.name} has no picture {key!r} with a target of the categories in its split {self.split!r}."
            )
        truth = self.dataset.read(key)
        return replace(truth, targets=tuple(each for each in truth.targets if each.category in self.names))


def category_file(source: str | Path) -> Path:
    """The file of a list of categories: one of the package's, by name, or the one that a path names.

    Raises:
        InputError: neither exists; the closest name is given.
    """
    return find("categories", source)


def read_categories(source: str | Path) -> tuple[str, ...]:
    """A list of categories by name or path: one name a line, comments (#) and blank lines left out; each once.

    Raises:
        InputError: no such list or file, it cannot be read, or it names none.

    >>> len(read_categories("coco-seen")), read_categories("coco-unseen")[:3]
    (48, ('airplane', 'bus', 'cat'))
    """
    found = tuple(dict.fromkeys(read_lines(category_file(source))))
    if not found:
        raise InputError(f"The list of categories {str(source)!r} names none; expected one a line.")
    return found


def _unknown(dataset: CategorizedDataset, name: str) -> InputError:
    spelt = {each.casefold(): each for each in dataset.categories}
    close = get_close_matches(name.casefold(), spelt, n=1)
    hint = f"Did you mean {spelt[close[0]]!r}?" if close else f"Available: {', '.join(dataset.categories)}."
    return InputError(f"{dataset.name} has no category {name!r}. {hint}")
