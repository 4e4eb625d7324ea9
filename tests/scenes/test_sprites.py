import re

import numpy as np

from car.scenes import STUFF, concepts
from car.scenes.sprites import ROOM, mips, sheet
from car.wordlists import read_classes


def test_every_box_lies_on_the_sheet_and_holds_a_drawing() -> None:
    picture = sheet()
    for concept in concepts().values():
        for x0, y0, x1, y1 in concept.boxes:
            assert 0 <= x0 < x1 <= picture.shape[1]
            assert 0 <= y0 < y1 <= picture.shape[0]
            assert max(x1 - x0, y1 - y0) == 96
            assert (picture[y0:y1, x0:x1, 3] >= 128).mean() > 0.05


def test_boxes_do_not_overlap() -> None:
    used = np.zeros(sheet().shape[:2], np.uint8)
    for concept in concepts().values():
        for x0, y0, x1, y1 in concept.boxes:
            used[y0:y1, x0:x1] += 1
    assert used.max() == 1


def test_the_sheet_is_premultiplied() -> None:
    picture = sheet()
    assert (picture[..., :3] <= picture[..., 3:]).all()


def test_mips_halve_the_size() -> None:
    full, half, quarter = mips("cat", 0)
    assert half.shape[:2] == (full.shape[0] // 2, full.shape[1] // 2)
    assert quarter.shape[:2] == (full.shape[0] // 4, full.shape[1] // 4)


def test_a_word_means_one_thing() -> None:
    words = [word for concept in concepts().values() for word in (concept.name, *concept.synonyms)]
    assert len(words) == len(set(words))
    stuff = [word for kind in STUFF.values() for word in kind.words]
    assert len(stuff) == len(set(stuff))
    assert all(re.fullmatch(r"[a-z][a-z -]*", word) for word in words + stuff)


def test_there_are_about_two_hundred_concepts_and_the_licence_lies_beside_them() -> None:
    assert len(concepts()) > 200
    assert "SIL OPEN FONT LICENSE" in ROOM.joinpath("LICENSE.glyphs").read_text(encoding="utf-8")


def test_the_things_of_pascal_voc_can_be_shown() -> None:
    words = {word for concept in concepts().values() for word in (concept.name, *concept.synonyms)}
    entries = read_classes("voc20")
    assert all(entry.query.split(",")[0] in words for entry in entries)
