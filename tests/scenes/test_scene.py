import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.scenes import COLOURS, LAYOUTS, STUFF, TEXTURES, Scene, concepts, scene
from car.scenes.backgrounds import ABOVE, BELOW, paint
from car.scenes.objects import draw_look, paint_object
from car.scenes.scene import over
from car.scenes.words import plural


@given(seed=st.integers(0, 2**63), size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_same_arguments_give_the_same_bytes(seed: int, size: tuple[int, int]) -> None:
    a, b = scene(seed, size=size), scene(seed, size=size)
    assert a.image.tobytes() == b.image.tobytes()
    assert a.masks.tobytes() == b.masks.tobytes()
    assert (a.names, a.colours, a.background, a.caption) == (b.names, b.colours, b.background, b.caption)


def test_seeds_give_different_scenes() -> None:
    assert len({scene(i).image.tobytes() for i in range(50)}) == 50


@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    most=st.integers(1, 6),
)
def test_masks_are_disjoint_visible_and_match_the_label_map(seed: int, size: tuple[int, int], most: int) -> None:
    made = scene(seed, size=size, objects=(1, most))
    assert made.image.shape == (*size, 3)
    assert made.image.dtype == np.uint8
    assert made.masks.shape == (len(made.names), *size)
    assert made.masks.dtype == bool
    assert len(made.names) == len(made.colours) == len(made.textures) <= most
    assert made.masks.sum(axis=0).max(initial=0) <= 1
    assert made.masks.any(axis=(1, 2)).all()
    assert all((made.labels == i + 1).tobytes() == m.tobytes() for i, m in enumerate(made.masks))


def test_at_common_sizes_the_asked_number_of_objects_nearly_always_fits() -> None:
    shown = [len(scene(i, objects=(2, 2)).names) for i in range(200)]
    assert np.mean(np.array(shown) == 2) > 0.9
    for layout in LAYOUTS:
        assert all(len(scene(i, size=(64, 64), objects=(1, 1), layout=layout).names) == 1 for i in range(100))


def test_a_mask_holds_exactly_the_pixels_its_object_changed() -> None:
    """The same scene without its object differs from it only on and around the mask."""
    for seed in range(20):
        with_object = scene(seed, objects=(1, 1), background=["snow"], camera=0)
        without = scene(seed, objects=(0, 0), background=["snow"], camera=0)
        changed = (with_object.image != without.image).any(axis=-1)
        mask = with_object.masks[0]
        # The soft edge reaches at most one pixel beyond the half-opaque outline, and a little of a drawing can be
        # the very colour of what is behind it.
        halo = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        assert not (changed & ~halo).any() or (changed & ~halo).sum() < 0.02 * mask.sum()
        assert changed[mask].mean() > 0.9


def test_later_objects_hide_earlier_ones_but_never_most_of_them() -> None:
    hidden = 0
    for seed in range(60):
        made = scene(seed, objects=(3, 5), size=(160, 160))
        hidden += any(m.sum() < 40 for m in made.masks)
    assert hidden == 0


@given(seed=st.integers(0, 10**6))
def test_caption_names_every_object_colour_and_background(seed: int) -> None:
    made = scene(seed)
    for name, colour in zip(made.names, made.colours, strict=True):
        words = [f"{colour} {word}" if colour else word for word in (name, plural(name))]
        assert any(word in made.caption for word in words)
    assert all(name in made.caption for name in made.background)


def test_a_recoloured_object_has_the_colour_the_caption_says() -> None:
    for colour in ("red", "green", "blue"):
        channel = ("red", "green", "blue").index(colour)
        seeds = (i for i in range(2000) if scene(i, size=(32, 32), objects=(1, 1)).colours == (colour,))
        for seed, _ in zip(seeds, range(5), strict=False):
            made = scene(seed, size=(64, 64), objects=(1, 1))
            # The same seed draws the same object at every size.
            assert made.colours == (colour,)
            assert made.image[made.masks[0]].mean(axis=0).argmax() == channel


@given(seed=st.integers(0, 10**6), size=st.tuples(st.integers(2, 90), st.integers(2, 90)))
def test_the_horizon_is_where_the_lower_stuff_begins(seed: int, size: tuple[int, int]) -> None:
    def empty(*background: str) -> Scene:
        return scene(seed, size=size, objects=(0, 0), background=background, camera=0)

    made, other = empty("sky", "grass"), empty("sky", "rock")
    assert empty("sky").horizon is None
    assert made.horizon is not None
    assert 1 <= made.horizon < size[0]
    differ = (made.image != other.image).any(axis=(1, 2))
    assert not differ[: made.horizon].any()
    assert differ[made.horizon :].all()


def test_arguments_choose_concepts_and_background() -> None:
    for seed in range(20):
        made = scene(seed, among=["cat", "dog"], objects=(1, 2), background=["sky", "grass"])
        assert set(made.names) <= {"cat", "dog"}
        assert made.background == ("sky", "grass")
        assert made.caption.endswith("on grass under sky")


def test_held_out_artwork_is_never_shown_otherwise() -> None:
    held = [concept for concept in concepts().values() if concept.held is not None]
    assert len(held) >= 60
    assert {len(concept.boxes) for concept in concepts().values() if concept.held is None} == {1}
    for concept in held:
        assert concept.held not in concept.drawings("train")
        assert list(concept.drawings("held")) == [concept.held]
    for seed in range(10):
        a, b = (scene(seed, among=["person"], artwork=artwork) for artwork in ("train", "held"))
        assert a.image.tobytes() != b.image.tobytes()
        assert set(scene(seed, artwork="held").names) <= {concept.name for concept in held}


def test_a_concept_can_be_there_more_than_once() -> None:
    shown = [scene(i, objects=(2, 2), repeats=1.0) for i in range(30)]
    assert all(len(set(made.names)) == 1 for made in shown)
    assert np.mean([len(made.names) == 2 for made in shown]) > 0.8
    for made in shown:
        assert list(made.concepts) == list(dict.fromkeys(made.names))
        assert (sum(mask.sum() for mask in made.concepts.values())) == made.masks.sum()
        if made.colours == (None, None):
            assert f"two {plural(made.names[0])}" in made.caption
    assert all(len(set(made.names)) == len(made.names) for made in (scene(i, repeats=0) for i in range(50)))


def test_layouts_go_from_apart_and_whole_to_covered_and_cut() -> None:
    area, border = [], []
    for layout in LAYOUTS:
        made = [scene(i, size=(160, 160), objects=(4, 4), layout=layout) for i in range(60)]
        area.append(np.mean([s.masks.any(axis=0).mean() for s in made]))
        edges = [s.masks[:, [0, -1]].any() or s.masks[:, :, [0, -1]].any() for s in made]
        border.append(np.mean(edges))
    assert area == sorted(area)
    assert border[0] < 0.2 < border[1] < border[2]


def test_textures_and_camera_come_on_request() -> None:
    plain = scene(4, objects=(1, 1), camera=0)
    assert plain.textures == (None,)
    striped = [scene(i, objects=(1, 1), textured=1, camera=0) for i in range(10)]
    assert {s.textures[0] for s in striped} == set(TEXTURES)
    assert all(s.textures[0] in s.caption for s in striped)
    taken = scene(4, objects=(1, 1), camera=1)
    assert taken.masks.tobytes() == plain.masks.tobytes()
    difference = np.abs(taken.image.astype(int) - plain.image).mean()
    assert 0 < difference < 60


@pytest.mark.parametrize("name", list(STUFF))
def test_every_stuff_fills_any_shape(name: str) -> None:
    for height, width in ((1, 1), (3, 200), (121, 77)):
        picture = paint(name, np.random.default_rng(0), height, width)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
    assert picture.std() > 1


def test_stuff_above_and_below_is_known() -> None:
    assert set(ABOVE) | set(BELOW) <= set(STUFF)


def test_over_is_exact_for_opaque_and_for_clear() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    clear = np.zeros((4, 5, 4), np.uint8)
    opaque = np.dstack([image[::-1], np.full((4, 5), 255, np.uint8)])
    assert (over(clear, image) == image).all()
    assert (over(opaque, image) == image[::-1]).all()


def test_objects_have_the_extent_asked_for() -> None:
    for seed, name in enumerate(("cat", "banana", "giraffe", "bus")):
        patch = paint_object(draw_look(np.random.default_rng(seed), name, "train"), 80)
        ys, xs = np.nonzero(patch[..., 3] >= 128)
        assert 55 < max(np.ptp(ys), np.ptp(xs)) < 115


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "`seed`"),
        ({"size": (0, 5)}, "`size`"),
        ({"objects": (3, 2)}, "`objects`"),
        ({"among": ["cat", "gryphon"]}, "gryphon"),
        ({"background": ["lava"]}, "`background`"),
        ({"background": []}, "`background`"),
        ({"artwork": "all"}, "`artwork`"),
        ({"artwork": "held", "among": ["lion"]}, "kept from training"),
        ({"layout": "dense"}, "`layout`"),
        ({"repeats": 1.5}, "`repeats`"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scene(**{"seed": 0, **arguments})


def test_colours_are_distinct() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS)
