"""What `segment` and `explain` have in common: load once, go through the images, report at the end."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import read_queries, settings
from car.errors import InputError

if TYPE_CHECKING:
    from car.result import Segmentation
    from car.segmenter import Segmenter


@dataclass
class Batch:
    """Images to work through with one segmenter and one list of queries."""

    segmenter: "Segmenter"
    queries: list[str]
    images: dict[Path, str]
    options: dict[str, Any]
    failed: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def from_options(
        cls,
        sources: Sequence[str],
        options: dict[str, Any],
        *,
        out: Path | None,
        outputs: Callable[[Path, str], list[Path]],
    ) -> "Batch":
        """Check everything that can be checked before the models are loaded, then load them.

        `outputs(out, stem)` names the results of an image that are there already.
        """
        from car.config import load_preset
        from car.io import find_images
        from car.queries import clean_queries

        given = settings(options)
        queries = read_queries(options["queries"], options["queries_file"])
        if not queries and options["preset"] is not None:
            queries = load_preset(options["preset"]).queries
        if not queries:
            raise InputError("No queries: add `-q WORD`, `--queries-file FILE`, or a `--preset` with classes.")
        queries = list(clean_queries(queries))
        images = find_images(sources, recursive=options["recursive"])
        stems = dict(zip(images, output_stems(images), strict=True))
        if out is not None and not options["overwrite"]:
            refuse_existing([path for stem in stems.values() for path in outputs(out, stem)])
        segmenter = load_segmenter(options, given)
        segmenter.check(queries)
        return cls(segmenter, queries, stems, options)

    def run(self, work: Callable[[Path, str, "Segmentation"], str]) -> int:
        """Segment every image and hand it to `work`, which says what it did; the exit status.

        While one image is segmented, the next is read, and `work` is at the last, in a thread of its own. A bad image
        does not stop the rest: it is reported, counted, and the status is 1 (2 if it was the only one).
        """
        from car.cli.progress import progress
        from car.overlap import overlapped

        outcomes = overlapped(
            self.images,
            self._read,
            lambda image: self.segmenter.segment(image, self.queries),
            lambda path, result: work(path, self.images[path], result),
        )
        with closing(outcomes), progress(len(self.images), quiet=self.options["quiet"]) as advance:
            for path, said in outcomes:
                if not isinstance(said, InputError):
                    advance(f"{path}: {said}")
                elif len(self.images) == 1:
                    raise said
                else:
                    self.failed[path] = str(said)
                    advance(f"{path}: error: {said}", failed=True)
        if self.failed:
            done = len(self.images) - len(self.failed)
            click.echo(f"{done} of {len(self.images)} images done, {len(self.failed)} failed.", err=True)
        return int(bool(self.failed))

    def _read(self, path: Path) -> Any:
        from car.io import MAX_PIXELS, read_image

        return read_image(path, max_pixels=self.options["max_pixels"] or MAX_PIXELS)


def load_segmenter(options: dict[str, Any], given: dict[str, Any]) -> "Segmenter":
    """Load the models the options name, with the settings the user gave."""
    from car.segmenter import load

    model = options["model"] or "mini"
    chosen = {key: options[key] for key in ("preset", "config_file", "device", "dtype", "weights_dir")}
    return load(
        model if options["classifier"] is None else (model, options["classifier"]),
        **{key: value for key, value in chosen.items() if value is not None},
        **given,
    )


def refuse_existing(paths: Sequence[Path]) -> None:
    """Results are not overwritten unless the user says so."""
    if paths:
        there = f"and {len(paths) - 1} more exist" if len(paths) > 1 else "exists"
        raise InputError(f"{str(paths[0])!r} {there} already; add `--overwrite` or choose another `--out`.")


def output_stems(paths: Sequence[Path]) -> list[str]:
    """A distinct name for the results of each image: its stem, with folders in front where stems repeat."""
    taken: dict[str, int] = {}
    for path in paths:
        taken[path.stem] = taken.get(path.stem, 0) + 1
    stems: list[str] = []
    for path in paths:
        stem = path.stem
        if taken[stem] > 1:
            parts = [part for part in path.parent.parts if part not in (path.anchor, ".", "..")]
            stem = "_".join([*parts, path.stem, path.suffix.lstrip(".")])
        stems.append(stem)
    return stems


def summary(result: "Segmentation") -> str:
    """One line: what was found with score and share of the image, and what is absent."""
    found = [
        f"{query} {score:.2f} ({(result.labels == i + 1).mean():.1%})"
        for i, (query, score) in enumerate(zip(result.queries, result.scores, strict=True))
        if result.present[i]
    ]
    absent = ", ".join(result.absent[:10]) + (f" and {len(result.absent) - 10} more" if len(result.absent) > 10 else "")
    parts = [", ".join(found) or "none of the queries is here", *([f"absent: {absent}"] if absent else [])]
    if result.skipped:
        parts.append(f"not judged, by the cascade: {len(result.skipped)} of {len(result.queries)}")
    return "; ".join(parts)
