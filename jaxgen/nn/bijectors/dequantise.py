"""Dequantisation: noise u in [0, 1) that turns the values v = 0 … levels − 1 of an image into the continuous v + u.

A density p of continuous images bounds the probability of the discrete one (1511.01844, eq. 2; 1902.00275, eq. 9):

    log P(v) = log ∫ p(v + u) du ≥ E_{u~q(·|v)} [log p(v + u) − log q(u|v)]

Uniform noise has log q = 0. Variational noise is the better the nearer q comes to p(u|v), where equality holds.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.keys import example_keys
from jaxgen.core.model import PRNGKey
from jaxgen.nn import initial
from jaxgen.nn.bijectors.base import Chain, Params, summed
from jaxgen.nn.bijectors.coupling import Coupling
from jaxgen.nn.bijectors.elementwise import Sigmoid


class Dequantiser(abc.ABC):
    """The noise of each image, and its density."""

    @abc.abstractmethod
    def init(self, key: PRNGKey, x: Float[Array, "b h w c"]) -> Params:
        """Fresh parameters, empty where there are none."""

    @abc.abstractmethod
    def noise(
        self, params: Params, x: Float[Array, "b h w c"], key: PRNGKey
    ) -> tuple[Float[Array, "b h w c"], Float[Array, " b"]]:
        """u of each image, drawn by the example's key, and log q(u|v) in nats; x is the image, 0 to 1."""


@dataclasses.dataclass(frozen=True)
class Uniform(Dequantiser):
    """u uniform on [0, 1)."""

    def init(self, key: PRNGKey, x: Float[Array, "b h w c"]) -> Params:
        """None."""
        return {}

    def noise(
        self, params: Params, x: Float[Array, "b h w c"], key: PRNGKey
    ) -> tuple[Float[Array, "b h w c"], Float[Array, " b"]]:
        """u, and zeros."""
        return _drawn(jax.random.uniform, x, key), jnp.zeros(len(x))


class ConvNet(nn.Module):
    """A 3×3 convolution with ReLU, and another to the outputs."""

    outputs: int
    features: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w outputs"]:
        conv = functools.partial(nn.Conv, kernel_size=(3, 3), dtype=self.dtype, kernel_init=initial.fan_in_normal())
        x = nn.relu(conv(self.features, name="hidden")(x))
        return conv(self.outputs, name="output")(x)


@dataclasses.dataclass(frozen=True)
class Variational(Dequantiser):
    """u = σ(g(ε; v)) with Gaussian ε and a flow g of `couplings` couplings, whose nets see the image by `features`
    features: log q(u|v) = log N(ε) − log |det ∂u/∂ε| (1902.00275, §3.1, with couplings of our own)."""

    features: int = 32
    couplings: int = 2
    dtype: str = "float32"

    @property
    def context(self) -> ConvNet:
        """What the couplings see of an image."""
        return ConvNet(self.features, self.features, self.dtype)

    @property
    def flow(self) -> Chain:
        """From ε to u."""
        net = functools.partial(ConvNet, features=self.features, dtype=self.dtype)
        couplings = [
            Coupling(net, "checkerboard", flipped=i % 2 == 1, kind="rescaled", conditional=True)
            for i in range(self.couplings)
        ]
        return Chain((*couplings, Sigmoid()))

    def init(self, key: PRNGKey, x: Float[Array, "b h w c"]) -> Params:
        """Those of the net that sees the image, and of the flow."""
        for_context, for_flow = jax.random.split(key)
        context = self.context.init(for_context, x)["params"]
        return {"context": context, "flow": self.flow.init(for_flow, x, self._seen({"context": context}, x))}

    def noise(
        self, params: Params, x: Float[Array, "b h w c"], key: PRNGKey
    ) -> tuple[Float[Array, "b h w c"], Float[Array, " b"]]:
        """u, and its density."""
        noise = _drawn(jax.random.normal, x, key)
        u, log_det = self.flow.forward(params["flow"], noise, self._seen(params, x))
        return u, summed(-0.5 * (noise**2 + math.log(2 * math.pi))) - log_det

    def _seen(self, params: Params, x: Array) -> Array:
        seen: Any = self.context.apply({"params": params["context"]}, 2.0 * x - 1.0)
        return seen


def _drawn(draw: Callable[[PRNGKey, tuple[int, ...]], Array], x: Array, key: PRNGKey) -> Array:
    """A number for each of x by the keys of its examples, drawn along one axis (`nn.initial` says why)."""
    return jax.vmap(lambda example_key: draw(example_key, (math.prod(x.shape[1:]),)))(
        example_keys(key, len(x))
    ).reshape(x.shape)
