"""report.md: a run's figures for people, the published ones beside them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from car.evaluate.figures import STRICT
from car.evaluate.markdown import NOTHING, code, count, number, per_cent, table, text, within
from car.evaluate.plan import flat, plain, shown

MOST_CLASSES = 160
"""Up to so many classes, all are listed."""
LISTED = 40
"""Of more, so many of the best and so many of the worst."""
_HASH_SHOWN = 12
_FAILURES_SHOWN = 200
_MEASURES = {
    "pixel accuracy": "pixel_accuracy",
    "mean accuracy": "mean_accuracy",
    "frequency-weighted IoU": "frequency_weighted_iou",
}


def page(figures: Mapping[str, Any]) -> str:
    """The page, from `car.evaluate.figures`."""
    miou = figures["scores"]["mIoU"]["miou"]
    sections = [
        f"# {text(figures['benchmark'])} {text(figures['split'])}: {scored(miou)}",
        coverage(figures),
        _scores(figures),
        "## The loop",
        *_loop(figures),
        "## Classes",
        *_classes(figures),
        *_failures(figures),
        "## Settings",
        *_settings(figures),
    ]
    return "\n\n".join(sections) + "\n"


def scored(miou: float | None) -> str:
    """An mIoU in words."""
    return "no result" if miou is None else f"{per_cent(miou, digits=2)} mIoU"


def coverage(figures: Mapping[str, Any]) -> str:
    """How many of the pictures are in the scores, and what became of the others."""
    images = figures["images"]
    said = f"**{count(images['evaluated'])} of {count(images['all'])} images.**"
    return said + shortfall(images, figures["plan"]["images"])


def shortfall(covered: Mapping[str, int], planned: int) -> str:
    """What became of the pictures or sequences that are not in the scores, in words; nothing where all are."""
    said = ""
    if covered["failed"]:
        said += f" Failed: {count(covered['failed'])}, which no score counts."
    if covered["missing"]:
        said += f" Not evaluated yet: {count(covered['missing'])}; the run is incomplete."
    if covered["all"] != planned:
        said += f" This is a part of a run of {count(planned)}."
    return said


def published(figures: Mapping[str, Any]) -> tuple[str, float] | None:
    """Name and value (per cent) of the published figure that a run compares with: with SAM if the run has SAM."""
    known = figures["published_per_cent"]
    names = ("mIoU with SAM", "mIoU") if figures["plan"]["config"].get("sam") else ("mIoU",)
    return next(((name, known[name]) for name in names if name in known), None)


def _scores(figures: Mapping[str, Any]) -> str:
    scores, known = figures["scores"], published(figures)
    main = scores["mIoU"]
    header = ["per cent", "this run", "95 % interval", "published", "difference"]
    rows = [
        ["**mIoU**", f"**{per_cent(main['miou'], digits=2)}**", within(main["miou_interval"]), *_beside(main, known)]
    ]
    if strict := scores.get(STRICT):
        rows.append([STRICT, per_cent(strict["miou"], digits=2), within(strict["miou_interval"]), "", ""])
    rows += [[name, per_cent(main[key], digits=2), "", "", ""] for name, key in _MEASURES.items()]
    for name, value in figures["published_per_cent"].items():
        if known is None or name != known[0]:
            rows.append([f"published only: {text(name)}", "", "", number(value, 1), ""])
    return "\n\n".join([table(header, rows), *_notes(figures)])


def _beside(main: Mapping[str, Any], known: tuple[str, float] | None) -> list[str]:
    if known is None:
        return [NOTHING, NOTHING]
    name, value = known
    cell = f"{value:.1f}" if name == "mIoU" else f"{value:.1f} ({name.removeprefix('mIoU ')})"
    return [cell, NOTHING if main["miou"] is None else number(100 * main["miou"] - value, 1, "+")]


def _notes(figures: Mapping[str, Any]) -> Iterator[str]:
    scores = figures["scores"]
    occurring, all_classes = scores["mIoU"]["classes"], len(figures["classes"])
    yield (
        "All scores come from one confusion matrix over all images; means are over the "
        f"{count(occurring)} of {count(all_classes)} classes that have true pixels in it. The interval says how far "
        "the mIoU moves when the images are drawn again, with replacement; it is rough where classes are in few images."
    )
    if strict := scores.get(STRICT):
        yield (
            "This benchmark has no background class. As published, pixels that were left to background are not "
            f"counted; in the {STRICT} they count as missed ({count(strict['classes'])} classes)."
        )
    if figures["published_per_cent"]:
        plan = figures["plan"]
        drawn = "" if plan["limit"] is None else f", on {count(plan['images'])} images drawn from the split"
        yield (
            "The published figures are the paper's, with its networks on the whole split; this run used "
            f"{code(plan['model'])}{drawn}."
        )


def _loop(figures: Mapping[str, Any]) -> Iterator[str]:
    header = ["pass", "classes", "steps per image", "absent kept", "present dropped"]
    rows = []
    for each in figures["passes"]:
        absent = _share(each["absent_kept_share"], each["absent"])
        present = _share(each["present_dropped_share"], each["present"])
        rows.append([each["kind"], count(each["classes"]), number(each["mean_steps"]), absent, present])
    yield table(header, rows)
    yield (
        "Absent kept: queries without a true pixel that stayed to the end. Present dropped: queries with true pixels "
        "that did not."
    )
    header = ["pass", "step", "images that took it", "images that ended with it", "queries before", "after", "pruned"]
    yield table(header, [_step(each["kind"], step) for each in figures["passes"] for step in each["steps"]])


def _share(share: float | None, whole: int) -> str:
    return NOTHING if share is None else f"{per_cent(share)} % of {count(whole)}"


def _step(kind: str, step: Mapping[str, Any]) -> list[str]:
    means = (number(step[key]) for key in ("mean_entered", "mean_left", "mean_pruned"))
    return [kind, str(step["step"]), count(step["images"]), count(step["stopped"]), *means]


def _classes(figures: Mapping[str, Any]) -> Iterator[str]:
    rows, strict = figures["classes"], STRICT in figures["scores"]
    header = ["class", "IoU", *(["strict IoU"] if strict else []), "accuracy", "share of true pixels"]
    header += ["images with it", "kept there", "kept elsewhere"]
    true = sum(each["true_pixels"] for each in rows)
    if len(rows) <= MOST_CLASSES:
        yield table(header, [_class(each, true, strict) for each in rows])
        return
    occurring = sorted((each for each in rows if each["true_pixels"]), key=lambda each: -each["iou"])
    best, worst = occurring[:LISTED], occurring[LISTED:][-LISTED:]
    for name, chosen in (("best", best), ("worst", worst)):
        yield f"The {len(chosen)} {name} of {count(len(occurring))} classes that occur; `classes.csv` has all."
        yield table(header, [_class(each, true, strict) for each in chosen])


def _class(each: Mapping[str, Any], true: int, strict: bool) -> list[str]:
    # A class that is only predicted has an IoU of 0, which enters no mean.
    occurs = bool(each["true_pixels"])
    ious = [each["iou"] if occurs else None, *([each["strict_iou"]] if strict else [])]
    counts = (each[key] for key in ("present", "kept_present", "kept_absent"))
    return [
        text(each["name"]),
        *map(per_cent, ious),
        per_cent(each["accuracy"]),
        per_cent(each["true_pixels"] / true if true else None, digits=2),
        *(NOTHING if number is None else count(number) for number in counts),
    ]


def _failures(figures: Mapping[str, Any]) -> Iterator[str]:
    failures = figures["failures"]
    if not failures:
        return
    yield "## Failures"
    listed = list(failures.items())[:_FAILURES_SHOWN]
    yield "\n".join(f"- {code(key)}: {text(reason)}" for key, reason in listed)
    if len(failures) > len(listed):
        yield f"And {count(len(failures) - len(listed))} more, in `report.json`."


def _settings(figures: Mapping[str, Any]) -> Iterator[str]:
    plan = figures["plan"]
    header = ["pass", "classes", "background queries", "visual prompts"]
    yield table(header, map(_planned, plan["passes"]), numbers=False)
    if len(plan["passes"]) > 1:
        yield "The last pass is painted last, and covers the others."
    left_out = ("classes", "passes", "published")
    rows = flat({key: value for key, value in plan.items() if key not in left_out})
    yield table(["setting", "value"], [[key, setting(key, value)] for key, value in rows], numbers=False)


def _planned(each: Mapping[str, Any]) -> list[str]:
    sizes = (count(len(each[key])) for key in ("classes", "background"))
    return [each["kind"], *sizes, "+".join(each["prompts"]) or "none"]


def setting(key: str, value: object) -> str:
    """The value of a setting within a table; hashes are cut, long lists as well."""
    if key == "keys_sha256" or key.startswith("weights."):
        return code(str(value)[:_HASH_SHOWN])
    value = plain(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(map(str, value))
    return code(value) if isinstance(value, str) and len(value) <= 200 else code(shown(value))
