"""Bounds of log p(x) by draws of a latent code: the ELBO (1312.6114), L_k (1509.00519), and which units carry anything.

With weights `w_i = p(x, z_i) / q(z_i|x)` of draws `z_i ~ q(z|x)`, i = 1 … k, all in nats:

    ELBO = E log w_1 = E_q log p(x|z) − KL(q(z|x) ‖ p(z))                        (1312.6114, eq. 3)
    L_k  = E log 1/k Σ_i w_i,  ELBO = L_1 ≤ L_2 ≤ … → log p(x)                  (1509.00519, eq. 8 and theorem 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxgen.core.errors import UsageError
from jaxgen.core.model import PRNGKey

ACTIVE = 0.01
"""The least variance of a posterior mean over images by which a unit counts as active (1509.00519, §5.1)."""


def elbo(log_likelihood: Float[Array, "*b"], kl: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The ELBO in nats, of log p(x|z) at a draw z ~ q(z|x) and KL(q(z|x) ‖ p(z)).

    >>> float(elbo(jnp.float32(-80.0), jnp.float32(20.0)))
    -100.0
    """
    return log_likelihood - kl


def importance_bound(log_weights: Float[Array, "*b k"]) -> Float[Array, "*b"]:
    """log 1/k Σ_i w_i in nats, from log w_i along the last axis: an unbiased estimate of L_k.

    Its gradient is Σ_i ŵ_i ∇ log w_i with ŵ_i = w_i / Σ_j w_j (1509.00519, eq. 14).

    >>> round(float(importance_bound(jnp.log(jnp.array([1.0, 2.0, 6.0])))), 4)  # log 3
    1.0986
    """
    return jax.nn.logsumexp(log_weights, axis=-1) - math.log(log_weights.shape[-1])


def importance_bound_in_chunks(
    log_weights: Callable[[PRNGKey, int], Float[Array, "*b _"]], key: PRNGKey, k: int, chunk: int
) -> Float[Array, "*b"]:
    """The same of k weights, `chunk` of them in memory at a time: `log_weights(key, n)` draws log-weights [*b,n].

    Raises `UsageError` for k below 1.
    """
    if k < 1:
        raise UsageError(f"k, the number of importance samples, must be at least 1, got {k}.")
    key, last = jax.random.split(key)
    whole, rest = divmod(k, chunk)

    def add(total: Array, key: PRNGKey) -> tuple[Array, None]:
        return jnp.logaddexp(total, jax.nn.logsumexp(log_weights(key, chunk), axis=-1)), None

    parts = []
    if rest:
        parts.append(jax.nn.logsumexp(log_weights(last, rest), axis=-1))
    if whole:
        shape = jax.eval_shape(lambda key: log_weights(key, chunk)[..., 0], key)
        nothing = jnp.full(shape.shape, -jnp.inf, shape.dtype)
        parts.append(jax.lax.scan(add, nothing, jax.random.split(key, whole))[0])
    return cast(Array, jax.nn.logsumexp(jnp.stack(parts), axis=0)) - math.log(k)


def active_units(mean: Float[Array | np.ndarray, "n d"], least: float = ACTIVE) -> Bool[np.ndarray, " d"]:
    """Which units of a latent code carry something of the images: those whose posterior mean varies by more than
    `least` from image to image, Var_x E_q[z_d] > 0.01 (1509.00519, §5.1).

    The means of a run are what it encodes images as: `active_units(jaxgen.load("runs/vae").encode(image)).sum()`.

    >>> active_units(np.array([[0.0, 1.0], [0.1, -1.0]])).tolist()
    [False, True]
    """
    return np.asarray(np.var(np.asarray(mean, np.float64), axis=0) > least)
