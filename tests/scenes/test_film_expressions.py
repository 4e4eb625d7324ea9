from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from car.scenes import COLOURS, TEXTURES, concepts
from car.scenes.expressions import Expression, expressions
from car.scenes.film import Actor, Film, film
from car.scenes.film_expressions import film_expressions
from car.scenes.objects import draw_look


def cast(*looks: tuple[str, str | None, str | None]) -> Film:
    """A film with these actors: concept, colour, texture."""
    rng = np.random.default_rng(0)
    actors = (
        Actor(replace(draw_look(rng, name, "train"), colour=colour, texture=texture), 40)
        for name, colour, texture in looks
    )
    return replace(film(0, objects=(len(looks), len(looks)), cuts=0), actors=tuple(actors))


def said(made: Film) -> dict[str, Expression]:
    """Expressions by their text without its article, over several wordings."""
    return {e.text.removeprefix("the "): e for seed in range(20) for e in film_expressions(made, seed=seed)}


def test_names_colours_textures_and_plurals_mean_the_actors_that_they_fit() -> None:
    found = said(cast(("dog", "red", None), ("dog", "blue", "striped"), ("car", None, None)))
    meant = {text: (e.kind, e.objects, e.ambiguous) for text, e in found.items()}
    assert meant["car"] == ("name", (2,), False)
    assert meant["automobile"] == ("name", (2,), False)
    assert meant["red dog"] == ("attribute", (0,), False)
    assert meant["blue dog"] == ("attribute", (1,), False)
    assert meant["striped dog"] == ("attribute", (1,), False)
    assert meant["striped blue dog"] == ("attribute", (1,), False)
    assert meant["both dogs"] == meant["all dogs"] == ("plural", (0, 1), False)
    assert meant["dog"] == ("name", (0, 1), True)
    assert meant["red thing"] == ("attribute", (0,), True), "the car may be red of its own"


def test_what_fits_actors_of_different_shots_is_ambiguous() -> None:
    for seed in range(40):
        made = film(seed, repeats=1, cuts=3)
        first = next(e for e in film_expressions(made) if e.kind == "name")
        assert first.objects == tuple(range(len(made.names)))
        assert first.ambiguous == (len(made.names) > 1)


@given(seed=st.integers(0, 10**6))
def test_every_expression_holds_for_the_actors_it_means_and_for_no_other(seed: int) -> None:
    made = film(seed, textured=0.4, repeats=0.5)
    told = film_expressions(made, seed=seed)
    assert told == film_expressions(made, seed=seed)
    assert len({e.text for e in told}) == len(told)
    assert {i for e in told if e.kind == "name" for i in e.objects} == set(range(len(made.names)))
    for e in told:
        assert e.kind in ("name", "attribute", "plural", "nothing")
        words = e.text.split()
        colour = next((word for word in words[:-1] if word in COLOURS), None)
        texture = next((word for word in words if word in TEXTURES), None)
        assert (len(e.objects) == 0) == (e.kind == "nothing")
        fitting = [
            i
            for i, name in enumerate(made.names)
            if (colour is None or made.colours[i] == colour) and (texture is None or made.textures[i] == texture)
            if any(word in e.text for word in (name, *concepts()[name].synonyms))
            or words[-1] in ("one", "thing", "object")
        ]
        if e.kind in ("name", "attribute"):
            assert set(e.objects) <= set(fitting)
            assert len(e.objects) == 1 or e.ambiguous
        if e.kind == "nothing" and (colour or texture):
            assert not fitting


def test_films_have_expressions_that_match_nothing_and_most_actors_one_of_their_own() -> None:
    own, nothing = [], []
    for seed in range(100):
        made = film(seed)
        told = film_expressions(made)
        nothing.append(sum(e.kind == "nothing" for e in told))
        clear = {e.objects for e in told if not e.ambiguous}
        own += [(i,) in clear for i in range(len(made.names))]
    assert min(nothing) >= 1
    assert np.mean(nothing) > 1.5
    assert np.mean(own) > 0.6
    assert [e.kind for e in film_expressions(film(0, objects=(0, 0)))] == ["nothing"]


def test_a_frame_has_expressions_of_its_own_about_the_actors_that_are_there() -> None:
    positions = 0
    for seed in range(5):
        frame = film(seed, size=(72, 96)).frame(20)
        one = frame.scene()
        for e in expressions(one):
            actors = [frame.present[i] for i in e.objects]
            if e.objects:
                assert (frame.mask(actors) == e.mask(one)).all()
            positions += e.kind == "position"
    assert positions > 5


def test_what_an_expression_means_is_to_be_seen_in_some_frame() -> None:
    made = film(0, size=(72, 96))
    for e in film_expressions(made):
        visible = [frame.mask(e.objects).any() for frame in made]
        assert any(visible) == bool(e.objects)
