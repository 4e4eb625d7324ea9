"""Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, *, quiet: bool, done: int = 0, unit: str = "images") -> Iterator[Callable[..., None]]:
    """Yields `advance(line=None, failed=False, note="")`, which counts one more and says its line, if it has one.

    Args:
        total: how many in all.
        quiet: show no bar, and no lines but of what failed.
        done: how many of them are done already.
        unit: what they are, in the plural.
    """
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else "")

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        Rate(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
        console=console,
        disable=quiet or total == 1 or not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(unit, total=total, completed=done, note="")

        def advance(line: str | None = None, *, failed: bool = False, note: str = "") -> None:
            if line is not None and (failed or not quiet):
                console.print(line, markup=False, style="red" if failed else None)
            bar.update(task, advance=1, note=note)

        yield advance
