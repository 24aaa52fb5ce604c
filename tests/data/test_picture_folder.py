"""Folders of pictures: sizes, modes, labels, splits, and each way in which a picture can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgen.core.errors import UsageError
from jaxgen.data.picture_folder import folder, read_picture
from jaxgen.data.source import source

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("JAXGEN_CACHE", str(path))
    return path


def picture(file: Path, h: int = 4, w: int = 5, mode: str = "RGB", value: int | tuple[int, ...] = 7) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (w, h), value).save(file)
    return file


def test_folder_of_gray_pictures_keeps_every_pixel(tmp_path):
    x = RNG.integers(0, 256, (20, 4, 5), dtype=np.uint8)
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{i:03d}.png")
    (tmp_path / "notes.txt").touch()
    picture(tmp_path / ".hidden" / "a.png")
    data = folder(tmp_path).load()
    assert data.shape == (4, 5, 1)
    assert (len(data.train), len(data.valid), data.test, data.train.label) == (18, 2, None, None)
    both = [im.tobytes() for s in (data.train, data.valid) for im in s.image]
    assert sorted(both) == sorted(im.tobytes() for im in x)


def test_nested_folders_give_labels_in_alphabetical_order(tmp_path):
    for c, name in enumerate(("cat", "dog", "emu")):
        for i in range(10):
            picture(tmp_path / name / f"{i}.png", value=(c, i, 0))
    data = source(str(tmp_path)).load()
    assert data.shape == (4, 5, 3)
    assert (data.train.label == data.train.image[:, 0, 0, 0]).all()
    assert (data.valid.label == data.valid.image[:, 0, 0, 0]).all()
    assert "3 classes: cat, dog, emu" in data.protocol
    picture(tmp_path / "stray.png")
    assert folder(tmp_path).load().train.label is None


def test_subfolders_can_state_the_split(tmp_path):
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        for i in range(n):
            picture(tmp_path / part / "ab"[i % 2] / f"{i}.png", value=(i % 2, 0, 0))
    data = folder(tmp_path).load()
    assert (len(data.train), len(data.valid), len(data.test)) == (4, 2, 3)
    assert "split by its subfolders" in data.protocol
    assert "tenth" not in data.protocol
    assert (data.test.label == data.test.image[:, 0, 0, 0]).all()


@pytest.mark.parametrize("held_out", ["test", "valid", "validation", "val", "Test"])
def test_a_split_without_training_pictures_is_not_trained_on(tmp_path, held_out):
    for name in ("training/a", "training/b", f"{held_out}/a"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(UsageError, match=rf"subfolder '{held_out}' names a split.* name the folder .*'train'; found "):
        folder(tmp_path).load()
    (tmp_path / "training").rename(tmp_path / "train")
    assert len(folder(tmp_path).load().train) == (2 if held_out.startswith("val") else 1)
    picture(tmp_path / "classes" / "testing" / "a.png")
    picture(tmp_path / "classes" / "cat" / "test" / "a.png")
    assert "2 classes: cat, testing" in folder(tmp_path / "classes").load().protocol


def test_crop_is_centred_and_comes_before_resize(tmp_path):
    x = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    Image.fromarray(x).save(tmp_path / "a.png")
    Image.fromarray(x[::-1, ::-1].copy()).save(tmp_path / "b.png")
    cropped = folder(tmp_path, crop=(4, 2)).load()
    found = {s.image[0].tobytes() for s in (cropped.train, cropped.valid)}
    assert found == {x[1:5, 4:6].tobytes(), x[::-1, ::-1][1:5, 4:6].tobytes()}
    assert "cropped to 4x2" in cropped.protocol
    assert folder(tmp_path, crop="square").load().shape == (6, 6, 3)
    both = source(f"folder:{tmp_path},crop=square,resize=3x2").load()
    assert both.shape == (3, 2, 3)
    assert "cropped to square, resized to 3x2" in both.protocol
    with pytest.raises(UsageError, match=r"a.png: 6x10 pixels are too few for crop=8x8"):
        folder(tmp_path, crop=8).load()


def test_resize_of_a_constant_picture_is_constant(tmp_path):
    picture(tmp_path / "a.png", 40, 30, value=(9, 8, 7))
    picture(tmp_path / "b.jpg", 16, 16, "L", 200)
    data = folder(tmp_path, resize=8).load()
    found = sorted(tuple(s.image.reshape(-1, 3)[0]) for s in (data.train, data.valid))
    assert data.shape == (8, 8, 3)
    assert found == [(9, 8, 7), (200, 200, 200)]


def test_modes_and_transparency(tmp_path):
    one = picture(tmp_path / "rgba.png", mode="RGBA", value=(10, 20, 30, 0))
    assert (read_picture(one, 3) == 255).all()  # fully transparent: the white behind it
    assert (read_picture(picture(tmp_path / "la.png", mode="LA", value=(50, 255)), 1) == 50).all()
    assert (read_picture(picture(tmp_path / "bits.png", mode="1", value=1), 1) == 255).all()
    palette = Image.new("P", (5, 4), 0)
    palette.putpalette([200, 100, 50] * 256)
    palette.save(tmp_path / "p.png")
    assert (read_picture(tmp_path / "p.png", 3) == [200, 100, 50]).all()


def test_bad_pictures_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"no pictures \(.png, .*\) there, found an empty folder"):
        folder(tmp_path).load()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"no pictures.*found notes.txt"):
        folder(tmp_path).load()
    with pytest.raises(UsageError, match="no such folder"):
        folder(tmp_path / "none").load()
    noise = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name in "ab":
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    whole = (tmp_path / "b.png").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], b"no picture", b"", bytes(damaged)):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(UsageError, match=r"b\.png: cannot be decoded as a picture: ."):
            folder(tmp_path).load()
    Image.fromarray(noise[:, :40]).save(tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"differ in size: .*a.png gives 40x50, .*b.png 40x40.*crop=square,resize=32"):
        folder(tmp_path).load()
    Image.fromarray(noise[..., 0].astype(np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"b.png: wanted 8 bits per channel, found picture mode I;16"):
        folder(tmp_path).load()


def test_second_load_decodes_nothing_and_a_changed_file_is_seen(tmp_path, monkeypatch, cache):
    for i in range(10):
        picture(tmp_path / f"{i}.png", value=(i, i, i))
    first = folder(tmp_path).load()
    assert isinstance(first.train.image, np.memmap)
    monkeypatch.setattr("jaxgen.data.picture_folder.read_picture", None)  # would fail if it were called
    again = folder(tmp_path).load()
    assert (again.train.image == first.train.image).all()
    monkeypatch.undo()
    monkeypatch.setenv("JAXGEN_CACHE", str(cache))
    picture(tmp_path / "3.png", value=(99, 99, 99))
    os.utime(tmp_path / "3.png", ns=(1, 1))
    changed = folder(tmp_path).load()
    assert 99 in changed.train.image or 99 in changed.valid.image
    assert len(list((cache / "data").iterdir())) == 2
