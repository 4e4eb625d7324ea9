import pytest
import torch

from car.errors import InputError
from car.vlm import text as module
from car.vlm.fingerprint import text_hash, weights_hash
from car.vlm.registry import load_clip
from car.vlm.text import TextEncoder
from car.vlm.tokenizer import tokenize
from tests.models import random_vit


def test_features_are_those_of_the_model_normalised():
    clip = random_vit()
    texts = ["a cat", "a photo of the very same cat in the snow", "dog"]
    features = TextEncoder(clip).encode(texts)
    expected = torch.stack([clip.encode_text(tokenize(text))[0] for text in texts])
    torch.testing.assert_close(features, expected / expected.norm(dim=-1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_each_text_is_encoded_once(monkeypatch):
    clip = random_vit()
    seen: list[int] = []
    original = clip.encode_text
    monkeypatch.setattr(
        clip, "encode_text", lambda tokens: (seen.append(len(tokens.unique(dim=0))), original(tokens))[1]
    )
    encoder = TextEncoder(clip)
    encoder.encode(["cat", "dog", "cat"])
    encoder.encode(["dog", "bird", "cat"])
    assert seen == [2, 1]


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    encoder = TextEncoder(random_vit())
    first = encoder.encode(["cat", "dog", "bird"])
    assert first.shape == (3, 24)
    assert set(encoder._known) == {"dog", "bird"}
    torch.testing.assert_close(encoder.encode("cat")[0], first[0])


def test_one_text_is_not_a_list_of_letters():
    encoder = TextEncoder(random_vit())
    assert torch.equal(encoder.encode("cat"), encoder.encode(["cat"]))


def test_templates_take_queries_as_they_are():
    encoder = TextEncoder(random_vit())
    features = encoder.templated(["cat", "{}", "a {0} b"], ["a photo of a {}.", "{}"])
    assert features.shape == (2, 3, 24)
    torch.testing.assert_close(features[0, 2], encoder.encode(["a photo of a a {0} b."])[0])
    torch.testing.assert_close(features[1, 1], encoder.encode(["{}"])[0])


def test_results_do_not_depend_on_the_batches(monkeypatch):
    clip = random_vit()
    texts = [f"{'very ' * (i % 7)}cat {i}" for i in range(20)]
    whole = TextEncoder(clip).encode(texts)
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    torch.testing.assert_close(TextEncoder(clip).encode(texts), whole, atol=1e-5, rtol=1e-4)


def test_no_texts_are_no_features():
    assert TextEncoder(random_vit()).templated([], ["a {}", "the {}"]).shape == (2, 0, 24)


def test_a_text_too_long_is_refused_or_cut():
    clip = random_vit()
    with pytest.raises(InputError, match="tokens"):
        TextEncoder(clip).encode(["word " * 100])
    assert TextEncoder(clip, truncate=True).encode(["word " * 100]).shape == (1, 24)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_text_has_the_same_bits_in_any_company(dtype):
    clip = load_clip("mini").cast(dtype)
    texts = [f"{'very ' * (i % 9)}big cat {i}" for i in range(90)]
    whole = TextEncoder(clip).encode(texts)
    for i in (0, 8, 31, 89):
        assert torch.equal(TextEncoder(clip).encode(texts[i])[0], whole[i])
    assert torch.equal(TextEncoder(clip).encode(texts[::-3]), whole.flip(0)[::3])


def test_features_are_kept_on_disk_by_content(tmp_path, monkeypatch):
    clip = random_vit()
    first = TextEncoder(clip, folder=tmp_path).encode(["cat", "dog"])
    monkeypatch.setattr(clip, "encode_text", lambda tokens: pytest.fail("encoded again"))
    assert torch.equal(TextEncoder(clip, folder=tmp_path).encode(["dog", "cat"]), first.flip(0))
    assert len(list(tmp_path.iterdir())) == 1


def test_other_weights_have_other_features(tmp_path):
    one, other = random_vit(seed=0), random_vit(seed=1)
    TextEncoder(one, folder=tmp_path).encode("cat")
    assert torch.equal(TextEncoder(other, folder=tmp_path).encode("cat"), TextEncoder(other).encode("cat"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_text_too_long_is_refused_though_its_beginning_is_kept(tmp_path):
    clip = random_vit()
    TextEncoder(clip, truncate=True, folder=tmp_path).encode("word " * 100)
    with pytest.raises(InputError, match="tokens"):
        TextEncoder(clip, folder=tmp_path).encode("word " * 100)


@pytest.mark.parametrize("broken", ["not a database", ""])
def test_a_broken_store_costs_nothing_but_time(tmp_path, broken):
    clip = random_vit()
    encoder = TextEncoder(clip, folder=tmp_path)
    assert encoder.store is not None
    encoder.store.path.write_text(broken)
    assert torch.equal(encoder.encode("cat"), TextEncoder(clip).encode("cat"))


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(tmp_path):
    (tmp_path / "file").write_text("")
    clip = random_vit()
    assert torch.equal(TextEncoder(clip, folder=tmp_path / "file").encode("cat"), TextEncoder(clip).encode("cat"))


def test_weights_have_a_hash_by_content():
    clip = random_vit()
    before = weights_hash(clip), text_hash(clip)
    assert before == (weights_hash(random_vit()), text_hash(random_vit()))
    clip.visual.conv1.weight.data[0, 0, 0, 0] += 1
    assert weights_hash(clip) != before[0]
    assert text_hash(clip) == before[1]
    clip.text_projection.data[0, 0] += 1
    assert text_hash(clip) != before[1]
