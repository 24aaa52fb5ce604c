"""Image arrays from files that hold many images at once: IDX (MNIST, Fashion-MNIST), .npz, .amat, and the digits.

Formats: IDX after http://yann.lecun.com/exdb/mnist/; `.amat` is the text of Larochelle's binarised MNIST, one image
of 784 zeros and ones a line. `.npz` is opened with `allow_pickle=False`, always.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Source, Split, checked_conditions, finish, labels, order, take

IDX_PREFIXES = {"train": ("train",), "valid": ("valid", "validation"), "test": ("t10k", "test")}
NPZ_IMAGES = {
    "train": ("train", "train_image", "train_images", "x_train", "image", "images"),
    "valid": ("valid", "valid_image", "valid_images", "x_valid", "x_val"),
    "test": ("test", "test_image", "test_images", "x_test"),
}
NPZ_LABELS = {
    "train": ("train_label", "train_labels", "y_train", "label", "labels"),
    "valid": ("valid_label", "valid_labels", "y_valid", "y_val"),
    "test": ("test_label", "test_labels", "y_test"),
}
NPZ_CONDITIONS = {
    "train": ("train_condition", "train_conditions", "condition", "conditions"),
    "valid": ("valid_condition", "valid_conditions"),
    "test": ("test_condition", "test_conditions"),
}


def digits() -> Source:
    """Scikit-learn's 1797 hand-written digits, 8×8×1 with 17 levels: bundled, so that nothing is downloaded.

    A seeded shuffle gives 1437 training and 360 test images, labels 0 to 9; validation is a tenth of the former.
    """

    def load() -> Any:
        rows = _digit_rows()
        shuffled = order(len(rows))
        every = Split(rows[:, :64].reshape(-1, 8, 8, 1), rows[:, 64].astype(np.int32))
        splits = {"train": take(every, shuffled[:1437]), "test": take(every, shuffled[1437:])}
        return finish("digits", splits, 17, "scikit-learn digits, seeded shuffle, 1437 train / 360 test")

    return Source("digits", load)


def _digit_rows() -> np.ndarray:
    """uint8[1797,65]: 64 pixels and the label. Read from scikit-learn's own file: importing it takes a second."""
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise UsageError("digits come with scikit-learn, which is missing: pip install scikit-learn")
    for folder in found.submodule_search_locations or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",").astype(np.uint8)
    from sklearn.datasets import load_digits  # it lies elsewhere in this version

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.uint8)


def idx(folder: str | os.PathLike[str]) -> Source:
    """A folder of IDX files, raw or gzipped, under their usual names (`train-images-idx3-ubyte`, `t10k-labels-…`).

    Labels come along where their files are there. Images [n,h,w] get one channel.
    """
    root = Path(folder).expanduser()

    def load() -> Any:
        splits, where = {}, {}
        for key in IDX_PREFIXES:
            file = idx_file(root, key, "images")
            if file is not None:
                image = read_idx(file)
                label_file = idx_file(root, key, "labels")
                label = None if label_file is None else labels(read_idx(label_file), str(label_file))
                splits[key], where[key] = Split(image[..., None] if image.ndim == 3 else image, label), file
        if "train" not in splits:
            found = listing(root)
            raise UsageError(
                f"{root}: wanted an IDX file train-images-idx3-ubyte or train-images-idx3-ubyte.gz, {found}"
            )
        return finish(root.resolve().name, splits, None, "IDX files, official split", where)

    return Source(f"idx:{root}", load)


def idx_file(root: Path, split: str, kind: str) -> Path | None:
    """The IDX file of a split ("train", "valid", "test"; kind "images" or "labels") in a folder, if it is there."""
    d = {"images": 3, "labels": 1}[kind]
    for prefix in IDX_PREFIXES[split]:
        for dot in ("-", "."):
            for end in ("", ".gz"):
                file = root / f"{prefix}-{kind}{dot}idx{d}-ubyte{end}"
                if file.is_file():
                    return file
    return None


def read_idx(file: str | os.PathLike[str]) -> np.ndarray:
    """The uint8 array of one IDX file, raw or gzipped (told by its first bytes, not by its name).

    Raises `UsageError` for another magic number, another dtype, and any size but the one that the header states.
    """
    data = _read(Path(file))
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise UsageError(
                f"{file}: the gzip stream is truncated or damaged ({error}); fetch the file again"
            ) from error
    if len(data) < 4 or data[:2] != b"\0\0" or not 1 <= data[3] <= 4:
        raise UsageError(
            f"{file}: no IDX file: wanted it to start with 00 00 08 and the rank, found {data[:4].hex(' ')}"
        )
    if data[2] != 8:
        raise UsageError(f"{file}: wanted unsigned bytes (IDX type 08), found IDX type {data[2]:02x}")
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, min(start, len(data)), 4))
    if len(data) != start + math.prod(shape):
        raise UsageError(
            f"{file}: truncated or damaged: its header states shape {list(shape)}, so "
            f"{start + math.prod(shape)} bytes, found {len(data)}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def npz(file: str | os.PathLike[str], levels: int | None = None) -> Source:
    """A `.npz` of uint8 arrays: `train`, `valid`, `test` (or `images` alone), labels as `train_label` … or `labels`,
    and what else a model is conditioned on as `train_condition` … or `condition`: vectors [n,k], maps [n,h,w,k] or
    [n,h,w].

    Images are [n,h,w,c], [n,h,w] for one channel, or, where 2 levels are stated, [n,k] of bits packed by `np.packbits`
    for binary squares (as in `binarized_mnist.npz`: 98 bytes for 28×28). The names of Keras' files (`x_train`,
    `y_train`, …) serve as well. `levels` defaults to the array `levels` in the file, else 2 where all values are 0 or
    1, else 256.
    """
    path = Path(file).expanduser()

    def load() -> Any:
        arrays = read_npz(path)
        known = levels if levels is not None else int(arrays["levels"]) if "levels" in arrays else None
        splits = {}
        for key in NPZ_IMAGES:
            image = next((n for n in NPZ_IMAGES[key] if n in arrays), None)
            label = next((n for n in NPZ_LABELS[key] if n in arrays), None)
            condition = next((n for n in NPZ_CONDITIONS[key] if n in arrays), None)
            if image is not None:
                splits[key] = Split(
                    _unpacked(arrays[image], known, f"{path}, array {image!r}"),
                    None if label is None else labels(arrays[label], f"{path}, array {label!r}"),
                    None
                    if condition is None
                    else checked_conditions(arrays[condition], f"{path}, array {condition!r}"),
                )
        if "train" not in splits:
            found = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items()) or "nothing"
            raise UsageError(f"{path}: wanted an array named train or images, found {found}")
        return finish(path.stem, splits, known, "arrays of an .npz file", dict.fromkeys(splits, path))

    return Source(f"npz:{path}", load)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a `.npz`, without pickle: what could run code is refused."""
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path}: no .npz archive, or a truncated one; found {len(_read(path))} bytes")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read as .npz of plain arrays: {error}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives members that are no .npy as bytes
            raise UsageError(f"{path}: cannot be read as .npz of plain arrays: {name!r} is none")
    return arrays


def read_amat(path: Path, pixels: int = 784) -> np.ndarray:
    """Binary images `uint8[n,pixels]` of a text file of zeros and ones, one image a line."""
    data = np.frombuffer(_read(path), np.uint8)
    bits = data[(data == ord("0")) | (data == ord("1"))]
    blank = np.isin(data, np.frombuffer(b" \t\r\n", np.uint8)).sum()
    if len(bits) + blank != len(data):
        raise UsageError(f"{path}: wanted only 0, 1 and blanks, found {len(data) - len(bits) - blank} other bytes")
    if len(bits) == 0 or len(bits) % pixels:
        raise UsageError(f"{path}: truncated: wanted a multiple of {pixels} values, found {len(bits)}")
    return (bits - ord("0")).reshape(-1, pixels)


def _unpacked(array: np.ndarray, levels: int | None, what: str) -> np.ndarray:
    """Images with all their axes. Rows of bytes are packed bits only where they can be nothing else: of two levels,
    yet above 1."""
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 2 and array.dtype == np.uint8:
        side = math.isqrt(8 * array.shape[1])
        if levels != 2 or side * side != 8 * array.shape[1] or array.max(initial=0) < 2:
            raise UsageError(
                f"{what}: wanted [n, height, width] or [n, height, width, channels], found {list(array.shape)}; two "
                "axes are read as packed bits of square images alone, where 2 levels are stated (levels=2)."
            )
        return np.unpackbits(array, axis=1).reshape(-1, side, side, 1)
    return array


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def listing(root: Path, count: int = 5) -> str:
    """What a folder holds, as the end of a sentence."""
    if not root.exists():
        return "but there is no such folder"
    if not root.is_dir():
        return "but this is a file, no folder"
    names = sorted(p.name for p in root.iterdir())
    return "found " + (", ".join(names[:count]) + (" …" if len(names) > count else "") if names else "an empty folder")
