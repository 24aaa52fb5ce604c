"""The hourglass of Deep Image Prior (1711.10925, figure 21 and table 1).

At each scale the map goes two ways. One halves its sides by a 3×3 convolution of stride 2, has another 3×3 convolution
behind it, goes through all deeper scales and is enlarged to twice its sides; the other is a 1×1 convolution to a few
features, the skip, or is not there. Both are joined, normalised, and end in a 3×3 and a 1×1 convolution. Each
convolution is followed by batch normalisation and LeakyReLU of slope .2, the last one by a sigmoid.

Batch normalisation is that of a single image: mean and variance over its own map, always, with no running statistics.
Where a side is odd, what was enlarged is cut to the side that it had. Deviation: no bias stands where a normalisation
takes it away again.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.maths.resample import doubled

EPSILON = 1e-5
"""Beside the variance of a map, as in PyTorch."""

UPSAMPLING: dict[str, Any] = {
    "bilinear": doubled,
    "nearest": lambda x: x.repeat(2, axis=1).repeat(2, axis=2),
}
"""How a map is enlarged to twice its sides."""


def uniform_fan_in(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    """U(−1/√n, 1/√n) with n the inputs that an output sums over: PyTorch's initial kernels. Drawn along one axis, which
    compiles sooner."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound).reshape(shape)


def least_side(scales: int) -> int:
    """Pixels that an image must be wide and high, for the map of the deepest scale to have two: one alone has no
    variance, and nothing to reflect."""
    return 2**scales + 1


class Hourglass(nn.Module):
    """From maps to images of `channels` channels, 0 … 1, of the same sides, odd ones too.

    `features` are those of each scale, the finest first, and `skips` those of its way past the deeper ones, 0 for none.
    """

    channels: int
    features: tuple[int, ...] = (128,) * 5
    skips: tuple[int, ...] = (4,) * 5
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    padding: Literal["reflect", "zero"] = "reflect"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b h w d"]) -> Float[Array, "b h w channels"]:
        x = self._scale(z, 0)
        x = nn.Conv(self.channels, (1, 1), kernel_init=uniform_fan_in, dtype=self.dtype, name="image")(x)
        return nn.sigmoid(x.astype("float32"))

    def _scale(self, x: Array, i: int) -> Array:
        h, w = x.shape[1:3]
        n, skip = self.features[i], self.skips[i]
        deep = self._conv(x, n, 3, f"down_{i}", stride=2)
        deep = self._conv(deep, n, 3, f"deep_{i}")
        if i + 1 < len(self.features):
            deep = self._scale(deep, i + 1)
        joined = UPSAMPLING[self.upsampling](deep)[:, :h, :w]
        if skip:
            joined = jnp.concatenate([self._conv(x, skip, 1, f"skip_{i}"), joined], axis=-1)
        joined = Normalised(dtype=self.dtype, name=f"join_{i}")(joined)
        return self._conv(self._conv(joined, n, 3, f"up_{i}"), n, 1, f"out_{i}")

    def _conv(self, x: Array, features: int, kernel: int, name: str, stride: int = 1) -> Array:
        """Convolution, normalisation, LeakyReLU."""
        edge = kernel // 2
        if edge:
            mode = "reflect" if self.padding == "reflect" else "constant"
            x = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode=mode)
        conv = partial(nn.Conv, padding="VALID", use_bias=False, kernel_init=uniform_fan_in, dtype=self.dtype)
        x = conv(features, (kernel, kernel), (stride, stride), name=name)(x)
        return nn.leaky_relu(Normalised(dtype=self.dtype, name=f"{name}_norm")(x), 0.2)


class Normalised(nn.Module):
    """Each feature less its mean over the map, divided by its standard deviation there, then scaled and shifted by
    parameters; statistics in float32."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        shift = self.param("shift", nn.initializers.zeros, (x.shape[-1],))
        y = x.astype("float32")
        mean = y.mean(axis=(1, 2), keepdims=True)
        variance = ((y - mean) ** 2).mean(axis=(1, 2), keepdims=True)
        gain = scale * jax.lax.rsqrt(variance + EPSILON)
        return ((y - mean) * gain + shift).astype(self.dtype)
