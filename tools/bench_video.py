"""Films of scenes, segmented frame by frame and with what is carried from frame to frame: quality, steadiness, speed.

Films are 24 frames of 144 x 192 pixels with two or three actors and one cut; they wander, cross, leave and come back,
about one event in ten frames. What is asked:
- names: the concepts of the film and absent ones, eight in all, as competing queries, one for all actors of a concept;
- expressions: what `film_expressions` says of single actors by name, colour and texture, and of nothing, each with a
  mask of its own (referring mode);
- look-alikes: expressions as well, of films that have several actors of one concept in different colours.

J, F and J&F are those of DAVIS with fixed ids, over queries that mean something in the film; in frames without it, an
empty mask has 1. Flicker is how much more masks change than they truly do (`car.metrics.video.flicker`), switches how
often per film an object is found by another query than the last one that found it (IoU of at least 0.5). "absent" is
the share of frames in which a query that means nothing has a mask. Frames per second are of one core's time, without
reading or writing. In brackets the 95 % interval, by bootstrap over films.

A second table is of identity, in numbers over all films. A switch is "told" where the query that finds the object now
is marked uncertain in this frame, or the one that found it before was marked when it last did; "silent" where neither
is. "taker silent" are those where the first is not, whatever the other was. "marked" is the share of all masks that are
marked; "right" the share of marks on masks that are not mostly their own query's object. "other's" are masks that are
mostly an object that another query means, and how many of these are marked.

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
    found_by: dict[int, tuple[int, bool]] = {}
    switches, ghosts = Switches(), 0.0
    masks = marks = right = 0
    n = asked.objects
    for frame in made:
        start = time.process_time()
        result = track.step(Frame(frame.time, "", made.size, frame.image))
        seconds += time.process_time() - start
        checks += result.checked
        truth = np.array([frame.mask(meaning) for meaning in asked.meanings[:n]])
        shared = overlaps(result.masks, truth)
        switches = switches.after(shared, result.uncertain, found_by)
        there, own = result.masks.any(axis=(1, 2)), own_object(shared)
        masks, marks = masks + int(there.sum()), marks + int((there & result.uncertain).sum())
        right += int((there & result.uncertain & ~own).sum())
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
        **asdict(switches),
        "masks": masks,
        "marks": marks,
        "right": right,
        "others": sum(other for other, _ in touched),
        "marked others": sum(other and mark for other, mark in touched),
        "absent": ghosts / len(made) if len(asked.queries) > n else None,
        "checks": checks,
        "frames": len(made),
        "seconds": seconds,
    }


@dataclass(frozen=True)
class Switches:
    """How many objects were found by another query than last, how many of these with no mark on the query that took
    it, and how many with no mark on the one that had it, either."""

    switches: int = 0
    taker_silent: int = 0
    silent: int = 0

    def after(self, shared: np.ndarray, marked: np.ndarray, found_by: dict[int, tuple[int, bool]]) -> "Switches":
        """With one more frame: IoU (queries, objects), and (queries,) who is marked. Notes who found which object."""
        switches, taker_silent, silent = self.switches, self.taker_silent, self.silent
        for i, column in enumerate(shared.T):
            best = int(column.argmax())
            if column[best] < MATCH:
                continue
            before, told = found_by.get(i, (best, False))
            if before != best:
                unmarked = not marked[best]
                switches += 1
                taker_silent += unmarked
                silent += unmarked and not told and not marked[before]
            found_by[i] = best, bool(marked[best])
        return Switches(switches, taker_silent, silent)


def own_object(shared: np.ndarray) -> np.ndarray:
    """(queries,) bool; whose mask is on what the query means, and on nothing else more; IoU (queries, objects)."""
    own = np.zeros(len(shared), bool)
    n = shared.shape[1]
    own[:n] = (shared[:n].argmax(axis=1) == np.arange(n)) & (shared[:n].diagonal() >= TOUCH)
    return own


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
        head += ["absent", "full checks", "frames/s"]
        lines = [
            f"## {table}: {self.films} films of {self.frames} frames, {objects} objects "
            f"(seeds {base[0]['seed']} to {base[-1]['seed']})\n",
            f"| {' | '.join(head)} |",
            f"|{' --- |' * len(head)}",
        ]
        for name in variants:
            records = self.records.of(table, "films", name, self.films)
            lines.append(f"| {name} | {' | '.join(cells(records, base))} |")
        head = [
            "variant",
            "switches",
            "silent",
            "taker silent",
            "masks",
            "marked",
            "right",
            "other's",
            "of these marked",
        ]
        lines += ["", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for name in variants:
            told = identity(self.records.of(table, "films", name, self.films))
            lines.append(f"| {name} | {' | '.join(told)} |")
        return "\n".join(lines)


def cells(records: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> list[str]:
    """A variant's row."""
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
        f"{sum(each['switches'] for each in records) / films:.2f}",
        f"{100 * np.mean(absent):.1f} %" if absent else "",
        share(sum(each["checks"] for each in records), frames),
        f"{frames / sum(each['seconds'] for each in records):.1f}",
    ]


def identity(records: Sequence[dict[str, Any]]) -> list[str]:
    """A variant's row of the second table."""
    keys = ("switches", "silent", "taker_silent", "masks", "marks", "right", "others", "marked others")
    total = {key: sum(each[key] for each in records) for key in keys}
    shares = [share(total["marks"], total["masks"], 1), share(total["right"], total["marks"])]
    numbers = [str(total[key]) for key in keys]
    return [*numbers[:4], *shares, *numbers[6:]]


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


def share(part: float, whole: float, digits: int = 0) -> str:
    return f"{100 * part / whole:.{digits}f} %" if whole else ""


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
