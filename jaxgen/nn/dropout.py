"""Dropout whose draws belong to examples, so that devices may share a batch without drawing otherwise."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.keys import example_keys


class Dropout(nn.Module):
    """Zeros features with probability `rate` and scales the others up, drawn for each example by itself; needs the
    rng "dropout" unless `deterministic`."""

    rate: float
    deterministic: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        if self.rate == 0 or self.deterministic:
            return x
        keep = 1.0 - self.rate
        keys = example_keys(self.make_rng("dropout"), len(x))
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x.shape[1:]))(keys)
        return jnp.where(kept, x / keep, 0).astype(x.dtype)


def takes_keys(net: nn.Module, train: bool) -> bool:
    """Whether this call of a net that has a `dropout` takes keys: for its parameters, or for what it leaves out.

    Only then flax's `nn.scan` is let look for constants in the layer that it repeats. That costs one more trace, which
    counts in the keys, so that a seed would give other draws without it.
    """
    return net.is_initializing() or (train and net.dropout > 0)
