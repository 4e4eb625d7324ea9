"""Published scores of zero-shot referring segmentation, in per cent, to stand beside ours.

The figures per sentence are those of HybridGL's tables; CaR's are per object, from its own. An edition of RefCOCO-like
benchmarks is named by who split it.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """One published result.

    method: whose.
    protocol: "sentence" or "object".
    scores: in per cent, by measure.
    note: what was different.
    """

    method: str
    protocol: str
    scores: Mapping[str, float]
    note: str = ""


FREESOLO, SAM_B = "Global-Local (FreeSOLO)", "Global-Local (SAM ViT-B)"
PLACES = (
    *(("refcoco", "unc", split) for split in ("val", "testA", "testB")),
    *(("refcoco+", "unc", split) for split in ("val", "testA", "testB")),
    ("refcocog", "umd", "val"),
    ("refcocog", "umd", "test"),
)
"""Benchmark, variant and split of the columns below."""
OIOU: Mapping[str, tuple[float, ...]] = {
    FREESOLO: (24.58, 23.38, 24.35, 25.87, 24.61, 25.61, 30.07, 29.83),
    "TAS": (29.53, 30.26, 28.24, 33.21, 38.77, 28.01, 35.84, 36.16),
    "Ref-Diff": (35.16, 37.44, 34.50, 35.56, 38.66, 31.40, 38.62, 37.50),
    "HybridGL": (41.81, 44.52, 38.5, 35.74, 41.43, 30.9, 42.47, 42.97),
}
MIOU: Mapping[str, tuple[float, ...]] = {
    FREESOLO: (26.20, 24.94, 26.56, 27.80, 25.64, 27.84, 33.52, 33.67),
    SAM_B: (33.12, 36.52, 29.58, 35.29, 39.58, 31.89, 40.08, 40.74),
    "TAS": (39.84, 41.08, 36.24, 43.63, 49.13, 36.54, 46.62, 46.80),
    "Ref-Diff": (37.21, 38.40, 37.19, 37.29, 40.51, 33.01, 44.02, 44.51),
    "HybridGL": (49.48, 53.37, 45.19, 43.40, 49.13, 37.17, 51.25, 51.59),
}
CAR_MIOU = (33.57, 35.36, 30.51, 34.22, 36.03, 31.02, 36.67, 36.57)
OTHERS: Mapping[tuple[str, str, str], tuple[Published, ...]] = {
    ("refcocog", "google", "val"): (
        Published(FREESOLO, "sentence", {"mIoU": 33.61}),
        Published("CaR", "object", {"mIoU": 36.63}),
    ),
    ("phrasecut", "", "test"): (
        Published("Global-Local", "sentence", {"oIoU": 23.64}),
        Published("TAS", "sentence", {"oIoU": 25.64, "mIoU": 24.66}),
        Published("Ref-Diff", "sentence", {"oIoU": 29.42, "mIoU": 41.75}),
        Published("HybridGL", "sentence", {"oIoU": 38.39, "mIoU": 36.98}),
    ),
    ("grefcoco", "unc", "val"): (
        Published("CaR", "sentence", {"mIoU": 16.8}, "first instance alone counts; split not named"),
    ),
}


def published(benchmark: str, variant: str, split: str) -> tuple[Published, ...]:
    """What is published for a split; nothing where nothing is known.

    >>> [each.scores["mIoU"] for each in published("refcoco", "unc", "testA") if each.method == "HybridGL"]
    [53.37]
    """
    place = (benchmark, variant, split)
    if place not in PLACES:
        return OTHERS.get(place, ())
    column = PLACES.index(place)
    found = [
        Published(
            method,
            "sentence",
            {name: values[method][column] for name, values in (("oIoU", OIOU), ("mIoU", MIOU)) if method in values},
        )
        for method in MIOU
    ]
    return (*found, Published("CaR", "object", {"mIoU": CAR_MIOU[column]}))
