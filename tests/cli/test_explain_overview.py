import shutil
from pathlib import Path

import pytest
from PIL import Image

from car.cli.explain import existing_pictures
from car.scenes.demo import demo_path


@pytest.fixture
def photo(tmp_path) -> Path:
    return Path(shutil.copy(demo_path(), tmp_path / "photo.jpg"))


def test_explain_writes_an_overview_beside_the_steps(car, photo):
    status, _, err = car("explain", "photo.jpg", "-q", "cat", "-q", "unicorn", "--out", "why")
    assert status == 0
    assert "photo.explain.png" in err
    assert Image.open("why/photo.explain.png").width == 1320
    assert Path("why/photo.step1.explain.png").exists()


def test_an_overview_is_not_overwritten_unless_asked(car, photo):
    Path("why").mkdir()
    old = Path("why/photo.explain.png")
    old.write_bytes(b"old")
    Path("why/photo.step9.explain.png").write_bytes(b"old")
    arguments = ("explain", "photo.jpg", "-q", "cat", "--out", "why")
    status, _, err = car(*arguments)
    assert status == 2
    assert "photo.explain.png" in err
    assert "--overwrite" in err
    assert old.read_bytes() == b"old"
    assert car(*arguments, "--overwrite")[0] == 0
    assert Image.open(old).width == 1320
    assert not Path("why/photo.step9.explain.png").exists()


def test_pictures_of_other_images_are_left_alone(tmp_path):
    mine = ["a[1].explain.png", "a[1].step1.explain.png", "a[1].step12.explain.png"]
    for name in (*mine, "a1.explain.png", "ba[1].explain.png", "a[1].stepping.explain.png", "a[1].overlay.png"):
        (tmp_path / name).touch()
    assert [path.name for path in existing_pictures(tmp_path, "a[1]")] == mine
    assert existing_pictures(tmp_path / "missing", "a") == []
