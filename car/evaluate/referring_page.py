"""report.md of a referring run: its figures for people, the published ones beside them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from car.evaluate.markdown import NOTHING, code, count, per_cent, table, text, within
from car.evaluate.page import setting, shortfall
from car.evaluate.plan import flat
from car.evaluate.referring_plan import PROTOCOLS

UNPUBLISHED = "Published scores are of targets of all categories: none stands here."
_SHOWN = 200
_GROUPED = {
    "InstAcc": " InstAcc: share of targets all of whose answers have IoU above 0.5.",
    "ImgAcc": " ImgAcc: share of images all of whose answers have IoU above 0.5.",
}


def page(figures: Mapping[str, Any]) -> str:
    """The page, from `car.evaluate.referring_report.figures`."""
    plan, main = figures["plan"], figures["main"]
    value = figures["scores"][main]
    scored = "no result" if value is None else f"{per_cent(value, digits=2)} {main}"
    variant = f" ({text(plan['variant'])})" if plan["variant"] else ""
    sections = [
        f"# {text(figures['benchmark'])} {text(figures['split'])}{variant}{text(of_categories(plan))}, "
        f"{text(plan['method'])}: {scored}",
        coverage(figures),
        *_protocol(figures),
        "## Scores",
        *_scores(figures),
        *_published(figures),
        *_problems(figures),
        *failures(figures),
        "## Settings",
        *settings(figures),
    ]
    return "\n\n".join(sections) + "\n"


def protocol_of(plan: Mapping[str, Any]) -> str:
    """The protocol of a plan in words."""
    return f"per {plan['protocol']}"


def of_categories(plan: Mapping[str, Any]) -> str:
    """The list of categories that a plan's targets are of, to stand after the split; empty where they are of all.

    >>> of_categories({"categories": {"source": "coco-unseen.txt", "sha256": "0" * 64}})
    ', categories of coco-unseen.txt'
    """
    return f", categories of {plan['categories']['source']}" if plan["categories"] else ""


def coverage(figures: Mapping[str, Any]) -> str:
    """What is in the scores, and what became of the rest."""
    images, targets, answers = figures["images"], figures["targets"], figures["answers"]
    said = (
        f"**{count(images['evaluated'])} of {count(images['all'])} images**, with {count(targets['counted'])} targets "
        f"and {count(answers['scored'])} answers."
    )
    if targets["no_target"]:
        said += f" Of the targets, {count(targets['no_target'])} are expressions that refer to nothing."
    return said + shortfall(images, figures["plan"]["images"])


def _protocol(figures: Mapping[str, Any]) -> Iterator[str]:
    plan, images, answers = figures["plan"], figures["images"], figures["answers"]
    yield (
        f"Protocol: {protocol_of(plan)}, {PROTOCOLS[plan['protocol']]}. Scores per sentence and per object are not "
        "comparable."
    )
    if plan["categories"]:
        yield (
            f"Only targets whose annotated category is listed in {code(plan['categories']['source'])} are asked for; "
            "images without one are left out."
        )
    if images["without_proposals"]:
        became = "left out, as in the released code" if plan["skip_empty"] else "counted: nothing is found in them"
        yield f"Images without mask proposals: {count(images['without_proposals'])}, {became}."
    yield (
        f"Answers in which nothing was found: {count(answers['nothing_found'])}, of which {count(answers['failed'])} "
        "failed, because none of their expressions could be asked; these have IoU 0."
    )
    if plan["config"].get("as_released") and plan["method"] == "hybridgl":
        yield (
            "The released code lets k1 and k2 shrink from image to image; here they begin anew with every image, so "
            "that no result depends on the order of images."
        )


def _scores(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, value in figures["scores"].items():
        main = name == figures["main"]
        shown = per_cent(value, digits=2)
        rows.append([f"**{name}**" if main else name, f"**{shown}**" if main else shown])
        rows[-1].append(within(figures["interval"]) if main else "")
    yield table(["per cent", "this run", "95 % interval"], rows)
    yield "The interval says how far the score moves when the images are drawn again, with replacement."
    if figures["main"] == "gIoU":
        yield (
            "An expression is told to have no target where nothing is found, or a mask with fewer than 1 pixel. gIoU "
            "and cIoU are by ReLA's rules: an expression without a target has IoU 1 if it is told so, else 0. mIoU is "
            "by the rules of RefCOCO, where it always has 0."
        )
    else:
        yield (
            "oIoU: all intersections over all unions. mIoU: mean IoU. P@X: share of answers with IoU of at least X."
            + "".join(said for name, said in _GROUPED.items() if name in figures["scores"])
        )


def _published(figures: Mapping[str, Any]) -> Iterator[str]:
    known, plan = figures["published_per_cent"], figures["plan"]
    yield "## Published"
    if plan["categories"]:
        yield UNPUBLISHED
        return
    if not known:
        yield "No published scores of zero-shot methods are known for this split."
        return
    measures = [name for name in ("oIoU", "mIoU") if name in figures["scores"]]
    ours = [per_cent(figures["scores"][name], digits=2) for name in measures]
    rows = [[f"**this run: {text(plan['method'])}**", protocol_of(plan), *ours, ""]]
    for each in known:
        cells = [f"{each['scores'][name]:.2f}" if name in each["scores"] else NOTHING for name in measures]
        rows.append([text(each["method"]), protocol_of(each), *cells, text(each["note"])])
    yield table(["per cent", "protocol", *measures, "note"], rows)
    drawn = "" if plan["limit"] is None else f", on {count(plan['images'])} images drawn from the split"
    yield (
        f"The published figures are of the methods' own networks and proposals on the whole split; this run used "
        f"{code(plan['model'])}{drawn}. Only rows of one protocol can be compared."
    )


def _problems(figures: Mapping[str, Any]) -> Iterator[str]:
    yield from some(
        "Expressions that were not asked",
        [
            f"- {code(each['image'])}, target {code(each['target'])}: {text('; '.join(each['problems']))}"
            for each in figures["problems"]
        ],
        " targets",
    )


def failures(figures: Mapping[str, Any]) -> Iterator[str]:
    """What has no result, and why."""
    yield from some("Failures", [f"- {code(key)}: {text(reason)}" for key, reason in figures["failures"].items()])


def settings(figures: Mapping[str, Any]) -> Iterator[str]:
    """Every setting of a run's plan."""
    rows = flat(figures["plan"])
    yield table(["setting", "value"], [[key, setting(key, value)] for key, value in rows], numbers=False)


def some(title: str, lines: Sequence[str], what: str = "") -> Iterator[str]:
    """A section with a list, cut where it is long; nothing where there is none.

    >>> list(some("Failures", []))
    []
    """
    if not lines:
        return
    yield f"## {title}"
    yield "\n".join(lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"And {count(len(lines) - _SHOWN)} more{what}, in `report.json`."
