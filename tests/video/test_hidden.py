import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from car.errors import InputError
from car.video.claims import Claims
from car.video.hidden import Hidden


def claims_of(masks: np.ndarray, seed: int) -> Claims:
    """What 5 queries claim after a frame with these masks and another without."""
    looks = np.random.default_rng(seed).random((len(masks), 4), np.float32)
    claims = Claims.none(5, masks.shape[1:]).after(range(len(masks)), masks, np.arange(len(masks)), looks)
    return claims.after([], masks[:0], np.zeros(0), looks[:0])


@given(
    arrays.arrays(bool, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))),
    arrays.arrays(np.float32, 5, elements=st.floats(0, 1, width=32) | st.just(float("nan"))),
    st.integers(1, 99),
)
def test_the_state_comes_back_as_it_was(masks, scores, number):
    hidden = Hidden(
        picture=np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        digest=np.arange(16, dtype=np.uint8),
        survivors=np.arange(len(masks)),
        masks=masks,
        scores=scores,
        uncertain=scores > 0.5,
        wait=number,
        since=number - 1,
        claims=claims_of(masks, number),
    )
    again = Hidden.from_bytes(hidden.to_bytes())
    fields, others = ({**vars(each), **vars(each.claims)} for each in (hidden, again))
    for values in (fields, others):
        del values["claims"]
    assert others.keys() == fields.keys()
    for name, value in fields.items():
        np.testing.assert_array_equal(others[name], value)
        assert np.asarray(others[name]).dtype == np.asarray(value).dtype


@pytest.mark.parametrize("data", [b"", b"no state", b"PK\x03\x04 and then nothing"])
def test_a_damaged_state_is_refused(data):
    with pytest.raises(InputError, match="damaged"):
        Hidden.from_bytes(data)
