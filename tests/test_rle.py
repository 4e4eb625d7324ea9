import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.rle import area, decode, encode

coco = pytest.importorskip("pycocotools.mask", reason="the oracle of these tests, pycocotools, is not installed")
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def reference(mask: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(mask, np.uint8))


@given(masks)
def test_encode_writes_the_bytes_of_pycocotools(mask):
    expected = reference(mask)
    assert encode(mask) == {"size": expected["size"], "counts": expected["counts"].decode()}


@given(masks)
def test_decode_reads_every_form(mask):
    expected = reference(mask)
    flat = mask.ravel(order="F")
    runs = [len(list(part)) for part in np.split(flat, np.flatnonzero(np.diff(flat)) + 1)]
    plain = [0, *runs] if flat[0] else runs
    for counts in (expected["counts"], expected["counts"].decode(), plain):
        rle = {"size": list(mask.shape), "counts": counts}
        assert np.array_equal(decode(rle), mask)
        assert area(rle) == mask.sum()


@pytest.mark.parametrize("fill", [False, True, "half"])
def test_long_runs(fill):
    mask = np.zeros((2100, 1900), bool)
    if fill == "half":
        mask[:, 900:] = True
    else:
        mask[:] = fill
    rle = encode(mask)
    assert rle["counts"] == reference(mask)["counts"].decode()
    decoded = decode(rle)
    assert np.array_equal(decoded, mask)
    assert decoded.flags.c_contiguous
    assert decoded.flags.owndata


def test_encode_refuses_what_is_no_mask():
    for array in (np.zeros((3, 3), np.uint8), np.zeros((2, 3, 3), bool), np.zeros((0, 3), bool)):
        with pytest.raises(InputError, match="mask"):
            encode(array)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([1, 2], "size"),
        ({"counts": [4]}, "size"),
        ({"size": [2, 2]}, "size"),
        ({"size": [2], "counts": [2]}, r"\[H, W\]"),
        ({"size": [0, 2], "counts": [0]}, r"\[H, W\]"),
        ({"size": [-2, -2], "counts": [4]}, r"\[H, W\]"),
        ({"size": [2.0, 2.0], "counts": [4]}, r"\[H, W\]"),
        ({"size": [True, True], "counts": [1]}, r"\[H, W\]"),
        ({"size": "22", "counts": [4]}, r"\[H, W\]"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "limit"),
        ({"size": [2, 2], "counts": []}, "counts"),
        ({"size": [2, 2], "counts": None}, "counts"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "counts"),
        ({"size": [2, 2], "counts": ["4"]}, "counts"),
        ({"size": [2, 2], "counts": [[4]]}, "counts"),
        ({"size": [2, 2], "counts": [5, -1]}, "counts"),
        ({"size": [2, 2], "counts": [10**30]}, "counts"),
        ({"size": [2, 2], "counts": [1, 2]}, "add up"),
        ({"size": [2, 2], "counts": [4, 4]}, "add up"),
        ({"size": [2, 2], "counts": ""}, "cut off"),
        ({"size": [2, 2], "counts": b""}, "cut off"),
        ({"size": [2, 2], "counts": "é"}, "cut off"),
        ({"size": [2, 2], "counts": "4 "}, "cut off"),
        ({"size": [2, 2], "counts": "4P"}, "cut off"),
        ({"size": [2, 2], "counts": "P" * 40 + "4"}, "too large"),
        ({"size": [2, 2], "counts": "5"}, "add up"),
        ({"size": [2, 2], "counts": "5O"}, "add up"),
    ],
)
def test_decode_refuses_broken_masks(rle, message):
    with pytest.raises(InputError, match=message) as error:
        decode(rle)
    assert "\n" not in str(error.value)


@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=30))
def test_any_text_is_a_mask_or_an_input_error(counts):
    try:
        mask = decode({"size": [5, 7], "counts": counts})
    except InputError:
        return
    assert mask.shape == (5, 7)
    assert area({"size": [5, 7], "counts": counts}) == mask.sum()


def test_a_limit_can_be_set():
    with pytest.raises(InputError, match="limit of 99"):
        decode({"size": [10, 10], "counts": [100]}, max_pixels=99)
