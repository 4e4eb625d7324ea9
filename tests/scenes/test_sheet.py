from dataclasses import replace

import numpy as np
import pytest

from car.scenes import scene
from car.scenes.expressions import Expression, expressions
from car.scenes.sheet import Card, choose, contact_sheet

LONG = "a very long tale of " * 40


def card(seed: int = 3, **drawing) -> Card:
    made = scene(seed, **drawing)
    return Card(f"seed {seed}", made, expressions(made, seed=seed))


def test_long_texts_wrap_and_stay_within_their_card():
    short = contact_sheet([card()])
    told = card()
    for words in (LONG, "x" * 500):
        long = told._replace(
            scene=replace(told.scene, caption=words), expressions=[Expression(words, "name", (0,), True)] * 3
        )
        page = contact_sheet([long])
        assert page.shape[1] == short.shape[1]
        below_the_pictures = page[24 + 20 + 310 : -24]
        assert (below_the_pictures[:, -24 - 20 : -24] == 255).all()
    assert contact_sheet([told._replace(title=LONG)]).shape[1] == short.shape[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (300, 40), (40, 300), (224, 224)])
def test_scenes_of_any_size_are_shown(size):
    page = contact_sheet([card(size=size), card(4, size=size, objects=(0, 0))])
    assert page.dtype == np.uint8
    assert page.shape[1] == contact_sheet([card(), card()]).shape[1]


def test_many_objects_and_rows():
    crowd = card(objects=(40, 40), layout="crowded", size=(200, 200))
    everything = Expression("all of it", "plural", tuple(range(len(crowd.scene.names))), False)
    one = contact_sheet([crowd._replace(expressions=[everything])])
    three = contact_sheet([crowd._replace(expressions=[everything])] * 3, columns=2)
    assert three.shape[1] > one.shape[1]
    assert three.shape[0] > 1.8 * one.shape[0]


def test_the_masks_are_marked_and_the_picture_is_not():
    made = scene(3, size=(300, 300), camera=0)
    page = contact_sheet([Card("", made, [])])
    left, right = (page[44 : 44 + 300, x : x + 300] for x in (44, 44 + 320))
    assert np.array_equal(left, made.image)
    changed = (left != right).any(axis=2)
    assert changed[made.labels > 0].mean() > 0.99
    assert changed.sum() < 1.2 * (made.labels > 0).sum() + 500


def test_every_kind_has_its_turn():
    told = [Expression(f"{kind} {i}", kind, (0,), False) for kind in "ab" for i in range(9)]
    told.append(Expression("c", "c", (), False))
    assert [each.text for each in choose(told)] == ["a 0", "a 1", "a 2", "b 0", "b 1", "c"]
    assert choose(told[:2]) == told[:2]
