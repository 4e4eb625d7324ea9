"""Procedural stuff: grass, water, brick and so on, as a height field coloured by a ramp."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

SIDE = 512
"""Side of the stored fields; a background is a random window of one."""

ROWS, COLUMNS = np.arange(SIDE)[:, None], np.arange(SIDE)[None]

Colours = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Stuff:
    """A kind of background.

    words: what it may be called, its name first.
    field: draws its height field, (SIDE, SIDE) in any range; it is ranked to [0, 255].
    ramps: colour ramps from low to high; one is taken per scene.
    place: how a caption relates objects to it ("on" grass, "in front of" a brick wall).
    """

    words: tuple[str, ...]
    field: Callable[[np.random.Generator], np.ndarray]
    ramps: tuple[Colours, ...]
    place: str = "on"


def noise(rng: np.random.Generator, slope: float = 1.5, across: float = 1.0, down: float = 1.0) -> np.ndarray:
    """Periodic 1/f^slope noise of unit deviation; `across`, `down` above 1 stretch it along that axis."""
    fy, fx = np.fft.fftfreq(SIDE)[:, None] * down, np.fft.rfftfreq(SIDE)[None] * across
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    out = np.fft.irfft2(spectrum / np.maximum(np.hypot(fx, fy), 2 / SIDE) ** slope, s=(SIDE, SIDE))
    return (out - out.mean()) / out.std()


def blades(rng: np.random.Generator) -> np.ndarray:
    return noise(rng, 0.9, down=6) + 0.5 * noise(rng, 2)


def furrows(rng: np.random.Generator) -> np.ndarray:
    return np.sin((COLUMNS + 14 * noise(rng, 2.5)) * 2 * np.pi / 32) + 0.6 * noise(rng, 1)


def ripples(rng: np.random.Generator) -> np.ndarray:
    return 0.5 * noise(rng, 0.4) + noise(rng, 1.8, across=3)


def waves(rng: np.random.Generator) -> np.ndarray:
    return np.sin((ROWS + 9 * noise(rng, 2.2, across=3)) * 2 * np.pi / 64) + 0.7 * noise(rng, 1.5, across=5)


def gradient(rng: np.random.Generator) -> np.ndarray:
    return 4 * ROWS / SIDE + 0.25 * noise(rng, 2.5, across=2)


def clouds(rng: np.random.Generator) -> np.ndarray:
    return noise(rng, 2, across=1.6)


def stars(rng: np.random.Generator) -> np.ndarray:
    sky = 0.3 * noise(rng, 2.5)
    ys, xs = rng.integers(0, SIDE - 3, (2, 350))
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        sky[ys + down, xs + right] = 3
    return sky


def bricks(rng: np.random.Generator) -> np.ndarray:
    row = ROWS // 32
    shifted = COLUMNS + 32 * (row % 2)
    tone = rng.uniform(-1, 1, (SIDE // 32, SIDE // 64 + 1))[row, shifted // 64]
    mortar = (ROWS % 32 < 4) | (shifted % 64 < 4)
    return np.where(mortar, 3, tone + 0.3 * noise(rng, 0.7))


def planks(rng: np.random.Generator) -> np.ndarray:
    tone = rng.uniform(-1, 1, SIDE // 64)[ROWS // 64]
    return np.where(ROWS % 64 < 4, -4, tone + 0.8 * noise(rng, 1.4, across=12))


def foliage(rng: np.random.Generator) -> np.ndarray:
    trunks = (np.abs((COLUMNS + 10 * noise(rng, 2.5)) % 96 - 48) < 7) * (noise(rng, 2) > -0.4)
    return noise(rng, 1.2) - 3 * trunks


def peaks(rng: np.random.Generator) -> np.ndarray:
    out = np.full((SIDE, SIDE), 3.0) - ROWS / SIDE * 0.5
    for layer, base in enumerate((190, 300, 400)):
        line = noise(rng, 1.7)[layer][None] * 55 + base
        depth = ROWS - line
        out = np.where(depth > 0, 1.2 - layer * 0.8 + np.where(depth < 26, 1.2 - layer * 0.3, 0), out)
    return out + 0.12 * noise(rng, 1)


def boulders(rng: np.random.Generator) -> np.ndarray:
    points = rng.uniform(0, SIDE, (90, 2)).astype(np.float32)
    distance = np.sort(
        np.stack([np.hypot(ROWS.astype(np.float32) - a, COLUMNS.astype(np.float32) - b) for a, b in points]), axis=0
    )[:2]
    return np.minimum(distance[1] - distance[0], 14) / 7 + 0.5 * noise(rng, 1.2)


def windows(rng: np.random.Generator) -> np.ndarray:
    pane = (ROWS % 64 > 18) & (ROWS % 64 < 50) & (COLUMNS % 48 > 12) & (COLUMNS % 48 < 38)
    light = rng.uniform(-2.5, -1, (SIDE // 64, SIDE // 48 + 1))[ROWS // 64, COLUMNS // 48]
    return np.where(pane, light, 1 + 0.15 * noise(rng, 1))


def asphalt(rng: np.random.Generator) -> np.ndarray:
    dashes = (np.abs(COLUMNS % 256 - 128) < 7) & (ROWS % 128 < 80)
    return np.where(dashes, 6, 0.6 * noise(rng, 0.3) + 0.4 * noise(rng, 2))


def rails(rng: np.random.Generator) -> np.ndarray:
    sleepers = (ROWS % 40 < 16) & (np.abs(COLUMNS % 256 - 128) < 90)
    steel = np.abs(np.abs(COLUMNS % 256 - 128) - 60) < 6
    return np.where(steel, 4, np.where(sleepers, -3, 0.8 * noise(rng, 0.4)))


def grains(rng: np.random.Generator) -> np.ndarray:
    return noise(rng, 1) + 0.8 * noise(rng, 2.2)


def mist(rng: np.random.Generator) -> np.ndarray:
    return noise(rng, 2.6, across=2)


def streaks(rng: np.random.Generator) -> np.ndarray:
    fine = noise(rng, 0.2, down=14)
    # A shear slants the streaks.
    return np.take_along_axis(fine, (np.arange(SIDE)[None] + ROWS // 3) % SIDE, axis=1) + 0.4 * noise(rng, 2.5)


STUFF = {
    kind.words[0]: kind
    for kind in (
        Stuff(
            ("grass", "meadow", "pasture", "lawn", "prairie", "glen", "dale"),
            blades,
            (((25, 70, 20), (60, 130, 40), (130, 180, 70)), ((40, 95, 30), (90, 160, 60), (170, 210, 100))),
        ),
        Stuff(
            ("field", "plain", "savanna", "steppe", "plateau"),
            furrows,
            (((120, 85, 30), (195, 155, 60), (230, 205, 120)), ((95, 95, 35), (150, 150, 60), (205, 200, 110))),
            "in",
        ),
        Stuff(
            ("sand", "beach", "desert", "dune"),
            ripples,
            (((190, 160, 110), (222, 196, 148), (242, 225, 190)), ((205, 150, 90), (228, 185, 125), (245, 215, 165))),
        ),
        Stuff(
            (
                "water",
                "sea",
                "ocean",
                "lake",
                "river",
                "pond",
                "stream",
                "lagoon",
                "bay",
                "gulf",
                "fjord",
                "estuary",
                "creek",
                "brook",
                "reservoir",
                "pool",
                "spring",
                "marsh",
                "swamp",
                "wetland",
            ),
            waves,
            (((10, 60, 110), (30, 110, 165), (110, 180, 215)), ((10, 90, 105), (40, 145, 155), (150, 215, 215))),
        ),
        Stuff(
            ("sky", "atmosphere", "stratosphere", "wind", "breeze", "gust"),
            gradient,
            (((70, 140, 220), (130, 185, 240), (200, 225, 250)), ((110, 170, 235), (165, 205, 245), (235, 240, 250))),
            "in",
        ),
        Stuff(
            ("cloud", "clouds", "cloudy sky", "cumulus", "cirrus", "stratus"),
            clouds,
            (((70, 130, 205), (150, 185, 225), (250, 250, 252)), ((95, 150, 215), (205, 215, 230), (255, 255, 255))),
            "in front of a",
        ),
        Stuff(
            ("night sky", "night", "starry sky"),
            stars,
            (((8, 10, 35), (18, 22, 60), (240, 240, 210)), ((15, 8, 40), (35, 20, 70), (235, 225, 245))),
            "in the",
        ),
        Stuff(
            ("snow", "glacier", "iceberg", "tundra", "ice", "hail", "sleet"),
            mist,
            (((195, 210, 235), (230, 238, 248), (253, 254, 255)),),
        ),
        Stuff(
            (
                "road",
                "street",
                "highway",
                "lane",
                "avenue",
                "boulevard",
                "path",
                "alley",
                "byway",
                "expressway",
                "freeway",
                "crosswalk",
                "causeway",
            ),
            asphalt,
            (((50, 50, 54), (85, 85, 90), (235, 235, 225)), ((75, 72, 70), (115, 112, 110), (240, 205, 80))),
            "on a",
        ),
        Stuff(
            ("brick wall", "wall", "bricks", "archway"),
            bricks,
            (((125, 50, 40), (175, 85, 65), (215, 205, 195)), ((150, 100, 75), (190, 140, 105), (120, 110, 105))),
            "in front of a",
        ),
        Stuff(
            ("wood", "wooden floor", "planks", "footbridge"),
            planks,
            (((60, 35, 15), (145, 95, 55), (190, 140, 90)), ((90, 60, 40), (190, 150, 105), (225, 190, 145))),
        ),
        Stuff(
            ("forest", "trees", "bush", "thicket", "copse"),
            foliage,
            (((45, 30, 20), (25, 75, 35), (80, 140, 60)), ((30, 25, 20), (40, 85, 50), (120, 165, 80))),
            "in a",
        ),
        Stuff(
            ("mountain", "mountains", "hill", "peak", "ridge", "canyon", "valley"),
            peaks,
            (
                ((60, 75, 70), (120, 130, 145), (245, 245, 250), (150, 195, 235)),
                ((80, 65, 55), (140, 120, 110), (235, 225, 215), (240, 200, 170)),
            ),
            "in front of a",
        ),
        Stuff(
            ("rock", "rocks", "cliff", "crag", "stone", "knoll"),
            boulders,
            (((45, 45, 48), (115, 115, 118), (175, 175, 172)), ((60, 48, 40), (135, 115, 98), (190, 172, 150))),
        ),
        Stuff(
            (
                "facade",
                "apartment",
                "condominium",
                "skyscraper",
                "edifice",
                "structure",
                "station",
                "terminal",
                "bridge",
                "overpass",
                "viaduct",
                "dam",
                "tunnel",
                "underpass",
                "culvert",
            ),
            windows,
            (((45, 60, 85), (140, 170, 200), (195, 190, 180)), ((60, 50, 40), (240, 215, 130), (150, 95, 80))),
            "in front of a",
        ),
        Stuff(
            ("ground", "land", "earth", "terrain", "soil", "dirt", "plaza", "square"),
            grains,
            (((70, 45, 28), (115, 80, 52), (160, 122, 85)), ((85, 70, 55), (130, 110, 88), (172, 152, 125))),
            "on the",
        ),
        Stuff(
            ("fog", "mist", "nimbus"),
            mist,
            (((150, 155, 160), (185, 188, 192), (215, 218, 220)),),
            "in the",
        ),
        Stuff(
            ("rain", "drizzle", "thunderstorm", "hurricane", "tornado", "monsoon"),
            streaks,
            (((55, 65, 80), (90, 102, 120), (165, 178, 195)),),
            "in the",
        ),
        Stuff(
            ("railway", "railroad", "train tracks"),
            rails,
            (((70, 48, 32), (125, 120, 115), (200, 205, 212)),),
            "on a",
        ),
    )
}
ABOVE = ("sky", "cloud", "night sky", "mountain", "forest", "facade", "brick wall", "fog", "rain")
BELOW = ("grass", "field", "sand", "water", "snow", "road", "wood", "rock", "ground", "railway")


@cache
def field(name: str) -> np.ndarray:
    """The stored height field of a kind, uint8 (SIDE, SIDE), flattened to a near-uniform histogram by rank."""
    height = STUFF[name].field(np.random.default_rng([5, *name.encode()]))
    low, high = np.percentile(height, (1, 99))
    return np.round(np.clip((height - low) / (high - low), 0, 1) * 255).astype(np.uint8)


@cache
def levels(name: str) -> tuple[np.ndarray, ...]:
    """The stored height field at its full, half and quarter size."""
    full = field(name)
    smaller = (cv2.resize(full, (SIDE // k, SIDE // k), interpolation=cv2.INTER_AREA) for k in (2, 4))
    return (full, *smaller)


def paint(name: str, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture of one kind of stuff, uint8 RGB (height, width, 3)."""
    kind = STUFF[name]
    ramp = np.array(kind.ramps[rng.integers(len(kind.ramps))], np.float64)
    ramp = np.clip(ramp * rng.uniform(0.82, 1.18) * rng.uniform(0.92, 1.08, 3), 0, 255)
    stops = np.linspace(0, 255, len(ramp))
    table = np.stack([np.interp(np.arange(256), stops, channel) for channel in ramp.T], axis=-1)
    share = rng.uniform(0.3, 0.9)
    source = best_level(levels(name), share, max(height, width))
    side = len(source)
    rows, columns = (max(1, min(side, round(share * side * n / max(height, width)))) for n in (height, width))
    top, left = (int(rng.random() * (side - n + 1)) for n in (rows, columns))
    window = source[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    window = cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.LUT(cv2.merge([window] * 3), table.round().astype(np.uint8)[None])


def best_level(fields: tuple[np.ndarray, ...], share: float, pixels: int) -> np.ndarray:
    """The smallest level whose window of this share is not coarser than the picture."""
    return next((level for level in reversed(fields) if share * len(level) >= pixels), fields[0])
