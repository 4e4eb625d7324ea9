import sys
from importlib.util import find_spec

import pytest
import torch

from car.errors import CheckpointError, InputError, MissingError
from car.vlm import openclip
from car.vlm.preprocess import MEAN, STD
from car.vlm.registry import load_clip
from car.vlm.tokenizer import tokenize

if find_spec("open_clip") is None:
    pytest.skip("open_clip is not installed (extra [openclip])", allow_module_level=True)

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
VIT = {"layers": 3, "width": 128, "head_width": 64, "patch_size": 8, "image_size": 48}
RESNET = {"layers": [1, 2, 1, 1], "width": 8, "image_size": 64, "head_width": 64}


def small(vision, text=TEXT, *, quick_gelu=False, seed=0):
    """A small open_clip model with random weights, none of which is zero."""
    openclip.package()
    from open_clip.model import CLIP

    torch.manual_seed(seed)
    model = CLIP(24, vision, text, quick_gelu=quick_gelu).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("vision", [VIT, VIT | {"head_width": 32}, RESNET], ids=["vit", "vit, four heads", "resnet"])
def test_the_same_weights_give_the_same_features(vision, quick_gelu):
    model = small(vision, quick_gelu=quick_gelu)
    clip = load_clip(model)
    images = torch.randn(2, 3, clip.input_resolution, clip.input_resolution)
    tokens = tokenize(["a cat", "a photo of two dogs, one of them black"])
    torch.testing.assert_close(clip.encode_image(images), model.encode_image(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clip.encode_text(tokens), model.encode_text(tokens), atol=1e-5, rtol=1e-5)


def test_another_normalisation_of_the_pixels_goes_into_the_weights():
    model = small(VIT)
    model.visual.image_mean, model.visual.image_std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    clip = load_clip(model)
    pixels = torch.rand(2, 3, 48, 48)
    theirs = (pixels - openclip.column((0.5, 0.4, 0.3))) / openclip.column((0.5, 0.6, 0.7))
    ours = (pixels - openclip.column(MEAN)) / openclip.column(STD)
    torch.testing.assert_close(clip.encode_image(ours), model.encode_image(theirs), atol=1e-4, rtol=1e-4)


def test_a_half_precision_model_is_accepted_and_left_as_it_was():
    model = small(VIT).bfloat16().train()
    clip = load_clip(model)
    assert clip.dtype == torch.float32
    assert model.training
    assert model.visual.conv1.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("vision", "text"),
    [
        (VIT | {"pool_type": "avg"}, TEXT),
        (VIT | {"ls_init_value": 0.1}, TEXT),
        (VIT | {"no_ln_pre": True}, TEXT),
        (VIT, TEXT | {"pool_type": "last"}),
        (VIT, TEXT | {"vocab_size": 1000}),
        (RESNET | {"layers": [1, 1, 1, 1]}, TEXT | {"no_causal_mask": True}),
    ],
    ids=["average pooling", "layer scale", "no first norm", "last token", "vocabulary", "no causal mask"],
)
def test_other_architectures_are_refused_in_one_line(vision, text):
    with pytest.raises(CheckpointError, match="This open_clip model cannot be used") as error:
        load_clip(small(vision, text))
    assert "\n" not in str(error.value)


def test_a_resnet_with_another_normalisation_is_refused():
    model = small(RESNET)
    model.visual.image_mean = (0.5, 0.5, 0.5)
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_clip(model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:ViT-B-61/openai", "no architecture 'ViT-B-61'.*Did you mean 'ViT-B-16'"),
        ("open_clip:ViT-B-16/laion2b", "no ViT-B-16 weights 'laion2b'.*laion2b_s34b_b88k"),
        ("open_clip:ViT-B-16", "ViT-B-16 weights ''.*ARCHITECTURE/TAG"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(name, message):
    with pytest.raises(InputError, match=message):
        load_clip(name)


def test_an_absent_package_is_one_line_that_names_the_extra(monkeypatch):
    openclip.package()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingError, match=r"pip install 'car-segmentation\[openclip\]'$"):
        load_clip("open_clip:ViT-B-16/openai")


def test_weights_that_cannot_be_downloaded_are_one_line(tmp_path, monkeypatch):
    openclip.package()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="open_clip:ViT-B-16/laion2b_s34b_b88k") as error:
        load_clip("open_clip:ViT-B-16/laion2b_s34b_b88k", weights_dir=tmp_path)
    assert "\n" not in str(error.value)
