"""Strided convolutions down to a vector, and transposed ones up again, for images of any sides."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn.strided import Conv, ConvTranspose


class ConvEncoder(nn.Module):
    """4×4 convolutions of stride 2 with ReLU, one for each of `features`, and one dense map per entry of `outputs` on
    top, in float32."""

    features: tuple[int, ...]
    outputs: tuple[tuple[str, int], ...]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b _"], ...]:
        for i, n in enumerate(self.features):
            x = nn.relu(Conv(n, (4, 4), (2, 2), dtype=self.dtype, name=f"down_{i}")(x))
        x = x.reshape(len(x), -1)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform())
        return tuple(dense(n, name=name)(x).astype("float32") for name, n in self.outputs)


class ConvDecoder(nn.Module):
    """The way back: a dense map to the smallest map, then 4×4 transposed convolutions of stride 2. `features` are the
    encoder's, largest map first; each map is cut to the size that the encoder had there, odd sides too."""

    shape: tuple[int, int]
    features: tuple[int, ...]
    channels: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: Float[Array, "b d"]) -> Float[Array, "b h w channels"]:
        sides = [self.shape]
        for _ in self.features:
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        h, w = sides.pop()
        x = nn.relu(nn.Dense(h * w * self.features[-1], dtype=self.dtype, name="first")(z))
        x = x.reshape(len(z), h, w, self.features[-1])
        for i, n in enumerate((*self.features[-2::-1], self.channels)):
            h, w = sides.pop()
            x = ConvTranspose(n, (4, 4), (2, 2), dtype=self.dtype, name=f"up_{i}")(nn.relu(x) if i else x)
            x = x[:, :h, :w]
        return x.astype("float32")
