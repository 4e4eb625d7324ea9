"""Pickles of plain data, from this Python and from Python 2; and pickles that are more than data, or less."""

import pickle
import struct
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from car.data import plain_pickle
from car.data.plain_pickle import plain, read_plain_pickle
from car.errors import InputError
from tests.data.writing_referring import python2_pickle

PYTHON_2 = [
    {
        **{"ref_id": 7, "ann_id": 2**31 + 5, "split": "testA", "same": "testA", "sent_ids": [0], "big": 2**70},
        "file_name": "COCO_train2014_000000000009_7.jpg",
        "sentences": [
            {
                "tokens": ["caf\xc3\xa9", "man's"],
                "raw": "Caf\xe9 man's \u4eba",
                "sent": "caf\xc3\xa9 man's",
                "sent_id": 0,
            }
        ],
        **{"small": -3, "half": 0.5, "yes": True, "no": False, "none": None, "pair": (1, 2)},
    }
]
WRITTEN_BY_PYTHON_2 = {
    "cPickle, protocol 0": (
        b"(lp1\n(dp2\nS'big'\np3\nL1180591620717411303424L\nsS'half'\np4\nF0.5\nsS'ann_id'\np5\nI2147483653\nsS'ref_id'\n"
        b"p6\nI7\nsS'sentences'\np7\n(lp8\n(dp9\nS'tokens'\np10\n(lp11\nS'caf\\xc3\\xa9'\np12\naS\"man's\"\np13\nasS'raw'\n"
        b"p14\nVCaf\xe9 man's \\u4eba\np15\nsS'sent_id'\np16\nI0\nsS'sent'\np17\nS\"caf\\xc3\\xa9 man's\"\np18\nsasS"
        b"'pair'\np19\n(I1\nI2\ntp20\nsS'yes'\np21\nI01\nsS'none'\np22\nNsS'sent_ids'\np23\n(lp24\nI0\nasS'no'\np25\nI00\ns"
        b"S'same'\np26\nS'testA'\np27\nsS'split'\np28\ng27\nsS'file_name'\np29\nS'COCO_train2014_000000000009_7.jpg'\n"
        b"p30\nsS'small'\np31\nI-3\nsa."
    ),
    "cPickle, protocol 1": (
        b"]q\x01}q\x02(U\x03bigq\x03L1180591620717411303424L\nU\x04halfq\x04G?\xe0\x00\x00\x00\x00\x00\x00U\x06ann_idq"
        b"\x05I2147483653\nU\x06ref_idq\x06K\x07U\tsentencesq\x07]q\x08}q\t(U\x06tokensq\n]q\x0b(U\x05caf\xc3\xa9q\x0c"
        b"U\x05man'sq\reU\x03rawq\x0eX\x0f\x00\x00\x00Caf\xc3\xa9 man's \xe4\xba\xbaq\x0fU\x07sent_idq\x10K\x00U\x04"
        b"sentq\x11U\x0bcaf\xc3\xa9 man'sq\x12uaU\x04pairq\x13(K\x01K\x02tq\x14U\x03yesq\x15I01\nU\x04noneq\x16NU\x08"
        b"sent_idsq\x17]q\x18K\x00aU\x02noq\x19I00\nU\x04sameq\x1aU\x05testAq\x1bU\x05splitq\x1ch\x1bU\tfile_nameq\x1d"
        b"U!COCO_train2014_000000000009_7.jpgq\x1eU\x05smallq\x1fJ\xfd\xff\xff\xffua."
    ),
    "pickle, protocol 2": (
        b"\x80\x02]q\x00}q\x01(U\x03bigq\x02\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@U\x04halfq\x03G?\xe0\x00\x00\x00\x00"
        b"\x00\x00U\x06ann_idq\x04I2147483653\nU\x06ref_idq\x05K\x07U\tsentencesq\x06]q\x07}q\x08(U\x06tokensq\t]q\n("
        b"U\x05caf\xc3\xa9q\x0bU\x05man'sq\x0ceU\x03rawq\rX\x0f\x00\x00\x00Caf\xc3\xa9 man's \xe4\xba\xbaq\x0e"
        b"U\x07sent_idq\x0fK\x00U\x04sentq\x10U\x0bcaf\xc3\xa9 man'sq\x11uaU\x04pairq\x12K\x01K\x02\x86q\x13U\x03yes"
        b"q\x14\x88U\x04noneq\x15NU\x08sent_idsq\x16]q\x17K\x00aU\x02noq\x18\x89U\x04sameq\x19U\x05testAq\x1aU\x05splitq\x1b"
        b"h\x1aU\tfile_nameq\x1cU!COCO_train2014_000000000009_7.jpgq\x1dU\x05smallq\x1eJ\xfd\xff\xff\xffua."
    ),
}
"""What Python 2.7.18 writes for `PYTHON_2`."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(scalars, inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=30,
)


def refused(pickled: bytes, part: str) -> None:
    with pytest.raises(InputError) as error:
        plain(pickled)
    assert "\n" not in str(error.value)
    assert part in str(error.value)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types all through: 1, 1.0 and True are equal."""
    return one == other and repr(one) == repr(other)


@settings(max_examples=300)
@given(data, st.integers(3, 5))
def test_plain_data_come_back(value, protocol):
    assert same(plain(pickle.dumps(value, protocol)), value)


@settings(max_examples=200)
@given(data, st.integers(0, 2))
def test_plain_data_come_back_from_old_protocols(value, protocol):
    pickled = pickle.dumps(value, protocol)
    if b"_codecs" in pickled or b"__builtin__" in pickled:  # bytes, which these protocols build by a call
        refused(pickled, "builds '")
    else:
        assert same(plain(pickled), value)


@pytest.mark.parametrize("name", WRITTEN_BY_PYTHON_2)
def test_what_python_2_wrote(name):
    found = plain(WRITTEN_BY_PYTHON_2[name])
    assert found == PYTHON_2
    assert found == pickle.loads(WRITTEN_BY_PYTHON_2[name], encoding="latin1")
    assert found[0]["yes"] is True
    assert found[0]["no"] is False


@settings(max_examples=200)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**40), 2**40)
        | st.text(st.characters(max_codepoint=255), max_size=300),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("ab'\"\\\n", max_size=4), inner, max_size=4)
        ),
        max_leaves=20,
    ),
    st.integers(0, 2),
)
def test_texts_as_python_2_writes_them(value, protocol):
    pickled = python2_pickle(value, protocol)
    assert b"V" not in pickled[:2]
    assert same(plain(pickled), value)
    assert same(pickle.loads(pickled, encoding="latin1"), value)


def test_what_is_shared_stays_one():
    inner = ["a"]
    found = plain(pickle.dumps([inner, inner], 2))
    assert found == [["a"], ["a"]]
    assert found[0] is found[1]


class Call:
    """Pickled, it is a call."""

    def __reduce__(self):
        return print, ("called",)


class Thing:
    pass


class Slotted:
    __slots__ = ("a",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [Call(), Thing, Thing(), np.int64(5), np.zeros(3), {1}, frozenset({1}), 1j, print, range(3), bytearray(b"a")],
    ids=str,
)
def test_nothing_but_plain_data_is_built(capsys, value, protocol):
    refused(pickle.dumps([{"a": value}], protocol), "only plain data are read: dict, list, tuple, str, bytes, int, ")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("pickled", "part"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "builds 'os.system'; only plain data"),
        (b"(S'true'\nios\nsystem\n.", "builds 'os.system'; only plain data"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "builds 'os.system'; only plain data"),
        (b"(S'a'\no.", "builds objects of classes"),
        (b"I1\n)R.", "builds objects of classes"),
        (b"]}b.", "builds objects of classes"),
        (b"I1\n)\x81.", "builds objects of classes"),
        (b"I1\n)}\x92.", "builds objects of classes"),
        (b"P1\n.", "points at things outside the file"),
        (b"I1\nQ.", "points at things outside the file"),
        (b"\x82\x01.", "points at things outside the file"),
        (b"\x84\x01\x00\x00\x00.", "points at things outside the file"),
        (b"\x8f.", "builds sets"),
        (b"(\x91.", "builds sets"),
        (b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", "builds buffers"),
        (b"\x97.", "builds buffers"),
        (b"\x80\x06N.", "is a pickle of protocol 6; 0 to 5 are read."),
        (b"}I1\nI2\n\x86Ns.", "has a tuple as the key of a dict"),
        (b"(]Nd.", "has a list as the key of a dict"),
        (b"]q\x00h\x00a.", "levels deep, or that contain themselves"),
    ],
)
def test_instructions_that_are_refused(pickled, part):
    refused(pickled, part)


@pytest.mark.parametrize(
    "pickled",
    [
        *(
            b"",
            b".",
            b"hello",
            b"\xff\xd8\xff\xe0",
            b'{"a": 1}',
            b"\xff\xfe",
            b"(",
            b"(.",
            b"N",
            b"]a.",
            b"Na.",
            b"NNa.",
        ),
        *(
            b"(NNNd.",
            b"}(Nu.",
            b"]Nu.",
            b"0.",
            b"1.",
            b"2.",
            b"e.",
            b"l.",
            b"p0\n.",
            b"g0\n.",
            b"h\x00.",
            b"j\0\0\0\0.",
        ),
        *(b"Ix\n.", b"I1", b"L\n.", b"F..\n.", b"S'a\n.", b"Sa\n.", b"S'\n.", b"S'\\x1'\n.", b"V\\u12\n.", b"U\x05ab."),
        *(b"X\xff\xff\xff\xffab.", b"X\x01\x00\x00\x00\xff.", b"B\xff\xff\xff\x7fa.", b"\x8e" + b"\xff" * 8 + b"a."),
        *(
            b"\x8d" + b"\xff" * 7 + b"\x7f.",
            b"\x8a\x05\x01.",
            b"\x8b\xff\xff\xff\x7f.",
            b"G\x00.",
            b"N\x86.",
            b"\x95\x00.",
        ),
        *(b"c", b"cos", b"c\xff\n\xff\n.", b"\x93.", b"\x80", b"I" + b"9" * 5000 + b"\n."),
    ],
    ids=repr,
)
def test_what_is_damaged_or_no_pickle(pickled):
    refused(pickled, "is a damaged pickle, or none.")


@pytest.mark.parametrize("name", WRITTEN_BY_PYTHON_2)
def test_pickles_that_are_cut_off(name):
    whole = WRITTEN_BY_PYTHON_2[name]
    for end in range(len(whole)):
        refused(whole[:end], "is a damaged pickle, or none.")


def outcome(pickled: bytes) -> str:
    """The data or the error as text; any other error is a failure."""
    try:
        return repr(plain(pickled))
    except InputError as error:
        return str(error)


changes_of_bytes = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4)


@settings(max_examples=400)
@given(st.sampled_from(sorted(WRITTEN_BY_PYTHON_2)), changes_of_bytes)
def test_damage_anywhere_gives_data_or_one_line(name, changes):
    damaged = bytearray(WRITTEN_BY_PYTHON_2[name])
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    assert "\n" not in outcome(bytes(damaged))


@settings(max_examples=400)
@given(st.binary(max_size=60))
def test_any_bytes_give_data_or_one_line(pickled):
    assert "\n" not in outcome(pickled)


@pytest.mark.parametrize(("open_", "close"), [(b"]", b"a"), (b"}K\x01", b"s"), (b"", b"\x85")])
def test_depth_has_a_limit(open_, close):
    deepest = plain_pickle.MAX_DEPTH
    for depth in (1, deepest - 1):
        plain(open_ * depth + b")" + close * depth + b".")
    for depth in (deepest, 200_000):
        refused(open_ * depth + b")" + close * depth + b".", f"has data more than {deepest} levels deep")


def test_sharing_does_not_make_it_long():
    laughs = b"]q\x00" + b"".join(b"](" + b"h%c" % i * 50 + b"eq%c" % (i + 1) for i in range(25)) + b"."
    began = time.perf_counter()
    assert len(plain(laughs)) == 50
    assert time.perf_counter() - began < 1


def test_a_far_place_in_the_memo_takes_no_memory():
    assert plain(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


def test_size_has_a_limit(tmp_path, monkeypatch):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([[], [], {}, (1, [])]))
    assert read_plain_pickle(path) == [[], [], {}, (1, [])]
    monkeypatch.setattr(plain_pickle, "MAX_CONTAINERS", 5)
    with pytest.raises(InputError, match=r"refs\.p' has more than 5 dicts, lists and tuples, which is the limit\.$"):
        read_plain_pickle(path)
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"refs\.p' has more than 10 bytes, which is the limit for a pickle\.$"):
        read_plain_pickle(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"^Cannot read '.*none\.p': No such file or directory\.$"):
        read_plain_pickle(tmp_path / "none.p")
    with pytest.raises(InputError, match=r"^Cannot read '.*': Is a directory\.$"):
        read_plain_pickle(tmp_path)
    (tmp_path / "bad.p").write_bytes(b"cos\nsystem\n.")
    with pytest.raises(InputError, match=r"bad\.p' builds 'os\.system'; only plain data are read: .* and None\.$"):
        read_plain_pickle(tmp_path / "bad.p")


def test_floats_to_the_last_bit():
    for value in (0.1, -1e300, 5e-324, float("inf")):
        for protocol in (0, 2):
            assert struct.pack("d", plain(pickle.dumps(value, protocol))) == struct.pack("d", value)
