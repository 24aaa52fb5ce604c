"""Attention that sees only what comes before."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxgen.core.dtypes import accumulator


def masked_softmax(scores: Float[Array, "*s m n"], seen: Bool[Array, "m n"]) -> Float[Array, "*s m n"]:
    """Softmax over what is seen; all zeros where nothing is."""
    scores = jnp.where(seen, scores, -jnp.inf)
    top = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


def attend(
    query: Float[Array, "*s m k"], memory: Sequence[tuple[Array, Array]], seen: Bool[Array, "m n"]
) -> Float[Array, "*s m v"]:
    """Values mixed by softmax(query · key / √k) over the keys that each query sees, in float32 at least.

    `memory` holds keys [*s,n_i,k] with their values [*s,n_i,v], in parts one behind the other: n = Σ n_i.
    """
    wide = accumulator(query.dtype)
    scores = [jnp.einsum("...mk,...nk->...mn", query, key, preferred_element_type=wide) for key, _ in memory]
    weights = masked_softmax(jnp.concatenate(scores, axis=-1) * query.shape[-1] ** -0.5, seen)
    ends = np.cumsum([part.shape[-1] for part in scores])[:-1]
    mixed = [
        jnp.einsum("...mn,...nv->...mv", part.astype(value.dtype), value, preferred_element_type=wide)
        for part, (_, value) in zip(jnp.split(weights, ends, axis=-1), memory)
    ]
    return sum(mixed[1:], mixed[0]).astype(query.dtype)


@jax.checkpoint
def causal_attention(
    query: Float[Array, "*s n k"], key: Float[Array, "*s n k"], value: Float[Array, "*s n v"]
) -> Float[Array, "*s n v"]:
    """Each place attends to the places before it, and the first one to nothing: its output is zero.

    The gradient computes the n×n weights again rather than keep them, which costs little beside the convolutions.
    """
    n = query.shape[-2]
    return attend(query, [(key, value)], jnp.tril(jnp.ones((n, n), bool), -1))
