"""Colours: the PASCAL VOC palette of label maps, and brighter ones to draw with."""

import colorsys

import numpy as np

_BRIGHT = (
    (230, 57, 70),
    (33, 118, 240),
    (34, 166, 82),
    (255, 149, 0),
    (142, 68, 214),
    (0, 172, 186),
    (236, 72, 153),
    (146, 178, 18),
    (94, 92, 230),
    (176, 98, 44),
    (240, 196, 25),
    (15, 118, 110),
)
_GOLDEN_RATIO = 0.6180339887498949


def voc_palette(n: int = 256) -> np.ndarray:
    """The colours of PASCAL VOC and DAVIS label maps, for labels 0 .. n - 1.

    The bits of a label are dealt in turn to red, green and blue, highest bit of the colour first, so that the
    colours of all labels below 2^24 differ; label 0 is black.

    Returns:
        (n, 3) uint8 RGB.

    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    labels = np.arange(n, dtype=np.uint32)[:, None]
    channel = np.arange(3, dtype=np.uint32)
    colors = np.zeros((n, 3), np.uint32)
    for turn in range(8):
        colors |= ((labels >> (3 * turn + channel)) & 1) << (7 - turn)
    return colors.astype(np.uint8)


def query_colors(n: int) -> np.ndarray:
    """Bright colours to draw the queries 0 .. n - 1 with, easy to tell apart on a photograph and on white.

    The first twelve are chosen by hand; after them the hue walks round the circle by the golden ratio. The
    colour of a query depends on its position alone, so that it is the same in every picture of a result.

    Returns:
        (n, 3) uint8 RGB.
    """
    walked = []
    for i in range(len(_BRIGHT), n):
        lightness, saturation = (0.45, 0.58, 0.36)[i % 3], (0.75, 0.6)[i % 2]
        rgb = colorsys.hls_to_rgb(i * _GOLDEN_RATIO % 1, lightness, saturation)
        walked.append(tuple(round(255 * value) for value in rgb))
    return np.array([*_BRIGHT[:n], *walked], np.uint8).reshape(-1, 3)
