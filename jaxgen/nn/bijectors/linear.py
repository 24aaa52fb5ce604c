"""Linear bijectors: scales, activation normalisation, 1×1 convolutions, and the mean and scale of a learned prior.

What is multiplied and divided again is computed in float32 in full: an accelerator's shorter products would be
different ones on the way back.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from jaxgen.core.dtypes import accumulator
from jaxgen.core.model import PRNGKey
from jaxgen.nn.bijectors.base import Bijector, Examples, Moved, Params

LEAST_DEVIATION = 1e-3
"""Of a number in the batch of initialisation, for its scale to be set from it."""


def log_inverse_deviation(x: Float[Array, "n ... c"]) -> Float[Array, " c"]:
    """−log of the standard deviation of each entry of the last axis, over all others."""
    return -jnp.log(jnp.maximum(x.std(axis=tuple(range(x.ndim - 1))), LEAST_DEVIATION))


def per_example(x: Examples, each: Array) -> Float[Array, " b"]:
    """The log-determinants of a map that is the same for all positions and examples: `each` is that of one position."""
    positions = math.prod(x.shape[1:-1])
    return jnp.broadcast_to(positions * each.astype(accumulator(each.dtype)), len(x))


@dataclasses.dataclass(frozen=True)
class Scaling(Bijector):
    """y = exp(s)·x with s for each number of a vector: log_det = Σ s (1410.8516, eq. 11–12).

    Deviation: at first each number has standard deviation 1 over the batch, instead of s = 0, from which some numbers
    have a way of thousands of steps.
    """

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """s by the deviations."""
        return {"log_scale": log_inverse_deviation(x)}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """Each number by its scale."""
        s = params["log_scale"]
        return x * jnp.exp(s), per_example(x, s.sum())

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """Divided again."""
        return y * jnp.exp(-params["log_scale"])


@dataclasses.dataclass(frozen=True)
class ActNorm(Bijector):
    """y = exp(s)·(x + b) with s and b for each channel, such that at `init` each has mean 0 and variance 1 over the
    batch and its positions (1807.03039, §3.1)."""

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """b and s by means and deviations."""
        return {"bias": -x.mean(axis=tuple(range(x.ndim - 1))), "log_scale": log_inverse_deviation(x)}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """Moved and scaled."""
        s = params["log_scale"]
        return (x + params["bias"]) * jnp.exp(s), per_example(x, s.sum())

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """Scaled and moved back."""
        return y * jnp.exp(-params["log_scale"]) - params["bias"]


class Pointwise(Bijector):
    """y = x·W at each position: an invertible 1×1 convolution (1807.03039, §3.2)."""

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """The products with W; h·w·log |det W|."""
        return _product(x, self.kernel(params)), per_example(x, self.log_det(params))

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """The products with W⁻¹."""
        return _product(y, self.inverse_kernel(params))

    def kernel(self, params: Params) -> Float[Array, "c c"]:
        """W."""
        raise NotImplementedError

    def inverse_kernel(self, params: Params) -> Float[Array, "c c"]:
        """W⁻¹."""
        raise NotImplementedError

    def log_det(self, params: Params) -> Float[Array, ""]:
        """log |det W|."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class InvertibleConv(Pointwise):
    """W whole, a random rotation at first; log |det W| costs c³ (eq. 9)."""

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """A rotation by the key."""
        return {"kernel": jax.random.orthogonal(key, x.shape[-1])}

    def kernel(self, params: Params) -> Float[Array, "c c"]:
        """Itself."""
        return params["kernel"]

    def inverse_kernel(self, params: Params) -> Float[Array, "c c"]:
        """Its inverse."""
        return jnp.linalg.inv(params["kernel"])

    def log_det(self, params: Params) -> Float[Array, ""]:
        """By its factors."""
        return jnp.linalg.slogdet(params["kernel"])[1]


@dataclasses.dataclass(frozen=True)
class TriangularConv(Pointwise):
    """W = Q·L·(U + diag(e^s)) with a fixed Q, a unit lower triangular L and a strictly upper triangular U, so that
    log |det W| = Σ s (eq. 10–11).

    Deviation: Q is the rotation that W is at first, a different one for each `seed`, where the paper fixes the
    permutation of that rotation's factors: L and U begin as the identity, and variables hold nothing but parameters.
    """

    seed: int = 0

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """The identity: W is Q."""
        c = x.shape[-1]
        return {"lower": jnp.zeros((c, c)), "upper": jnp.zeros((c, c)), "log_diagonal": jnp.zeros(c)}

    def kernel(self, params: Params) -> Float[Array, "c c"]:
        """Q·L·U."""
        lower, upper = self._factors(params)
        return _product(_product(self._rotation(lower), lower), upper)

    def inverse_kernel(self, params: Params) -> Float[Array, "c c"]:
        """U⁻¹·L⁻¹·Qᵀ."""
        lower, upper = self._factors(params)
        inner = solve_triangular(lower, self._rotation(lower).T, lower=True, unit_diagonal=True)
        return solve_triangular(upper, inner)

    def log_det(self, params: Params) -> Float[Array, ""]:
        """Of the diagonal."""
        return params["log_diagonal"].sum()

    def _factors(self, params: Params) -> tuple[Array, Array]:
        s = params["log_diagonal"]
        lower = jnp.tril(params["lower"], -1) + jnp.eye(len(s), dtype=s.dtype)
        return lower, jnp.triu(params["upper"], 1) + jnp.diag(jnp.exp(s))

    def _rotation(self, like: Array) -> Array:
        return jnp.asarray(rotation(like.shape[-1], self.seed), like.dtype)


@functools.lru_cache(maxsize=1024)
def rotation(size: int, seed: int) -> Float[np.ndarray, "n n"]:
    """A random orthogonal matrix: the same for the same seed, everywhere and always, up to rounding."""
    draws = np.random.RandomState(seed).standard_normal((size, size))
    q, r = np.linalg.qr(draws)
    return q * np.sign(np.diag(r))


@dataclasses.dataclass(frozen=True)
class LearnedPrior(Bijector):
    """y = (x − m)·e^{−s}: N(m, e^{2s}) becomes the standard one. m and s are learned for each channel, and move with
    the condition, of which they are linear (1807.03039, code: the learned top, of classes if there are any)."""

    def init(self, key: PRNGKey, x: Examples, condition: Array | None = None) -> Params:
        """A standard prior."""
        params = {"mean": jnp.zeros(x.shape[-1]), "log_scale": jnp.zeros(x.shape[-1])}
        if condition is None:
            return params
        kernel = jnp.zeros((condition.shape[-1], x.shape[-1]))
        return {**params, "mean_kernel": kernel, "log_scale_kernel": kernel}

    def forward(self, params: Params, x: Examples, condition: Array | None = None) -> Moved:
        """Standardised."""
        mean, s = (self._moment(params, name, x, condition) for name in ("mean", "log_scale"))
        return (x - mean) * jnp.exp(-s), -per_example(x, s.sum(axis=-1).reshape(-1))

    def inverse(self, params: Params, y: Examples, condition: Array | None = None) -> Examples:
        """By mean and scale."""
        mean, s = (self._moment(params, name, y, condition) for name in ("mean", "log_scale"))
        return y * jnp.exp(s) + mean

    def _moment(self, params: Params, name: str, x: Array, condition: Array | None) -> Array:
        """That of each example, or of all; with as many axes as x."""
        moment = params[name].reshape(1, *(1 for _ in x.shape[1:-1]), -1)
        return moment if condition is None else moment + _product(condition, params[f"{name}_kernel"])


def _product(x: Array, kernel: Array) -> Array:
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)
