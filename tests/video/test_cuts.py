import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car.scenes.film import film
from car.video.cuts import CUT, colour_change, is_cut

PICTURES = arrays.arrays(np.uint8, (6, 8, 3))


@given(PICTURES, PICTURES, st.randoms())
def test_colour_change_is_a_distance_of_colours_alone(one, other, random):
    change = colour_change(one, other)
    assert 0 <= change <= 1
    assert change == colour_change(other, one)
    pixels = one.reshape(-1, 3).tolist()
    random.shuffle(pixels)
    assert colour_change(one, np.array(pixels, np.uint8).reshape(one.shape)) == 0


def test_every_cut_of_scene_films_is_one_and_nothing_else_is():
    for seed in range(900, 904):
        made = film(seed, frames=12, size=(48, 64), cuts=2)
        found = {t for t in range(1, 12) if is_cut(made.frame(t).image, made.frame(t - 1).image)}
        assert found == set(made.shots[1:])


def test_half_of_the_pixels_changing_is_a_cut():
    one = np.zeros((4, 4, 3), np.uint8)
    other = one.copy()
    other[:2] = 255
    assert colour_change(one, other) == 0.5 > CUT
