"""The tables of `ablate_scenes`, in Markdown, from the records of its scenes."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from ablate_measure import ALL, COLUMNS, CRF, FILTERED, RECURRENT, UNKNOWN
from ablate_records import Records
from ablate_settings import name_of, shown, swept

from car.config import Config
from car.scenes import Split

Record = dict[str, Any]
ROUNDS = 10_000


def main_table(records: Records, splits: Sequence[Split], proposer: str, scenes: int) -> str:
    """mIoU of every column with its interval, precision and recall of the recurrent run."""
    rows = []
    for split in splits:
        found = records.of("main", split.name, proposer, scenes)
        rows.append([split.name, *(per_cent(miou(found, column)) for column in COLUMNS), *kept(found)])
    return table(["scenes", *COLUMNS, "precision", "recall"], rows)


def recompute_table(records: Records, splits: Sequence[Split], proposers: Sequence[str], scenes: int) -> str:
    """What proposing again for the survivors adds to filtering once, paired, and what the loop makes of T = 1."""
    rows = []
    for proposer in proposers:
        for split in splits:
            found = records.of("main", split.name, proposer, scenes)
            once, again, everything = (miou(found, column) for column in (FILTERED, RECURRENT, ALL))
            factor = again.mean() / everything.mean() if everything.any() else math.nan
            steps = np.mean([record["steps"] for record in found])
            rows.append([proposer, split.name, per_cent(again - once, "+"), f"{factor:.1f}", f"{steps:.2f}"])
    header = ["proposer", "scenes", "recurrent - filtered once", "recurrent / all kept", "steps"]
    return table(header, rows)


def proposer_table(records: Records, split: Split, proposers: Sequence[str], scenes: int) -> str:
    """The proposers on the tuning split: what the main one is chosen by."""
    rows = []
    for proposer in proposers:
        found = records.of("main", split.name, proposer, scenes)
        rows.append([proposer, *(per_cent(miou(found, column)) for column in (RECURRENT, CRF)), *kept(found)])
    return table(["proposer", RECURRENT, CRF, "precision", "recall"], rows)


def sweep_table(records: Records, split: Split, proposer: str, config: Config, scenes: int) -> str:
    """One setting changed at a time; the defaults in bold."""
    rows = []
    for field, value in swept(proposer, config):
        name = name_of(proposer, field, value, config)
        text = f"**{shown(value)}**" if name == proposer else shown(value)
        rows.append([field, text, *recurrent(records.of("tuning", split.name, name, scenes))])
    return table(["setting", "value", RECURRENT, "precision", "recall"], rows)


def unknown_table(records: Records, split: Split, proposer: str, scenes: int) -> str:
    """Share of scenes in which each unknown word was kept, and of the present ones that were."""
    found = records.of("unknown", split.name, proposer, scenes)
    shares = [np.mean([word in record["unknown"] for record in found]) for word in UNKNOWN]
    cells = [f"{100 * share:.1f}" for share in (*shares, np.mean(shares))]
    return table([*UNKNOWN, "all five", "recall of present ones"], [[*cells, kept(found)[1]]])


def time_table(records: Records, splits: Sequence[Split], proposers: Sequence[str], scenes: int) -> str:
    """Mean seconds per scene of each stage."""
    rows = []
    for proposer in proposers:
        found = [record for split in splits for record in records.of("main", split.name, proposer, scenes)]
        stages = list(found[0]["seconds"])
        means = [float(np.mean([record["seconds"].get(stage, 0) for record in found])) for stage in stages]
        rows.append([proposer, *(f"{mean:.3f}" for mean in (*means, sum(means)))])
    return table(["seconds per scene", *stages, "all"], rows)


def best_proposer(records: Records, split: Split, proposers: Sequence[str], scenes: int) -> str:
    """The one with the highest mIoU on the tuning split after the CRF, as the pipeline is used."""
    return max(proposers, key=lambda name: miou(records.of("main", split.name, name, scenes), CRF).mean())


def recurrent(found: Sequence[Record]) -> list[str]:
    return [per_cent(miou(found, RECURRENT)), *kept(found)]


def miou(found: Sequence[Record], column: str) -> np.ndarray:
    """mIoU of each scene, float (S,)."""
    return np.array([record["miou"][column] for record in found])


def kept(found: Sequence[Record]) -> list[str]:
    """Precision and recall of the kept queries, over all scenes together; "-" where none was kept."""
    present, chosen, right = (sum(record[key] for record in found) for key in ("present", "kept", "right"))
    return [f"{right / chosen:.2f}" if chosen else "-", f"{right / present:.2f}"]


def per_cent(values: np.ndarray, sign: str = "") -> str:
    """Mean of the scenes' values and its interval, in per cent."""
    low, high = interval(values)
    return f"{100 * values.mean():{sign}.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean over scenes, by bootstrap: ROUNDS times as many scenes drawn with replacement.

    Args:
        values: float (S,), one per scene; differences of two columns for a paired comparison.
    """
    means = resampled(len(values)) @ values
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@cache
def resampled(scenes: int) -> np.ndarray:
    """How much each scene weighs in each round of the bootstrap, float (ROUNDS, scenes); always the same."""
    drawn = np.random.default_rng(0).multinomial(scenes, np.full(scenes, 1 / scenes), size=ROUNDS)
    return drawn / scenes


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
