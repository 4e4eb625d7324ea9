import os

import numpy as np
import pytest
from PIL import Image

from car.errors import InputError
from car.video.frames import FilmFrames, PictureFrames, film_name, open_frames
from tests.video.films import moving, write_film, write_pictures


def images(frames) -> list[np.ndarray]:
    return [frame.image for frame in frames]


def test_a_folder_and_a_glob_are_read_in_natural_order(tmp_path):
    pictures = moving(12)
    folder = write_pictures(tmp_path / "cat", pictures)
    for source in (folder, str(folder / "*.png")):
        frames = open_frames(source)
        assert isinstance(frames, PictureFrames)
        assert (frames.name, frames.size, frames.length, frames.fps) == ("cat", (24, 32), 12, None)
        np.testing.assert_array_equal(images(frames.read()), pictures)
        assert [frame.number for frame in frames.read(9)] == [9, 10, 11]
        np.testing.assert_array_equal(images(frames.read(9)), pictures[9:])


def test_a_picture_is_a_film_of_one_frame(tmp_path):
    Image.fromarray(moving(1)[0]).save(tmp_path / "one.png")
    frames = open_frames(tmp_path / "one.png")
    assert (frames.name, frames.length) == ("one", 1)


def test_a_film_file_is_read_from_any_frame_on_as_often_as_asked(tmp_path):
    pictures = moving(12)
    frames = open_frames(write_film(tmp_path / "cat.avi", pictures))
    assert isinstance(frames, FilmFrames)
    assert (frames.name, frames.size, frames.length, frames.fps) == ("cat", (24, 32), 12, 12)
    whole = list(frames.read())
    assert abs(np.array(images(whole), int) - pictures).mean() < 3  # colours have gone to YUV and back
    for start in (0, 5, 11, 12):
        part = list(frames.read(start))
        assert [frame.number for frame in part] == list(range(start, 12))
        np.testing.assert_array_equal(images(part), images(whole[start:]) if part else [])
    assert frames.missing == 0


def test_a_moving_gif_is_a_film(tmp_path):
    first, *others = map(Image.fromarray, moving(5))
    first.save(tmp_path / "cat.gif", save_all=True, append_images=others, duration=100)
    assert len(list(open_frames(tmp_path / "cat.gif").read())) == 5


def test_a_film_cut_short_says_how_much_is_missing(tmp_path):
    path = write_film(tmp_path / "cat.avi", moving(40, (48, 64)))
    os.truncate(path, path.stat().st_size // 2)
    frames = open_frames(path)
    promised, came = frames.length, len(list(frames.read()))
    assert 0 < came < 40
    assert frames.missing == (promised or 0) - came or promised is None


def test_damaged_pictures_and_those_of_another_size_are_frames_without_an_image(tmp_path):
    folder = write_pictures(tmp_path / "cat", moving(4))
    (folder / "1.png").write_bytes(b"damaged")
    Image.fromarray(moving(1, (24, 40))[0]).save(folder / "2.png")
    frames = open_frames(folder)
    assert [frame.image is None for frame in frames.read()] == [False, True, True, False]
    _, damaged, other, _ = frames.read()
    assert "1.png" in damaged.error
    assert "40 x 24 pixels, not 32 x 24" in other.error
    assert damaged.size == other.size == (24, 32)


def test_the_size_is_that_of_the_first_frame_that_can_be_read(tmp_path):
    folder = write_pictures(tmp_path / "cat", moving(3))
    (folder / "0.png").write_bytes(b"damaged")
    assert open_frames(folder).size == (24, 32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", "damaged"),
        ("a.mp4", bytes(range(256)) * 99, "damaged"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "playlist"),
        ("a.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", "playlist"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_frames(tmp_path / name)


@pytest.mark.parametrize("source", ["nowhere", "nowhere.mp4", "nowhere/*.png", ""])
def test_what_is_not_there_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("no picture")
    with pytest.raises(InputError):
        open_frames(source)


def test_folders_without_a_picture_that_can_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="no image"):
        open_frames(tmp_path)
    (tmp_path / "0.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"0\.png"):
        open_frames(tmp_path)


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    film = write_film(tmp_path / "cat.avi", moving(2))
    folder = write_pictures(tmp_path / "cat", moving(2))
    for source in (film, folder):
        with pytest.raises(InputError, match="pixels"):
            open_frames(source, max_pixels=24 * 32 - 1)
        assert open_frames(source, max_pixels=24 * 32).size == (24, 32)


def test_a_film_that_has_gone_is_an_error(tmp_path):
    path = write_film(tmp_path / "cat.avi", moving(2))
    frames = open_frames(path)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        list(frames.read())


def test_names_of_films_are_names_of_files(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "cat", moving(1))
    monkeypatch.chdir(folder)
    assert film_name(".") == film_name("*.png") == film_name(folder) == "cat"
    assert film_name("/*.png") == "frames"
