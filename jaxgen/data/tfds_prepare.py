"""Offline preparation of TFDS's stock data sets from their original files, without TensorFlow.

    jaxgen data prepare mnist --from FOLDER

TFDS's own builders of these sets unpack and read with TensorFlow. Here the builder keeps everything that defines the
data set (name, version, features, example keys, hence the order of records and the shards), and only the reading of
the files is replaced. The originals are checked against the SHA-256 sums that TFDS registers for them, before a byte
is written. For MNIST, Fashion-MNIST and binarised MNIST the result was compared with copies prepared by TensorFlow:
pixels, labels and order are equal. CIFAR-10 has been run on a synthetic archive of the same layout only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.arrays import listing, read_amat, read_idx
from jaxgen.data.tfds import ORIGINALS, data_home, first_line, library

Examples = Iterator[tuple[int, dict[str, Any]]]

IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
AMAT = ("binarized_mnist_train.amat", "binarized_mnist_valid.amat", "binarized_mnist_test.amat")
CIFAR = ("cifar-10-binary.tar.gz",)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What was prepared: TFDS's full name, its folder, the number of examples by split."""

    name: str
    folder: Path
    counts: dict[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{key} {n}" for key, n in self.counts.items())
        return f"{self.name} ({counts}) in {self.folder}"


def prepare(name: str, folder: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> Prepared:
    """Prepare mnist, fashion_mnist, binarized_mnist or cifar10 from the original files in `folder`.

    `data_dir` is where TFDS keeps its data sets: by default $TFDS_DATA_DIR, else ~/tensorflow_datasets. What is
    already prepared there is left alone. No network is used. Raises `UsageError` for an unknown name and for files
    that are missing or not the originals; a preparation that fails leaves nothing behind.
    """
    if name not in READERS:
        raise UsageError(
            f"cannot prepare {name!r}; known are {', '.join(READERS)}. Others: 'tfds:{name}' says how to get them"
        )
    tfds, root, home = library(), home_path(folder), data_home(data_dir)
    wanted, read = READERS[name]
    try:
        builder = tfds.builder(name, data_dir=str(home), file_format="array_record")
    except ValueError as error:
        raise UsageError(
            f"{home}: {name} is there in another file format, which TensorFlow alone reads; choose another folder "
            f"for it with --to FOLDER ({first_line(error)})"
        ) from error
    if not Path(builder.data_dir).exists():
        files = _originals(root, wanted, builder.url_infos or {})
        builder._split_generators = lambda manager: read(builder, files)
        tfds.disable_progress_bar()
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        try:
            # TFDS makes a folder for downloads even where there are none, and talks to stdout.
            with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_dir=downloads, download_config=config)
        except UsageError:
            raise
        except (OSError, RuntimeError) as error:  # the record writer wraps a full disk in a RuntimeError
            raise UsageError(f"{home}: {name} cannot be written: {first_line(error)}") from error
    return Prepared(
        builder.info.full_name, Path(builder.data_dir), {k: v.num_examples for k, v in builder.info.splits.items()}
    )


def _originals(root: Path, wanted: Iterable[str], registered: dict[str, Any]) -> dict[str, Path]:
    """The wanted files by name, each with the SHA-256 that TFDS registers for its URL."""
    files = {name: root / name for name in wanted}
    missing = [name for name, file in files.items() if not file.is_file()]
    by_name = {Path(urlparse(url).path).name: (url, info) for url, info in registered.items()}
    if missing:
        url = by_name[missing[0]][0].rpartition("/")[0]
        raise UsageError(f"{root}: {', '.join(missing)} missing, {listing(root)}. Originals: {url}/")
    for name, file in files.items():
        with file.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        info = by_name[name][1]
        if checksum != info.checksum:
            raise UsageError(
                f"{file}: not the original file: wanted {int(info.size)} bytes of sha256 {info.checksum}, "
                f"found {file.stat().st_size} bytes of {checksum}"
            )
    return files


def _png(image: np.ndarray) -> bytes:
    """PNG of uint8[h,w,c]; TFDS stores bytes as they come."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _idx_splits(builder: Any, files: dict[str, Path]) -> dict[str, Examples]:
    def examples(images: str, labels: str) -> Examples:
        x, y = read_idx(files[images]), read_idx(files[labels])
        if x.shape[1:] != (28, 28) or y.shape != (len(x),):
            raise UsageError(f"{files[images]}: wanted [n,28,28] and n labels, found {list(x.shape)}, {list(y.shape)}")
        for i, image in enumerate(x):
            yield i, {"image": _png(image[..., None]), "label": int(y[i])}

    return {"train": examples(IDX[0], IDX[1]), "test": examples(IDX[2], IDX[3])}


def _amat_splits(builder: Any, files: dict[str, Path]) -> dict[str, Examples]:
    def examples(name: str) -> Examples:
        for i, image in enumerate(read_amat(files[name]).reshape(-1, 28, 28, 1)):
            yield i, {"image": _png(image)}

    return {"train": examples(AMAT[0]), "validation": examples(AMAT[1]), "test": examples(AMAT[2])}


def _cifar_splits(builder: Any, files: dict[str, Path]) -> dict[str, Examples]:
    """Rows of the binary version: one byte of label, then 3 planes of 32×32. Names of classes from the archive."""
    archive = files[CIFAR[0]]

    try:
        with tarfile.open(archive, "r:gz") as tar:  # one pass: each seek backwards would unpack it all again
            contents = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UsageError(f"{archive}: cannot be unpacked: {first_line(error)}") from error

    def member(name: str) -> bytes:
        if f"cifar-10-batches-bin/{name}" not in contents:
            raise UsageError(f"{archive}: wanted cifar-10-batches-bin/{name}, found {', '.join(contents) or 'nothing'}")
        return contents[f"cifar-10-batches-bin/{name}"]

    def examples(split: str, names: tuple[str, ...]) -> Examples:
        i = 0
        for name in names:
            data = np.frombuffer(member(name), np.uint8)
            if len(data) % 3073:
                raise UsageError(f"{archive}: {name} is truncated: wanted rows of 3073 bytes, found {len(data)} bytes")
            for row in data.reshape(-1, 3073):
                image = row[1:].reshape(3, 32, 32).transpose(1, 2, 0)
                yield i, {"id": f"{split}_{i:05d}", "image": _png(image), "label": int(row[0])}
                i += 1

    builder.info.features["label"].names = member("batches.meta.txt").decode().split()
    batches = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
    return {"train": examples("train", batches), "test": examples("test", ("test_batch.bin",))}


READERS: dict[str, tuple[tuple[str, ...], Callable[[Any, dict[str, Path]], dict[str, Examples]]]] = {
    "mnist": (IDX, _idx_splits),
    "fashion_mnist": (IDX, _idx_splits),
    "binarized_mnist": (AMAT, _amat_splits),
    "cifar10": (CIFAR, _cifar_splits),
}
assert READERS.keys() == ORIGINALS.keys()
