"""Bijectors that only move numbers about: their log-determinant is zero.

Among them is the multi-scale architecture (1605.08803, §3.6), in which half of the channels leave for the code at each
scale; what that half means may depend on the half that stays (1807.03039, code: the learned prior of a split).
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Bijector, Examples, Moved, Params, zeros


@dataclasses.dataclass(frozen=True)
class Rearrangement(Bijector):
    """A bijector that moves numbers about."""

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """None."""
        return {}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """The numbers in their new places, and zeros."""
        return self.moved(x), zeros(x)

    def moved(self, x: Examples) -> Examples:
        """The numbers of each example in their new places."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Flatten(Rearrangement):
    """An array of `shape` as a vector."""

    shape: tuple[int, ...]

    def moved(self, x: Examples) -> Float[Array, "b d"]:
        """In row-major order."""
        return x.reshape(len(x), math.prod(self.shape))

    def inverse(self, params: Params, y: Float[Array, "b d"], condition: Array | None = None) -> Examples:
        """The array again."""
        return y.reshape(len(y), *self.shape)


@dataclasses.dataclass(frozen=True)
class Alternate(Rearrangement):
    """Of a vector, the numbers in even places before those in odd ones, so that halves are every other number."""

    def moved(self, x: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """x₀, x₂, …, x₁, x₃, …"""
        return jnp.concatenate([x[:, ::2], x[:, 1::2]], axis=-1)

    def inverse(self, params: Params, y: Float[Array, "b d"], condition: Array | None = None) -> Float[Array, "b d"]:
        """x₀, x₁, x₂, …"""
        even, odd = jnp.split(y, [(y.shape[-1] + 1) // 2], axis=-1)
        odd = jnp.pad(odd, ((0, 0), (0, even.shape[-1] - odd.shape[-1])))
        return jnp.stack([even, odd], axis=-1).reshape(len(y), -1)[:, : y.shape[-1]]
