"""A row for people to read; it is Markdown, too."""

from rich import box
from rich.table import Table

from car.bench.figures import Row, Stage

HEADER = ("stage", "seconds", "spread", "floor", "x floor", "peak GiB")
RIVAL = ("published way", "speed-up")


def title(row: Row) -> str:
    """What was measured."""
    case = row.case
    one, several = ("expression", "expressions") if case.referring else ("query", "queries")
    what = one if case.queries == 1 else several
    return f"{case.models}, {case.size[0]} x {case.size[1]}, {case.queries} {what}, {row.dtype} on {row.device}"


def caption(row: Row) -> str:
    """How the loop went, and what the figures leave out."""
    height, width = row.working
    said = [
        f"Worked on at {width} x {height}.",
        f"{' > '.join(map(str, (*row.entered, row.kept)))} queries with theta at {row.theta:.4g}, {chosen(row)}; "
        f"prompted images encoded: {', '.join(map(str, row.drawn))}.",
    ]
    if row.entered[0] < row.case.queries:
        said.append(f"The cascade left {row.entered[0]} of {row.case.queries} queries to begin with.")
    if row.resident is not None:
        said.append(f"Peak memory of the process: {row.resident / 2**30:.2f} GiB.")
    if row.rival_entered:
        counts = ", ".join(map(str, row.rival_entered))
        said.append(
            f"Ours in {row.dtype}, the published way in {row.rival_dtype}; it had {counts} queries in its steps."
        )
    if row.agreement is not None:
        said.append(f"Its masks are ours in {row.agreement:.2%} of the pixels.")
    if any(stage.estimated for stage in row.stages):
        said.append("~: from a part of the queries, in proportion.")
    return " ".join(said)


def chosen(row: Row) -> str:
    """How theta was chosen."""
    if row.case.all_kept:
        return "so that all are kept"
    return "so that about a quarter is left after the first step" if row.case.queries > 1 else "so that it is kept"


def table(row: Row) -> Table:
    """The stages with their floors, and with the rival where there is one."""
    rival = bool(row.rival_entered)
    made = Table(box=box.MARKDOWN, pad_edge=True)
    for name in (*HEADER, *(RIVAL if rival else ())):
        made.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in row.stages:
        made.add_row(*cells(stage)[: None if rival else len(HEADER)])
    return made


def cells(stage: Stage) -> list[str]:
    """One line of the table."""
    rough = "~" if stage.estimated else ""
    return [
        stage.name,
        seconds(stage.median),
        seconds(stage.spread),
        seconds(stage.floor),
        times(stage.ratio),
        "-" if stage.peak is None else f"{stage.peak / 2**30:.2f}",
        seconds(stage.rival_median, rough),
        times(stage.speed_up, rough),
    ]


def seconds(value: float | None, before: str = "") -> str:
    """Seconds to about three digits, or a dash.

    >>> seconds(12.345), seconds(0.12345), seconds(0.000012345), seconds(None)
    ('12.3', '0.123', '0.00001', '-')
    """
    if value is None:
        return "-"
    decimals = 1 if value >= 10 else 3 if value >= 0.01 else 5
    return f"{before}{value:.{decimals}f}"


def times(value: float | None, before: str = "") -> str:
    """A ratio, or a dash."""
    return "-" if value is None else f"{before}{value:.1f}"
