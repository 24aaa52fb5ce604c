"""The body that the pixel models of 1601.06759 share, and the three layers that tell them apart.

Body (table 1): 7×7 mask-A convolution to 2h features; `layers` layers, each h → 2h with a residual connection and a
skip connection to the output; ReLU, 1×1 to `head` features, ReLU, 1×1 to the outputs. Every 1×1 is mask B. The
layers are one `scan` over stacked parameters, so that compile time does not grow with depth.
Deviation: the skip connections are 1×1 maps to 2h features, summed with the last layer's residual stream.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.nn.masked import MaskedConv, groups, raster_taps, row_taps
from jaxgen.nn.recurrent import diagonal_bilstm, row_lstm

POINT = ((0, 0),)


def _colours(features: int, channels: int, gates: int = 1) -> tuple[int, ...]:
    return tuple(groups(features, channels, gates).tolist())


class _Layer(nn.Module):
    """One layer: what it computes from (x, right) is `hidden`; residual and skip connections are the same for all."""

    features: int
    channels: int
    dropout: float
    dtype: str
    train: bool

    @nn.compact
    def __call__(self, carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        x, right, skip = carry
        wide = _colours(2 * self.features, self.channels)
        hidden = nn.Dropout(self.dropout, deterministic=not self.train)(self.hidden(x, right))
        out = self.conv("out", POINT, _colours(self.features, self.channels), wide + wide)(hidden)
        x = x + out[..., : len(wide)]
        return (x, x, skip + out[..., len(wide) :]), None

    def conv(self, name: str, taps: Any, source: tuple[int, ...], target: tuple[int, ...]) -> MaskedConv:
        return MaskedConv(taps, "B", source, target, self.dtype, name=name)

    def initial(self, name: str, *shape: int) -> Array:
        return self.param(name, nn.initializers.zeros, (*shape, self.features)).astype(self.dtype)

    def state_to_state(self, *shape: int) -> Array:
        init = nn.initializers.normal(shape[-1] ** -0.5)
        return self.param("state_to_state", init, (*shape, 4 * self.features)).astype(self.dtype)

    def hidden(self, x: Array, right: Array) -> Array:
        """[b,h,w,2·features] to [b,h,w,features]; `right` feeds the right-to-left stream where there is one."""
        raise NotImplementedError


class ConvLayer(_Layer):
    """PixelCNN's layer: ReLU, 1×1 (2h → h), ReLU, 3×3 mask B (h → h), ReLU (1601.06759, figure 5)."""

    def hidden(self, x: Array, right: Array) -> Array:
        wide, narrow = _colours(2 * self.features, self.channels), _colours(self.features, self.channels)
        x = nn.relu(self.conv("narrow", POINT, wide, narrow)(nn.relu(x)))
        return nn.relu(self.conv("conv", raster_taps(3), narrow, narrow)(x))


class RowLayer(_Layer):
    """Row LSTM's layer: input-to-state 1×3 mask B to four gates, each masked by itself; state-to-state 1×3."""

    def hidden(self, x: Array, right: Array) -> Array:
        gates = _colours(self.features, self.channels, gates=4)
        x = self.conv("input_to_state", row_taps(3), _colours(2 * self.features, self.channels), gates)(x)
        return row_lstm(x, self.state_to_state(3 * self.features), self.initial("h0"), self.initial("c0"))


class DiagonalLayer(_Layer):
    """Diagonal BiLSTM's layer: input-to-state 1×1 mask B to eight gates (four for each direction)."""

    def hidden(self, x: Array, right: Array) -> Array:
        wide, gates = _colours(2 * self.features, self.channels), _colours(self.features, self.channels, gates=4)
        left = self.conv("input_to_left", POINT, wide, gates)(x)
        right = self.conv("input_to_right", POINT, wide, gates)(right)
        weights = self.state_to_state(2, 2 * self.features)
        return diagonal_bilstm(left, right, weights, self.initial("h0", 2), self.initial("c0", 2))


class PixelNet(nn.Module):
    """Image in, logits out: the body around `layer`.

    `outputs` per sub-pixel; `marks` adds an ink/no-ink channel (value > 0) and a channel of ones, which shows the
    padding. With `mend`, the first layer's right-to-left stream reads a mask-B embedding of its own: that stream is
    shifted down by one row, so it may see its own pixel, and the mask-A features would hide the last pixel of
    the row above from most columns.
    """

    layer: type[_Layer]
    layers: int
    features: int
    head: int
    channels: int
    outputs: int
    dropout: float = 0.0
    marks: bool = False
    mend: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c outputs"]:
        """Float32 outputs for every sub-pixel; x is the image scaled to 0 … 1."""
        c, wide = self.channels, _colours(2 * self.features, self.channels)
        source = tuple(range(c))
        inputs = [2 * x - 1]
        if self.marks:
            inputs += [(x > 0).astype(x.dtype), jnp.ones_like(x[..., :1])]
            source = (*source, *source, c - 1)
        pixels = jnp.concatenate(inputs, axis=-1)
        embed = MaskedConv(raster_taps(7), "A", source, wide, self.dtype, name="embed")(pixels)
        right = embed
        if self.mend:
            right = MaskedConv(raster_taps(7), "B", source, wide, self.dtype, name="embed_right")(pixels)
        layers = nn.scan(
            self.layer, variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}, length=self.layers
        )(self.features, c, self.dropout, self.dtype, train, name="layers")
        (x, _, skip), _ = layers((embed, right, jnp.zeros_like(embed)), None)
        heads = _colours(self.head, c)
        target = tuple(np.repeat(np.arange(c), self.outputs).tolist())
        x = MaskedConv(POINT, "B", wide, heads, self.dtype, name="head")(nn.relu(x + skip))
        x = MaskedConv(POINT, "B", heads, target, "float32", name="logits")(nn.relu(x).astype(jnp.float32))
        return x.reshape(*x.shape[:3], c, self.outputs)
