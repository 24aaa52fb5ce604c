"""What a model may be conditioned on: a class, a vector, a map as large as the image, or a sentence.

A model's field `condition` holds one of these kinds, or None. What is passed as `condition=` is then `int32[b]`
labels, `float[b,size]` vectors, `float[b,h,w,channels]` maps or `int32[b,length]` words; nets get it as features
(`features`), but for words, of which a model makes a vector itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.checks import at_least, check_count
from jaxgen.core.errors import UsageError
from jaxgen.core.keys import example_keys

UNLABELLED = -1
"""The label of an image without one, for models that were trained with some labels dropped."""


@dataclasses.dataclass(frozen=True)
class Classes:
    """One of `count` classes. In training a label is dropped with probability `dropout`, so that the model learns
    the unconditional distribution too, that of label −1 (classifier-free, 2207.12598)."""

    count: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, count=1)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"Classes: dropout must be at least 0 and below 1, got {self.dropout}.")

    @property
    def features(self) -> int:
        """How many numbers nets get: a one-hot vector."""
        return self.count

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a label, whatever the image."""
        return ()


@dataclasses.dataclass(frozen=True)
class Vector:
    """`size` numbers, the same for every pixel: an embedding of anything."""

    size: int

    def __post_init__(self) -> None:
        at_least(self, size=1)

    @property
    def features(self) -> int:
        """How many numbers nets get."""
        return self.size

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a vector, whatever the image."""
        return (self.size,)


@dataclasses.dataclass(frozen=True)
class Map:
    """`channels` numbers for every pixel."""

    channels: int

    def __post_init__(self) -> None:
        at_least(self, channels=1)

    @property
    def features(self) -> int:
        """How many numbers nets get for each pixel."""
        return self.channels

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the map of an image of shape (h, w, c)."""
        return (*image[:2], self.channels)


@dataclasses.dataclass(frozen=True)
class Text:
    """A sentence of at most `length` words by their numbers, which are below `words`; 0 fills up behind it. In its
    place may be the vector of `size` numbers that the model makes of one: of what lies between two sentences, say."""

    words: int
    length: int
    size: int

    def __post_init__(self) -> None:
        at_least(self, words=2, length=1, size=1)

    @property
    def features(self) -> int:
        """How many numbers nets get."""
        return self.size

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a sentence, whatever the image."""
        return (self.length,)


Kind = Classes | Vector | Map | Text


def array_of(kind: Kind) -> str:
    """The name of the array of a batch that holds conditions of the kind."""
    return "label" if isinstance(kind, Classes) else "words" if isinstance(kind, Text) else "condition"


def dtype_of(kind: Kind) -> Any:
    """The dtype of that array."""
    return jnp.int32 if isinstance(kind, Classes | Text) else jnp.float32


def tail(kind: Kind | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what one image of `shape` is conditioned on: () for a label or nothing."""
    return () if kind is None else kind.shape(shape)


def check(kind: Kind | None, condition: Any, num: int, model: str, shape: tuple[int, ...]) -> None:
    """Raises `UsageError` unless `condition` fits the kind, for `num` images of `shape`: labels are integers, vectors
    and maps finite. Values are looked at where they are known, that is, outside compiled programs. No images are
    refused as well: nets divide by their number."""
    check_count(num)
    if kind is None:
        if condition is not None:
            raise UsageError(f"{model} is unconditional: it takes no condition")
        return
    if condition is None:
        if isinstance(kind, Classes) and kind.dropout:
            return
        wanted = {Classes: "labels", Vector: "vectors", Map: "maps", Text: "sentences"}[type(kind)]
        raise UsageError(f"{model} is conditional on {wanted}: give them as condition")
    dtype = condition.dtype if hasattr(condition, "dtype") else np.asarray(condition).dtype
    if isinstance(kind, Classes):
        if np.shape(condition) != (num,):
            raise UsageError(f"{model} wants a label for each of {num} images, got shape {np.shape(condition)}")
        if not np.issubdtype(dtype, np.integer):
            raise UsageError(f"{model} wants labels that are integers, got {dtype}")
        if not isinstance(condition, jax.core.Tracer):
            _check_labels(kind, np.asarray(condition), model)
        return
    if isinstance(kind, Text) and np.issubdtype(dtype, np.integer):
        _check_words(kind, condition, num, model)
        return
    wanted_shape = (num, kind.size) if isinstance(kind, Text) else (num, *kind.shape(shape))
    if np.shape(condition) != wanted_shape:
        raise UsageError(f"{model} wants a condition of shape {wanted_shape}, got {np.shape(condition)}")
    if not isinstance(condition, jax.core.Tracer) and not np.isfinite(np.asarray(condition)).all():
        raise UsageError(f"{model} wants a condition of finite numbers, got NaN or infinity")


def _check_labels(kind: Classes, labels: np.ndarray, model: str) -> None:
    low = UNLABELLED if kind.dropout else 0
    if labels.size and (labels.min() < low or labels.max() >= kind.count):
        wrong = labels[(labels < low) | (labels >= kind.count)][0]
        also = f", or {UNLABELLED} for none" if kind.dropout else ""
        raise UsageError(f"{model} knows the classes 0 to {kind.count - 1}{also}: got {wrong}")


def _check_words(kind: Text, words: Any, num: int, model: str) -> None:
    if np.shape(words) != (num, kind.length):
        raise UsageError(
            f"{model} wants sentences as words [{num}, {kind.length}], got shape {[*np.shape(words)]}: fill up with 0"
        )
    if not isinstance(words, jax.core.Tracer):
        words = np.asarray(words)
        wrong = words[(words < 0) | (words >= kind.words)]
        if wrong.size:
            raise UsageError(f"{model} knows the words 0 to {kind.words - 1}, got {wrong[0]}: allow it more words")


def features(kind: Kind | None, condition: Any, num: int) -> Float[Array, "b h w k"] | None:
    """A condition as features of each pixel: height and width are 1 where all pixels share them."""
    if kind is None:
        return None
    if isinstance(kind, Classes):
        labels = jnp.full((num,), UNLABELLED) if condition is None else jnp.asarray(condition)
        return jax.nn.one_hot(labels, kind.count)[:, None, None]
    condition = jnp.asarray(condition, jnp.float32)
    return condition if isinstance(kind, Map) else condition[:, None, None]


def drop(kind: Kind | None, condition: Any, key: Any) -> Any:
    """Labels with some of them dropped, as `Classes.dropout` says; other conditions as they are."""
    if not isinstance(kind, Classes) or not kind.dropout or condition is None:
        return condition
    keys = example_keys(key, len(condition))
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, kind.dropout))(keys)
    return jnp.where(dropped, UNLABELLED, condition)
