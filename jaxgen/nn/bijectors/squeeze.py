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


@dataclasses.dataclass(frozen=True)
class Squeeze(Rearrangement):
    """Each square of 2×2 pixels as one pixel of four times the channels. Sides must be even."""

    def moved(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c4"]:
        """The square's first row before its second one, at each of the channels."""
        b, h, w, c = x.shape
        return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)

    def inverse(
        self, params: Params, y: Float[Array, "b h2 w2 c4"], condition: Array | None = None
    ) -> Float[Array, "b h w c"]:
        """The squares again."""
        b, h, w, c = y.shape
        return y.reshape(b, h, w, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


@dataclasses.dataclass(frozen=True)
class FactorOut(Bijector):
    """The second half of the channels of a map of `shape` leaves for the code; the first goes on by `rest`, a bijector
    to vectors. The code has the rest's numbers first."""

    shape: tuple[int, int, int]
    rest: Bijector

    def init(self, key: PRNGKey, x: Float[Array, "b h w c"], condition: Array | None = None) -> Params:
        """Those of `rest`."""
        return self.rest.init(key, self._halves(x)[0], condition)

    def forward(self, params: Params, x: Float[Array, "b h w c"], condition: Array | None = None) -> Moved:
        """The code, and the log-determinant of the rest."""
        staying, leaving = self._halves(x)
        code, log_det = self.rest.forward(params, staying, condition)
        return jnp.concatenate([code, leaving.reshape(len(x), -1)], axis=-1), log_det

    def inverse(
        self, params: Params, y: Float[Array, "b d"], condition: Array | None = None
    ) -> Float[Array, "b h w c"]:
        """The map of a code."""
        h, w, c = self.shape
        code, leaving = jnp.split(y, [h * w * self._stay], axis=-1)
        staying = self.rest.inverse(params, code, condition)
        return jnp.concatenate([staying, leaving.reshape(len(y), h, w, c - self._stay)], axis=-1)

    @property
    def _stay(self) -> int:
        return (self.shape[2] + 1) // 2

    def _halves(self, x: Array) -> tuple[Array, Array]:
        staying, leaving = jnp.split(x, [self._stay], axis=-1)
        return staying, leaving
