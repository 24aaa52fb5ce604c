"""The up-sampling network of the multi-scale PixelRNN (1601.06759, §3.6): a small image to a map of features.

A 3×3 convolution of the small image, then transposed convolutions, each with a ReLU behind it. A transposed
convolution with stride s and a kernel of 3s×3s is a 3×3 convolution whose outputs are the s×s pixels that replace each
pixel. It is computed as that: one matrix product, and nothing that XLA-CPU runs slowly inside loops.
Deviation: the mean of the first convolution's features is added to each of them by a map of its own, so that every
pixel is told something of the whole small image, and not of its neighbourhood alone.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.masked import dense, relu, tap_conv

TAPS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))


def prime_factors(n: int) -> tuple[int, ...]:
    """The prime factors of n ≥ 1, smallest first: 12 is 2·2·3."""
    factors, p = [], 2
    while n > 1:
        while n % p == 0:
            factors.append(p)
            n //= p
        p += 1
    return tuple(factors)


class UpConv(nn.Module):
    """Transposed convolution to `features` features, with stride `factor` and a kernel of 3·factor, and bias."""

    features: int
    factor: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """Map `factor` times as high and wide."""
        b, h, w, i = x.shape
        s, o, dtype = self.factor, self.features, jnp.dtype(self.dtype)
        init = nn.initializers.normal((len(TAPS) * i) ** -0.5)
        kernel = self.param("kernel", init, (len(TAPS), i, s * s * o)).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (o,)).astype(dtype)
        y = tap_conv(x.astype(dtype), kernel, TAPS).reshape(b, h, w, s, s, o)
        return y.swapaxes(2, 3).reshape(b, h * s, w * s, o) + bias


class Upsample(nn.Module):
    """From images, 0 … 1, to maps of `features` features, `scale` times as high and wide.

    One transposed convolution for each prime factor of `scale`.
    """

    features: int
    scale: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 k"]:
        """The map, float32 at least."""
        dtype = jnp.dtype(self.dtype)
        y = UpConv(self.features, 1, self.dtype, name="embed")(2 * x - 1)
        summary = self.param("summary", nn.initializers.lecun_normal(), (self.features, self.features))
        y = relu(y + dense(jax.nn.tanh(y).mean(axis=(1, 2), keepdims=True), summary.astype(dtype)))
        for n, factor in enumerate(prime_factors(self.scale)):
            y = relu(UpConv(self.features, factor, self.dtype, name=f"up_{n}")(y))
        return y.astype(jnp.promote_types(dtype, jnp.float32))
