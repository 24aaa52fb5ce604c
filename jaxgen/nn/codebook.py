"""A codebook that follows what is looked up in it: VQ-VAE's (1711.00937, §3.1 and appendix A.1).

The codebook is no parameter but two arrays of moving averages, of which its entries are the quotient:

    share_i ← γ share_i + (1 − γ) K n_i / N            n_i of the N vectors of a batch chose entry i of K
    sum_i   ← γ sum_i   + (1 − γ) K/N Σ_{x chose i} x
    e_i     = sum_i / share_i

Deviations: counts are shares, 1 where all entries are used alike, so that nothing depends on the size of a batch; and
shares are smoothed (Laplace's: ε is added to each, and their sum kept), so that an entry that nobody chooses stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.core.model import PRNGKey

EPSILON = 1e-5
"""What Laplace's smoothing adds to a share."""

FRESH = 1e-2
"""The share of an entry that was never used."""

Codebook = Mapping[str, Any]
"""`share`, float32[k], and `sum`, float32[k,d]."""


def fresh_codebook(key: PRNGKey, count: int, width: int) -> dict[str, Array]:
    """A codebook of `count` entries from N(0, I), which hardly count: `restarted` begins it with the first batch."""
    return {"share": jnp.full(count, FRESH, jnp.float32), "sum": FRESH * jax.random.normal(key, (count, width))}


def vectors_of(codebook: Codebook) -> Float[Array, "k d"]:
    """The vectors of the codebook.

    >>> vectors_of({"share": jnp.array([0.5, 1.5]), "sum": jnp.array([[1.0, 2.0], [3.0, 0.0]])}).round(3).tolist()
    [[2.0, 4.0], [2.0, 0.0]]
    """
    share = codebook["share"]
    total = share.sum()
    smoothed = (share + EPSILON) / (total + len(share) * EPSILON) * total
    return codebook["sum"] / smoothed[:, None]


def nearest(x: Float[Array, "*s d"], vectors: Float[Array, "k d"]) -> Int[Array, "*s"]:
    """The number of the nearest of the vectors to each x, the first of several.

    >>> nearest(jnp.array([[0.2], [0.9]]), jnp.array([[1.0], [0.0]])).tolist()
    [1, 0]
    """
    products = jnp.einsum("...d,kd->...k", x, vectors, precision="highest")
    return jnp.argmin(jnp.square(vectors).sum(axis=1) - 2.0 * products, axis=-1).astype(jnp.int32)


def straight_through(x: Float[Array, "*s d"], quantised: Float[Array, "*s d"]) -> Float[Array, "*s d"]:
    """The quantised vectors, bit for bit, whose gradient goes to x as if it were they (1711.00937, eq. 3)."""
    return jax.lax.stop_gradient(quantised) + (x - jax.lax.stop_gradient(x))


def followed(
    codebook: Codebook, x: Float[Array, "n d"], codes: Int[Array, " n"], decay: float
) -> dict[str, Float[Array, "k ..."]]:
    """The codebook after a batch of vectors x that chose `codes`."""
    k = len(codebook["share"])
    chosen = jax.nn.one_hot(codes, k, dtype=jnp.float32) * (k / len(x))
    share, total = chosen.sum(axis=0), jnp.einsum("nk,nd->kd", chosen, x, precision="highest")
    return {
        "share": decay * codebook["share"] + (1.0 - decay) * share,
        "sum": decay * codebook["sum"] + (1.0 - decay) * total,
    }


def restarted(
    codebook: Codebook, x: Float[Array, "n d"], key: PRNGKey, least: float
) -> dict[str, Float[Array, "k ..."]]:
    """The codebook with a draw from the vectors x in place of each entry whose share is below `least`."""
    share, total = codebook["share"], codebook["sum"]
    dead, fresh = share < least, x[jax.random.randint(key, share.shape, 0, len(x))]
    return {"share": jnp.where(dead, 1.0, share), "sum": jnp.where(dead[:, None], fresh, total)}


def perplexity(codes: Int[Array, "*s"], count: int) -> Float[Array, ""]:
    """e^H of how often each of `count` codes occurs: as many as would be used, were they used alike.

    >>> round(float(perplexity(jnp.array([0, 1, 0, 1]), 8)), 4)
    2.0
    """
    frequency = jnp.bincount(codes.reshape(-1), length=count) / codes.size
    return jnp.exp(-jax.scipy.special.xlogy(frequency, frequency).sum())
