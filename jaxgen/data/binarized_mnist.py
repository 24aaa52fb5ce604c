"""Static binarised MNIST: Larochelle's fixed binarisation and split (50 000 / 10 000 / 10 000), binary, no labels.

Salakhutdinov and Murray (2008) drew each pixel once with its intensity as probability; these files are the ones that
the published nats refer to. Three forms hold the same images: the original `.amat` text, TFDS's `binarized_mnist`
(its order differs), and an `.npz` of packed bits.
"""

from __future__ import annotations

import os
from pathlib import Path

from jaxgen.core.errors import UsageError
from jaxgen.core.files import home_path
from jaxgen.data.arrays import npz, read_amat
from jaxgen.data.dataset import Dataset, Source, Split, finish
from jaxgen.data.tfds import tfds

SIZES = (50_000, 10_000, 10_000)


def binarized_mnist(path: str | os.PathLike[str] | None = None) -> Source:
    """Static binarised MNIST, 28×28×1 with 2 levels.

    `path`: a folder with the three `binarized_mnist_*.amat`, the packed-bits `.npz` or a folder with it, or a TFDS
    data directory in which `binarized_mnist` is prepared; None is TFDS's default directory.
    """
    root = None if path is None else home_path(path)

    def load() -> Dataset:
        if root is None:
            try:
                data = tfds("binarized_mnist").load()
            except UsageError as error:
                forms = "binarized_mnist.npz, or of a folder with it or with the .amat files"
                raise UsageError(f"{error}. Or give the path of {forms}: binarized_mnist:PATH") from error
        elif (root / "binarized_mnist").is_dir():
            data = tfds("binarized_mnist", root).load()
        elif root.is_file():
            data = npz(root, levels=2).load()
        elif (root / "binarized_mnist.npz").is_file():
            data = npz(root / "binarized_mnist.npz", levels=2).load()
        elif amat_files(root)["train"].is_file():
            files = amat_files(root)
            splits = {key: Split(read_amat(file).reshape(-1, 28, 28, 1)) for key, file in files.items()}
            data = finish("binarized_mnist", splits, 2, "", files)
        else:
            raise UsageError(
                f"{root}: no static binarised MNIST there; wanted binarized_mnist_train.amat (with _valid and _test), "
                "binarized_mnist.npz, or a TFDS data directory prepared by "
                "'jaxgen data prepare binarized_mnist --from FOLDER'"
            )
        if data.test is None or data.shape != (28, 28, 1) or data.levels != 2:
            raise UsageError(f"{root}: wanted binary 28×28×1 images in train, valid and test, found {data.shape}")
        sizes = (len(data.train), len(data.valid), len(data.test))
        split = "Larochelle's split" if sizes == SIZES else "NOT Larochelle's split:"
        protocol = f"static binarisation, {split} " + "/".join(map(str, sizes))
        return Dataset("binarized_mnist", 2, data.train, data.valid, data.test, protocol)

    return Source("binarized_mnist" if root is None else f"binarized_mnist:{root}", load)


def amat_files(root: Path) -> dict[str, Path]:
    """Where the original files would lie in a folder, by split."""
    return {key: root / f"binarized_mnist_{key}.amat" for key in ("train", "valid", "test")}
