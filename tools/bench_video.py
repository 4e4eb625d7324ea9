"""Films of scenes, segmented frame by frame and with what is carried from frame to frame: quality, steadiness, speed.

Films are 24 frames of 144 x 192 pixels with two or three actors and one cut; they wander, cross, leave and come back,
about one event in ten frames. What is asked:
- names: the concepts of the film and absent ones, eight in all, as competing queries, one for all actors of a concept;
- expressions: what `film_expressions` says of single actors by name, colour and texture, and of nothing, each with a
  mask of its own (referring mode);
- look-alikes: expressions as well, of films that have several actors of one concept in different colours.

J, F and J&F are those of DAVIS with fixed ids, over queries that mean something in the film; in frames without it, an
empty mask has 1. Flicker is how much more masks change than they truly do (`car.metrics.video.flicker`), switches how
often per film an object is found by another query than the last one that found it (IoU of at least 0.5). "other's" is
the share of masks that are mostly another query's object, "told" how many of those are marked uncertain, "right" how
many marks are on such masks. "absent" is the share of frames in which a query that means nothing has a mask. Frames per
second are of one core's time, without reading or writing. In brackets the 95 % interval, by bootstrap over films.

    python tools/bench_video.py --out runs/video
    python tools/bench_video.py --out runs/video --films 5 --set names --variant per-frame --variant carried

A stopped run goes on where it was, and more films, sets or variants are added to what is there; after a change of the
code, name another folder. Run inside the repository, or with the package installed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from ablate_records import Records, Task
from rich.console import Console
from rich.progress import track as progress

from car.errors import CarError
from car.evaluate.bootstrap import interval
from car.metrics.video import ObjectScores, score_sequence, video_scores
from car.scenes.film import Film, film
from car.scenes.film_expressions import film_expressions
from car.scenes.sprites import concepts
from car.video import Frame, Track, VideoSettings
from car.video.hidden import Hidden
from car.video.identity import overlaps
from car.video.result import FrameResult

FIRST = 8_000_000
"""Seed of the first film. Nothing was chosen by films from here on."""
QUERIES = 8
MATCH, TOUCH = 0.5, 0.1
ROUNDS = 2000


class Fixed(Track):
    """Checks fully every so many frames, whatever happens."""

    def schedule(self, answer: Any, last: Hidden | None, checked: bool) -> tuple[int, int]:
        _, since = super().schedule(answer, last, checked)
        return self.settings.check_every, since


VARIANTS: dict[str, tuple[type[Track], dict[str, Any]]] = {
    "per-frame": (Track, {"mode": "per-frame"}),
    "carried": (Track, {}),
    "carried, checks up to every 16": (Track, {"check_every": 16}),
    "carried, checks up to every 4": (Track, {"check_every": 4}),
    "carried, a check every frame": (Track, {"check_every": 1}),
    "carried, a check every 8, no sooner": (Fixed, {"check_every": 8}),
    "carried, masks not warped": (Track, {"warp": False}),
    "carried, survivors only, no masks": (Track, {"carry": 0.0}),
    "carried, masks weigh 0.15": (Track, {"carry": 0.15}),
    "carried, masks weigh 0.5": (Track, {"carry": 0.5}),
}


@dataclass(frozen=True)
class Asked:
    """What is asked of a film: queries, and which actors each means; those that mean some come first."""

    queries: tuple[str, ...]
    meanings: tuple[tuple[int, ...], ...]

    @property
    def objects(self) -> int:
        """How many queries mean something."""
        return sum(map(bool, self.meanings))


def names(made: Film, seed: int) -> Asked:
    """The concepts of a film, and absent ones."""
    there = tuple(dict.fromkeys(made.names))
    absent = [name for name in concepts() if name not in there]
    drawn = np.random.default_rng([seed, QUERIES]).choice(len(absent), QUERIES - len(there), replace=False)
    meanings = [tuple(i for i, other in enumerate(made.names) if other == name) for name in there]
    return Asked((*there, *(absent[i] for i in drawn)), (*meanings, *[()] * len(drawn)))


def expressions(made: Film, seed: int) -> Asked:
    """One clear expression for each actor that has one, the most telling kind, and what means nothing."""
    single: dict[tuple[int, ...], str] = {}
    for each in film_expressions(made, seed=seed):
        if each.kind in ("name", "attribute") and len(each.objects) == 1 and not each.ambiguous:
            single[each.objects] = each.text
    nothing = [each.text for each in film_expressions(made, seed=seed) if each.kind == "nothing"]
    return Asked((*single.values(), *nothing), (*single, *[()] * len(nothing)))


def alike(made: Film) -> bool:
    """Whether a film has actors of one concept, all of them told apart by colours they were given."""
    looks = set(zip(made.names, made.colours, strict=True))
    return len(set(made.names)) < len(made.names) == len(looks) and None not in made.colours


@dataclass(frozen=True)
class Set:
    """Films, and what is asked of them.

    ask: what is asked of a film and its seed.
    together: as of `VideoSettings`.
    repeats: as of `car.scenes.film`.
    least: fewest queries that mean something.
    wanted: which films are taken.
    """

    ask: Callable[[Film, int], Asked]
    together: bool
    repeats: float
    least: int
    wanted: Callable[[Film], bool]

    def films(self, frames: int) -> Iterator[tuple[int, Film, Asked]]:
        """Seeds, films, and what is asked, without end."""
        for seed in count(FIRST):
            made = film(seed, frames=frames, objects=(2, 3), cuts=1, repeats=self.repeats)
            if self.wanted(made) and (asked := self.ask(made, seed)).objects >= self.least:
                yield seed, made, asked


SETS = {
    "names": Set(names, True, 0.3, 1, lambda made: True),
    "expressions": Set(expressions, False, 0.3, 1, lambda made: True),
    "look-alikes": Set(expressions, False, 1.0, 2, alike),
}


def measure(track: Track, made: Film, asked: Asked) -> dict[str, Any]:
    """Segment a film and compare it with the truth."""
    seconds, checks, pairs, touched = 0.0, 0, [], []
    found_by: dict[int, int] = {}
    switches, ghosts = 0, 0.0
    n = asked.objects
    for frame in made:
        start = time.process_time()
        result = track.step(Frame(frame.time, "", made.size, frame.image))
        seconds += time.process_time() - start
        checks += result.checked
        truth = np.array([frame.mask(meaning) for meaning in asked.meanings[:n]])
        shared = overlaps(result.masks, truth)
        switches += count_switches(shared, found_by)
        touched += taken(result, shared, n)
        ghosts += result.masks[n:].any(axis=(1, 2)).mean() if len(asked.queries) > n else 0.0
        pairs.append((result.masks[:n], truth))
    scores = [
        score_sequence(
            ((found[i].astype(np.uint8), true[i].astype(np.uint8)) for found, true in pairs), "fixed-ids", objects=1
        )[0]
        for i in range(n)
    ]
    return {
        "objects": [asdict(each) for each in scores],
        "switches": switches,
        "masks": len(touched),
        "others": sum(other for other, _ in touched),
        "marks": sum(mark for _, mark in touched),
        "marked others": sum(other and mark for other, mark in touched),
        "absent": ghosts / len(made) if len(asked.queries) > n else None,
        "checks": checks,
        "frames": len(made),
        "seconds": seconds,
    }


def count_switches(shared: np.ndarray, found_by: dict[int, int]) -> int:
    """How many objects are found by another query than last; IoU (queries, objects). Notes who found them."""
    switches = 0
    for i, column in enumerate(shared.T):
        best = int(column.argmax())
        if column[best] >= MATCH:
            switches += found_by.get(i, best) != best
            found_by[i] = best
    return switches


def taken(result: FrameResult, shared: np.ndarray, n: int) -> list[tuple[bool, bool]]:
    """Of each mask on an object: whether it is another query's, and whether it is marked uncertain."""
    rows = [i for i in range(n) if result.present[i] and shared[i].max() >= TOUCH]
    return [(int(shared[i].argmax()) != i, bool(result.uncertain[i])) for i in rows]


class Bench:
    """Measures what has no record yet, and puts the records in tables.

    Args:
        out: folder of the records.
        films: per set.
        frames: per film.
        dtype: of the models.
    """

    def __init__(self, out: Path, films: int, frames: int, dtype: str) -> None:
        import car
        from car.referring.load import load_recurrent

        competing = car.load("mini", proposer="gradcam", device="cpu", dtype=dtype)
        apart = load_recurrent("mini", None, None, "cpu", dtype, None, {"proposer": "gradcam"}).segmenter
        self.segmenters = {True: competing, False: apart}
        self.films, self.frames = films, frames
        self.records = Records(out, {"frames": frames, "dtype": dtype, "first": FIRST, "version": car.__version__})

    def run(self, table: str, variants: Sequence[str]) -> None:
        """Measure a set."""
        each = SETS[table]
        segmenter = self.segmenters[each.together]
        films = islice(each.films(self.frames), self.films)
        shown = progress(films, table, total=self.films, console=Console(stderr=True), transient=True)
        for index, (seed, made, asked) in enumerate(shown):
            tasks = [Task(table, "films", index, name, ()) for name in variants]
            missing = self.records.missing(tasks)
            if missing:
                # The features of texts are kept: without this, the first variant would pay for all.
                segmenter.segment(made.frame(0).image, asked.queries)
            for task in missing:
                kind, changes = VARIANTS[task.name]
                track = kind(segmenter, asked.queries, VideoSettings(together=each.together, **changes))
                row = {"table": table, "row": "films", "name": task.name, "index": index, "seed": seed}
                self.records.add([{**row, **measure(track, made, asked)}])

    def report(self, table: str, variants: Sequence[str]) -> str:
        """The records of a set as Markdown."""
        base = self.records.of(table, "films", variants[0], self.films)
        objects = sum(len(each["objects"]) for each in base)
        head = ["variant", "J", "F", "J&F", f"J&F less {variants[0]}'s", "flicker", "switches"]
        head += ["other's", "told", "right", "absent", "full checks", "frames/s"]
        lines = [
            f"## {table}: {self.films} films of {self.frames} frames, {objects} objects "
            f"(seeds {base[0]['seed']} to {base[-1]['seed']})\n",
            f"| {' | '.join(head)} |",
            f"|{' --- |' * len(head)}",
        ]
        for name in variants:
            records = self.records.of(table, "films", name, self.films)
            lines.append(f"| {name} | {' | '.join(cells(records, base))} |")
        return "\n".join(lines)


def cells(records: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> list[str]:
    """A variant's row."""
    total = {
        key: sum(each[key] for each in records) for key in ("switches", "masks", "others", "marks", "marked others")
    }
    frames, films = sum(each["frames"] for each in records), len(records)
    scores = video_scores(ObjectScores(**one) for each in records for one in each["objects"])
    absent = [each["absent"] for each in records if each["absent"] is not None]
    rounds = draws(films)
    sums, sizes = quality(records)
    differences = rounds @ (sums - quality(base)[0]) / (rounds @ sizes)
    same = records is base
    return [
        f"{100 * scores.region.mean:.1f}",
        f"{100 * scores.boundary.mean:.1f}",
        bracketed(100 * scores.j_and_f, 100 * rounds @ sums / (rounds @ sizes)),
        "" if same else bracketed(100 * (sums - quality(base)[0]).sum() / sizes.sum(), 100 * differences, sign="+"),
        f"{scores.flicker:+.3f}",
        f"{total['switches'] / films:.2f}",
        share(total["others"], total["masks"]),
        share(total["marked others"], total["others"]),
        share(total["marked others"], total["marks"]),
        f"{100 * np.mean(absent):.1f} %" if absent else "",
        share(sum(each["checks"] for each in records), frames),
        f"{frames / sum(each['seconds'] for each in records):.1f}",
    ]


def quality(records: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """By film, the sum of its objects' J&F and how many there are."""
    each = [[np.mean([*one["region"], *one["boundary"]]) for one in record["objects"]] for record in records]
    return np.array([sum(film) for film in each]), np.array([len(film) for film in each])


def draws(films: int) -> np.ndarray:
    """How often each film counts in each round of the bootstrap, (ROUNDS, films)."""
    rng = np.random.default_rng(0)
    return rng.multinomial(films, [1 / films] * films, size=ROUNDS)


def bracketed(value: float, rounds: np.ndarray, sign: str = "") -> str:
    low, high = interval(rounds)
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the records.")
@click.option("--films", type=click.IntRange(min=1), default=20, show_default=True, help="Per set.")
@click.option("--frames", type=click.IntRange(min=2), default=24, show_default=True, help="Per film.")
@click.option("--set", "sets", type=click.Choice([*SETS]), multiple=True, help="Repeat for more.  [default: all]")
@click.option("--variant", "variants", type=click.Choice([*VARIANTS]), multiple=True, help="As `--set`.")
@click.option("--dtype", default="auto", show_default=True)
def main(out: Path, films: int, frames: int, sets: tuple[str, ...], variants: tuple[str, ...], dtype: str) -> None:
    # Steps this small only wait for each other on several threads.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        bench = Bench(out, films, frames, dtype)
        for name in sets or SETS:
            bench.run(name, variants or [*VARIANTS])
            click.echo(f"{bench.report(name, variants or [*VARIANTS])}\n")
    except CarError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
