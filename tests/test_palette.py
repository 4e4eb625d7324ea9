import numpy as np

from car.palette import query_colors, voc_palette


def test_voc_palette_is_that_of_the_development_kit():
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        7: (128, 128, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        21: (128, 64, 128),
        255: (224, 224, 192),
    }
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert {label: tuple(palette[label].tolist()) for label in known} == known


def test_voc_colors_differ_beyond_256():
    assert len(np.unique(voc_palette(5000), axis=0)) == 5000


def test_query_colors_depend_on_the_position_alone_and_differ():
    many = query_colors(200)
    assert many.shape == (200, 3)
    assert len(np.unique(many, axis=0)) == 200
    for n in (0, 1, 12, 13, 60):
        np.testing.assert_array_equal(query_colors(n), many[:n])


def test_query_colors_are_neither_black_nor_white():
    light = query_colors(500) @ np.array([0.299, 0.587, 0.114])
    assert light.min() > 40
    assert light.max() < 215
