"""report.md of a run over films: its figures for people, the published ones beside them."""

from collections.abc import Iterator, Mapping
from typing import Any

from car.evaluate.markdown import code, count, per_cent, table, text, within
from car.evaluate.page import shortfall
from car.evaluate.referring_page import failures, settings, some

RULES = {
    "fixed-ids": "object i against the masks of its own expression, all frames, void pixels left out",
    "unsupervised": "as the unsupervised task of DAVIS: the same, but masks are assigned to objects as suits best",
    "semi-supervised": "as the semi-supervised task of DAVIS: fixed ids, without the first and the last frame; void "
    "pixels are background",
}
"""The rules in words."""
MEASURES = ("J&F", "J", "J recall", "J decay", "F", "F recall", "F decay", "flicker")
_SIGNED = ("J decay", "F decay", "flicker")


def page(figures: Mapping[str, Any]) -> str:
    """The page, from `car.evaluate.video_report.figures`."""
    plan, value = figures["plan"], figures["rules"][figures["main"]]["j_and_f"]
    result = "no result" if value is None else f"{per_cent(value, digits=2)} J&F"
    place = f"{text(figures['benchmark'])} {text(figures['split'])} ({text(plan['variant'])})"
    sections = [
        f"# {place}, {text(figures['title'])}: {result}",
        coverage(figures),
        *_method(figures),
        "## Scores",
        *_scores(figures),
        "## Annotators",
        *_annotators(figures),
        "## Published",
        *_published(figures),
        "## Sequences",
        *_films(figures),
        *_problems(figures),
        *failures(figures),
        "## Settings",
        *settings(figures),
    ]
    return "\n\n".join(sections) + "\n"


def coverage(figures: Mapping[str, Any]) -> str:
    """What is in the scores, and what became of the rest."""
    sequences, annotators = figures["sequences"], figures["plan"]["annotators"]
    return (
        f"**{count(sequences['evaluated'])} of {count(sequences['all'])} sequences**, with {count(figures['frames'])} "
        f"frames and {count(figures['objects'])} objects, each asked for by {count(len(annotators))} annotators: "
        f"{count(figures['expressions']['asked'])} expressions." + shortfall(sequences, figures["plan"]["sequences"])
    )


def shown_scores(scores: Mapping[str, float]) -> str:
    """Published scores in one line.

    >>> shown_scores({"J": 28.15, "F": 32.53})
    'J 28.15, F 32.53'
    """
    return ", ".join(f"{name} {value:.2f}" for name, value in scores.items())


def _method(figures: Mapping[str, Any]) -> Iterator[str]:
    film, masks = figures["plan"]["film"], figures["masks"]
    said = "The expressions of an annotator are asked together, and each has the background queries alone as rivals for"
    if not film:
        yield "Every frame is segmented alone, and every expression by itself, among the mask proposals of the frame."
    elif film["mode"] == "per-frame":
        yield f"Every frame is segmented alone. {said} its mask."
    else:
        yield f"What was found in a frame is carried to the next. {said} its mask."
    yield (
        "Of these masks one label map is made per frame: where they overlap, the one with the highest score is in "
        "front. An object without a mask, or whose expression could not be asked, has an empty one."
    )
    if film:
        share = per_cent(masks["uncertain"] / masks["found"] if masks["found"] else None)
        yield (
            f"Masks that could as well be another expression's: {count(masks['uncertain'])} of {count(masks['found'])} "
            f"({share} %)."
        )


def _scores(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for rule, each in figures["rules"].items():
        first, *cells = _cells(each)
        main = rule == figures["main"]
        bold = "**" if main else ""
        rows.append([f"{bold}{rule}{bold}", f"{bold}{first}{bold}", within(each["interval"]), *cells])
    yield table(["per cent", "J&F", "95 % interval", *MEASURES[1:]], rows)
    yield "\n".join(f"- {rule}: {RULES[rule]}." for rule in figures["rules"])
    yield (
        "J is the IoU of masks, F the agreement of their boundaries; means are over objects, and over annotators. "
        "Recall: share of frames above 50 %. Decay: first quarter of the frames less the last. Flicker: how much more "
        "masks change from frame to frame than they truly do; negative where they stay behind, which is no merit. The "
        "interval says how far J&F moves when the sequences are drawn again, with replacement."
    )


def _annotators(figures: Mapping[str, Any]) -> Iterator[str]:
    rules, main = figures["rules"], figures["main"]
    others = [rule for rule in rules if rule != main]
    rows = []
    for name in (*figures["plan"]["annotators"], None):
        each = {rule: found if name is None else found["annotators"][name] for rule, found in rules.items()}
        said = "**mean**" if name is None else text(name)
        rows.append([said, *_cells(each[main]), *(per_cent(each[rule]["j_and_f"], digits=2) for rule in others)])
    yield table(["per cent", *MEASURES, *(f"J&F {rule}" for rule in others)], rows)
    yield f"By the rule {main}, where none is named."


def _published(figures: Mapping[str, Any]) -> Iterator[str]:
    known, plan = figures["published_per_cent"], figures["plan"]
    if not known:
        yield "No published scores of zero-shot methods are known for this split."
        return
    main = figures["rules"][figures["main"]]
    ours = (main["j_and_f"], main["j"]["mean"], main["f"]["mean"])
    rows = [[f"**this run: {text(figures['title'])}**", *(per_cent(value, digits=2) for value in ours), "fixed ids"]]
    for each in known:
        cells = [f"{each['scores'][name]:.2f}" for name in ("J&F", "J", "F")]
        rows.append([text(each["method"]), *cells, text(each["note"])])
    yield table(["per cent", "J&F", "J", "F", "note"], rows)
    drawn = "" if plan["limit"] is None else f", on {count(plan['sequences'])} sequences drawn from the split"
    yield f"This run used {code(plan['model'])}{drawn}."


def _films(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for each in figures["films"]:
        counts = [count(each[name]) for name in ("frames", "objects")]
        doubt = [count(each["uncertain"])] if figures["plan"]["film"] else []
        rows.append([text(each["sequence"]), *counts, *_cells(each), *doubt])
    header = ["sequence", "frames", "objects", *MEASURES, *(["uncertain"] if figures["plan"]["film"] else [])]
    yield table(header, rows)
    yield f"By the rule {figures['main']}, over all annotators."


def _problems(figures: Mapping[str, Any]) -> Iterator[str]:
    yield from some(
        "Expressions that were not asked",
        [
            f"- {code(each['sequence'])}, {text(each['annotator'])}, object {text(each['object'])}: "
            f"{text(each['problem'])}"
            for each in figures["problems"]
        ],
    )


def values_of(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """Scores of `car.evaluate.video_report.figures` by the names in `MEASURES`."""
    values = {"J&F": scores["j_and_f"]}
    for name, each in (("J", scores["j"]), ("F", scores["f"])):
        values |= {name: each["mean"], f"{name} recall": each["recall"], f"{name} decay": each["decay"]}
    return values | {"flicker": scores["flicker"]}


def _cells(scores: Mapping[str, Any]) -> list[str]:
    return [per_cent(value, "+" if name in _SIGNED else "", digits=2) for name, value in values_of(scores).items()]
