"""Discrete distributions over pixel values, given logits. All in float32, nats.

A Bernoulli is the categorical of two levels with logits (0, l): p(1) = σ(l).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


def categorical_log_prob(
    logits: Float[Array, "*s levels"], value: Integer[Array | np.ndarray, "*s"]
) -> Float[Array, "*s"]:
    """log p(value) under softmax(logits). The gradient is one pass: value's one-hot minus the softmax."""
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, value[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)
