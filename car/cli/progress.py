"""Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """Yields `advance(line, failed=False)`, which counts one image and says its line."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or total == 1 or not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("images", total=total)

        def advance(line: str, *, failed: bool = False) -> None:
            if failed or not quiet:
                console.print(line, markup=False, style="red" if failed else None)
            bar.advance(task)

        yield advance
