import torch
from hypothesis import given
from hypothesis import strategies as st

from car.propose.background import without_queries
from car.propose.proposals import Proposals, min_max


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
def test_proposals_stay_in_range_and_do_not_depend_on_the_slice(n, h, w, height, width):
    grid = torch.rand(n, h, w, generator=torch.Generator().manual_seed(n))
    proposals = Proposals(grid, (height, width))
    full = proposals.full()
    assert full.shape == (n, height, width)
    assert full.min() >= 0
    assert full.max() <= 1
    for i in range(n):
        torch.testing.assert_close(proposals.full(i, i + 1)[0], full[i])
        assert (proposals.binary(i, 0.5) == (full[i] > 0.5).numpy()).all()


def test_no_proposals_are_an_empty_stack():
    assert Proposals(torch.zeros(0, 3, 4), (30, 40)).full().shape == (0, 30, 40)


def test_min_max_spans_the_unit_interval_and_flattens_constants():
    maps = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[4.0, 4.0], [4.0, 4.0]]])
    scaled = min_max(maps, 1e-15)
    assert scaled[0].min() == 0
    assert scaled[0].max() == 1
    assert scaled[1].abs().max() == 0


def test_background_queries_leave_out_what_is_asked_for():
    assert without_queries(["Sky", "grass", "sky", "road"], ["Grass", "cat"]) == ["sky", "road"]
