"""Types and contracts: what a model is, and what training asks of it.

A *model* is a frozen dataclass: the mathematics of one system over its nets. It stores no arrays and no keys.
What it can do is written in its class line, `class PixelCNN(Autoregressive, Sampler, Completer)`, and everything
above this room asks only for these capabilities (`core.capabilities`), never for a family.

Laws that hold everywhere: images cross module boundaries as `uint8[b,h,w,c]` with a known number of levels;
`log_prob` is nats of that discrete image; keys come from `jax.random.key` and are used once.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Key, UInt8

from jaxgen.core import conditions
from jaxgen.core.errors import UsageError

Variables = dict[str, Any]
"""Flax collections: `{"params": {...}}`, with `"batch_stats"` and the like beside it."""

Batch = dict[str, Any]
"""Arrays by name, each with a leading axis of examples: `{"image": uint8[b,h,w,c]}`, with `"label"`, int32[b], where
the data have labels, `"condition"`, float32[b,k] or float32[b,h,w,k], where they have vectors or maps, and whatever
else they bring: words, masks, targets."""

Images = UInt8[Array | np.ndarray, "b h w c"]
Mask = Bool[Array | np.ndarray, "h w"]
PRNGKey = Key[Array, ""]


class Aux(NamedTuple):
    """What a loss returns beside its value: scalars to log, new values of collections other than params, and scalars
    that are logged and have a place in the progress line as well."""

    metrics: dict[str, Any]
    updates: Variables = {}
    shown: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss and the parameters that it moves. Training is an ordered tuple of these.

    `loss(variables, batch, key) -> (scalar, Aux)`; `trains` names subtrees at the top of `variables["params"]`;
    `optimizer` overrides the recipe's. The objective acts at steps divisible by `every`, from `begin` on and before
    `end`. Behind its step `after(variables, batch, key) -> variables` may change any of them: clip weights, move
    target networks, restart dead codes.

    `examples` says how the loss treats a batch. "mixed": as a whole (batch statistics, say). "independent": it is a
    mean over independent examples, so that a batch may be taken in microbatches. "separable": moreover its draws belong
    to examples (`core.keys.example_keys`), so that microbatches and devices that share the batch change the gradient by
    rounding only; `microbatch` is then how many examples per device a CPU takes at a time unless told otherwise, where
    that keeps a step in its cache (None: all).
    """

    name: str
    loss: Callable[[Variables, Batch, Any], tuple[Any, Aux]]
    trains: tuple[str, ...]
    every: int = 1
    optimizer: optax.GradientTransformation | None = None
    examples: Literal["mixed", "independent", "separable"] = "mixed"
    microbatch: int | None = None
    begin: int = 0
    end: int | None = None
    after: Callable[[Variables, Batch, Any], Variables] | None = None

    def acts(self, step: Any) -> Any:
        """Whether it acts at a step: a bool, or an array of one where the step is."""
        due = (step % self.every == 0) & (step >= self.begin)
        return due if self.end is None else due & (step < self.end)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """The mathematics of one system. `condition` is what it is conditioned on (`core.conditions`), None for nothing."""

    condition: conditions.Kind | None = None

    lacks: ClassVar[Mapping[str, str]] = {}
    """Why a capability is missing, by its name: `{"Density": "a GAN defines no likelihood"}`."""

    conditioned_on: ClassVar[tuple[type, ...]] = (conditions.Classes, conditions.Vector, conditions.Map)
    """The kinds of condition that it can have."""

    averaged: ClassVar[tuple[str, ...]] = ("params",)
    """The collections that a run's average covers, where it keeps one."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for settings that make no model; subclasses add their own checks to these."""
        if self.condition is not None and not isinstance(self.condition, self.conditioned_on):
            kinds = " or ".join(kind.__name__ for kind in self.conditioned_on)
            can = f"it takes {kinds}" if kinds else "it is unconditional: leave condition None"
            raise UsageError(f"{type(self).__name__} cannot be conditioned on {self.condition}: {can}.")

    @abc.abstractmethod
    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables. `batch` serves data-dependent initialisation; most models use only its shapes."""

    @abc.abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """The losses of one training step, in the order in which they act."""

    def condition_of(self, batch: Batch) -> Any:
        """What of a batch this model is conditioned on; None for an unconditional model, and where labels are missing
        that some examples went without in training. Raises `UsageError` where the batch lacks what is needed."""
        if isinstance(self.condition, conditions.Classes) and self.condition.dropout and "label" not in batch:
            return None
        return self.trained_on(batch)

    def trained_on(self, batch: Batch) -> Any:
        """The same for training, where labels are needed in any case."""
        if self.condition is None:
            return None
        name = conditions.array_of(self.condition)
        if name not in batch:
            raise UsageError(f'{type(self).__name__} is conditional, but its data have no "{name}"')
        return batch[name]

    def example_condition(self, num: int) -> Any:
        """A condition for `num` examples to show what the model does: each class in turn, or each word. None where only
        data have one."""
        if isinstance(self.condition, conditions.Classes):
            return np.arange(num, dtype=np.int32) % self.condition.count
        if isinstance(self.condition, conditions.Text):
            words = np.zeros((num, self.condition.length), np.int32)
            words[:, 0] = 1 + np.arange(num) % (self.condition.words - 1)
            return words
        return None

    def check_condition(self, condition: Any, num: int) -> None:
        """Raises `UsageError` unless a condition of so many examples is of the model's kind."""
        conditions.check(self.condition, condition, num, type(self).__name__, getattr(self, "shape", ()))

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where data (a whole split, as numpy arrays) lack what this model is trained on."""
        self.check_condition(self.trained_on(batch), rows(batch))

    def check_scored(self, batch: Batch) -> None:
        """The same for data that are only scored, of which a model may need less."""
        self.check_condition(self.condition_of(batch), rows(batch))

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Arrays by name that a person wants to see at an evaluation, beside samples: pictures uint8[b,h,w,c], a pair
        of them in rows, uint8[b,k,h,w,c], and the words of the sentence beside each row, or what `readable` makes lines
        of. `batch` are some validation examples. Compiled by the engine."""
        return {}

    def derived(self, variables: Variables, batch: Batch) -> Batch:
        """Further arrays of each example that losses may find in their batch, made by collections that no step changes
        (`variables` has no "params" here): codes of an encoder that is frozen, say. The engine makes them of all
        training examples before the first step, where the data have no transform; losses make them where they lack."""
        return {}

    def readable(self, name: str, shown: np.ndarray) -> np.ndarray | list[str]:
        """What `shows` gave by that name as pictures or as lines of text, on the host."""
        return shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageModel(Model):
    """A model of images. `shape` is (h, w, c) of its images and `levels` their values per sub-pixel."""

    shape: tuple[int, int, int]
    levels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UsageError(f"{name}: shape must be (height, width, channels), all at least 1, got {self.shape}")
        if not 2 <= self.levels <= 256:
            raise UsageError(f"{name}: levels must be between 2 and 256, got {self.levels}")


def rows(batch: Mapping[str, Any]) -> int:
    """How many examples a batch or a split has. Its arrays agree on that."""
    return len(next(iter(batch.values())))


def batch_like(model: Model, num: int, arrays: Mapping[str, Any] | None = None) -> Batch:
    """Shapes and dtypes of a batch of `num` examples.

    `arrays` says them of one example, as `described_batch` does of data; without it they are those of an `ImageModel`:
    images, labels, and what it is conditioned on.
    """
    if arrays is not None:
        return {n: jax.ShapeDtypeStruct((num, *a["shape"]), jnp.dtype(a["dtype"])) for n, a in arrays.items()}
    if not isinstance(model, ImageModel):
        raise UsageError(f"{type(model).__name__} is no model of images: only data say what its batches hold.")
    batch = {
        "image": jax.ShapeDtypeStruct((num, *model.shape), jnp.uint8),
        "label": jax.ShapeDtypeStruct((num,), jnp.int32),
    }
    kind = model.condition
    if kind is None or isinstance(kind, conditions.Classes):
        return batch
    beside = jax.ShapeDtypeStruct((num, *kind.shape(model.shape)), conditions.dtype_of(kind))
    return batch | {conditions.array_of(kind): beside}


def described_batch(batch: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Shape and dtype of one example of each array, for `batch_like`; can be written as JSON."""
    return {name: {"shape": list(x.shape[1:]), "dtype": str(x.dtype)} for name, x in batch.items()}


def has_field(model: Model, name: str) -> bool:
    """Whether the model has a field of that name, or one of the models that it holds."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return name in held or any(has_field(value, name) for value in held.values() if isinstance(value, Model))


def with_field(model: Any, name: str, value: Any) -> Any:
    """The model with another value of a field, in itself and in the models that it holds, where they have it."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    changes = {k: with_field(part, name, value) for k, part in held.items() if isinstance(part, Model)}
    return dataclasses.replace(model, **changes | ({name: value} if name in held else {}))
