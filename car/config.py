"""Every setting of a segmentation, with its default, and the named presets."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from typing import Any, Self

from car import wordlists
from car.errors import InputError

CHOICES = {
    "proposer": ("caa", "gradcam", "dense", "maskclip"),
    "template_fusion": ("sum-softmax", "mean-embedding"),
    "view": ("squash", "crop", "pad"),
    "crf": ("lattice", "pydensecrf", "none"),
}
UNIT = ("eta", "theta", "lam", "cascade_floor", "phi_iom", "phi_iou", "min_pred_threshold")
POSITIVE = ("cam_eps", "crf_sxy_gaussian", "crf_sxy_bilateral", "crf_srgb", "background_factor")
NOT_NEGATIVE = ("crf_compat_gaussian", "crf_compat_bilateral")
COUNTS = {"crf_iterations": 0}
OPTIONAL_COUNTS = ("batch_size", "cascade", "max_steps", "max_side", "proposer_side")
LISTS = ("prompts", "background", "templates")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a segmentation; the defaults are the paper's for Pascal VOC, but for those that recognise absence.

    eta: a proposal is a mask where it exceeds eta; in [0, 1].
    theta: a query stays if its score is at least theta; in [0, 1].
    lam: the affinity ("caa") works within boxes around what exceeds lam of a map's maximum; in [0, 1].
    prompts: visual prompts, any of blur, gray, black, circle, rectangle, contour.
    proposer: "caa" (gradCAM + attention affinity, the paper's), "gradcam", "dense" (each patch's own softmax over the
        texts) or "maskclip" (the same, of the patch's value in the last block).
    cam_template: the proposer's one template, for queries and background queries alike.
    cam_eps: added to a map's maximum before dividing by it, where maps are normalised.
    templates: the classifier's templates: the name of a set, a file, or the templates themselves.
    template_fusion: "sum-softmax" as released, or "mean-embedding".
    background: lists of background queries, by name or path.
    against_background: queries are judged against the background queries, too, so that even one alone can be absent.
    keep_best: when no query would stay, the best one does.
    view: how the classifier sees a prompted image: "squash", "crop" (as published) or "pad".
    classifier_skip_last: leave out the classifier's last block, as the released code does.
    cascade: show the classifier only so many queries, those that the proposer's best patch finds likeliest, and all
        that it gives at least `cascade_floor`; None shows it all. For large vocabularies: of 500 queries, 100 hold 99 %
        of what is there on scenes (docs/performance.md).
    cascade_floor: a probability in [0, 1].
    max_steps: stop the loop after so many steps; None runs until nothing changes.
    max_side: longest side in pixels that an image is worked on; None for its own size.
    proposer_side: longest side in pixels that the proposer sees; None for the size worked on.
    crf: "lattice", "pydensecrf" or "none".
    crf_iterations, crf_sxy_gaussian, crf_compat_gaussian, crf_sxy_bilateral, crf_srgb, crf_compat_bilateral: the dense
        CRF's iterations, and deviations (pixels, grey levels) and weights of its two kernels.
    background_factor: the background's probability is (1 - max_c y_c) to this power.
    sam: where mask proposals to merge come from: "mini", "sam_vit_b", "sam_vit_l", "sam_vit_h", a checkpoint,
        "regions", or a JSON file of COCO RLE masks; None merges nothing.
    sam_settings: fields of `car.refine.sam.SamSettings` that differ from what the model is asked by default; how
        segment-anything's automatic masks are made.
    phi_iom: mask proposals with a larger IoM with a mask are merged; in [0, 1].
    phi_iou: their union replaces the mask if their IoU is larger; in [0, 1].
    min_pred_threshold: a mask proposal that covers a smaller share of a mask has no credit for lying in it; in [0, 1].
    batch_size: how many prompted images the classifier is given at a time; None gives it 8 on a CPU, whose caches hold
        no more, and 64 elsewhere.
    truncate: cut texts that are too long for the text encoder instead of refusing them.
    """

    eta: float = 0.4
    theta: float = 0.6
    lam: float = 0.4
    prompts: tuple[str, ...] = ("blur", "circle")
    proposer: str = "caa"
    cam_template: str = "a clean origami {}."
    cam_eps: float = 1e-15
    templates: str | tuple[str, ...] = "car15"
    template_fusion: str = "sum-softmax"
    background: tuple[str, ...] = ("terrestrial", "aquatic", "manmade")
    against_background: bool = True
    keep_best: bool = False
    view: str = "squash"
    classifier_skip_last: bool = False
    cascade: int | None = None
    cascade_floor: float = 0.5
    max_steps: int | None = None
    max_side: int | None = 1024
    proposer_side: int | None = None
    crf: str = "lattice"
    crf_iterations: int = 10
    crf_sxy_gaussian: float = 1.0
    crf_compat_gaussian: float = 3.0
    crf_sxy_bilateral: float = 67.0
    crf_srgb: float = 3.0
    crf_compat_bilateral: float = 4.0
    background_factor: float = 1.0
    sam: str | None = None
    sam_settings: Mapping[str, Any] = field(default_factory=dict)
    phi_iom: float = 0.7
    phi_iou: float = 0.7
    min_pred_threshold: float = 0.05
    batch_size: int | None = None
    truncate: bool = False

    def __post_init__(self) -> None:
        from car.classify.visual_prompts import in_order

        for name, value in vars(self).items():
            object.__setattr__(self, name, check(name, value))
        object.__setattr__(self, "prompts", in_order(self.prompts))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Settings from plain data.

        Raises:
            InputError: an unknown key (the closest one is named), or a value out of range.
        """
        check_keys(values)
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """A copy with some settings changed."""
        check_keys(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON and YAML can write, and `from_mapping` can read."""
        plain: dict[type, Callable] = {tuple: list, dict: dict}
        return {k: plain[type(v)](v) if type(v) in plain else v for k, v in vars(self).items()}


FIELDS = tuple(field.name for field in dataclasses.fields(Config))


def check_keys(values: Mapping[str, Any]) -> None:
    """Refuse settings that do not exist."""
    for key in values:
        if key not in FIELDS:
            close = get_close_matches(str(key), FIELDS, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else "`car presets voc21` shows them all."
            raise InputError(f"No setting {key!r}. {hint}")


def check(name: str, value: Any) -> Any:
    """One setting, its type and range checked: numbers as Python's own, lists as tuples.

    >>> check("theta", 1.5)
    Traceback (most recent call last):
    car.errors.InputError: Expected argument `theta` to be in [0, 1], but got 1.5.
    """
    if name in UNIT:
        return number(name, value, "in [0, 1]", lambda x: 0 <= x <= 1)
    if name in POSITIVE:
        return number(name, value, "above 0", lambda x: x > 0)
    if name in NOT_NEGATIVE:
        return number(name, value, "at least 0", lambda x: x >= 0)
    if name in COUNTS:
        return count(name, value, COUNTS[name])
    if name in OPTIONAL_COUNTS:
        return None if value is None else count(name, value, 1, " or null")
    if name in LISTS:
        return texts(name, value)
    if name in CHOICES:
        require(value in CHOICES[name], name, f"one of {', '.join(CHOICES[name])}", value)
    elif name == "cam_template":
        require(isinstance(value, str) and value.count("{}") == 1, name, "a text that holds {} once", value)
    elif name == "sam":
        require(value is None or isinstance(value, str | Path), name, "a name, a path, or null", value)
        return None if value is None else str(value)
    elif name == "sam_settings":
        return sam_settings(value)
    else:
        require(isinstance(value, bool), name, "true or false", value)
    return value


def require(condition: bool, name: str, expected: str, value: Any) -> None:
    if not condition:
        shown = value if isinstance(value, int | float) else repr(value)
        raise InputError(f"Expected argument `{name}` to be {expected}, but got {shown}.")


def number(name: str, value: Any, expected: str, allowed: Callable[[float], bool]) -> float:
    """A finite number within its range. Texts are read as numbers: for YAML, 1e-15 is a text (1.0e-15 is not)."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    require(math.isfinite(found) and allowed(found), name, expected, value)
    return found


def count(name: str, value: Any, least: int, more: str = "") -> int:
    """A whole number of at least `least`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    require(whole and value >= least, name, f"a whole number from {least}{more}", value)
    return int(value)


def texts(name: str, value: Any) -> str | tuple[str, ...]:
    """The texts of a list. One text alone names a set of templates, or is a list written with + between its parts."""
    if isinstance(value, str) and name != "templates":
        return tuple(filter(None, map(str.strip, value.split("+"))))
    if isinstance(value, str | Path):
        return str(value) if name == "templates" else (str(value),)
    good = isinstance(value, Sequence) and all(isinstance(text, str | Path) for text in value)
    require(good, name, "a list of texts", value)
    return tuple(map(str, value))


def sam_settings(value: Any) -> dict[str, Any]:
    """Settings of segment-anything's automatic masks, checked by the class that holds them."""
    from car.refine.sam import SamSettings

    require(isinstance(value, Mapping), "sam_settings", "a mapping", value)
    known = [each.name for each in dataclasses.fields(SamSettings)]
    for key in value:
        require(key in known, "sam_settings", f"about {', '.join(known)}", key)
    try:
        SamSettings(**value)
    except TypeError:
        raise InputError("Expected the values of `sam_settings` to be numbers.") from None
    return dict(value)


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    name: as in `list_presets`, or the path it was read from.
    description: one line.
    settings: fields of `Config` that it sets.
    classes: name of its class list, if it has one.
    about: facts that change no setting: published results, where the numbers come from, how a benchmark proceeds.
    """

    name: str
    description: str
    settings: Mapping[str, Any]
    classes: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def queries(self) -> list[str]:
        """The queries of its class list; none without one."""
        return [] if self.classes is None else [entry.query for entry in wordlists.read_classes(self.classes)]


def list_presets() -> list[str]:
    """Names of the presets that come with the package."""
    return wordlists.names("presets", ".yaml")


def load_preset(name: str | Path) -> Preset:
    """A preset by name, or from a YAML file: settings, and optionally `description`, `classes` and `about`.

    Raises:
        InputError: no such preset, not YAML, or an unknown key.

    >>> load_preset("voc21").settings["eta"]
    0.4
    """
    values = read_yaml(wordlists.find("presets", name, ".yaml"))
    description, classes, about = (values.pop(key, None) for key in ("description", "classes", "about"))
    check_keys(values)
    return Preset(str(name), str(description or ""), values, classes, about or {})


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise InputError(f"{str(path)!r} is not YAML{line}: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError(f"{str(path)!r} is not YAML.") from None
    if not isinstance(values, dict):
        raise InputError(f"Expected {str(path)!r} to hold settings, one `key: value` per line.")
    return values


def resolve(
    *,
    preset: str | Path | None = None,
    config_file: str | Path | None = None,
    model_defaults: Mapping[str, Any] | None = None,
    **options: Any,
) -> Config:
    """The effective configuration: defaults < the model set's < preset < file < options; None means unset."""
    layers: Sequence[Mapping[str, Any]] = (
        model_defaults or {},
        load_preset(preset).settings if preset is not None else {},
        load_preset(config_file).settings if config_file is not None else {},
        {key: value for key, value in options.items() if value is not None},
    )
    return Config.from_mapping({key: value for layer in layers for key, value in layer.items()})
