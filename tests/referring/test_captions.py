import json
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from car.errors import CheckpointError, InputError, MissingError
from car.referring import caption_model
from car.referring.caption_model import BEAMS, MOST_TOKENS, ModelCaptioner, brief
from car.referring.captions import Captions, CaptionSource, captions_folder, picture_key
from car.referring.phrases import LIKELY, MOST, PhraseCaptioner, listed_words
from car.referring.preprocess import blurred, on_background
from car.referring.proposals import MaskProposals
from car.referring.tas import BLUR, picture
from car.scenes.scene import scene
from car.scenes.words import with_article
from car.vlm.registry import load_clip
from tests.models import random_vit

needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="the extra [caption] (transformers) is not installed"
)
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
PICTURES = [np.random.default_rng(i).integers(0, 256, (9 + i, 12, 3), dtype=np.uint8) for i in range(1, 4)]
ENTRY = {"image": "a dog  and a cat", "masks": ["a dog", "a cat", " grass "]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "captions"


class Counting:
    """A captioner that counts what it was shown."""

    name = "counting"

    def __init__(self, identity: dict[str, str] | None = None) -> None:
        self.identity = identity
        self.wholes, self.pictures = 0, 0

    def whole(self, image: np.ndarray) -> str:
        self.wholes += 1
        return f"  picture  {image.sum()} "

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        self.pictures += len(pictures)
        return [f"thing {picture.sum()}" for picture in pictures]


def ask(source: CaptionSource, pictures: Sequence[np.ndarray] = PICTURES) -> Captions:
    return source(IMAGE, pictures, kept=range(len(pictures)), total=len(pictures))


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_captions_of_an_image_and_of_its_masks() -> None:
    found = ask(CaptionSource(Counting()))
    assert found == Captions(
        f"picture {IMAGE.sum()}", tuple(f"thing {picture.sum()}" for picture in PICTURES), "counting"
    )


def test_what_is_known_is_not_asked_again(cache: Path) -> None:
    first, second = Counting({"version": "1"}), Counting({"version": "1"})
    found = ask(CaptionSource(first), PICTURES[:2])
    assert captions_folder() == cache
    assert (first.wholes, first.pictures) == (1, 2)
    assert ask(CaptionSource(second)).masks[:2] == found.masks
    assert (second.wholes, second.pictures) == (0, 1)
    assert len(list(cache.iterdir())) == 1
    third = Counting({"version": "1"})
    ask(CaptionSource(third), PICTURES[::-1])
    assert (third.wholes, third.pictures) == (0, 0)


@pytest.mark.parametrize("options", [{"identity": {"version": "2"}}, {"identity": None}])
def test_another_captioner_is_asked(options: dict[str, dict[str, str] | None]) -> None:
    ask(CaptionSource(Counting({"version": "1"})))
    other = Counting(**options)
    ask(CaptionSource(other))
    assert (other.wholes, other.pictures) == (1, 3)


def test_captions_can_be_left_unkept(cache: Path) -> None:
    ask(CaptionSource(Counting({"version": "1"}), keep=False))
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"image": 3}'])
def test_damaged_captions_are_made_anew(cache: Path, caplog, damage: str) -> None:
    ask(CaptionSource(Counting({"version": "1"})))
    (path,) = cache.iterdir()
    path.write_text(damage)
    again = Counting({"version": "1"})
    with caplog.at_level(logging.WARNING):
        ask(CaptionSource(again))
    assert (again.wholes, again.pictures) == (1, 3)
    assert "made anew" in caplog.text
    assert json.loads(path.read_bytes())["image"] == f"picture {IMAGE.sum()}"


def test_where_nothing_can_be_kept_captions_come_all_the_same(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("CAR_CACHE", str(written(tmp_path / "file", "")))
    with caplog.at_level(logging.INFO):
        assert ask(CaptionSource(Counting({"version": "1"}))).masks
    assert "not kept" in caplog.text


@pytest.mark.parametrize("name", ["photo", picture_key(IMAGE)])
def test_file_names_images_by_stem_or_content(tmp_path, name: str) -> None:
    source = CaptionSource(written(tmp_path / "captions.json", {name: ENTRY}))
    found = source(IMAGE, PICTURES[:2], kept=[2, 0], total=3, stem="photo")
    assert found == Captions("a dog and a cat", ("grass", "a dog"), str(tmp_path / "captions.json"))


def test_file_without_the_image(tmp_path) -> None:
    source = CaptionSource(written(tmp_path / "captions.json", {"photo": ENTRY}))
    with pytest.raises(MissingError, match=f"no captions of 'other' or '{picture_key(IMAGE)}'"):
        source(IMAGE, PICTURES, kept=[0, 1, 2], total=3, stem="other")
    with pytest.raises(InputError, match="3 captions of masks of 'photo', but the image has 4"):
        source(IMAGE, PICTURES, kept=[0, 1, 2], total=4, stem="photo")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 100_000,
        [ENTRY],
        {"photo": "a dog"},
        {"photo": {"image": "a dog"}},
        {"photo": {"image": None, "masks": []}},
        {"photo": {"image": "a dog", "masks": ["a dog", 3]}},
        {"photo": {"image": "a dog", "masks": "a dog"}},
    ],
)
def test_broken_files(tmp_path, content: object) -> None:
    with pytest.raises(InputError) as caught:
        CaptionSource(written(tmp_path / "captions.json", content))
    assert "captions.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("no/such/captions.json", MissingError, "There is no file"),
        ("blipp", InputError, "Available: built-in, blip2, git"),
        (3, InputError, "a captioner, but got int"),
        ("built-in", InputError, "give one"),
    ],
)
def test_no_such_captions(spec: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CaptionSource(spec)


@pytest.fixture(scope="module")
def mini() -> PhraseCaptioner:
    return PhraseCaptioner(load_clip("mini"))


def test_phrases_name_what_scenes_show(mini: PhraseCaptioner) -> None:
    right, asked, named, present = 0, 0, 0, 0
    for seed in range(6):
        made = scene(5000 + seed, size=(224, 224), objects=(2, 3), layout="sparse", repeats=0)
        proposals, soft = MaskProposals(made.masks), blurred(made.image, BLUR)
        shown = [on_background(made.image, mask, soft) for mask in made.masks]
        captions = mini.each([picture(image, proposals, row) for row, image in enumerate(shown)])
        right += sum(caption.endswith(name) for caption, name in zip(captions, made.names, strict=True))
        asked += len(captions)
        whole = mini.whole(made.image)
        named += sum(name in whole for name in made.names)
        present += len(made.names)
    assert right / asked > 0.8
    assert named / present > 0.4


def test_phrases_tell_colours(mini: PhraseCaptioner) -> None:
    drawn = (scene(6000 + seed, size=(112, 112), objects=(1, 1), among=["car", "bus", "cup"]) for seed in range(60))
    painted = [made for made in drawn if made.colours[0] in ("red", "blue", "green")]
    captions = mini.each([made.image for made in painted])
    right = [with_article(f"{made.colours[0]} {made.names[0]}") for made in painted]
    assert len(painted) > 3
    assert np.mean([caption == wanted for caption, wanted in zip(captions, right, strict=True)]) > 0.5


def test_the_whole_is_a_list_of_the_likeliest() -> None:
    captioner = PhraseCaptioner(random_vit(), things=["dog", "apple", "scissors"], stuff=["grass"], colours=[])
    shares = captioner._logits(captioner._features([IMAGE], "squash"), captioner._phrases)[0].softmax(dim=0)
    assert captioner._phrases == ("a dog", "an apple", "some scissors", "grass")
    order = shares.argsort(descending=True).tolist()
    likely = [captioner._phrases[i] for i in order if shares[i] >= LIKELY][:MOST]
    assert captioner.whole(IMAGE).replace(" and ", ", ").split(", ") == likely
    best = captioner.each([IMAGE, IMAGE[:, ::-1]])
    assert len(best) == 2
    assert set(best) <= set(captioner._phrases)
    assert captioner.each([]) == []


def test_phrases_are_known_by_their_words_and_weights() -> None:
    one = PhraseCaptioner(random_vit(), things=["dog"]).identity
    assert one == PhraseCaptioner(random_vit(), things=["dog"]).identity
    assert one != PhraseCaptioner(random_vit(), things=["cat"]).identity
    assert one != PhraseCaptioner(random_vit(1), things=["dog"]).identity
    assert PhraseCaptioner(random_vit()).things == listed_words()[0]
    with pytest.raises(InputError, match="a noun at least"):
        PhraseCaptioner(random_vit(), things=[], stuff=[])


def test_phrases_do_not_depend_on_the_batch() -> None:
    clip = random_vit()
    assert PhraseCaptioner(clip, batch_size=1).each(PICTURES) == PhraseCaptioner(clip).each(PICTURES)


SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
WORDS = [*SPECIAL, "a", "photo", "of", "dog", "cat", "red", "blue", "on", "grass", "and", "two", "small", "tree"]
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = VISION | {"vocab_size": len(WORDS)}
IDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """BLIP-2 and GIT with random weights, each in a folder with its processor."""
    transformers = caption_model.package()
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds

    tokenizer = Tokenizer(kinds.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, additional_special_tokens=["<image>"]
    )
    torch.manual_seed(0)
    blip2 = transformers.Blip2ForConditionalGeneration(
        transformers.Blip2Config(
            vision_config=VISION | {"image_size": 28, "patch_size": 14},
            qformer_config=SMALL | {"encoder_hidden_size": 16, "cross_attention_frequency": 1},
            text_config=SMALL
            | IDS
            | {"model_type": "opt", "ffn_dim": 16, "max_position_embeddings": 64, "word_embed_proj_dim": 16},
            num_query_tokens=4,
            image_token_index=4,
        )
    )
    git = transformers.GitForCausalLM(
        transformers.GitConfig(
            vision_config=VISION | {"image_size": 28, "patch_size": 14}, max_position_embeddings=64, **SMALL, **IDS
        )
    )
    squash = transformers.BlipImageProcessor(size={"height": 28, "width": 28})
    crop = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processors = {
        "blip2": transformers.Blip2Processor(squash, fast, num_query_tokens=4),
        "git": transformers.GitProcessor(crop, fast),
    }
    folders = {}
    for name, model in (("blip2", blip2), ("git", git)):
        for parameter in model.parameters():  # tied to the picture more than at random
            parameter.data.mul_(3)
        folders[name] = tmp_path_factory.mktemp(name)
        with caption_model.quiet(transformers):
            model.eval().save_pretrained(folders[name])
            processors[name].save_pretrained(folders[name])
    return folders


@needs_transformers
@pytest.mark.parametrize("name", ["blip2", "git"])
def test_models_of_transformers_caption_pictures(models: dict[str, Path], name: str) -> None:
    folder = models[name]
    captioner = ModelCaptioner(str(folder), device="cpu", dtype="fp32", batch_size=2)
    captions = captioner.each(PICTURES)
    transformers = caption_model.package()
    kind = {"blip2": transformers.Blip2ForConditionalGeneration, "git": transformers.GitForCausalLM}[name]
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode(), caption_model.quiet(transformers):
        model = kind.from_pretrained(folder).eval()
        for picture, caption in zip(PICTURES, captions, strict=True):
            pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
            tokens = model.generate(pixel_values=pixels, num_beams=BEAMS, max_new_tokens=MOST_TOKENS)
            assert caption == processor.decode(tokens[0], skip_special_tokens=True).strip()
    assert {word for caption in captions for word in caption.split()} <= set(WORDS) - set(SPECIAL)
    assert any(captions)
    assert captioner.whole(PICTURES[0]) == captions[0]
    assert captioner.each([]) == []


@needs_transformers
def test_a_model_is_loaded_once_a_picture_is_new(models: dict[str, Path], monkeypatch) -> None:
    spec = str(models["git"])
    found = ask(CaptionSource(spec, device="cpu", dtype="fp32"))
    assert found.source == spec
    monkeypatch.setattr(ModelCaptioner, "_loaded", property(lambda self: pytest.fail("the model was loaded")))
    assert ask(CaptionSource(spec, device="cpu", dtype="fp32")) == found
    (models["git"] / "config.json").touch()
    with pytest.raises(pytest.fail.Exception, match="the model was loaded"):
        ask(CaptionSource(spec, device="cpu", dtype="fp32"))


@needs_transformers
def test_models_run_in_the_dtype_asked_for(models: dict[str, Path]) -> None:
    captioner = ModelCaptioner(str(models["blip2"]), device="cpu", dtype="bf16")
    captioner.each(PICTURES[:1])
    assert {parameter.dtype for parameter in captioner._loaded[1].parameters()} == {torch.bfloat16}


@needs_transformers
def test_weights_that_lack_something(models: dict[str, Path], tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    for file in models["git"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "encoder" in name)
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"1 of its weights are missing, {name}"):
        ModelCaptioner(str(tmp_path), device="cpu").each(PICTURES)
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="no captioning model that can be read"):
        ModelCaptioner(str(tmp_path), device="cpu").each(PICTURES)


@needs_transformers
def test_folder_without_a_model(tmp_path) -> None:
    with pytest.raises(CheckpointError) as caught:
        ask(CaptionSource(str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_transformers
def test_a_model_that_is_nowhere(tmp_path, monkeypatch) -> None:
    import huggingface_hub

    # Whether or not this machine reaches the Hub, nothing is asked of it.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError) as caught:
        ask(CaptionSource("no-such-owner/no-such-model"))
    message = str(caught.value)
    assert "'no-such-owner/no-such-model' is not here and cannot be downloaded" in message
    assert "'built-in'" in message
    assert "\n" not in message


def test_without_the_package(monkeypatch) -> None:
    monkeypatch.setattr(caption_model, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"run: pip install 'car-segmentation\[caption\]'"):
        CaptionSource("blip2")


def test_errors_are_one_line() -> None:
    assert brief(ValueError("first\nsecond")) == "first"
    assert brief(KeyError()) == "KeyError"
