"""Folders of pictures: sizes, modes, labels, splits, and each way in which a picture can be wrong."""

import os
import struct
import zlib
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
    picture(tmp_path / "preview.PNG")
    with pytest.raises(UsageError, match=r"preview.PNG: lies beside folders of pictures such as .*cat.* hide this one"):
        folder(tmp_path).load()
    (tmp_path / "preview.PNG").rename(tmp_path / ".preview.PNG")
    assert "3 classes" in folder(tmp_path).load().protocol


def test_subfolders_can_state_the_split(tmp_path):
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        for i in range(n):
            picture(tmp_path / part / "ab"[i % 2] / f"{i}.png", value=(i % 2, 0, 0))
    data = folder(tmp_path).load()
    assert (len(data.train), len(data.valid), len(data.test)) == (4, 2, 3)
    assert "split by its subfolders" in data.protocol
    assert "tenth" not in data.protocol
    assert (data.test.label == data.test.image[:, 0, 0, 0]).all()


@pytest.mark.parametrize("held_out", ["test", "valid", "validation", "val", "Test", "DEV", "testing"])
def test_a_split_without_training_pictures_is_not_trained_on(tmp_path, held_out):
    for name in ("pictures/a", "pictures/b", f"{held_out}/a"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(UsageError, match=rf"subfolder '{held_out}' names a split.* name the folder .*'train'; found "):
        folder(tmp_path).load()
    (tmp_path / "pictures").rename(tmp_path / "Training")
    data = folder(tmp_path).load()
    assert len(data.train) == (1 if held_out.lower().startswith("test") else 2)
    assert len(data.valid if data.test is None else data.test) == 1
    picture(tmp_path / "classes" / "tests" / "a.png")
    picture(tmp_path / "classes" / "cat" / "test" / "a.png")
    assert "2 classes: cat, tests" in folder(tmp_path / "classes").load().protocol


def test_two_folders_of_one_split_and_what_lies_beside_them_are_refused(tmp_path):
    for name in ("train/0/a", "train/1/b", "val/0/c", "validation/1/d"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(UsageError, match=r"both 'val' and 'validation' name its valid split.* rename one"):
        folder(tmp_path).load()
    (tmp_path / "validation").rename(tmp_path / "more")
    with pytest.raises(
        UsageError, match=r"more: lies beside the folders of splits \(train, val\) and would not be read"
    ):
        folder(tmp_path).load()
    (tmp_path / "more").rename(tmp_path / ".more")
    picture(tmp_path / "preview.png")
    with pytest.raises(UsageError, match=r"preview.png: lies beside the folders of splits"):
        folder(tmp_path).load()
    (tmp_path / "preview.png").unlink()
    (tmp_path / "notes").mkdir()
    assert len(folder(tmp_path).load().valid) == 1


def test_a_split_without_class_folders_has_no_labels_and_the_others_have_theirs(tmp_path):
    for name in ("train/0/a", "train/1/b", "train/1/c", "test/d"):
        picture(tmp_path / f"{name}.png")
    data = folder(tmp_path).load()
    assert sorted([*data.train.label, *data.valid.label]) == [0, 1, 1]
    assert data.test.label is None


def test_classes_keep_their_numbers_where_a_folder_is_empty_or_a_link(tmp_path):
    picture(tmp_path / "elsewhere" / "deep" / "a.png", value=(1, 0, 0))
    for name, c in (("cat", 0), ("emu", 3)):
        picture(tmp_path / "home" / name / "a.png", value=(c, 0, 0))
    (tmp_path / "home" / "cow").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "home" / "dog").mkdir()
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "home")  # a link into what it lies in is no endless way
    data = folder(tmp_path / "home").load()
    assert "4 classes: cat, cow, dog, emu" in data.protocol
    assert len(data.train) + len(data.valid) == 3
    for split in (data.train, data.valid):
        assert (split.label == split.image[:, 0, 0, 0]).all()
    (tmp_path / "home" / "fox.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UsageError, match=r"fox.png: this link leads nowhere"):
        folder(tmp_path / "home").load()


def test_crop_is_centred_and_comes_before_resize(tmp_path):
    x = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    Image.fromarray(x).save(tmp_path / "a.png")
    Image.fromarray(x[::-1, ::-1].copy()).save(tmp_path / "b.png")
    cropped = folder(tmp_path, crop=(4, 2)).load()
    actual = {s.image[0].tobytes() for s in (cropped.train, cropped.valid)}
    assert actual == {x[1:5, 4:6].tobytes(), x[::-1, ::-1][1:5, 4:6].tobytes()}
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
    actual = sorted(tuple(s.image.reshape(-1, 3)[0]) for s in (data.train, data.valid))
    assert data.shape == (8, 8, 3)
    assert actual == [(9, 8, 7), (200, 200, 200)]


def test_modes_and_transparency(tmp_path):
    one = picture(tmp_path / "rgba.png", mode="RGBA", value=(10, 20, 30, 0))
    assert (read_picture(one, 3) == 255).all()  # fully transparent: the white behind it
    assert (read_picture(picture(tmp_path / "la.png", mode="LA", value=(50, 255)), 1) == 50).all()
    assert (read_picture(picture(tmp_path / "bits.png", mode="1", value=1), 1) == 255).all()
    palette = Image.new("P", (5, 4), 0)
    palette.putpalette([200, 100, 50] * 256)
    palette.save(tmp_path / "p.png")
    assert (read_picture(tmp_path / "p.png", 3) == [200, 100, 50]).all()


def test_gray_is_one_channel_with_alpha_and_with_a_palette_too(tmp_path):
    x = RNG.integers(0, 256, (4, 5), dtype=np.uint8)
    shades = np.array([[0, 90, 30, 200, 90], [200, 0, 30, 30, 90]], np.uint8).repeat(2, axis=0)
    Image.fromarray(np.stack([x, np.full_like(x, 255)], axis=-1), "LA").save(tmp_path / "a.png")
    Image.fromarray(shades).save(tmp_path / "b.gif")  # with a palette of its few grays
    Image.fromarray(x).save(tmp_path / "c.png", transparency=int(x[0, 0]))
    with Image.open(tmp_path / "b.gif") as gif:
        assert gif.mode == "P"
    data = folder(tmp_path).load()
    assert data.shape == (4, 5, 1)
    actual = [image[..., 0] for split in (data.train, data.valid) for image in split.image]
    for wanted in (x, shades, np.where(x == x[0, 0], 255, x)):
        assert any((image == wanted).all() for image in actual)
    picture(tmp_path / "d.png", mode="LA", value=(50, 0))
    assert folder(tmp_path).load().shape == (4, 5, 1)
    picture(tmp_path / "e.png")
    assert folder(tmp_path).load().shape == (4, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_pictures_are_turned_as_their_orientation_says(tmp_path, orientation, suffix):
    x = np.zeros((16, 24), np.uint8)
    x[:8, :8], x[8:, 8:] = 255, 120  # blocks of 8, which a JPEG keeps
    stored = {
        1: x, 2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x.T, 6: np.rot90(x), 7: x[::-1, ::-1].T, 8: np.rot90(x, 3)
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"{name}.{suffix}", exif=exif)
    data = folder(tmp_path).load()
    np.testing.assert_allclose(data.train.image[0, ..., 0].astype(int), x, atol=2)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "ppm"])
def test_more_than_8_bits_are_refused_wherever_a_picture_is_read(tmp_path, suffix):
    ramp, file = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8), tmp_path / f"a.{suffix}"
    if suffix == "ppm":  # Pillow writes no colour of 16 bits
        file.write_bytes(b"P6 8 8 65535 " + ramp.astype(">u2").repeat(3).tobytes())
    else:
        Image.fromarray(ramp).save(file)
    for read in (lambda: read_picture(file, 1), lambda: read_picture(file, 3), lambda: folder(tmp_path).load()):
        with pytest.raises(UsageError, match=rf"a.{suffix}: wanted 8 bits per channel, found .*16|picture mode I"):
            read()


def test_a_colour_png_of_16_bits_and_a_tiff_of_floats_are_refused(tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))  # two pixels a row, three numbers of two bytes each
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(
        UsageError, match=r"a.png: wanted 8 bits per channel, found 16 bits: scale its values to 0 … 255"
    ):
        read_picture(tmp_path / "a.png", 3)
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(UsageError, match=r"b.tif: wanted 8 bits per channel, found picture mode F"):
        read_picture(tmp_path / "b.tif", 1)


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
