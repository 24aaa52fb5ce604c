"""The U-Net of pix2pix (1611.07004, §6.1.1): an image halved to a point and doubled again, each map beside its mirror.

    down   C64 – C128 – C256 – C512 – C512 – …     4×4 convolutions of stride 2, LeakyReLU .2 before all but the first
    up     CD512 – CD512 – CD512 – … – C64 – image  4×4 transposed convolutions of stride 2, ReLU before each

Widths double from `features` to 8·`features`. Instance norm (1607.08022) stands behind every convolution but the first,
the innermost, whose map may be a single pixel that a norm would make zero, and the last; it is the paper's batch norm
of batches of one. The first three on the way up have dropout, which is all the noise that there is. On the way up each
map has the one of its size on the way down beside it. Weights are drawn from N(0, .02²).

Sides are halved rounding up, and each map on the way up is cut to the size that it had on the way down.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.dropout import Dropout
from jaxgen.nn.initial import normal
from jaxgen.nn.strided import Conv, ConvTranspose

KERNEL = (4, 4)
INITIAL = normal(0.02)
WIDEST = 8
"""The widest maps have so many times the features of the first."""

DROPPED = 3
"""Maps with dropout, from the innermost on."""


def most_halvings(shape: tuple[int, ...]) -> int:
    """How often the sides of an image can be halved, rounding up, until one of them is a pixel.

    >>> most_halvings((256, 256, 3)), most_halvings((28, 20, 1))
    (8, 5)
    """
    return (min(shape[:2]) - 1).bit_length()


class InstanceNorm(nn.Module):
    """Each feature of each image with mean 0 and variance 1 over its pixels, then scaled and shifted; in float32."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        y = x.astype(jnp.float32)
        y = y - y.mean(axis=(1, 2), keepdims=True)
        y = y / jnp.sqrt((y * y).mean(axis=(1, 2), keepdims=True) + 1e-5)
        return (y * scale + bias).astype(x.dtype)


class UNet(nn.Module):
    """From an image in −1 … 1 to one of `channels` channels in −1 … 1, float32, by `depth` halvings; needs the rng
    "dropout" unless `dropout` is 0."""

    channels: int
    features: int = 64
    depth: int = 8
    dropout: float = 0.5
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w k"]) -> Float[Array, "b h w c"]:
        sides, maps = [], []
        for i in range(self.depth):
            sides.append(x.shape[1:3])
            normed = 0 < i < self.depth - 1
            layer = Conv(self._width(i), KERNEL, (2, 2), use_bias=not normed, name=f"down_{i}", **self._knobs)
            x = layer(nn.leaky_relu(x, 0.2) if i else x)
            x = InstanceNorm(name=f"down_norm_{i}")(x) if normed else x
            maps.append(x)
        maps.pop()
        for i in reversed(range(1, self.depth)):
            h, w = sides[i]
            wider = ConvTranspose(self._width(i - 1), KERNEL, (2, 2), use_bias=False, name=f"up_{i}", **self._knobs)
            x = InstanceNorm(name=f"up_norm_{i}")(wider(nn.relu(x))[:, :h, :w])
            if i >= self.depth - DROPPED:
                x = Dropout(self.dropout, deterministic=False)(x)
            x = jnp.concatenate([x, maps.pop()], axis=-1)
        h, w = sides[0]
        x = ConvTranspose(self.channels, KERNEL, (2, 2), name="up_0", **self._knobs)(nn.relu(x))[:, :h, :w]
        return jnp.tanh(x.astype(jnp.float32))

    def _width(self, i: int) -> int:
        return self.features * min(2**i, WIDEST)

    @property
    def _knobs(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "kernel_init": INITIAL}
