"""The rows of the CaR paper's ablations, and of one of our own: which settings stand in which table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

T1 = {"theta": 0.0, "max_steps": 1, "keep_best": False}
"""One turn of the loop that keeps every query: no recurrence."""
PROMPTS = (
    ("circle",),
    ("contour",),
    ("rectangle",),
    ("blur",),
    ("gray",),
    ("black",),
    ("circle", "blur"),
    ("circle", "gray"),
    ("circle", "black"),
    ("contour", "blur"),
    ("rectangle", "blur"),
    ("blur", "gray"),
    ("circle", "blur", "gray"),
    (),
)
GROUPS = ("terrestrial", "aquatic", "manmade")
BACKGROUNDS = ((), *((group,) for group in GROUPS), GROUPS, ("coco23",))
THRESHOLDS = {"eta": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "theta": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
MERGED = (None, "regions", "mini")
LAMBDAS = {"lam": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    label: its cells before the figures.
    options: settings that differ from the run's own; None leaves one out.
    models: proposer and classifier, where they differ from the run's.
    published: what the paper has for it on Pascal VOC, mIoU in per cent.
    """

    label: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, str] | None = None
    published: float | None = None


@dataclass(frozen=True)
class Table:
    """One table: a title with its number in the paper if it has one, the header of its labels, its rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def tables(pairs: Sequence[tuple[str, str]]) -> dict[str, Table]:
    """Every table by name.

    Args:
        pairs: proposer and classifier of each row of the table of backbones; without any, there is no such table.
    """
    found = {
        "recurrence": Table("Recurrence and CAM (Table 2)", ("CAM", "recurrence"), tuple(recurrence())),
        "backbones": Table(
            "Backbones (Table 3)",
            ("proposer", "classifier"),
            tuple(Row(pair, models=pair) for pair in pairs),
        ),
        "prompts": Table(
            "Visual prompts (Table 4)",
            ("visual prompts",),
            tuple(Row((joined(prompts),), {"prompts": prompts}) for prompts in PROMPTS),
        ),
        "thresholds": Table("Thresholds, one at a time (Table 5)", ("setting", "value"), tuple(thresholds())),
        "background": Table(
            "Background queries (Table 6)",
            ("background queries",),
            tuple(Row((joined(lists),), {"background": lists}) for lists in BACKGROUNDS),
        ),
        "merging": Table(
            "Mask proposals merged by IoM",
            ("mask proposals",),
            tuple(Row((name or "none",), {"sam": name}) for name in MERGED),
        ),
    }
    return {name: table for name, table in found.items() if table.rows}


def recurrence() -> Iterator[Row]:
    """Table 2. Its fourth figure, gradCAM without recurrence, is not among those we know."""
    for label, proposer, once, looped in (("gradCAM", "gradcam", None, 41.1), ("CLIP-ES (CAA)", "caa", 15.2, 67.6)):
        yield Row((label, "no"), {"proposer": proposer, **T1}, published=once)
        yield Row((label, "yes"), {"proposer": proposer}, published=looped)


def thresholds() -> Iterator[Row]:
    """Table 5; lambda is of the affinity, and so are the rows that change it."""
    for name, values in THRESHOLDS.items():
        yield from (Row((name, f"{value:g}"), {name: value}) for value in values)
    yield from (Row(("lam", f"{value:g}"), {"lam": value, "proposer": "caa"}) for value in LAMBDAS["lam"])


def joined(names: Sequence[str]) -> str:
    """A list as tables write it."""
    return "+".join(names) or "none"
