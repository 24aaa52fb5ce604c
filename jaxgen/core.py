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
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from jaxgen.errors import UsageError as UsageError

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


class Density(Model):
    """Assigns each discrete image a log-probability, exact or a lower bound."""

    exact: ClassVar[bool] = True
    """True where `log_prob` is the log-probability itself, False where it is a lower bound (in expectation)."""

    piece: ClassVar[int | None] = None
    """How many images at a time a CPU's cache is best used with; None: the whole batch. For exact densities."""

    @abc.abstractmethod
    def log_prob(
        self,
        variables: Variables,
        image: UInt8[Array | np.ndarray, "b h w c"],
        key: Key[Array, ""],
        condition: Any = None,
    ) -> Float[Array, " b"]:
        """Nats of each image. `key` is used by bounds that draw; exact likelihoods ignore it."""


class Autoregressive(Density):
    """A density that factorises over sub-pixels in raster order, R then G then B inside a pixel."""

    @abc.abstractmethod
    def logits(
        self, variables: Variables, x: Float[Array, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Logits of every sub-pixel given those before it. `x` is the image as floats, 0 to 1 (`images.to_float`)."""

    @abc.abstractmethod
    def context(self) -> Bool[np.ndarray, "h w c h2 w2 c2"]:
        """What each sub-pixel's logits (first three axes) can see (last three): the declared context, as numpy."""

    def drawing_rank(self) -> Int[np.ndarray, "h w"]:
        """When each pixel is drawn, 0 for the first: in raster order unless a model says otherwise."""
        return np.arange(math.prod(self.shape[:2])).reshape(self.shape[:2])

    def log_pmf(
        self, variables: Variables, image: UInt8[Array | np.ndarray, "b h w c"], condition: Any = None
    ) -> Float[Array, "b h w c levels"]:
        """Log-probabilities (nats) of each value of every sub-pixel given those before it."""
        x = jnp.asarray(image, jnp.float32) / (self.levels - 1)
        return jax.nn.log_softmax(self.logits(variables, x, condition).astype(jnp.float32))

    def log_prob(
        self,
        variables: Variables,
        image: UInt8[Array | np.ndarray, "b h w c"],
        key: Key[Array, ""],
        condition: Any = None,
    ) -> Float[Array, " b"]:
        """Nats of each image: the sum of the log-probabilities of its sub-pixels. Draws nothing."""
        log_pmf = self.log_pmf(variables, image, condition)
        chosen = jnp.take_along_axis(log_pmf, jnp.asarray(image, jnp.int32)[..., None], axis=-1)
        return chosen.sum(axis=(1, 2, 3, 4))


@dataclasses.dataclass(frozen=True)
class Walk:
    """A way over every `stride`-th row and column of an image, from the first, pixel by pixel in an order.

    `likelihood` is the `distributions.Head` that says what the outputs for a pixel mean; `walker(variables, num,
    condition)` the `nn.walk.Walker` over so many images, turned so that raster order reads them in `order`. The
    condition is what the caller has, or `condition(variables, image)` where that is not None, which reads of the images
    only what walks before this one went over.
    """

    order: str
    likelihood: Any
    walker: Callable[[Variables, int, Any], Any]
    condition: Callable[[Variables, Array], Any] | None = None
    stride: int = 1


class Incremental(Autoregressive):
    """An autoregressive model that can be walked over pixel by pixel, with memory: what the codec stands on."""

    @abc.abstractmethod
    def walks(self) -> tuple[Walk, ...]:
        """One after the other, they go over all pixels. A pixel counts in the first that goes over it, and is known in
        the others."""


class Sampler(Model):
    """Draws images."""

    @abc.abstractmethod
    def sample(
        self, variables: Variables, key: Key[Array, ""], num: int, condition: Any = None
    ) -> UInt8[Array, "num h w c"]:
        """`num` independent images; the same key gives the same images."""


class Completer(Model):
    """Fills in the missing part of an image."""

    exactly: ClassVar[str] = "drawn from the model's own distribution given those pixels"
    """What a completion is where `completes_exactly`, in words."""

    @abc.abstractmethod
    def complete(
        self,
        variables: Variables,
        key: Key[Array, ""],
        image: UInt8[Array | np.ndarray, "b h w c"],
        given: Bool[Array | np.ndarray, "h w"],
        condition: Any = None,
    ) -> UInt8[Array, "b h w c"]:
        """Images equal to `image` where `given`, drawn from the model elsewhere."""

    def completes_exactly(self, given: Bool[np.ndarray, "h w"]) -> bool:
        """Whether such a completion is a draw from the model's own conditional distribution, or approximates it. Of a
        mixture, some components may suffice: those that can condition on what is given."""
        return False


class Encoder(Model):
    """Maps an image to a vector."""

    @abc.abstractmethod
    def encode(self, variables: Variables, image: UInt8[Array | np.ndarray, "b h w c"]) -> Float[Array, "b d"]:
        """The representation of each image: for a VAE its posterior mean."""


class Reconstructor(Model):
    """Passes an image through its representation and back."""

    @abc.abstractmethod
    def reconstruct(self, variables: Variables, image: UInt8[Array | np.ndarray, "b h w c"]) -> UInt8[Array, "b h w c"]:
        """Each image as the model gives it back from its representation, without draws."""


CAPABILITIES: tuple[type[Model], ...] = (Density, Autoregressive, Sampler, Completer, Encoder, Reconstructor)


def capabilities(model: Model | type[Model]) -> tuple[str, ...]:
    """The names of what a model can do, in the order of `CAPABILITIES`."""
    kind = model if isinstance(model, type) else type(model)
    return tuple(c.__name__ for c in CAPABILITIES if issubclass(kind, c))


def has_field(model: Model, name: str) -> bool:
    """Whether the model has a field of that name, or one of the models that it holds."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return name in held or any(has_field(value, name) for value in held.values() if isinstance(value, Model))


def with_field(model: Any, name: str, value: Any) -> Any:
    """The model with another value of a field, in itself and in the models that it holds, where they have it."""
    held = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    changes = {k: with_field(part, name, value) for k, part in held.items() if isinstance(part, Model)}
    return dataclasses.replace(model, **changes | ({name: value} if name in held else {}))


def models_with(capability: type[Model]) -> tuple[str, ...]:
    """The names of the imported concrete models that have a capability, sorted."""
    found, todo = set(), [capability]
    while todo:
        kind = todo.pop()
        todo.extend(kind.__subclasses__())
        if not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
            found.add(kind.__name__)
    return tuple(sorted(found))


def require(model: Model, capability: type[Any], purpose: str) -> Any:
    """The model itself if it has the capability.

    Raises `UsageError` otherwise: what was asked for (`purpose`), why this model cannot, and which models can.
    """
    if isinstance(model, capability):
        return model
    name = type(model).__name__
    why = model.lacks.get(capability.__name__, f"it is no {capability.__name__}")
    others = ", ".join(models_with(capability)) or "none yet"
    raise UsageError(f"{name} cannot {purpose}: {why}. Models that can: {others}.")
