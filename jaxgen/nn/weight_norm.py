"""Weight normalisation with data-dependent initialisation (1602.07868, eq. 2 and §3).

A kernel is `scale · direction / ‖direction‖`, one norm and one scale for each output feature. At `init`, the scale and
the bias are set from the batch that is passed, such that each output feature has mean 0 and standard deviation
`init_scale` over batch and positions. Deviation: a feature that hardly varies in that batch (identical images, a
map of one position) is left with scale `init_scale`, since to blow up its rounding errors would serve nobody.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn import initial
from jaxgen.nn.masked import dense

LEAST_DEVIATION = 1e-2
"""Of an output feature, under a kernel of norm 1, for its scale to be set from it."""


def normalised(direction: Float[Array, "*s i o"], scale: Float[Array, " o"]) -> Float[Array, "*s i o"]:
    """The kernel that has these directions and, for each output feature, the norm |scale|."""
    squares = jnp.square(direction).sum(axis=tuple(range(direction.ndim - 1)))
    return direction * (scale * jax.lax.rsqrt(jnp.maximum(squares, 1e-12)))


def kernel_and_bias(params: Any, dtype: Any) -> tuple[Float[Array, "kh kw i o"], Float[Array, " o"]]:
    """What a `WeightNormConv` of these parameters convolves with, and adds, in its dtype: for cached samplers."""
    return normalised(params["direction"], params["scale"]).astype(dtype), params["bias"].astype(dtype)


class WeightNormConv(nn.Module):
    """A convolution with bias whose kernel is normalised; by default 1×1, which takes arrays of any rank.

    `padding` is (before, after) for rows and columns; `spread` puts spread − 1 zeros between the inputs, which makes
    a transposed convolution of that stride.
    """

    features: int
    size: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    stride: int = 1
    spread: int = 1
    init_scale: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "*s i"]) -> Float[Array, "*s2 o"]:
        """The map of `features` features, in `dtype`."""
        shape = (*self.size, x.shape[-1], self.features)
        direction = self.param("direction", initial.normal(0.05), shape)
        scale, bias = jnp.ones(self.features), jnp.zeros(self.features)
        if self.is_initializing():
            y = self._convolve(x, normalised(direction, scale))
            y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
            axes = tuple(range(y.ndim - 1))
            mean, deviation = y.mean(axis=axes), y.std(axis=axes)
            scale = self.init_scale / jnp.where(deviation > LEAST_DEVIATION, deviation, 1.0)
            scale, bias = scale.astype(jnp.float32), (-mean * scale).astype(jnp.float32)
        scale = self.param("scale", lambda _: scale)
        bias = self.param("bias", lambda _: bias)
        return self._convolve(x, normalised(direction, scale)) + bias.astype(self.dtype)

    def _convolve(self, x: Array, kernel: Array) -> Array:
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if self.size == (1, 1):
            return dense(x, kernel[0, 0])
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride,) * 2,
            padding=self.padding,
            lhs_dilation=(self.spread,) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
