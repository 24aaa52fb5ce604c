"""What a model can do: each capability a class, written in the model's class line, and all that is asked of a model.

Everything above this room asks only for these, never for a family.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from jaxgen.core.errors import UsageError as UsageError
from jaxgen.core.model import Model, Variables


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
