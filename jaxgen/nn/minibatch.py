"""Minibatch discrimination (1606.03498, §3.2): what a critic learns of an example's mates.

    M_i = f(x_i) T ∈ R^{B×C},   o_b(x_i) = Σ_{j≠i} exp(−‖M_ib − M_jb‖₁)

A generator that draws the same image again and again is told by its o. The paper sums over all j; its own term, which
is 1 whatever the image, is left out here.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


def closeness(m: Float[Array, "n kernels dims"]) -> Float[Array, "n kernels"]:
    """o of each example: how close the others are in each kernel, from 0 to n − 1.

    >>> closeness(jnp.array([[[0.0]], [[0.0]], [[100.0]]]))[:, 0].tolist()
    [1.0, 1.0, 0.0]
    """
    apart = jnp.abs(m[:, None] - m[None]).sum(axis=3)
    others = 1.0 - jnp.eye(len(m))[:, :, None]
    return (jnp.exp(-apart) * others).sum(axis=1)


class MinibatchDiscrimination(nn.Module):
    """`closeness` of features to those of the batch in `kernels` learned projections to `dims` numbers, float32."""

    kernels: int
    dims: int = 5

    @nn.compact
    def __call__(self, features: Float[Array, "n d"]) -> Float[Array, "n kernels"]:
        projection = self.param(
            "projection", nn.initializers.normal(0.05), (features.shape[1], self.kernels, self.dims)
        )
        return closeness(jnp.einsum("nd,dkc->nkc", features.astype(jnp.float32), projection))
