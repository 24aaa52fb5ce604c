"""Types and contracts: what a model is, what it can do, and what training asks of it.

A *model* is a frozen dataclass: the mathematics of one system over its nets. It stores no arrays and no keys.
What it can do is written in its class line, `class PixelCNN(Autoregressive, Sampler, Completer)`, and everything
above this room asks only for these capabilities, never for a family.

Laws that hold everywhere: images cross module boundaries as `uint8[b,h,w,c]` with a known number of levels;
`log_prob` is nats of that discrete image; keys come from `jax.random.key` and are used once.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import optax
from jaxtyping import Array, Key

from jaxgen.core.errors import UsageError as UsageError

Variables = dict[str, Any]
"""Flax collections: `{"params": {...}}`, with `"batch_stats"` and the like beside it."""

Batch = dict[str, Any]
"""`{"image": uint8[b,h,w,c]}`, with `"label": int32[b]` where the data have labels, and with `"condition"`,
float32[b,k] or float32[b,h,w,k], where they have vectors or maps."""


class Aux(NamedTuple):
    """What a loss returns beside its value: scalars to log, and new values of collections other than params."""

    metrics: dict[str, Any]
    updates: Variables = {}


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss and the parameters that it moves. Training is an ordered tuple of these.

    `loss(variables, batch, key) -> (scalar, Aux)`; `trains` names subtrees at the top of `variables["params"]`;
    the objective acts at steps divisible by `every`; `optimizer` overrides the recipe's. `independent` promises that
    the loss is a mean over independent examples (no batch statistics), so that a batch may be taken in pieces;
    `separable` promises more, that its draws belong to examples (`draws.example_keys`), so that pieces and devices that
    share the batch change the gradient by rounding only; `piece` is then how many images per device a CPU takes at a
    time unless told otherwise, where that keeps a step in its cache (None: all).
    """

    name: str
    loss: Callable[[Variables, Batch, Any], tuple[Any, Aux]]
    trains: tuple[str, ...]
    every: int = 1
    optimizer: optax.GradientTransformation | None = None
    separable: bool = False
    piece: int | None = None
    independent: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """The mathematics of one system. `shape` is (h, w, c) of its images and `levels` their values per sub-pixel."""

    shape: tuple[int, int, int]
    levels: int

    lacks: ClassVar[Mapping[str, str]] = {}
    """Why a capability is missing, by its name: `{"Density": "a GAN defines no likelihood"}`."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for settings that make no model; subclasses add their own checks to these."""
        name = type(self).__name__
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UsageError(f"{name}: shape must be (height, width, channels), all at least 1, got {self.shape}")
        if not 2 <= self.levels <= 256:
            raise UsageError(f"{name}: levels must be between 2 and 256, got {self.levels}")

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], batch: Batch) -> Variables:
        """Fresh variables. `batch` serves data-dependent initialisation; most models use only its shapes."""

    @abc.abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """The losses of one training step, in the order in which they act."""

    def condition_of(self, batch: Batch) -> Any:
        """What of a batch this model is conditioned on: labels, say. None for an unconditional model, the default."""
        return None

    def example_condition(self, num: int) -> Any:
        """A condition for `num` images to show what the model does, such as each class in turn; None by default."""
        return None

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` where data (a whole split, as numpy arrays) lack what this model is trained on."""
        self.condition_of(batch)

    def check_scored(self, batch: Batch) -> None:
        """The same for data that are only scored, of which a model may need less."""
        self.check_data(batch)


def has_field(model: Model, name: str) -> bool:
    """Whether the model has a field of that name, or one of the models that it holds."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return name in held or any(has_field(value, name) for value in held.values() if isinstance(value, Model))


def with_field(model: Any, name: str, value: Any) -> Any:
    """The model with another value of a field, in itself and in the models that it holds, where they have it."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    changes = {k: with_field(part, name, value) for k, part in held.items() if isinstance(part, Model)}
    return dataclasses.replace(model, **changes | ({name: value} if name in held else {}))
