"""The model: shapes, who is prompted by whom, what gradients reach, and SAM asked as SAM asks itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.prompt_ris.model import PromptRIS
from car.prompt_ris.prompting import PromptedCLIP, grouped
from car.prompt_ris.sam_decoder import first_mask
from car.prompt_ris.sam_prompts import PointPrompt, gumbel
from car.prompt_ris.settings import DIRECTIONS, PromptRISSettings
from car.vlm.fingerprint import weights_hash
from car.vlm.model import CLIP
from car.vlm.resnet import ModifiedResNet
from tests.prompt_ris.models import TEXTS, inputs, needs_sam, small_clip, small_model, small_sam, views

COARSE = {"sam_prompts": ()}


@needs_sam
def test_shapes_of_both_masks() -> None:
    model = small_model()
    images, texts, owner = inputs(model)
    features = model.look(views())
    assert features.shape == (2, 32, 8, 8)
    found = model(images, texts, owner, features)
    assert found.coarse.shape == (4, 32, 32)
    assert found.final.shape == (4, 64, 64)
    assert found.best is found.final
    assert found.coarse.dtype == found.final.dtype == torch.float32
    assert model(images, texts, owner).final is None


def test_coarse_masks_without_sam() -> None:
    model = small_model(**COARSE)
    found = model(*inputs(model))
    assert found.coarse.shape == (4, 4 * 6, 4 * 6)
    assert found.best is found.coarse
    assert model.sam_side is None
    assert model.answer_side == model.coarse_side == 24


@needs_sam
@pytest.mark.parametrize("directions", DIRECTIONS)
def test_gradients_reach_every_learned_weight_and_no_frozen_one(directions: str) -> None:
    model = small_model(directions=directions)
    images, texts, owner = inputs(model)
    before = weights_hash(model.clip.clip), weights_hash(model.sam)
    noise = gumbel(4, 32, 32, generator=torch.Generator().manual_seed(0))
    found = model(images, texts, owner, model.look(views()), noise=noise)
    (found.coarse.square().mean() + found.final.square().mean()).backward()
    learned = model.learned()
    unmoved = [name for name, p in learned.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # A softmax does not see a bias that all keys share.
    assert all(name.endswith("keys.bias") for name in unmoved)
    frozen = {name: p for name, p in model.named_parameters() if name not in learned}
    assert frozen
    assert not any(p.requires_grad or p.grad is not None for p in frozen.values())
    assert (weights_hash(model.clip.clip), weights_hash(model.sam)) == before


def test_directions_have_the_prompts_they_say() -> None:
    counts = {name: small_model(directions=name, **COARSE).clip for name in DIRECTIONS}
    assert {name: (len(c.to_text), len(c.to_vision)) for name, c in counts.items()} == {
        "both": (2, 2),
        "v2l": (2, 0),
        "l2v": (0, 2),
        "none": (0, 0),
    }


def test_without_prompts_it_is_clip() -> None:
    clip = small_clip()
    prompted = PromptedCLIP(clip, tokens=3, directions="none", heads=4)
    images, texts, owner = inputs(small_model(**COARSE))
    patches, words, end = prompted(images, texts, owner)
    assert torch.allclose(words[torch.arange(4), end], clip.encode_text(texts), atol=1e-6)
    tokens, _ = clip.visual.embed(images)
    assert torch.allclose(patches, clip.visual.project(clip.visual.transformer(tokens))[owner][:, 1:], atol=1e-6)


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("prompts", [1, 16])
def test_prompts_do_not_change_the_lengths_downstream(directions: str, prompts: int) -> None:
    model = small_model(directions=directions, prompts=prompts, **COARSE)
    images, texts, owner = inputs(model)
    patches, words, end = model.clip(images, texts, owner)
    assert patches.shape == (4, 36, 16)
    assert words.shape == (4, int(texts.argmax(dim=1).max()) + 1, 16)
    assert torch.equal(end, texts.argmax(dim=1))


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_one_modality_hears_of_the_other_only_where_it_is_prompted(directions: str) -> None:
    clip = PromptedCLIP(small_clip(), tokens=3, directions=directions, heads=4)
    images, texts, owner = inputs(small_model(**COARSE))
    patches, words, end = clip(images, texts, owner)
    other_patches, _, _ = clip(images, texts.flip(0), owner)
    _, other_words, _ = clip(images + 1, texts, owner)
    global_text = [w[torch.arange(4), end] for w in (words, other_words)]
    assert torch.allclose(patches, other_patches, atol=1e-6) == (directions in ("v2l", "none"))
    assert torch.allclose(*global_text, atol=1e-6) == (directions in ("l2v", "none"))


def test_words_see_what_is_before_them_alone() -> None:
    """The causal mask holds behind the prompts: what follows a word does not matter to it."""
    clip = PromptedCLIP(small_clip(), tokens=3, directions="v2l", heads=4)
    images, texts, owner = inputs(small_model(**COARSE))
    _, words, _ = clip(images, texts, owner)
    changed = texts.clone()
    changed[1, 4] = texts[1, 5]
    _, others, _ = clip(images, changed, owner)
    assert torch.allclose(words[1, :4], others[1, :4], atol=1e-6)
    assert not torch.allclose(words[1, 4:8], others[1, 4:8], atol=1e-3)


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(directions: str) -> None:
    """Padding behind shorter texts is neither read nor prompted from."""
    model = small_model(directions=directions, **COARSE)
    images, texts, owner = inputs(model)
    together = model(images, texts, owner).coarse
    for i in range(len(texts)):
        alone = model(images[owner[i] : owner[i] + 1], texts[i : i + 1], torch.zeros(1, dtype=torch.int64)).coarse
        assert torch.allclose(alone[0], together[i], atol=1e-5)


@needs_sam
def test_sam_does_not_read_the_padding_either() -> None:
    model = small_model()
    images, texts, owner = inputs(model)
    features = model.look(views())
    together = model(images, texts, owner, features).final
    alone = model(images[:1], texts[2:3], torch.zeros(1, dtype=torch.int64), features[:1]).final
    assert torch.allclose(alone[0], together[2], atol=1e-4)


@given(depth=st.integers(1, 30), data=st.data())
def test_layers_are_shared_out_in_order(depth: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, depth))
    parts = grouped(list(range(depth)), groups)
    assert [layer for part in parts for layer in part] == list(range(depth))
    assert len(parts) == groups
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@needs_sam
def test_the_first_mask_is_the_one_of_segment_anything() -> None:
    sam = small_sam()
    rng = torch.Generator().manual_seed(0)
    image = torch.randn(1, 32, 8, 8, generator=rng)
    tokens, dense = torch.randn(3, 5, 32, generator=rng), torch.randn(3, 32, 8, 8, generator=rng)
    places = sam.prompt_encoder.get_dense_pe()
    expected, _ = sam.mask_decoder.predict_masks(image, places, tokens, dense)
    valid = torch.ones(3, 5, dtype=torch.bool)
    assert torch.allclose(first_mask(sam, image + dense, tokens, valid), expected[:, 0], atol=1e-5)
    # Tokens that are not valid are as if they were not there.
    fewer, _ = sam.mask_decoder.predict_masks(image, places, tokens[:, :3], dense)
    assert torch.allclose(first_mask(sam, image + dense, tokens, valid & (torch.arange(5) < 3)), fewer[:, 0], atol=1e-5)


@needs_sam
@pytest.mark.parametrize("left", ["mask", "point", "text"])
def test_each_prompt_for_sam_is_heard_and_can_be_left_out(left: str) -> None:
    model, place = small_model(), ("mask", "point", "text").index(left)
    images, texts, owner = inputs(model)
    features = model.look(views())
    kept = torch.ones(4, 3, dtype=torch.bool)
    kept[1, place] = False
    all_three, without = (model(images, texts, owner, features, kept=k).final for k in (None, kept))
    changed = (all_three - without).abs().amax(dim=(1, 2))
    assert changed[1] > 1e-4
    assert torch.all(changed[[0, 2, 3]] < 1e-5)
    only = PromptRISSettings(
        **model.settings.to_dict() | {"sam_prompts": [n for n in ("mask", "point", "text") if n != left]}
    )
    object.__setattr__(model, "settings", only)
    kept[:, place] = False
    expected = model(images, texts, owner, features, kept=torch.ones(4, 3, dtype=torch.bool)).final
    assert torch.allclose(expected[1], without[1], atol=1e-5)


@needs_sam
def test_the_point_is_the_arg_max_as_sam_embeds_it() -> None:
    sam = small_sam()
    point = PointPrompt(sam)
    logits = torch.randn(5, 32, 32, generator=torch.Generator().manual_seed(0))
    found = point(logits)
    for row, embedded in zip(logits, found, strict=True):
        y, x = divmod(int(row.argmax()), 32)
        # The mask has half of the pixels of what SAM sees, along each side.
        coordinates = (torch.tensor([[[x, y]]]) + 0.5) * 2 - 0.5
        expected, _ = sam.prompt_encoder((coordinates, torch.ones(1, 1)), None, None)
        assert torch.allclose(embedded, expected[0, 0], atol=1e-5)


@needs_sam
def test_noise_makes_a_sample_and_lets_gradients_through() -> None:
    point = PointPrompt(small_sam())
    logits = (3 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))).expand(2000, -1, -1)
    noise = gumbel(2000, 32, 32, generator=torch.Generator().manual_seed(1))
    asked = logits.clone().requires_grad_()
    found = point(asked, noise)
    chosen = (logits + noise).flatten(1).argmax(dim=1)
    assert torch.allclose(found, point.embeddings[chosen], atol=1e-5)
    found.square().sum().backward()
    assert asked.grad.abs().sum() > 0
    # Points are drawn as often as the softmax of the logits says.
    likely = logits[0].flatten().softmax(dim=0)
    best = int(likely.argmax())
    share = float((chosen == best).float().mean())
    assert abs(share - float(likely[best])) < 4 * float((likely[best] * (1 - likely[best]) / 2000) ** 0.5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"multiple of this CLIP's patch size 8"):
        small_model(clip_side=50, **COARSE)
    with pytest.raises(InputError, match=r"`heads` to divide this CLIP's width 32, but got 5"):
        small_model(heads=5, **COARSE)
    with pytest.raises(InputError, match="give a model of segment-anything"):
        PromptRIS(small_clip(), None, PromptRISSettings(clip_side=48, heads=4))
    resnet = CLIP(
        ModifiedResNet(layers=(1, 1, 1, 1), width=8, resolution=32, embed_dim=16, heads=4),
        embed_dim=16,
        text_width=24,
        text_layers=2,
        text_heads=2,
    )
    with pytest.raises(InputError, match="this CLIP has a ResNet"):
        PromptedCLIP(resnet, tokens=3, directions="both", heads=4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompts": 0}, "`prompts` to be a whole number from 1, but got 0"),
        ({"directions": "up"}, "`directions` to be one of both, v2l, l2v, none, but got 'up'"),
        ({"sam_prompts": ("mask", "box")}, "`sam_prompts` to be any of mask, point, text, but got 'box'"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PromptRISSettings(**wrong)


def test_texts_of_the_batch_are_all_different() -> None:
    """What the tests above rest on."""
    assert len(set(TEXTS)) == 4
    assert not np.array_equal(*views())
