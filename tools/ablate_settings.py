"""The settings that `ablate_scenes` compares."""

from typing import Any

from car.config import Config

PROPOSERS = ("gradcam", "caa", "dense", "maskclip")
SWEEPS: dict[str, tuple[Any, ...]] = {
    "prompts": (
        ("blur",),
        ("gray",),
        ("black",),
        ("circle",),
        ("rectangle",),
        ("contour",),
        ("blur", "gray"),
        ("blur", "circle"),
        ("blur", "rectangle"),
        ("blur", "contour"),
        ("gray", "circle"),
        ("blur", "gray", "circle"),
        (),
    ),
    "background": (
        (),
        ("scenes",),
        ("coco23",),
        ("terrestrial",),
        ("aquatic",),
        ("manmade",),
        ("terrestrial", "aquatic", "manmade"),
    ),
    "against_background": (True, False),
    "eta": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "theta": (0.1, 0.3, 0.5, 0.6, 0.7, 0.9),
    "lam": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "proposer_side": (112, 144, 176, 224),
}


def settings_around(proposer: str, config: Config) -> dict[str, dict[str, Any]]:
    """Changes of one setting at a time, by name; those that are the default already share the proposer's name."""
    found: dict[str, dict[str, Any]] = {proposer: {"proposer": proposer}}
    for field, value in swept(proposer, config):
        found.setdefault(name_of(proposer, field, value, config), {"proposer": proposer, field: value})
    return found


def swept(proposer: str, config: Config) -> list[tuple[str, Any]]:
    """Every setting and value of the sweeps, the default among them; lambda is of the affinity alone."""
    fields = [field for field in SWEEPS if field != "lam" or proposer == "caa"]
    return [(field, value) for field in fields for value in dict.fromkeys((*SWEEPS[field], getattr(config, field)))]


def name_of(proposer: str, field: str, value: Any, config: Config) -> str:
    return proposer if value == getattr(config, field) else f"{proposer}, {field} {shown(value)}"


def shown(value: Any) -> str:
    """A setting as tables write it."""
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
