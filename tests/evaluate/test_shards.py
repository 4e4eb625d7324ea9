import pytest
from hypothesis import given
from hypothesis import strategies as st

from car.errors import InputError
from car.evaluate.shards import Shard


@given(st.lists(st.integers(), unique=True), st.integers(1, 20))
def test_shards_part_the_keys_evenly(keys, count):
    parts = [Shard(index, count).of(keys) for index in range(1, count + 1)]
    assert sorted(key for part in parts for key in part) == sorted(keys)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for part in parts:
        assert [key for key in keys if key in part] == part


@given(st.integers(1, 300), st.data())
def test_a_shard_is_read_as_it_is_written(count, data):
    shard = Shard(data.draw(st.integers(1, count)), count)
    assert Shard.parse(str(shard)) == shard
    assert Shard.parse(f" {shard.index} / {shard.count}") == shard


def test_folders_differ_and_sort():
    folders = [Shard(index, count).folder for count in (2, 16) for index in range(1, count + 1)]
    assert len({*folders}) == len(folders)
    assert folders[2:] == sorted(folders[2:])
    assert Shard(3, 120).folder == "shard-03-of-120"


@pytest.mark.parametrize("text", ["", "3", "3/", "/3", "a/b", "1.5/2", "-1/2", "1/2/3", "3 of 16"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match="such as 3/16"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0"])
def test_a_shard_outside_the_run_is_refused(text):
    with pytest.raises(InputError, match=f"from 1 to N, but got '{text}'"):
        Shard.parse(text)
