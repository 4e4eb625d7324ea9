"""Ways of referring, by name."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from car.config import load_preset, read_yaml
from car.device import choose_device, choose_dtype
from car.errors import InputError
from car.referring.captions import CaptionSource
from car.referring.defaults import default_proposals
from car.referring.global_local import GlobalLocal, GlobalLocalSettings
from car.referring.hybrid import HybridGL, HybridSettings
from car.referring.language import load_parser, parse
from car.referring.proposals import ProposalSource
from car.referring.recurrent import DEFAULTS, Recurrent
from car.referring.referral import Referrer
from car.referring.tas import TAS, TASSettings
from car.vlm.registry import load_clip

METHODS = ("car", "global-local", "tas", "hybridgl", "prompt-ris")
CLIPS = {"global-local": "ViT-B/32", "tas": "ViT-B/32", "hybridgl": "ViT-B/16"}
"""OpenAI's CLIP that each rival is published with."""
SETTINGS: Mapping[str, type] = {
    "global-local": GlobalLocalSettings,
    "tas": TASSettings,
    "hybridgl": HybridSettings,
}

MINI_SETTINGS: Mapping[str, Mapping[str, Any]] = {"tas": {"min_area": 0.0065}}
"""For the embedded model, whose pictures are small: the published 2000 pixels as a share of COCO's pictures."""


@dataclasses.dataclass(frozen=True)
class PromptRISBackbones:
    """Where the two frozen models of a trained Prompt-RIS are, if not under the names that they had in its training."""

    clip: str = ""
    sam: str = ""


def load_referrer(
    method: str = "car",
    model: Any = "mini",
    *,
    proposals: Any = None,
    parser: str = "auto",
    captions: Any = "built-in",
    preset: str | Path | None = None,
    config_file: str | Path | None = None,
    device: Any = "auto",
    dtype: Any = "auto",
    weights_dir: str | Path | None = None,
    **options: Any,
) -> Referrer:
    """Load a method that finds what an expression refers to.

    Args:
        method: "car" (CaR), "global-local" (Global-Local CLIP), "tas" (TAS), "hybridgl" (HybridGL) or "prompt-ris"
            (Prompt-RIS, which is trained).
        model: for "car" as of `car.load`; for the others one CLIP, as of `load_clip`, where "openai" is the one each
            is published with; for "prompt-ris" a trained model, as of `load_prompt_ris`.
        proposals: where the mask proposals of the zero-shot rivals come from, see `ProposalSource`; by default
            see `default_proposals`.
        parser: what parses expressions for them; see `load_parser`.
        captions: where the captions of "tas" come from; see `CaptionSource`.
        preset, config_file: of "car", as of `car.load`; settings of the others are read from `config_file`, too.
        device, weights_dir: as of `car.load`.
        dtype: as of `car.load`; by default the rivals run in float32, as published.
        options: fields of `Config`, `GlobalLocalSettings`, `TASSettings` or `HybridSettings`, and for "prompt-ris"
            `clip` and `sam`, its backbones where they are not under the names of the training; they override both.

    Raises:
        InputError: an unknown method, model, parser, preset or option, or a value out of range.
        MissingError: weights or a package that are not here.
        CheckpointError: a file that is no CLIP checkpoint.
    """
    if method not in METHODS:
        raise InputError(f"No method {method!r}.{closest(method, METHODS)} Available: {', '.join(METHODS)}.")
    if method == "car":
        return load_recurrent(model, preset, config_file, device, dtype, weights_dir, options)
    if preset is not None:
        raise InputError(f"Presets are of the method 'car'; {method!r} has settings of its own.")
    given = {**(read_yaml(Path(config_file)) if config_file is not None else {}), **options}
    if method == "prompt-ris":
        return load_trained(model, device, dtype, weights_dir, given)
    if model == "mini":
        given = {**MINI_SETTINGS.get(method, {}), **given}
    settings = settings_of(SETTINGS[method], given)
    load_parser(parser)
    chosen = choose_device(device)
    precision = choose_dtype("fp32" if dtype == "auto" else dtype, chosen)
    clip = load_clip(CLIPS[method] if model == "openai" else model, weights_dir=weights_dir)
    clip = clip.cast(precision).to(chosen)
    spec = default_proposals(model) if proposals is None else proposals
    source = ProposalSource(spec, device=device, weights_dir=weights_dir)
    parsing = partial(parse, parser=parser)
    if method == "global-local":
        return GlobalLocal(clip, proposals=source, settings=settings, parse=parsing)
    if method == "hybridgl":
        return HybridGL(clip, proposals=source, settings=settings, parse=parsing)
    said = CaptionSource(captions, clip=clip, device=device)
    return TAS(clip, proposals=source, captions=said, settings=settings, parse=parsing)


def load_recurrent(
    model: Any,
    preset: str | Path | None,
    config_file: str | Path | None,
    device: Any,
    dtype: Any,
    weights_dir: str | Path | None,
    options: Mapping[str, Any],
) -> Recurrent:
    """CaR; without a preset, with the paper's settings for RefCOCO."""
    from car.segmenter import load

    defaults = DEFAULTS if preset is None else {}
    from_file = load_preset(config_file).settings if config_file is not None else {}
    layers = {**defaults, **from_file, **options}
    segmenter = load(model, preset=preset, device=device, dtype=dtype, weights_dir=weights_dir, **layers)
    return Recurrent(segmenter)


def load_trained(
    model: Any, device: Any, dtype: Any, weights_dir: str | Path | None, given: dict[str, Any]
) -> Referrer:
    """A trained Prompt-RIS."""
    from car.prompt_ris.checkpoint import load_prompt_ris
    from car.prompt_ris.referrer import PromptRISReferrer

    backbones = settings_of(PromptRISBackbones, given)
    if not isinstance(model, str | Path):
        raise InputError("Expected a file of a trained Prompt-RIS as its model, but got something else.")
    chosen = choose_device(device)
    loaded = load_prompt_ris(model, clip=backbones.clip or None, sam=backbones.sam or None, weights_dir=weights_dir)
    return PromptRISReferrer(loaded.to(chosen), str(model), choose_dtype("fp32" if dtype == "auto" else dtype, chosen))


def settings_of(kind: type, given: Mapping[str, Any]) -> Any:
    """Settings of a rival, every name and type checked.

    >>> settings_of(GlobalLocalSettings, {"alpha": 0.85}).alpha
    0.85
    """
    fields, types = {field.name: field for field in dataclasses.fields(kind)}, get_type_hints(kind)
    for name, value in given.items():
        if name not in fields:
            raise InputError(f"No setting {name!r}.{closest(name, fields)} Available: {', '.join(fields)}.")
        wanted = (int, float) if types[name] is float else types[name]
        if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
            raise InputError(f"Expected argument `{name}` to be like {fields[name].default!r}, but got {value!r}.")
    return kind(**given)


def closest(name: str, known: Any) -> str:
    """A hint at the closest name, or nothing."""
    close = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
