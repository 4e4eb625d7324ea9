from functools import cache
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError, MissingError
from car.vlm import tokenizer
from car.vlm.tokenizer import END, MAX_CHARACTERS, START, encode, tokenize
from tests.golden import golden

TRICKY = {
    "emoji": "a 😀😃 and a 👩‍👩‍👧‍👦 under a 🏳️‍🌈",
    "one emoji per piece": "😂" * 9,
    "chinese": "猫和狗在草地上",
    "accents": "façade naïve Ünïcode İstanbul",
    "html entities": "cats &amp;amp;amp;lt; dogs &lt;b&gt; &nbsp;&eacute; &#39;s &#28;",
    "contractions": "it's we're I'VE don't o'clock 'S the dog's-cat_s 'ſ",
    "digits": "1234 3.14 ½ ² Ⅷ ٣",
    "mojibake": "schÃ¶n â€œquotesâ€\x9d",
    "special token": "before <|endoftext|> after",
    "special tokens, upper case": "<|STARTOFTEXT|>a<|EndOfText|>",
    "white space": " \t a \u2028 b\x85c\u3000d\x1ce \n",
    "nothing": "",
    "marks": "¿¡«—»!?...;:&@#%^*()[]{}<>|\\/~`",
    "ligatures": "ﬁre ﬂag ß ẞ Σίσυφος",
    "zero width": "a\u200bb\ufeffc\u00ad",
    "astral letters": "𝓯𝓪𝓷𝓬𝔂",
    "lone surrogate": "a \ud800 b",
    "long word": "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
}
GOLDEN = {
    "clip_es_cam": ("fg_tokens", "bg_tokens"),
    "car": ("text_tokens",),
    "gem": ("text_tokens",),
    "global_local": ("text_tokens",),
    "hybridgl": ("text_tokens",),
    "tas": ("text_tokens",),
}


@cache
def original():
    """OpenAI's own tokenizer, from its file alone: importing its package would need more than is installed."""
    files = distribution("openai-clip").files
    path = next(file for file in files if file.name == "simple_tokenizer.py").locate()
    spec = spec_from_file_location("original_tokenizer", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


@pytest.mark.parametrize("text", TRICKY.values(), ids=TRICKY)
def test_tricky_texts_get_the_tokens_of_the_original(text):
    assert list(encode(text)) == original().encode(text)


@given(st.text(max_size=25))
def test_any_text_gets_the_tokens_of_the_original(text):
    assert list(encode(text)) == original().encode(text)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in GOLDEN.items() for key in keys])
def test_reference_tokens(name, key):
    """The reference rows are random tokens, not texts: each word among them, and all of a row read as one text."""
    for row in golden(name)[key]:
        ids = row[1 : row.argmax()].tolist()
        assert (row[0], row[len(ids) + 1]) == (START, END)
        assert not row[len(ids) + 2 :].any()
        for token in ids:
            word = original().decoder[token]
            if word.endswith("</w>") and word.removesuffix("</w>").isalpha() and word.isascii():
                np.testing.assert_array_equal(tokenize(word.removesuffix("</w>"))[0, :3], [START, token, END])
        text = original().decode(ids)
        assert list(encode(text)) == original().encode(text)


def test_every_token_of_the_table_is_reachable_by_its_own_id():
    ids, _, ranks = tokenizer.tables()
    assert len(ids) == END + 1 == 49408
    assert ids == original().encoder
    assert len(ranks) == 48894


def test_rows_are_start_text_end_zeros():
    rows = tokenize(["a cat", "", "dog"], context_length=6)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [
        [START, 320, 2368, END, 0, 0],
        [START, END, 0, 0, 0, 0],
        [START, 1929, END, 0, 0, 0],
    ]
    assert tokenize("a cat").shape == (1, 77)
    assert tokenize([]).shape == (0, 77)


def test_77_tokens_fit_and_78_are_refused_with_their_number():
    assert tokenize("cat " * 75)[0, -1] == END
    with pytest.raises(InputError, match=r"^The text 'cat cat .*\.\.\.' has 78 tokens, more than the 77 tokens"):
        tokenize("cat " * 76)


def test_truncation_keeps_the_end_token_last():
    row = tokenize("a dog " + "cat " * 90, truncate=True)[0]
    assert row[:3].tolist() == [START, 320, 1929]
    assert row[-2:].tolist() == [2368, END]


def test_endless_texts_are_refused_at_once_or_cut():
    endless = "abcdefg" * 10**6
    with pytest.raises(InputError, match="has 7000000 characters, more than the 77 tokens"):
        tokenize(endless)
    assert tokenize(endless, truncate=True)[0, -1] == END
    assert tokenize(" " * (MAX_CHARACTERS + 1) + "cat", truncate=True)[0, :3].tolist() == [START, END, 0]


def test_a_missing_table_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("car.vlm.tokenizer.TABLE", "no such file")
    with pytest.raises(MissingError, match=r"pip install openai-clip==1\.0\.1$"):
        tokenizer.table_path()
