"""Fully connected layers."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Perceptron(nn.Module):
    """Dense layers with tanh between them, and one dense map per entry of `outputs` on top, in float32."""

    hidden: tuple[int, ...]
    outputs: tuple[tuple[str, int], ...]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b i"]) -> tuple[Float[Array, "b _"], ...]:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform())
        for i, n in enumerate(self.hidden):
            x = jnp.tanh(dense(n, name=f"layer_{i}")(x))
        return tuple(dense(n, name=name)(x).astype(jnp.float32) for name, n in self.outputs)
