"""`car video`: masks for text, in films."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import click

from car.cli.options import MODEL, QUERIES, SETTINGS, read_queries, settings, with_options
from car.errors import InputError

if TYPE_CHECKING:
    from car.segmenter import Segmenter
    from car.video.run import FilmRun

SECONDS_BETWEEN_LINES = 60
SPANS_SHOWN = 8
HOW = (
    click.option("--mode", help="carried, or per-frame: every frame alone.  [default: carried]"),
    click.option("--check-every", type=int, metavar="N", help="Ask all queries at least every N frames.  [default: 8]"),
    click.option("--referring", is_flag=True, help="Queries are expressions: a mask for each, which may overlap."),
)
OUTPUT = (
    click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Results."),
    click.option("--no-overlay", is_flag=True, help="Make no overlay film."),
    click.option("--fps", type=float, help="Frames per second of the overlay.  [default: the film's own, or 24]"),
    click.option("--overwrite", is_flag=True, help="Begin anew, whatever is there of the film."),
    click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse frames with more pixels than this."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
)


@click.command("video")
@click.argument("source")
@with_options(QUERIES, HOW, MODEL, SETTINGS, OUTPUT)
def command(source: str, referring: bool, out: Path, no_overlay: bool, quiet: bool, **options: Any) -> int:
    """Segment a film by text: SOURCE is a folder of pictures, a glob in quotes, or a film file.

    Of a film called NAME the results are Annotations/NAME/00000.png, ... (label maps as DAVIS has them), NAME.mp4 (an
    overlay to look at), NAME.frames.jsonl (by frame: scores, masks as COCO RLE, who is absent, cuts, and masks that may
    be of another query's object), and NAME.json (settings, what was found, and in which frames to look for such masks).

    What was found in one frame is carried to the next along the optical flow; all queries are asked again at scene
    cuts, after every change, and every few frames. A stopped run goes on where it was: give the same command again.

    \b
    Examples:
      car video cat.mp4 -q "the red cat" -q dog --out out/
      car video frames/ -q cat --check-every 16 --fps 30
      car video 'JPEGImages/480p/camel/*.jpg' -q "a camel walking" --referring --model openai-b16
      car video cat.mp4 -q cat --mode per-frame --no-overlay --proposer gradcam
    """
    # FFmpeg and OpenCV say on their own what is wrong with a damaged film; one line of ours is enough.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    from car.io import MAX_PIXELS
    from car.video.frames import open_frames
    from car.video.run import FilmRun
    from car.video.segmenter import VideoSegmenter

    given = settings(options)
    queries = asked(options)
    how = {key: options[key] for key in ("mode", "check_every") if options[key] is not None}
    fps = options["fps"]
    if fps is not None and not 0 < fps <= 1000:
        raise InputError(f"Expected `--fps` to be above 0 and at most 1000, but got {fps}.")
    film = open_frames(source, max_pixels=options["max_pixels"] or MAX_PIXELS)
    video = VideoSegmenter(load_models(options, given, referring), together=not referring, **how)
    with FilmRun(video, film, queries, out, overlay=not no_overlay, fps=fps, overwrite=options["overwrite"]) as run:
        watch = Watch(run, quiet)
        try:
            watch.segment()
            if not no_overlay:
                watch.draw()
        except KeyboardInterrupt:
            anew = " without `--overwrite`" if options["overwrite"] else ""
            raise click.Abort(f"The same command{anew} goes on where it was.") from None
        return conclude(run, quiet)


def asked(options: dict[str, Any]) -> list[str]:
    """The queries, of the command line or the preset."""
    from car.config import load_preset

    queries = read_queries(options["queries"], options["queries_file"])
    if not queries and options["preset"] is not None:
        queries = load_preset(options["preset"]).queries
    if not queries:
        raise InputError("No queries: add `-q WORD`, `--queries-file FILE`, or a `--preset` with classes.")
    return queries


def load_models(options: dict[str, Any], given: dict[str, Any], referring: bool) -> "Segmenter":
    """The models the options name; expressions have settings of their own."""
    if not referring:
        from car.cli.run import load_segmenter

        return load_segmenter(options, given)
    from car.referring.load import load_recurrent

    model, classifier = options["model"] or "mini", options["classifier"]
    return load_recurrent(
        model if classifier is None else (model, classifier),
        options["preset"],
        options["config_file"],
        options["device"] or "auto",
        options["dtype"] or "auto",
        options["weights_dir"],
        given,
    ).segmenter


class Watch:
    """Does the work and shows how it goes: a bar on a terminal, a line a minute elsewhere, and each damaged frame.

    Args:
        run: the film.
        quiet: show only what is damaged.
    """

    def __init__(self, run: "FilmRun", quiet: bool) -> None:
        self.run, self.quiet = run, quiet
        self.total = run.frames.length

    def segment(self) -> None:
        """Segment what is not there yet."""
        there = self.run.folder.done
        if there and not self.quiet:
            click.echo(f"{frames(there)} {'was' if there == 1 else 'were'} there already.", err=True)
        with self._bar(there) as advance:
            for number, result in self._timed(self.run.segment(), there):
                error = result.frame.error
                advance(f"error: {error}" if error else None, failed=bool(error), note=f"{self.rate:.1f} frames/s")
                self._say_now_and_then(f"{number} of {self.total or '?'} frames, {self.rate:.1f} frames/s")
        done = self.run.folder.done - there
        if done and not self.quiet:
            click.echo(f"{frames(done)}, {self.rate:.1f} frames/s.", err=True)

    def draw(self) -> None:
        """Make the overlay film."""
        with self._bar(0) as advance:
            for number, _ in self._timed(self.run.draw(), 0):
                advance(note="drawing")
                self._say_now_and_then(f"{number} of {self.run.folder.done} frames drawn")

    def _timed(self, work: Iterator[Any], there: int) -> Iterator[tuple[int, Any]]:
        """What the work gives, numbered from the first frame; keeps count of the frames per second."""
        began = self._spoke = perf_counter()
        for number, each in enumerate(work, start=there + 1):
            self.rate = (number - there) / max(perf_counter() - began, 1e-9)
            yield number, each

    def _bar(self, there: int) -> Any:
        from car.cli.progress import progress

        # A film that does not say how long it is has a bar without an end.
        return progress(cast(int, self.total), quiet=self.quiet, done=there, unit="frames")

    def _say_now_and_then(self, line: str) -> None:
        now = perf_counter()
        if not self.quiet and not sys.stderr.isatty() and now - self._spoke >= SECONDS_BETWEEN_LINES:
            self._spoke = now
            click.echo(line, err=True)


def conclude(run: "FilmRun", quiet: bool) -> int:
    """Say what was found; the exit status."""
    summary = run.finish()
    if not quiet:
        for each in summary["queries"]:
            click.echo(f"{each['query']}: {whereabouts(each, summary['frames'])}", err=True)
        click.echo(doubt(summary), err=True)
        click.echo(f"-> {run.folder.film if run.overlay else run.folder.labels}", err=True)
    if summary["damaged"]:
        click.echo(f"{summary['damaged']} of {frames(summary['frames'])} could not be read.", err=True)
    if summary["missing"]:
        promised, missing = frames(summary["frames"] + summary["missing"]), summary["missing"]
        verb = "is" if missing == 1 else "are"
        click.echo(f"The film promised {promised}, but {missing} of them {verb} not there.", err=True)
    return int(bool(summary["damaged"] or summary["missing"]))


def frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


def whereabouts(query: dict[str, Any], length: int) -> str:
    """In which frames a query is."""
    if not query["frames"]:
        return "absent"
    marked = f"; in {query['uncertain']} of them perhaps another query's" if query["uncertain"] else ""
    return f"in {query['frames']} of {frames(length)}, from {query['first']} to {query['last']}{marked}"


def doubt(summary: dict[str, Any]) -> str:
    """How many masks may be of another query's object, and where to look."""
    marked = summary["doubt"]
    if not marked["masks"]:
        return "No mask is marked as perhaps another query's."
    spans = [str(first) if first == last else f"{first}-{last}" for first, last in marked["frames"]]
    rest = len(spans) - SPANS_SHOWN
    more = f" and {rest} more place{'s' if rest > 1 else ''}" if rest > 0 else ""
    where = "frame" if len(spans) == 1 and "-" not in spans[0] else "frames"
    return (
        f"Masks that may be another query's: {marked['masks']}, {marked['taken']} of them taken over; "
        f"look at {where} {', '.join(spans[:SPANS_SHOWN])}{more}."
    )
