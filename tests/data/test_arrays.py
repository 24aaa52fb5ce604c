"""Arrays from files, their cache, and each way in which a file can be wrong."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import idx, npz, read_amat, read_idx
from jaxgen.data.binarized_mnist import binarized_mnist
from jaxgen.data.cache import cached
from jaxgen.data.dataset import split_arrays
from jaxgen.data.source import source

RNG = np.random.default_rng(0)
ONES = np.ones((4, 2, 2, 1), np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("JAXGEN_CACHE", str(path))
    return path


def idx_bytes(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(root: Path, zipped: bool = True, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 256, (n + 5, 4, 3), dtype=np.uint8)
    label = RNG.integers(0, 10, n + 5, dtype=np.uint8)
    root.mkdir(exist_ok=True)
    for name, rows in (("train", slice(0, n)), ("t10k", slice(n, None))):
        for kind, array in (("images-idx3", image[rows]), ("labels-idx1", label[rows])):
            data = idx_bytes(array)
            file = root / f"{name}-{kind}-ubyte{'.gz' if zipped else ''}"
            file.write_bytes(gzip.compress(data) if zipped else data)
    return image, label


# IDX


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_folder_gives_official_split_with_labels(tmp_path, zipped):
    image, label = idx_folder(tmp_path / "mnist", zipped)
    data = source(str(tmp_path / "mnist")).load()  # a bare path is told by what lies there
    assert (data.name, data.levels, data.shape) == ("mnist", 256, (4, 3, 1))
    assert (len(data.train), len(data.valid), len(data.test)) == (18, 2, 5)
    assert (data.test.image[..., 0] == image[20:]).all()
    assert (data.test.label == label[20:]).all()
    both = [(x.tobytes(), y) for s in (data.train, data.valid) for x, y in zip(s.image, s.label, strict=True)]
    assert sorted(both) == sorted((x.tobytes(), y) for x, y in zip(image[:20], label[:20], strict=True))


def test_idx_without_labels_or_test(tmp_path):
    idx_folder(tmp_path)
    for file in tmp_path.glob("*labels*"):
        file.unlink()
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    data = idx(tmp_path).load()
    assert data.train.label is None
    assert data.test is None
    assert "no test split" in data.protocol


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file.*found "),
        (b"GIF89a", "no IDX file.*found 47 49 46 38"),
        (idx_bytes(np.zeros((3, 2, 2), np.uint8))[:-1], r"header states shape \[3, 2, 2\], so 28 bytes, found 27"),
        (idx_bytes(np.zeros((3, 2, 2), np.uint8)) + b"x", "so 28 bytes, found 29"),
        (idx_bytes(np.zeros((3, 2, 2), np.uint8))[:9], "truncated or damaged"),
        (idx_bytes(np.zeros((3, 2, 2), np.float32), 0x0D), "unsigned bytes.*found IDX type 0d"),
        (gzip.compress(idx_bytes(np.zeros((3, 2, 2), np.uint8)), mtime=0)[:-9], "gzip stream is truncated or damaged"),
        (gzip.compress(idx_bytes(np.zeros((3, 2, 2), np.uint8)), mtime=0)[:8], "gzip stream is truncated or damaged"),
    ],
)
def test_a_bad_idx_file_is_named(tmp_path, content, message):
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        idx(tmp_path).load()
    assert str(caught.value).startswith(f"{file}: ")


def test_idx_labels_that_do_not_fit(tmp_path):
    idx_folder(tmp_path, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(UsageError, match=r"train-images.*20 images but labels of shape \[3\]"):
        idx(tmp_path).load()


def test_idx_needs_its_files(tmp_path):
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte.*found an empty folder"):
        idx(tmp_path).load()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(UsageError, match=r"found readme.txt"):
        idx(tmp_path).load()
    with pytest.raises(UsageError, match="this is a file"):
        idx(tmp_path / "readme.txt").load()


def test_qmnists_rows_give_the_digit_which_comes_first(tmp_path):
    for name, n in (("train", 20), ("test", 5)):
        rows = RNG.integers(-(2**31), 2**31, (n, 8), dtype=np.int64)
        rows[:, 0] = np.arange(n) % 10
        (tmp_path / f"qmnist-{name}-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((n, 4, 3), np.uint8)))
        (tmp_path / f"qmnist-{name}-labels-idx2-int").write_bytes(idx_bytes(rows.astype(">i4"), 12))
    data = source(str(tmp_path)).load()
    assert data.test.label.tolist() == [0, 1, 2, 3, 4]
    assert sorted([*data.train.label, *data.valid.label]) == sorted([*range(10)] * 2)


def test_idx_files_that_would_be_passed_over_are_refused(tmp_path):
    idx_folder(tmp_path)
    twin = tmp_path / "qmnist-test-images-idx3-ubyte"
    twin.write_bytes(idx_bytes(np.zeros((5, 4, 3), np.uint8)))
    with pytest.raises(
        UsageError, match=r"both qmnist-test-images-\S+ and t10k-images-\S+ are images of its test split"
    ):
        source(str(tmp_path)).load()
    twin.rename(tmp_path / "t10k-images-idx3-ubyte")  # the same file unpacked is no other one
    assert source(str(tmp_path)).load().test.image.max() == 0
    for file in tmp_path.glob("t10k-images*"):
        file.unlink()
    with pytest.raises(UsageError, match=r"t10k-labels-idx1-ubyte.gz: there are no images of its split beside it"):
        idx(tmp_path).load()


def test_read_idx_round_trip(tmp_path):
    for shape in ((5,), (2, 3), (2, 3, 4), (1, 2, 3, 3)):
        array = RNG.integers(0, 256, shape, dtype=np.uint8)
        (tmp_path / "x").write_bytes(idx_bytes(array))
        assert (read_idx(tmp_path / "x") == array).all()


# npz


def test_npz_with_splits_labels_and_levels(tmp_path):
    x = RNG.integers(0, 4, (9, 2, 3, 3), dtype=np.uint8)
    y = np.arange(9)
    np.savez(tmp_path / "a.npz", train=x, train_label=y, valid=x[:4], valid_label=y[:4], test=x[:2], levels=4)
    data = npz(tmp_path / "a.npz").load()
    assert (data.levels, data.shape, len(data.train), len(data.valid), len(data.test)) == (4, (2, 3, 3), 9, 4, 2)
    assert data.valid.label.tolist() == [0, 1, 2, 3]
    assert data.test.label is None
    assert data.protocol == "arrays of an .npz file"


def test_npz_with_conditions(tmp_path):
    """Vectors and maps of any numbers, as float32; a map without an axis of channels has one."""
    x = RNG.integers(0, 4, (9, 2, 3, 3), dtype=np.uint8)
    vectors, maps = np.arange(18).reshape(9, 2), RNG.random((9, 2, 3))
    for given, wanted in ((vectors, vectors), (maps, maps[..., None]), (maps[..., None], maps[..., None])):
        np.savez(tmp_path / "a.npz", train=x, train_condition=given, valid=x[:4], valid_condition=given[:4], test=x)
        data = npz(tmp_path / "a.npz").load()
        assert data.train.condition.dtype == np.float32
        np.testing.assert_array_equal(data.train.condition, wanted.astype(np.float32))
        np.testing.assert_array_equal(data.valid.condition, wanted[:4].astype(np.float32))
        assert data.test.condition is None


def test_npz_of_medmnist_with_notes_and_other_arrays(tmp_path):
    """Its `val_images` validate, and every array with a row for each image comes along, cut as the images are."""
    x, n = RNG.integers(0, 256, (40, 3, 4, 3), dtype=np.uint8), np.arange(40)
    arrays = {}
    for name, rows in (("train", slice(0, 30)), ("val", slice(30, 34)), ("test", slice(34, 40))):
        notes = np.array([f"picture {i}" for i in n[rows]])
        arrays |= {f"{name}_images": x[rows], f"{name}_labels": n[rows, None], f"{name}_notes": notes}
        arrays |= {f"{name}_Words": n[rows, None] + np.arange(2), f"{name}_weight": n[rows] / 2}
    np.savez(tmp_path / "A.NPZ.npz", **arrays)
    (tmp_path / "A.NPZ.npz").rename(tmp_path / "A.NPZ")
    data = source(str(tmp_path / "A.NPZ")).load()
    assert [len(s) for s in data.splits().values()] == [30, 4, 6]
    for split in data.splits().values():
        assert (split.image == x[split.label]).all()
        assert split["notes"].tolist() == [f"picture {i}" for i in split.label]
        assert (split["Words"] == split.label[:, None] + np.arange(2)).all()
        assert (split["weight"] == split.label / 2).all()
        assert [split[name].dtype for name in ("Words", "weight")] == [np.int32, np.float32]
        assert set(split_arrays(split)) == {"image", "label", "Words", "weight"}
    held = npz(_without(tmp_path, arrays, "val_")).load()
    assert (len(held.train), len(held.valid)) == (27, 3)
    assert held.valid["notes"].tolist() == [f"picture {i}" for i in held.valid.label]


def _without(folder: Path, arrays: dict[str, np.ndarray], start: str) -> Path:
    np.savez(folder / "fewer.npz", **{name: array for name, array in arrays.items() if not name.startswith(start)})
    return folder / "fewer.npz"


@pytest.mark.parametrize("kind", [bool, np.int64, np.int16, np.uint16])
def test_npz_of_whole_numbers_of_any_kind(tmp_path, kind):
    x = RNG.integers(0, 2 if kind is bool else 256, (30, 2, 3, 1))
    np.savez(tmp_path / "a.npz", train=x.astype(kind), valid=x[:5].astype(kind))
    data = npz(tmp_path / "a.npz").load()
    assert (data.train.image.dtype, data.levels) == (np.uint8, 2 if kind is bool else 256)
    assert (data.train.image == x).all()


@pytest.mark.parametrize("names", [("images", "labels", None, None), ("x_train", "y_train", "x_test", "y_test")])
def test_npz_by_other_names(tmp_path, names):
    x, y = RNG.integers(0, 256, (30, 2, 3), dtype=np.uint8), np.arange(30)[:, None]
    np.savez(tmp_path / "a.npz", **{n: a for n, a in zip(names, (x, y, x, y), strict=True) if n})
    data = source(str(tmp_path / "a.npz")).load()
    assert data.shape == (2, 3, 1)
    assert (len(data.train), len(data.valid)) == (27, 3)
    assert (data.train.image[..., 0] == x[data.train.label]).all()
    assert (data.test is None) == (names[2] is None)


def test_npz_of_packed_bits(tmp_path):
    bits = RNG.integers(0, 2, (6, 28, 28, 1), dtype=np.uint8)
    packed = np.packbits(bits.reshape(6, -1), axis=1)
    np.savez(tmp_path / "b.npz", train=packed, valid=packed[:2], test=packed[:3])
    np.savez(tmp_path / "stated.npz", train=packed, valid=packed[:2], test=packed[:3], levels=2)
    for data in (npz(tmp_path / "b.npz", levels=2).load(), npz(tmp_path / "stated.npz").load()):
        assert data.levels == 2
        assert (data.train.image == bits).all()


@pytest.mark.parametrize(
    ("high", "width", "levels"), [(256, 512, None), (256, 512, 256), (256, 784, 2), (2, 512, None), (2, 512, 2)]
)
def test_flattened_images_are_not_taken_for_packed_bits(tmp_path, high, width, levels):
    """512 gray values are no image of 64×64 bits, and what is 0 or 1 is no byte of eight of them."""
    np.savez(tmp_path / "flat.npz", train=RNG.integers(0, high, (9, width), dtype=np.uint8))
    message = rf"array 'train': wanted \[n, height, width\] or .*, found \[9, {width}\]; .* where 2 levels are stated"
    with pytest.raises(UsageError, match=message):
        npz(tmp_path / "flat.npz", levels=levels).load()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((2, 2, 2, 1), np.uint8)}, r"named train or images, found picture uint8\[2, 2, 2, 1\]"),
        ({"images": np.zeros((2, 2, 2, 1))}, r"must be uint8, found float64. Save whole numbers: .*np.round\(255"),
        (
            {"images": ONES * np.int16(256)},
            "must be uint8, found int16 with values 256 to 256. Bring them into 0 … 255",
        ),
        ({"images": ONES - np.int64(2)}, "found int64 with values -1 to -1"),
        (
            {"images": ONES, "notes": np.zeros(4)},
            r"nothing reads its array 'notes' .* comes along as train_notes",
        ),
        ({"images": ONES, "test_labels": np.zeros(4, int)}, "nothing reads its array 'test_labels'"),
        ({"train": ONES, "x_train": ONES}, "both 'train' and 'x_train' are the image array of its train split"),
        ({"train": ONES, "val": ONES, "dev": ONES}, "both 'val' and 'dev' are the image array of its valid split"),
        ({"train": ONES, "train_words": np.zeros((3, 2))}, r"4 images but 'words' of shape \[3, 2\]"),
        ({"train": ONES, "train_id": np.full(4, 2**40)}, "array 'train_id': wanted integers of 32 bits"),
        ({"train": ONES, "levels": np.zeros(2, int)}, "array 'levels': wanted one whole number"),
        ({"images": np.zeros((0, 2, 2, 1), np.uint8)}, "train is empty"),
        ({"images": np.zeros((2, 784), np.uint8)}, r"array 'images': wanted \[n, .*, found \[2, 784\]"),
        ({"images": np.zeros((4, 2, 2, 1), np.uint8), "labels": np.zeros(4)}, "array 'labels': wanted integer labels"),
        ({"images": ONES, "condition": np.zeros(4)}, "array 'condition': wanted vectors .* found float64\\[4\\]"),
        ({"images": ONES, "condition": np.full((4, 2), "a")}, "wanted vectors .* of numbers, found <U1"),
        ({"images": ONES, "condition": np.full((4, 2), 1e300)}, "conditions must be finite, found NaN or infinity"),
        ({"images": ONES, "condition": np.zeros((5, 2))}, r"4 images but conditions of shape \[5, 2\]"),
        ({"images": np.array([None, {}])}, "Object arrays cannot be loaded"),
        ({"images": np.full((4, 2, 2, 1), 9, np.uint8), "levels": np.array(4)}, "values 0 to 3"),
    ],
)
def test_a_bad_npz_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UsageError, match=message) as caught:
        npz(tmp_path / "bad.npz").load()
    assert str(caught.value).startswith(f"{tmp_path / 'bad.npz'}")


def test_what_is_no_npz(tmp_path):
    file = tmp_path / "x.npz"
    with pytest.raises(UsageError, match="no such file"):
        npz(file).load()
    np.savez(file, images=RNG.integers(0, 256, (50, 9, 9, 1), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"x.npz: no .npz archive, or a truncated one; found 2000 bytes"):
        npz(file).load()
    (tmp_path / "x.csv").touch()
    with pytest.raises(UsageError, match=r"wanted a folder or an .npz file, found a .csv file"):
        source(str(tmp_path / "x.csv"))


# Binarised MNIST


def amat(bits: np.ndarray) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in bits)


def test_binarized_mnist_reads_amat_and_packed_bits_alike(tmp_path):
    bits = {s: RNG.integers(0, 2, (n, 784), dtype=np.uint8) for s, n in (("train", 6), ("valid", 3), ("test", 4))}
    for split, rows in bits.items():
        (tmp_path / f"binarized_mnist_{split}.amat").write_text(amat(rows))
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "binarized_mnist.npz", **{s: np.packbits(b, axis=1) for s, b in bits.items()})
    for spec in (f"{tmp_path}", f"binarized_mnist:{tmp_path}/npz", f"{tmp_path}/npz/binarized_mnist.npz"):
        data = source(spec).load()
        assert (data.name, data.levels, data.shape) == ("binarized_mnist", 2, (28, 28, 1))
        assert data.protocol == "static binarisation, NOT Larochelle's split: 6/3/4"
        for split in ("train", "valid", "test"):
            assert (getattr(data, split).image.reshape(-1, 784) == bits[split]).all()


def test_amat_reads_any_blanks_and_refuses_the_rest(tmp_path):
    file = tmp_path / "binarized_mnist_train.amat"
    file.write_bytes(b"0 1 1 0\r\n1 1 0 0")
    assert read_amat(file, 4).tolist() == [[0, 1, 1, 0], [1, 1, 0, 0]]
    with pytest.raises(UsageError, match="truncated: wanted a multiple of 3 values, found 8"):
        read_amat(file, 3)
    file.write_bytes(b"0 1 2 0")
    with pytest.raises(UsageError, match=r"train.amat: wanted only 0, 1 and blanks, found 1 other bytes"):
        binarized_mnist(tmp_path).load()
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="found 0"):
        binarized_mnist(tmp_path).load()
    file.write_text(amat(np.zeros((2, 784), int)))
    with pytest.raises(UsageError, match=r"binarized_mnist_valid.amat: no such file"):
        binarized_mnist(tmp_path).load()


def test_binarized_mnist_elsewhere(tmp_path):
    with pytest.raises(UsageError, match=r"no static binarised MNIST there; wanted binarized_mnist_train.amat"):
        binarized_mnist(tmp_path).load()
    np.savez(tmp_path / "x.npz", train=np.zeros((3, 2, 2, 1), np.uint8), valid=np.zeros((3, 2, 2, 1), np.uint8))
    with pytest.raises(UsageError, match="wanted binary 28×28×1 images in train, valid and test"):
        binarized_mnist(tmp_path / "x.npz").load()


# The cache


def fill(allocate):
    allocate("a", (3, 2), np.uint8)[:] = 5
    allocate("b", (4,), np.int32)[:] = np.arange(4)


def test_a_full_disk_leaves_the_arrays_in_memory(monkeypatch, cache):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.warns(UserWarning, match=r"stay in memory.*No space left"):
        arrays = cached("x", [1], fill)
    assert arrays["a"].tolist() == [[5, 5]] * 3
    assert list((cache / "data").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("JAXGEN_CACHE", str(cache))
    mapped = cached("x", [1], fill)
    assert isinstance(mapped["b"], np.memmap)
    assert mapped["b"].tolist() == [0, 1, 2, 3]


def test_two_processes_may_write_the_same_entry(cache):
    def fill_while_another_finishes(allocate):
        cached("x", [2], fill)
        fill(allocate)

    assert cached("x", [2], fill_while_another_finishes)["b"].tolist() == [0, 1, 2, 3]
    assert len(list((cache / "data").iterdir())) == 1


def test_a_failed_decoding_leaves_nothing_behind(cache):
    def fail(allocate):
        fill(allocate)
        raise UsageError("bad file")

    with pytest.raises(UsageError, match="bad file"):
        cached("x", [3], fail)
    assert list((cache / "data").iterdir()) == []
