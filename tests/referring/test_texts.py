import importlib.util

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.referring.texts import TextVectors, by_rules, by_spacy, ensemble, rejoined, tidy, word_splitter
from car.vlm.tokenizer import encode, tokenize
from tests.models import random_vit

SPLIT = {
    "Man's t-shirt, left": "man 's t - shirt , left",
    "the guy who isn't looking": "the guy who is n't looking",
    "guy u cant see": "guy u ca nt see",
    "thats her!!": "that s her ! !",
    "dog (the 2nd one).": "dog ( the 2nd one ) .",
    "I don't know... hes there": "i do n't know ... he s there",
    "its shell, here; we're well, they were": "its shell , here ; we 're well , they were",
    "whats behind the girls' bags?": "what s behind the girls ' bags ?",
    "we couldn't've": "we could n't 've",
    "you cannot miss it": "you can not miss it",
}
"""Sentences as spaCy's English tokenizer splits them."""


@pytest.mark.parametrize("sentence", SPLIT)
def test_without_spacy_clip_reads_the_same_tokens(sentence):
    assert encode(by_rules(sentence.lower())) == encode(SPLIT[sentence])


@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="spaCy is not installed")
@pytest.mark.parametrize("sentence", SPLIT)
def test_spacy_splits_as_expected(sentence):
    assert by_spacy(sentence.lower()) == SPLIT[sentence]
    assert word_splitter() == "spacy"


def test_rejoining_lowers_case_and_tidies():
    assert rejoined("  The Red \t dog\n") == "the red dog"


@given(st.text(alphabet="abdehinorstw'.,! -", max_size=40))
def test_the_rules_only_add_spaces(text):
    assert by_rules(text).replace(" ", "") == text.replace(" ", "")
    assert by_rules(by_rules(text)) == by_rules(text)


def test_features_are_those_of_the_model_not_normalised_and_the_same_in_any_company():
    clip = random_vit()
    texts = ["a dog", "the red cup left of the plate, near the cat", "a dog"]
    features = TextVectors(clip).encode(texts)
    plain = clip.encode_text(tokenize(texts))
    torch.testing.assert_close(features, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(features.norm(dim=-1), torch.ones(3), atol=1e-2)
    for text, feature in zip(texts, features, strict=True):
        assert torch.equal(TextVectors(clip).encode([text])[0], feature)
    assert TextVectors(clip).encode([]).shape == (0, 24)


def test_known_texts_are_not_encoded_again(monkeypatch):
    clip = random_vit()
    vectors = TextVectors(clip)
    first = vectors.encode(["a dog"])
    monkeypatch.setattr(clip, "encode_text", lambda tokens: pytest.fail("encoded again"))
    assert torch.equal(vectors.encode(["a dog", "a dog"]), first.expand(2, -1))


def test_too_long_a_text_is_refused_or_cut():
    clip = random_vit()
    with pytest.raises(InputError, match="tokens the model reads"):
        TextVectors(clip).encode(["word " * 100])
    cut = TextVectors(clip, truncate=True).encode(["word " * 100])
    torch.testing.assert_close(cut, TextVectors(clip).encode(["word " * 75]))


@pytest.mark.parametrize("expression", ["", " \n\t", 3, None])
def test_no_expression(expression):
    with pytest.raises(InputError, match=r"blank|string"):
        tidy(expression)


def test_the_ensemble_weighs_the_sentence_by_beta():
    sentence, phrase = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert ensemble(sentence, phrase, 0.75).tolist() == [0.75, 0.5]
