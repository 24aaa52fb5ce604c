"""What a data set is here: uint8 images in splits, a protocol in one line, and a description that loads on demand.

Everything that reads files ends in `finish`, which checks the arrays once and holds out a validation split where the
source brings none: a seeded tenth of the training set, the same for every run and every machine. The test split is
never touched by that.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch

Transform = Callable[[Batch, Key[Array, ""], bool], Batch]
"""`(batch, key, train) -> batch`, pure JAX: it runs inside the compiled step, and in evaluation with `train=False`."""

SEED = 20160125
"""Seeds every split made here. A constant, so that figures of different runs stand on the same images."""

TENTH = "; validation: a seeded tenth of the training set"


@dataclasses.dataclass(frozen=True)
class Split:
    """Images `uint8[n,h,w,c]` and, where the data have them, labels `int32[n]` and conditions: vectors `float32[n,k]`
    or maps `float32[n,h,w,k]`. Arrays may be memory-mapped."""

    image: np.ndarray
    label: np.ndarray | None = None
    condition: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Checked splits. `levels` is what the model sees after `transform`; the arrays themselves may hold more."""

    name: str
    levels: int
    train: Split
    valid: Split
    test: Split | None
    protocol: str
    transform: Transform | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image."""
        h, w, c = self.train.image.shape[1:]
        return h, w, c


@dataclasses.dataclass(frozen=True)
class Source:
    """A description of a data set: nothing is read before `load()`, which raises `UsageError` for bad input."""

    name: str
    load: Callable[[], Dataset]


def order(n: int, seed: int = SEED) -> np.ndarray:
    """A permutation of n, from the raw stream of a counter-based generator: the same in every version of NumPy."""
    return np.argsort(np.random.Philox(key=[seed, n]).random_raw(n), kind="stable")


def held_out(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (train, valid) of a seeded tenth of n examples held out, at least one."""
    shuffled, tenth = order(n), max(1, n // 10)
    return np.sort(shuffled[tenth:]), np.sort(shuffled[:tenth])


def take(split: Split, index: np.ndarray) -> Split:
    """The examples at `index`, copied."""
    label, condition = (None if array is None else array[index] for array in (split.label, split.condition))
    return Split(split.image[index], label, condition)


def finish(
    name: str, splits: Mapping[str, Split], levels: int | None, protocol: str, where: Mapping[str, Any] | None = None
) -> Dataset:
    """A checked `Dataset` from the splits "train", "valid" and "test", of which only the first must be there.

    `levels` None infers 2 for arrays of 0 and 1, else 256. `where` names the file of each split for the messages.
    Raises `UsageError` for anything but uint8 images of one shape, values below `levels`, finite conditions, and as
    many labels and conditions as images.
    """
    where = {**dict.fromkeys(splits, name), **(where or {})}
    if levels is not None and not 2 <= levels <= 256:
        raise UsageError(f"{where['train']}: levels must be 2 to 256, got {levels}")
    for key, split in splits.items():
        _check_arrays(key, split, where[key])
    train = splits["train"]
    if levels is None:
        levels = 2 if all(_below(split.image, 2) for split in splits.values()) else 256
    for key, split in splits.items():
        if split.image.shape[1:] != train.image.shape[1:]:
            raise UsageError(
                f"{where[key]}: images of one data set must have one shape, but {key} holds {split.image.shape[1:]} "
                f"and train {train.image.shape[1:]}"
            )
        if levels < 256 and not _below(split.image, levels):
            raise UsageError(
                f"{where[key]}: wanted values 0 to {levels - 1} ({levels} levels), found {split.image.max()} in {key}"
            )
    if "valid" not in splits:
        if len(train) < 2:
            raise UsageError(f"{where['train']}: wanted at least 2 images to hold one out for validation, found 1")
        keep, out = held_out(len(train))
        splits = {**splits, "train": take(train, keep), "valid": take(train, out)}
        protocol += TENTH
    if "test" not in splits:
        protocol += "; no test split"
    return Dataset(name, levels, splits["train"], splits["valid"], splits.get("test"), protocol)


def digest(dataset: Dataset, most: int = 1000) -> str:
    """By which other images, labels or conditions show: a checksum of at most so many examples of a
    split, evenly spaced."""
    found = 0
    for split in (dataset.train, dataset.valid, dataset.test):
        if split is not None:
            some = take(split, np.arange(0, len(split), -(-len(split) // most)))
            for array in (some.image, some.label, some.condition):
                found = found if array is None else zlib.crc32(array.tobytes(), found)
    return f"{found:08x}"


def labels(array: Any, what: str) -> np.ndarray:
    """Class labels as int32[n]. `what` names them in the message."""
    array = np.asarray(array)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise UsageError(f"{what}: wanted integer labels [n], found {array.dtype}{list(array.shape)}")
    return array.astype(np.int32)


def checked_conditions(array: Any, what: str) -> np.ndarray:
    """Conditions as float32[n,k] or float32[n,h,w,k]; maps [n,h,w] get one channel. `what` names them in errors."""
    array = np.asarray(array)
    if array.ndim not in (2, 3, 4) or array.dtype.kind not in "fiub":
        raise UsageError(
            f"{what}: wanted vectors [n, size] or maps [n, height, width, channels] of numbers, "
            f"found {array.dtype}{list(array.shape)}"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is found with all that is not finite
        array = array.astype(np.float32, copy=False)
    if not all(np.isfinite(array[i : i + 1024]).all() for i in range(0, len(array), 1024)):
        raise UsageError(f"{what}: conditions must be finite, found NaN or infinity among them")
    return array[..., None] if array.ndim == 3 else array


def _below(image: np.ndarray, levels: int) -> bool:
    """Whether all values are below `levels`; reads no further than the first block that shows otherwise."""
    return all(image[i : i + 1024].max() < levels for i in range(0, len(image), 1024))


def _check_arrays(key: str, split: Split, where: Any) -> None:
    image, label, condition = split.image, split.label, split.condition
    if image.dtype != np.uint8:
        raise UsageError(
            f"{where}: {key} images must be uint8, found {image.dtype}. Round them to their levels and save those."
        )
    if image.ndim != 4 or image.shape[3] not in (1, 2, 3, 4):
        raise UsageError(
            f"{where}: {key} images must have shape [n, height, width, channels] with 1 to 4 channels, "
            f"found {list(image.shape)}"
        )
    if image.size == 0:
        raise UsageError(f"{where}: {key} is empty, found shape {list(image.shape)}")
    if label is not None and label.shape != (len(image),):
        raise UsageError(f"{where}: {key} has {len(image)} images but labels of shape {list(label.shape)}")
    if condition is not None and len(checked_conditions(condition, f"{where}: {key}")) != len(image):
        raise UsageError(f"{where}: {key} has {len(image)} images but conditions of shape {list(condition.shape)}")


def padded_batches(split: Any, batch: int) -> Any:
    """Yields (data, valid): arrays of exactly `batch` rows, and bool[batch], False for rows that only fill up."""
    arrays = split_arrays(split)
    for start in range(0, len(split), batch):
        rows = np.arange(start, start + batch)
        valid = rows < len(split)
        yield {name: array[np.where(valid, rows, 0)] for name, array in arrays.items()}, valid


def split_arrays(split: Any) -> dict[str, np.ndarray]:
    """A split as a batch of all its examples, on the host."""
    arrays = {"image": split.image, "label": split.label, "condition": split.condition}
    return {name: array for name, array in arrays.items() if array is not None}


def example(dataset: Any, count: int) -> Batch:
    """The first `count` training examples as a batch."""
    return jax.tree.map(lambda x: x[:count], split_arrays(dataset.train))


def check_split(
    check: Callable[[Batch], None], split: Any, transform: Transform | None = None, train: bool = False
) -> None:
    """A model's `check_data` or `check_scored` on what it will see of a split, under `transform`.

    A transform is traced, not run: of what it changes the shape is looked at, of what it leaves alone the values too.
    """
    arrays = split_arrays(split)
    if transform is None:
        check(arrays)
        return

    def check_seen(batch: Batch) -> None:
        seen = transform(batch, jax.random.key(0), train)
        check({name: arrays[name] if x is batch.get(name) else x for name, x in seen.items()})

    jax.eval_shape(check_seen, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays))
