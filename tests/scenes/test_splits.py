import numpy as np
import pytest

from car.scenes import TEST, TUNING, Split, concepts
from car.scenes.splits import QUERIES, SIDE

SCENES = 200


def test_no_two_splits_share_a_seed_and_none_reaches_the_training_seeds() -> None:
    firsts = sorted(split.first for split in (*TEST, *TUNING))
    assert min(np.diff(firsts)) >= SCENES
    assert firsts[-1] + SCENES < 2**40


@pytest.mark.parametrize("split", [*TEST, *TUNING], ids=lambda split: split.name)
def test_scenes_and_queries_are_what_the_name_says(split: Split) -> None:
    held = {name for name, concept in concepts().items() if concept.held is not None}
    for index in range(10):
        made, queries = split.scene(index), split.queries(index)
        assert made.image.shape == (SIDE, SIDE, 3)
        assert 1 <= len(made.names) <= split.objects[1]
        assert len(queries) == len(set(queries)) == QUERIES
        assert set(made.names) <= set(queries) <= set(concepts())
        assert queries == split.queries(index)
        assert split.artwork == "train" or set(made.names) <= held


def test_the_splits_are_the_ones_the_tables_were_made_with() -> None:
    """A change of this number is a change of the benchmark: every figure must then be measured again."""
    assert [sum(int(split.scene(0).labels.sum(dtype=int)) for split in part) for part in (TEST, TUNING)] == [
        212207,
        98391,
    ]
