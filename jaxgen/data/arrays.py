"""Image arrays from files that hold many images at once: IDX (MNIST, Fashion-MNIST), .npz, .amat, and the digits.

Formats: IDX after http://yann.lecun.com/exdb/mnist/; `.amat` is the text of Larochelle's binarised MNIST, one image
of 784 zeros and ones a line. `.npz` is opened with `allow_pickle=False`, always.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.dataset import SEED, Source, Split, checked_conditions, finish, labels, permutation, take
from jaxgen.data.split_names import NAMES, split_of

IDX_NAME = re.compile(r"(?:qmnist-)?([a-z0-9]+)-(images|labels)[-.]idx\d-\w+?(\.gz)?", re.IGNORECASE)
IDX_TYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 12: np.dtype(">i4")}
KNOWN = {
    "image": "image", "images": "image", "x": "image",
    "label": "label", "labels": "label", "y": "label",
    "condition": "condition", "conditions": "condition",
    "sentence": "sentence", "sentences": "sentence", "caption": "sentence", "captions": "sentence",
}  # fmt: skip
"""What arrays of an `.npz` may be called beside the split's name, in any letter case."""


def digits() -> Source:
    """Scikit-learn's 1797 hand-written digits, 8×8×1 with 17 levels: bundled, so that nothing is downloaded.

    A seeded shuffle gives 1437 training and 360 test images, labels 0 to 9; validation is a tenth of the former.

    >>> data = digits().load()
    >>> data.shape, data.levels, len(data.train), len(data.valid), len(data.test)
    ((8, 8, 1), 17, 1294, 143, 360)
    """

    def load() -> Any:
        rows = _digit_rows()
        shuffled = permutation(len(rows), SEED, len(rows))
        every = Split(rows[:, :64].reshape(-1, 8, 8, 1), rows[:, 64].astype(np.int32))
        splits = {"train": take(every, shuffled[:1437]), "test": take(every, shuffled[1437:])}
        return finish("digits", splits, 17, "scikit-learn digits, seeded shuffle, 1437 train / 360 test")

    return Source("digits", load)


def _digit_rows() -> np.ndarray:
    """uint8[1797,65]: 64 pixels and the label. Read from scikit-learn's own file: importing it takes a second."""
    package = importlib.util.find_spec("sklearn")
    if package is None:
        raise UsageError("digits come with scikit-learn, which is missing: pip install scikit-learn")
    for folder in package.submodule_search_locations or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",").astype(np.uint8)
    from sklearn.datasets import load_digits  # it lies elsewhere in this version

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.uint8)


def idx(folder: str | os.PathLike[str]) -> Source:
    """A folder of IDX files, raw or gzipped, under their usual names (`train-images-idx3-ubyte`, `t10k-labels-…`).

    Labels come along where their files are there; of QMNIST's rows (`qmnist-train-labels-idx2-int`) the first number,
    the digit. Images [n,h,w] get one channel. Raises `UsageError` where two files are the same of one split.
    """
    root = home_path(folder)

    def load() -> Any:
        splits, where = {}, {}
        files = _idx_files(root)
        for (key, kind), file in files.items():
            if kind == "labels" and (key, "images") not in files:
                raise UsageError(f"{file}: there are no images of its split beside it: bring them, or move it away")
            if kind == "images":
                image, label_file = read_idx(file), files.get((key, "labels"))
                label = None if label_file is None else _idx_labels(label_file)
                splits[key], where[key] = Split(image[..., None] if image.ndim == 3 else image, label), file
        if "train" not in splits:
            contents = listing(root)
            raise UsageError(
                f"{root}: wanted an IDX file train-images-idx3-ubyte or train-images-idx3-ubyte.gz, {contents}"
            )
        return finish(root.resolve().name, splits, None, "IDX files, official split", where)

    return Source(f"idx:{root}", load)


def idx_names(root: Path) -> list[tuple[str, str, Path]]:
    """(split, "images" or "labels", file) of all files in a folder that are IDX by their names, sorted by these."""
    files = []
    for file in sorted(root.iterdir()) if root.is_dir() else ():
        match = IDX_NAME.fullmatch(file.name)
        split = match and ("test" if match[1].lower() == "t10k" else split_of(match[1]))
        if match and split and file.is_file():
            files.append((split, match[2].lower(), file))
    return files


def _idx_files(root: Path) -> dict[tuple[str, str], Path]:
    """The file of each split and kind, unpacked where it is there both ways. Raises `UsageError` for other twins."""
    files: dict[tuple[str, str], Path] = {}
    for split, kind, file in idx_names(root):
        first = files.setdefault((split, kind), file)
        if file.name.lower().removesuffix(".gz") != first.name.lower().removesuffix(".gz"):
            raise UsageError(
                f"{root}: both {first.name} and {file.name} are {kind} of its {split} split: move one away"
            )
    return files


def _idx_labels(file: Path) -> np.ndarray:
    """The labels of an IDX file; the class, which comes first, of QMNIST's rows of eight numbers."""
    rows = read_idx(file)
    return labels(rows[:, 0] if rows.ndim == 2 and rows.shape[1] == 8 else rows, str(file))


def read_idx(file: str | os.PathLike[str]) -> np.ndarray:
    """The array of one IDX file of uint8 or int32, raw or gzipped (told by its first bytes, not by its name).

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
    dtype = IDX_TYPES.get(data[2])
    if dtype is None:
        raise UsageError(f"{file}: wanted unsigned bytes (IDX type 08) or int32 (0c), found IDX type {data[2]:02x}")
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, min(start, len(data)), 4))
    size = start + math.prod(shape) * dtype.itemsize
    if len(data) != size:
        raise UsageError(
            f"{file}: truncated or damaged: its header states shape {list(shape)}, so {size} bytes, found {len(data)}"
        )
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return array if dtype == np.uint8 else array.astype(np.int32)


def npz(file: str | os.PathLike[str], levels: int | None = None) -> Source:
    """A `.npz` of arrays: images `train`, `valid`, `test` (or `images` alone), labels as `train_label` … or `labels`,
    and what else a model is conditioned on as `train_condition` … or `condition`: vectors [n,k], maps [n,h,w,k] or
    [n,h,w]; lines of text about images as `train_sentence` … or `sentences` or `captions`, [n] or [n,k]. Any other
    `train_NAME` (`valid_NAME`, `test_NAME`) with a row for each image comes along as NAME.

    Images are [n,h,w,c], [n,h,w] for one channel, or, where 2 levels are stated, [n,k] of bits packed by `np.packbits`
    for binary squares (as in `binarized_mnist.npz`: 98 bytes for 28×28). Splits have the names that `split_names`
    knows, before or behind what they are of: `val_images` and Keras' `x_train`, `y_train` serve as well. `levels`
    defaults to the array `levels` in the file, else 2 where all values are 0 or 1, else 256. Raises `UsageError` for
    arrays that nothing would read.
    """
    path = home_path(file)

    def load() -> Any:
        arrays = read_npz(path)
        known = levels if levels is not None else _levels(arrays.get("levels"), path)
        parts, unread = _parts({n: a for n, a in arrays.items() if n != "levels"}, path)
        if "train" not in parts:
            contents = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items()) or "nothing"
            raise UsageError(f"{path}: wanted an array named train or images, found {contents}")
        if unread:
            n = unread[0]
            raise UsageError(
                f"{path}: nothing reads its array {n!r} {arrays[n].dtype}{list(arrays[n].shape)}: what has a row for "
                f"each image comes along as train_{n} (valid_…, test_…) beside these; leave the rest out of the file"
            )
        splits = {
            split: Split({name: _checked(name, arrays[n], known, f"{path}, array {n!r}") for name, n in part.items()})
            for split, part in parts.items()
        }
        return finish(path.stem, splits, known, "arrays of an .npz file", dict.fromkeys(splits, path))

    return Source(f"npz:{path}", load)


def _parts(names: Iterable[str], path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """By split what each of its arrays is called in the file, by the name that it gets; and what belongs to no images.

    Raises `UsageError` where two arrays are the same of one split.
    """
    parts: dict[str, dict[str, str]] = {split: {} for split in NAMES}
    unread = []
    for given in names:
        split, name = _place(given)
        if split is None:
            unread.append(given)
        elif name in parts[split]:
            raise UsageError(
                f"{path}: both {parts[split][name]!r} and {given!r} are the {name} array of its {split} split: leave "
                "one of them out of the file"
            )
        else:
            parts[split][name] = given
    whole = {split: part for split, part in parts.items() if "image" in part}
    return whole, unread + [given for split, part in parts.items() if split not in whole for given in part.values()]


def _place(given: str) -> tuple[str | None, str]:
    """Split and name of an array: ("train", "image") of `train`, `images`, `train_images` and `x_train`; (None, …)
    where its name says no split."""
    first, _, rest = given.partition("_")
    if split := split_of(first):
        return split, KNOWN.get(rest.lower(), rest) or "image"
    rest, _, last = given.rpartition("_")
    if rest and (split := split_of(last)):
        return split, KNOWN.get(rest.lower(), rest)
    name = KNOWN.get(given.lower())
    return ("train", name) if name and len(given) > 1 else (None, given)


def _checked(name: str, array: np.ndarray, levels: int | None, what: str) -> np.ndarray:
    """An array as its name wants it; of 64 bits as devices hold it, of 32."""
    if name == "image":
        return _unpacked(array, levels, what)
    if name in ("label", "condition"):
        return labels(array, what) if name == "label" else checked_conditions(array, what)
    if array.dtype.kind in "iu" and array.dtype.itemsize >= 4:
        if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
            raise UsageError(f"{what}: wanted integers of 32 bits, found {array.min()} to {array.max()}")
        return array.astype(np.int32)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _levels(array: np.ndarray | None, path: Path) -> int | None:
    """The levels that a file states, if it does."""
    if array is None:
        return None
    if array.size != 1 or array.dtype.kind not in "iu":
        raise UsageError(f"{path}, array 'levels': wanted one whole number, found {array.dtype}{list(array.shape)}")
    return int(array.item())


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
