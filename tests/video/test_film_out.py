import itertools

import cv2
import numpy as np
import pytest

from car.errors import CarError, InputError
from car.video.film_out import FilmWriter
from tests.video.films import moving


def write(path, pictures: np.ndarray, fps: float = 10) -> None:
    with FilmWriter(path, pictures.shape[1:3], fps) as film:
        for picture in pictures:
            film.write(picture)


def interrupt(_: int) -> np.ndarray:
    raise KeyboardInterrupt


def test_frames_come_back_in_order_and_in_their_colours(tmp_path):
    pictures = moving(6, (48, 64))
    write(tmp_path / "new/cat.mp4", pictures)
    capture = cv2.VideoCapture(str(tmp_path / "new/cat.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    back = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB) for _ in pictures]
    assert not capture.read()[0]
    assert abs(np.array(back, int) - pictures).mean() < 12
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cat.mp4"]


def test_the_same_frames_make_the_same_bytes(tmp_path):
    pictures = moving(12, (48, 64))
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, pictures)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_film_that_is_not_finished_is_not_there_and_spoils_no_other(tmp_path):
    path = tmp_path / "cat.mp4"
    write(path, moving(2, (48, 64)))
    before = path.read_bytes()
    interrupted = itertools.chain(moving(1, (48, 64)), map(interrupt, [0]))
    with pytest.raises(KeyboardInterrupt), FilmWriter(path, (48, 64), 10) as film:
        any(map(film.write, interrupted))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_frames_that_did_not_arrive_are_an_error(tmp_path):
    with pytest.raises(CarError, match="0 of 1 frames"), FilmWriter(tmp_path / "cat.mp4", (48, 64), 10) as film:
        film.write(np.zeros((96, 96, 3), np.uint8))  # OpenCV drops frames of another size, and does not say so
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        FilmWriter(tmp_path / "file/cat.mp4", (48, 64), 10)
    with pytest.raises(CarError, match="Cannot write"):
        FilmWriter(tmp_path / "cat.nothing", (48, 64), 10)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
