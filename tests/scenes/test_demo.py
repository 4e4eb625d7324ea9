import numpy as np

from car.scenes.demo import DEMO_PRESENT, DEMO_QUERIES, demo_image, demo_masks, demo_scene


def test_the_picture_is_the_scene() -> None:
    made, picture = demo_scene(), demo_image()
    assert picture.shape == made.image.shape
    assert np.abs(picture.astype(int) - made.image).mean() < 4


def test_what_is_there_is_what_is_said_to_be_there() -> None:
    masks = demo_masks()
    assert set(masks) == set(DEMO_PRESENT) < set(DEMO_QUERIES)
    assert all(mask.mean() > 0.02 for mask in masks.values())
    assert demo_scene().colours == (None, None, None)
