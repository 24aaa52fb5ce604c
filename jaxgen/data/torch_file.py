"""Arrays by name from a file that PyTorch saved, read without PyTorch and without running anything that lies in it.

Such a file is a pickle whose numbers lie beside it, in a zip archive (since PyTorch 1.6) or behind it. The pickle is
read by an unpickler that knows tensors, their storages, numbers, strings and plain containers, and refuses all else.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.core.errors import UsageError

STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
"""What a storage holds, by the name of its class."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The first number of a file in the older form."""


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name of a file that `torch.save(model.state_dict(), path)` wrote.

    Raises `UsageError` for a file of another kind, for one that is truncated, and for one that holds anything else:
    what could run code is refused.
    """
    try:
        saved = _zipped(path) if zipfile.is_zipfile(path) else _older(path)
        if not isinstance(saved, dict) or not all(isinstance(name, str) for name in saved):
            raise UsageError(f"{path}: wanted tensors by name, a state dict, got {type(saved).__name__}.")
        return {name: tensor.array() for name, tensor in saved.items() if isinstance(tensor, _Tensor)}
    except UsageError:
        raise
    except Exception as error:  # of bytes that are no pickle an unpickler raises what it likes
        raise UsageError(
            f"{path}: cannot be read as a state dict of PyTorch ({error}): save one with "
            "torch.save(model.state_dict(), …), or its arrays with numpy.savez."
        ) from error


@dataclasses.dataclass
class _Storage:
    """Numbers in a row; the older form has them behind the pickle that speaks of them."""

    dtype: Any
    numbers: np.ndarray | None = None


@dataclasses.dataclass
class _Tensor:
    """A view of a storage; sizes and strides count numbers."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = self.storage.numbers
        assert numbers is not None
        last = self.start + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides))
        if min((*self.shape, *self.strides, self.start, 0)) < 0 or (0 not in self.shape and last >= len(numbers)):
            raise ValueError(f"a tensor {list(self.shape)} reaches beyond its {len(numbers):,} numbers")
        width = numbers.itemsize
        view = np.lib.stride_tricks.as_strided(
            numbers[self.start :], self.shape, tuple(stride * width for stride in self.strides), writeable=False
        )
        return np.array(view)


def _tensor(storage: Any, start: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(start), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
}


class _Reader(pickle.Unpickler):
    """An unpickler that makes nothing but what is known; `numbers` gives those of a storage by its key, or None."""

    def __init__(self, file: Any, numbers: Any):
        super().__init__(file)
        self.numbers, self.storages = numbers, dict[str, _Storage]()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, and only tensors are read")
        return KNOWN[module, name]

    def persistent_load(self, about: Any) -> _Storage:
        _, dtype, key, *_ = about
        if key not in self.storages:
            self.storages[key] = _Storage(np.dtype(dtype), self.numbers(key, dtype))
        return self.storages[key]


def _zipped(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        home = name.removesuffix("data.pkl")
        if f"{home}byteorder" in archive.namelist() and archive.read(f"{home}byteorder") != b"little":
            raise UsageError(f"{path}: its numbers are big-endian, and only little-endian ones are read.")

        def numbers(key: str, dtype: Any) -> np.ndarray:
            return np.frombuffer(archive.read(f"{home}data/{key}"), dtype)

        return _Reader(io.BytesIO(archive.read(name)), numbers).load()


def _older(path: Path) -> Any:
    with path.open("rb") as file:

        def plain() -> Any:
            return _Reader(file, None).load()

        if plain() != MAGIC:
            raise UsageError(f"{path}: wanted a file of PyTorch, got another pickle.")
        plain(), plain()  # the protocol, and of which machine
        reader = _Reader(file, lambda key, dtype: None)
        saved = reader.load()
        for key in plain():
            storage = reader.storages[key]
            count = int.from_bytes(file.read(8), "little")
            storage.numbers = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
            if len(storage.numbers) != count:
                raise UsageError(f"{path}: truncated: wanted {count:,} numbers, got {len(storage.numbers):,}.")
        return saved
