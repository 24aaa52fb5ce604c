"""Bijectors of each number by itself: from an interval to all numbers."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Bijector, Examples, Moved, Params, summed


@dataclasses.dataclass(frozen=True)
class Logit(Bijector):
    """y = logit(α + (1 − 2α)·x) of x in [0, 1] (1605.08803, §4.1, as in its code: the paper's 1 − α lets the brightest
    values run to infinity). log_det = Σ log(1 − 2α) − log σ(y) − log σ(−y)."""

    margin: float = 0.05

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """None."""
        return {}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """The logits."""
        p = self.margin + (1 - 2 * self.margin) * x
        y = jnp.log(p) - jnp.log1p(-p)
        return y, summed(jax.nn.softplus(y) + jax.nn.softplus(-y) + math.log(1 - 2 * self.margin))

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """Beyond 0 and 1 by a little over α at most."""
        return (jax.nn.sigmoid(y) - self.margin) / (1 - 2 * self.margin)


@dataclasses.dataclass(frozen=True)
class Sigmoid(Bijector):
    """y = σ(x), in (0, 1): log_det = Σ log σ(x) + log σ(−x)."""

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """None."""
        return {}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """The sigmoids."""
        return jax.nn.sigmoid(x), -summed(jax.nn.softplus(x) + jax.nn.softplus(-x))

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """The logits."""
        return jnp.log(y) - jnp.log1p(-y)
