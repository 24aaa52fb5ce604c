"""Linear bijectors: a scale for each number."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.dtypes import accumulator
from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Bijector, Params

LEAST_DEVIATION = 1e-3
"""Of a number in the batch of initialisation, for its scale to be set from it."""


@dataclasses.dataclass(frozen=True)
class Scaling(Bijector):
    """y = exp(s)·x with s for each number of a vector: log_det = Σ s (1410.8516, eq. 11–12).

    Deviation: at first each number has standard deviation 1 over the batch, instead of s = 0, from which some numbers
    have a way of thousands of steps.
    """

    def init(self, key: PRNGKey, x: Float[Array, "b d"], condition: Array | None = None) -> Params:
        """s by the deviations."""
        return {"log_scale": -jnp.log(jnp.maximum(x.std(axis=0), LEAST_DEVIATION))}

    def forward(
        self, params: Params, x: Float[Array, "b d"], condition: Array | None = None
    ) -> tuple[Float[Array, "b d"], Float[Array, " b"]]:
        """Each number by its scale."""
        s = params["log_scale"]
        return x * jnp.exp(s), jnp.broadcast_to(s.sum(dtype=accumulator(s.dtype)), len(x))

    def inverse(self, params: Params, y: Float[Array, "b d"], condition: Array | None = None) -> Float[Array, "b d"]:
        """Divided again."""
        return y * jnp.exp(-params["log_scale"])
