"""What a data set is here: arrays in splits, a protocol in one line, and a description that loads on demand.

Everything that reads files ends in `finish`, which checks the arrays once and holds out a validation split where the
source brings none: a seeded tenth of the training set, the same for every run and every machine. The test split is
never touched by that.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxgen.core.errors import UsageError
from jaxgen.core.model import Batch
from jaxgen.data.vocabulary import Vocabulary

Transform = Callable[[Batch, Key[Array, ""], bool], Batch]
"""`(batch, key, train) -> batch`, pure JAX: it runs inside the compiled step, and in evaluation with `train=False`."""

SEED = 20160125
"""Seeds every split made here. A constant, so that figures of different runs stand on the same images."""

FIRST = ("image", "label", "condition")
"""Arrays that everybody knows, in the order in which a digest takes them."""

NUMBERS, TEXT = "uifb", "US"
"""Kinds of dtypes that a split may hold; text stays on the host."""

TENTH = "; validation: a seeded tenth of the training set"


class Split:
    """Arrays by name, of any dtype, with one leading axis of examples: `Split(image, label)`, `Split(words=words)`.

    `image` is uint8[n,h,w,c], `label` int32[n], `condition` vectors float32[n,k] or maps float32[n,h,w,k]; every other
    name is the data's own. Arrays may be memory-mapped. Reads like a mapping (`split["words"]`, `in`, `items()`), but
    that its length is that of its examples.
    """

    def __init__(self, image: Any = None, label: Any = None, condition: Any = None, **others: Any):
        named = dict(image) if isinstance(image, Mapping) else {"image": image}
        named |= {"label": label} if label is not None else {}
        named |= {"condition": condition} if condition is not None else {}
        self.arrays: dict[str, np.ndarray] = {n: a for n, a in {**named, **others}.items() if a is not None}
        if not self.arrays:
            raise UsageError("a split needs at least one array: Split(image), or Split(words=words).")

    @property
    def image(self) -> np.ndarray:
        """The images. Raises `UsageError` where the data have none."""
        if "image" not in self.arrays:
            raise UsageError(f"these data have no images; they have {', '.join(self.arrays)}.")
        return self.arrays["image"]

    @property
    def label(self) -> np.ndarray | None:
        """The labels, where there are any."""
        return self.arrays.get("label")

    @property
    def condition(self) -> np.ndarray | None:
        """What the images are conditioned on, where there is anything."""
        return self.arrays.get("condition")

    def keys(self) -> Any:
        """The names."""
        return self.arrays.keys()

    def items(self) -> Any:
        """Names and arrays."""
        return self.arrays.items()

    def replaced(self, **arrays: Any) -> Split:
        """The split with other arrays in place of its own, or beside them."""
        return Split({**self.arrays, **arrays})

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __repr__(self) -> str:
        return f"Split({', '.join(f'{name}={a.dtype}{list(a.shape)}' for name, a in self.arrays.items())})"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Checked splits. `levels` is what the model sees of images after `transform`; the arrays themselves may hold more.
    0 for data without images. `vocabulary` says what words the numbers of sentences stand for, where there are any."""

    name: str
    levels: int
    train: Split
    valid: Split
    test: Split | None
    protocol: str
    transform: Transform | None = None
    vocabulary: Vocabulary | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image. Raises `UsageError` for data without images."""
        h, w, c = self.train.image.shape[1:]
        return h, w, c

    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}


@dataclasses.dataclass(frozen=True)
class Source:
    """A description of a data set: nothing is read before `load()`, which raises `UsageError` for bad input."""

    name: str
    load: Callable[[], Dataset]


def permutation(n: int, seed: int, stream: int) -> np.ndarray:
    """A permutation int64[n]. Each seed has streams by number, which are those of a counter-based generator, raw: the
    same in every version of NumPy."""
    return np.argsort(np.random.Philox(key=[seed, stream]).random_raw(n), kind="stable")


def held_out(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (train, valid) of a seeded tenth of n examples held out, at least one."""
    shuffled, tenth = permutation(n, SEED, n), max(1, n // 10)
    return np.sort(shuffled[tenth:]), np.sort(shuffled[:tenth])


def take(split: Split, index: np.ndarray) -> Split:
    """The examples at `index`, copied."""
    return Split({name: array[index] for name, array in split.items()})


def finish(
    name: str, splits: Mapping[str, Split], levels: int | None, protocol: str, where: Mapping[str, Any] | None = None
) -> Dataset:
    """A checked `Dataset` from the splits "train", "valid" and "test", of which only the first must be there.

    `levels` None infers 2 for images of 0 and 1, else 256. `where` names the file of each split for the messages.
    Raises `UsageError` for images that are not whole numbers 0 to 255, of one shape and below `levels`, for conditions
    that are not finite, and for arrays of another shape in one split than in another, or of several lengths.
    """
    where = {**dict.fromkeys(splits, name), **(where or {})}
    if levels is not None and not 2 <= levels <= 256:
        raise UsageError(f"{where['train']}: levels must be 2 to 256, got {levels}")
    splits = {
        key: split.replaced(image=whole_images(split.image, f"{where[key]}: {key} images"))
        if "image" in split
        else split
        for key, split in splits.items()
    }
    for key, split in splits.items():
        _check_arrays(key, split, where[key])
    train = splits["train"]
    images = "image" in train
    if levels is None and images:
        levels = 2 if all(_below(split.image, 2) for split in splits.values()) else 256
    for key, split in splits.items():
        for array in split:
            if array != "image" and array in train and split[array].shape[1:] != train[array].shape[1:]:
                raise UsageError(
                    f"{where[key]}: '{array}' must have one shape in all splits, but {key} holds "
                    f"{list(split[array].shape[1:])} and train {list(train[array].shape[1:])}"
                )
        if not images or levels is None:
            continue
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
    return Dataset(name, levels or 0, splits["train"], splits["valid"], splits.get("test"), protocol)


def digest(dataset: Dataset, most: int = 1000) -> str:
    """By which other data show: a checksum of at most so many examples of a split, evenly spaced, of all arrays."""
    checksum = 0
    for split in dataset.splits().values():
        some = take(split, np.arange(0, len(split), -(-len(split) // most)))
        for name in (*(n for n in FIRST if n in some), *sorted(n for n in some if n not in FIRST)):
            checksum = zlib.crc32(np.ascontiguousarray(some[name]).tobytes(), checksum)
    return f"{checksum:08x}"


def whole_images(image: Any, what: str) -> np.ndarray:
    """Images as uint8, which bool and other integers become where that loses nothing. `what` names them in errors."""
    if image.dtype == np.uint8:
        return np.asanyarray(image)  # a memory map stays one
    if image.dtype.kind not in "biu":
        raise UsageError(
            f"{what} must be uint8, found {image.dtype}. Save whole numbers: of values 0 … 1, say, "
            "np.round(255 * images).astype(np.uint8)."
        )
    low, high = (int(image.min()), int(image.max())) if image.size else (0, 0)
    if low < 0 or high > 255:
        raise UsageError(
            f"{what} must be uint8, found {image.dtype} with values {low} to {high}. Bring them into 0 … 255: those of "
            "16 bits by images // 256, say."
        )
    return np.asarray(image, np.uint8)


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
    image, label, condition = split.arrays.get("image"), split.label, split.condition
    what = "examples"
    if image is not None:
        what = "images"
        if image.ndim != 4 or image.shape[3] not in (1, 2, 3, 4):
            raise UsageError(
                f"{where}: {key} images must have shape [n, height, width, channels] with 1 to 4 channels, "
                f"found {list(image.shape)}"
            )
        if image.size == 0:
            raise UsageError(f"{where}: {key} is empty, found shape {list(image.shape)}")
    if len(split) == 0:
        raise UsageError(f"{where}: {key} is empty")
    if label is not None and label.shape != (len(split),):
        raise UsageError(f"{where}: {key} has {len(split)} {what} but labels of shape {list(label.shape)}")
    if condition is not None and len(checked_conditions(condition, f"{where}: {key}")) != len(split):
        raise UsageError(f"{where}: {key} has {len(split)} {what} but conditions of shape {list(condition.shape)}")
    for name, array in split.items():
        if array.ndim < 1 or len(array) != len(split):
            raise UsageError(f"{where}: {key} has {len(split)} {what} but '{name}' of shape {list(array.shape)}")
        if array.dtype.kind not in NUMBERS + TEXT:
            raise UsageError(f"{where}: '{name}' of {key} must hold numbers or text, found {array.dtype}")


def padded_batches(split: Any, batch: int) -> Any:
    """Yields (data, valid): arrays of exactly `batch` rows, and bool[batch], False for rows that only fill up."""
    arrays = split_arrays(split)
    for start in range(0, len(split), batch):
        rows = np.arange(start, start + batch)
        valid = rows < len(split)
        yield {name: array[np.where(valid, rows, 0)] for name, array in arrays.items()}, valid


def seen_images(dataset: Dataset, split: Split, batch: int = 1000) -> Iterator[np.ndarray]:
    """The images of a split as the model sees them, in pieces."""
    if dataset.transform is None:
        yield np.asarray(split.image)
        return
    program = jax.jit(functools.partial(dataset.transform), static_argnums=2)
    for number, (data, valid) in enumerate(padded_batches(split, batch)):
        key = jax.random.fold_in(jax.random.key(0), number)
        yield np.asarray(program(data, key, False)["image"])[valid]


def split_arrays(split: Any) -> dict[str, np.ndarray]:
    """A split as a batch of all its examples, on the host. Text is no part of a batch: no device holds it."""
    return {name: array for name, array in split.items() if array.dtype.kind in NUMBERS}


def example(dataset: Any, count: int) -> Batch:
    """`count` training examples as a batch, all where they are fewer: evenly spaced, since files are often sorted."""
    index = np.linspace(0, len(dataset.train) - 1, min(count, len(dataset.train))).astype(int)
    return {name: array[index] for name, array in split_arrays(dataset.train).items()}


def example_shapes(dataset: Dataset, count: int = 1) -> Batch:
    """Shapes and dtypes of a training batch as a model sees it, transformed."""
    arrays = {n: jax.ShapeDtypeStruct((count, *a.shape[1:]), a.dtype) for n, a in dataset.train.items()}
    if dataset.transform is None:
        return arrays
    seen: Batch = jax.eval_shape(lambda batch: dataset.transform(batch, jax.random.key(0), True), arrays)  # type: ignore[misc]
    return seen


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
