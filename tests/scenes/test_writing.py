from pathlib import Path

import pytest

from car.errors import CarError, InputError
from car.scenes import TEST
from car.scenes.series import Series
from car.scenes.writing import SceneWriter

SERIES = Series({"size": (24, 32)})


def write(out: Path, seeds: range, stop: int | None = None) -> int:
    """Write scenes, interrupted after `stop` of them; returns how many had been there."""
    with SceneWriter(out, SERIES, seeds) as writer:
        there = writer.done
        for seed in seeds[there:stop]:
            writer.write(SERIES.scene(seed))
        if stop is not None:
            raise KeyboardInterrupt
    return there


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("torn", [b"", b'{"file": "images/00000'])
@pytest.mark.parametrize("stop", [0, 2, 4])
def test_an_interrupted_folder_is_finished_to_the_same_bytes(tmp_path, stop, torn):
    write(tmp_path / "whole", range(3, 7))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "torn", range(3, 7), stop)
    assert not (tmp_path / "torn" / "scenes.jsonl").exists()
    with (tmp_path / "torn" / ".scenes.jsonl.part").open("ab") as part:
        part.write(torn)
    assert write(tmp_path / "torn", range(3, 7)) == stop
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_an_unfinished_folder_is_not_finished_with_other_scenes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, range(4), 2)
    before = contents(tmp_path)
    for series, seeds in ((SERIES, range(5)), (SERIES, range(1, 5)), (Series(), range(4))):
        with pytest.raises(InputError, match="exists already"):
            SceneWriter(tmp_path, series, seeds)
    assert contents(tmp_path) == before


def test_a_block_that_ends_early_leaves_the_folder_unfinished(tmp_path):
    with SceneWriter(tmp_path, SERIES, range(2)) as writer:
        writer.write(SERIES.scene(0))
    assert not (tmp_path / "scenes.jsonl").exists()
    assert write(tmp_path, range(2)) == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "settings.json").mkdir()
    with pytest.raises(CarError, match=r"settings\.json|Cannot write"):
        SceneWriter(tmp_path, SERIES, range(2), overwrite=True)


def test_settings_say_all_that_scenes_depend_on():
    assert Series({"size": (112, 112)}).settings == Series().settings
    assert Series({"size": (112, 113)}).settings != Series().settings
    assert Series.of_split(TEST[0].name).settings["split"] == TEST[0].name


def test_a_split_has_only_its_own_seeds():
    series = Series.of_split(TEST[1].name)
    assert series.scene(series.first).caption == TEST[1].scene(0).caption
    for seed in (series.first - 1, series.first + 10**4):
        with pytest.raises(InputError, match="seeds of the split"):
            series.scene(seed)
    with pytest.raises(InputError, match="tuning"):
        Series.of_split("none")
