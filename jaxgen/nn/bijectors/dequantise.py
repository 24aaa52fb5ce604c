"""Dequantisation: noise u in [0, 1) that turns the values v = 0 … levels − 1 of an image into the continuous v + u.

A density p of continuous images bounds the probability of the discrete one (1511.01844, eq. 2; 1902.00275, eq. 9):

    log P(v) = log ∫ p(v + u) du ≥ E_{u~q(·|v)} [log p(v + u) − log q(u|v)]

Uniform noise has log q = 0.
"""

from __future__ import annotations

import abc
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.keys import example_keys
from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Params


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
        keys = example_keys(key, len(x))
        return jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:]))(keys), jnp.zeros(len(x))
