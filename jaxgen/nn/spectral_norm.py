"""Spectral normalisation (1802.05957): a layer whose weights are divided by their largest singular value.

A kernel is read as the matrix W of fan-in rows and output columns, that of a convolution as [h·w·in, out] (the paper's
§2.1): its σ bounds what the convolution stretches up to a factor of the kernel's side. One power iteration for each
training pass follows σ(W) as W moves (algorithm 1); u is kept in "batch_stats", drawn from a Gaussian at first.
Gradients go through σ = uᵀWv with u and v held fixed, as in eq. 9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn.strided import conv, same

FIRST_ITERATIONS = 10
"""Power iterations on fresh weights, whose singular vectors nothing is known of."""


def power_iteration(matrix: Float[Array, "i o"], u: Float[Array, " o"]) -> tuple[Float[Array, ""], Float[Array, " o"]]:
    """An estimate of the largest singular value, from below, and the next u.

    >>> matrix, u = jnp.diag(jnp.array([3.0, 1.0])), jnp.array([0.6, 0.8])
    >>> for _ in range(5):
    ...     sigma, u = power_iteration(matrix, u)
    >>> round(float(sigma), 4), abs(u).round(3).tolist()
    (3.0, [1.0, 0.0])
    """
    v = _unit(matrix @ u)
    u = _unit(matrix.T @ v)
    u, v = lax.stop_gradient((u, v))
    return v @ matrix @ u, u


class SpectralLayer(nn.Module):
    """A dense map, or with `kernel` (height, width) a SAME convolution, of spectral norm 1; the bias is as it is."""

    features: int
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    use_bias: bool = True
    dtype: str = "float32"
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], train: bool) -> Float[Array, "b ..."]:
        weights = self.param("kernel", self.kernel_init, (*self.kernel, x.shape[-1], self.features))
        weights = (weights / self._sigma(weights.reshape(-1, self.features), train)).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.kernel:
            y = conv(x, weights, self.strides, same(x.shape[1:3], self.kernel, self.strides))
        else:
            y = x @ weights
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y

    def _sigma(self, matrix: Array, train: bool) -> Array:
        fresh = self.is_initializing()
        draw = lambda: _unit(jax.random.normal(self.make_rng("params"), (self.features,)))  # noqa: E731
        kept = self.variable("batch_stats", "u", draw)
        u = kept.value
        if fresh:
            u = lax.fori_loop(0, FIRST_ITERATIONS, lambda _, u: power_iteration(matrix, u)[1], u)
        sigma, u = power_iteration(matrix, u)
        if train or fresh:
            kept.value = u
        return sigma


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)
