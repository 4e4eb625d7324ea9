"""`car scenes`: procedural scenes with exact masks, as files and as a picture to look at."""

from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import with_options
from car.errors import InputError

if TYPE_CHECKING:
    from car.scenes.series import Series

COUNT, SHOWN = 200, 12
MOST_SHOWN = 200
LOOKS = (
    click.option("--size", metavar="HxW", help="Pixels: height and width, or one number."),
    click.option("--objects", metavar="N-M", help="Least and most objects, or one number."),
    click.option("--repeats", type=float, help="Chance that an object is of a concept already there, in [0, 1]."),
    click.option("--textured", type=float, help="Chance that an object is striped, dotted or checked, in [0, 1]."),
    click.option("--camera", type=float, help="Chance of light, blur, noise or JPEG artefacts, in [0, 1]."),
    click.option("--artwork", help="train, or held: drawings the embedded model never saw.  [default: train]"),
)
DRAWING = (
    click.option("--first", type=int, metavar="SEED", help="Seed of the first scene.  [default: 0, or the split's]"),
    click.option("--split", help="Scenes of a benchmark split, drawn as it says; a wrong name lists them."),
    *LOOKS,
    click.option("--layout", help="sparse, usual or crowded.  [default: usual]"),
    click.option("--among", metavar="NAMES", help="Concepts to draw from: cat,dog.  [default: all]"),
    click.option("--background", metavar="NAMES", help="One kind of stuff, or two (above,below): sky,grass."),
)
"""How scenes are drawn; what the user leaves out, the library decides."""


@click.group("scenes", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Scenes from a seed: pictures with exact masks, captions and referring expressions.

    \b
    Examples:
      car scenes show 1 2 3                        # a contact sheet
      car scenes make data/ --count 1000           # a folder with pictures, masks and JSON
      car scenes film films/ --seed 7              # a film in the layout of DAVIS
    """


@command.command("make")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), default=COUNT, show_default=True, help="How many.")
@with_options(DRAWING)
@click.option("--overwrite", is_flag=True, help="Replace scenes that are there already.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def make(out: Path, count: int, first: int | None, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Write scenes to the folder OUT, 112 x 112 pixels with 1 to 4 objects each unless told otherwise.

    images/SEED.png is the picture, masks/SEED.png a palette label map of its objects, and scenes.jsonl has a line per
    scene: caption, objects with boxes and COCO RLE masks, expressions with the objects they mean, and for a split the
    queries. The same command writes the same bytes; after an interruption, it goes on where it stopped.

    \b
    Examples:
      car scenes make data/ --count 1000 --objects 2-6 --layout crowded
      car scenes make cats/ --among cat,dog --background sky,grass --size 240x320
      car scenes make test/ --split '2-4 objects, seen artwork'
    """
    import cv2

    from car.cli.progress import progress
    from car.scenes.writing import SceneWriter

    # On pictures this small, OpenCV's threads mostly wait for each other.
    cv2.setNumThreads(1)
    series = series_of(options)
    start = series.first if first is None else first
    seeds = range(start, start + count)
    for seed in (seeds[0], seeds[-1]):
        series.scene(seed)  # what cannot be drawn is said before anything is written
    clocks = (perf_counter, process_time)
    began, composing = [clock() for clock in clocks], 0.0
    with SceneWriter(out, series, seeds, overwrite=overwrite) as writer:
        missing = seeds[writer.done :]
        with progress(len(missing), quiet=quiet) as advance:
            for seed in missing:
                before = process_time()
                made = series.scene(seed)
                composing += process_time() - before
                writer.write(made)
                advance()
    if not quiet:
        there = f" ({count - len(missing)} of {count} were there already)" if len(missing) < count else ""
        click.echo(f"Scenes written to {out}: {len(missing)}{there}.", err=True)
        if missing:
            seconds = [clock() - start for clock, start in zip(clocks, began, strict=True)]
            rates = [f"{len(missing) / each:,.0f} images/s" for each in (*seconds, composing)]
            click.echo("{}; by one core's time {}, composing alone {}.".format(*rates), err=True)


@command.command("show")
@click.argument("seeds", nargs=-1, type=int, metavar="[SEED]...")
@click.option("--count", type=click.IntRange(1, MOST_SHOWN), help=f"How many, without SEEDs.  [default: {SHOWN}]")
@with_options(DRAWING)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("scenes.png"), show_default=True, help="The sheet."
)
@click.option("--columns", type=click.IntRange(min=1), default=3, show_default=True, help="Scenes in a row.")
@click.option("--overwrite", is_flag=True, help="Replace the sheet if it is there already.")
def show(
    seeds: tuple[int, ...],
    count: int | None,
    first: int | None,
    out: Path,
    columns: int,
    overwrite: bool,
    **options: Any,
) -> None:
    """Draw a contact sheet: scenes beside their masks, captions, and some of their expressions.

    \b
    Examples:
      car scenes show
      car scenes show 7 19 --size 300x400 --objects 5-6 --layout crowded --out sheet.png
      car scenes show --split '5-6 objects, held-out artwork' --columns 2
    """
    from car.cli.run import refuse_existing
    from car.export import make_folder, write_png
    from car.scenes.expressions import expressions
    from car.scenes.sheet import Card, contact_sheet

    series = series_of(options)
    if seeds and (count is not None or first is not None):
        raise InputError("Give either SEEDs, or `--first` and `--count`.")
    if len(seeds) > MOST_SHOWN:
        raise InputError(f"A sheet shows at most {MOST_SHOWN} scenes, not {len(seeds)}.")
    if out.exists() and not overwrite:
        refuse_existing([out])
    start = series.first if first is None else first
    cards = []
    for seed in seeds or range(start, start + (count or SHOWN)):
        made = series.scene(seed)
        cards.append(Card(f"seed {seed}", made, expressions(made, seed=seed)))
    make_folder(out.parent)
    write_png(out, contact_sheet(cards, columns))
    click.echo(f"wrote {out}")


@command.command("film")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", "seeds", type=int, multiple=True, required=True, help="Of a film; repeat for more.")
@click.option("--frames", type=int, help="Length.  [default: 48]")
@click.option("--cuts", type=int, help="Number of scene cuts.  [default: 1]")
@with_options(LOOKS)
@click.option("--overwrite", is_flag=True, help="Replace films that are there already.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def film(out: Path, seeds: tuple[int, ...], overwrite: bool, quiet: bool, **options: Any) -> None:
    """Write films to the folder OUT, laid out like DAVIS; 144 x 192 pixels with 2 to 4 actors unless told otherwise.

    JPEGImages/film-SEED/00000.jpg is a frame, Annotations/film-SEED/00000.png a palette label map in which an actor
    keeps its label from frame to frame, and Expressions/film-SEED.json has the actors, expressions with the actors they
    mean, and by frame who is there, a caption, and more expressions, which hold in that frame.

    \b
    Examples:
      car scenes film films/ --seed 7
      car scenes film films/ --seed 1 --seed 2 --frames 96 --cuts 2 --size 240x320
    """
    from car.cli.progress import progress
    from car.scenes.davis import existing_film, write_film
    from car.scenes.film import film as direct
    from car.scenes.series import VERSIONS, arguments

    given = drawing(options)
    films = {seed: direct(seed, **given) for seed in seeds}
    there = [path for seed in films for path in existing_film(out, f"film-{seed}")]
    if there and not overwrite:
        raise InputError(f"{str(there[0])!r} exists already; add `--overwrite` or choose another folder.")
    settings = {**VERSIONS, **arguments(direct, given)}
    total, began = sum(map(len, films.values())), perf_counter()
    with progress(total, quiet=quiet, unit="frames") as advance:
        for seed, each in films.items():
            for _ in write_film(out, f"film-{seed}", each, seed, settings):
                advance()
    if not quiet:
        rate = total / (perf_counter() - began)
        click.echo(f"Films written to {out}: {len(films)}, with {total} frames.\n{rate:,.0f} frames/s.", err=True)


def series_of(options: dict[str, Any]) -> "Series":
    """The scenes that the options of `DRAWING` ask for; `--first` apart."""
    from car.scenes.series import Series

    split = options.pop("split")
    given = drawing(options)
    if split is None:
        return Series(given)
    if given:
        raise InputError(f"`--split` fixes how its scenes are drawn; leave out `--{next(iter(given))}`.")
    return Series.of_split(split)


def drawing(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments for the library: only those the user gave, of `LOOKS` and the like."""
    forms = {"size": _size, "objects": _objects, "among": _concepts, "background": _names}
    given = {name: value for name, value in options.items() if value is not None}
    return {name: forms[name](value) if name in forms else value for name, value in given.items()}


def _size(text: str) -> tuple[int, int]:
    from car.io import MAX_PIXELS

    height, width = _numbers(text, "x", "--size", "S or HxW, in pixels")
    if height * width > MAX_PIXELS:
        raise InputError(f"Expected `--size` to have at most {MAX_PIXELS:,} pixels, but got {text!r}.")
    return height, width


def _objects(text: str) -> tuple[int, int]:
    return _numbers(text, "-", "--objects", "N or N-M")


def _numbers(text: str, joint: str, option: str, form: str) -> tuple[int, int]:
    first, _, second = text.lower().partition(joint)
    try:
        return int(first), int(second if joint in text.lower() else first)
    except ValueError:
        raise InputError(f"Expected `{option}` to be {form}, but got {text!r}.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _concepts(text: str) -> tuple[str, ...]:
    from difflib import get_close_matches

    from car.scenes.sprites import concepts

    names = _names(text)
    for name in names:
        if name not in concepts():
            close = get_close_matches(name, concepts(), n=3)
            hint = f"Did you mean {', '.join(map(repr, close))}?" if close else f"There are {', '.join(concepts())}."
            raise InputError(f"No drawing of {name!r}. {hint}")
    return names
