"""Gated PixelCNN: a vertical stack that sees the rows above, and a horizontal stack that sees the pixels to the left.

1606.05328, figure 2: each layer has an n×n convolution p → 2p in the vertical stack, a 1×n one in the horizontal stack
to which a 1×1 map of the vertical one is added, and in both the gate of eq. 2, tanh(·)⊙σ(·), inside which the
condition is added (eq. 4 for a vector, eq. 5 for a map). A 1×1 map and the residual connection follow in the
horizontal stack only. Together they see all rows above and all that is to the left: no blind spot.

The vertical stack is causal from its first convolution on, which reads the three rows above and nothing else; later
ones read rows r−⌊n/2⌋ … r of the stack itself, so nothing has to be shifted down, and it needs no colour groups.
Deviations: the first layer is a plain 7×7 convolution in both stacks (as 1601.06759's); every layer also has a skip
connection, summed with the last layer's residual stream before ReLU, 1×1, ReLU and 1×1 (ibid., table 1).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.nn.masked import MaskedConv, Taps, dense, row_taps, tap_conv
from jaxgen.nn.pixel import POINT, colours, relu
from jaxgen.nn.recurrent import accumulator

FIRST = 7
"""Width of the first convolutions."""


def above_taps(size: int) -> Taps:
    """Offsets of a `size`×`size` kernel that lie in the rows above the centre."""
    r = size // 2
    return tuple((i, j) for i in range(-r, 0) for j in range(-r, r + 1))


def down_taps(size: int) -> Taps:
    """Offsets of a `size`×`size` kernel that lie in the centre's row and the rows above it."""
    r = size // 2
    return tuple((i, j) for i in range(-r, 1) for j in range(-r, r + 1))


@jax.custom_vjp
def gate(x: Float[Array, "*s gates"]) -> Float[Array, "*s p"]:
    """tanh of the first half of the features times σ of the second (1606.05328, eq. 2)."""
    return _gate_forward(x)[0]


def _gate_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    features = x.shape[-1] // 2
    # The barrier keeps XLA-CPU from computing them again in each of the shifted copies that read their product.
    t, s = jax.lax.optimization_barrier((jnp.tanh(x[..., :features]), jax.nn.sigmoid(x[..., features:])))
    return t * s, (t, s)


def _gate_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    t, s = saved
    return (jnp.concatenate([dy * s * (1 - t * t), dy * t * s * (1 - s)], axis=-1),)


gate.defvjp(_gate_forward, _gate_backward)


class TapConv(nn.Module):
    """Convolution over `taps` without masks, with bias. The initial kernel has variance `gain`² / inputs."""

    taps: Taps
    features: int
    gain: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """Feature map of the same height and width."""
        shape = (len(self.taps), x.shape[-1], self.features)
        init = nn.initializers.normal(self.gain * (shape[0] * shape[1]) ** -0.5)
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return tap_conv(x.astype(self.dtype), kernel, self.taps) + bias


class GatedLayer(nn.Module):
    """One layer of both stacks; the carry is the vertical stack, the horizontal one, and the sum of skip connections.

    Dropout acts on the horizontal stack's gated features. The vertical stack has no residual connection, and a gate
    halves what is small: its kernels start with gain 2, without which deep layers would see nothing of the rows above.
    """

    features: int
    channels: int
    kernel: int
    dropout: float
    dtype: str
    train: bool

    @nn.compact
    def __call__(
        self, carry: tuple[Array, Array, Array], condition: Array | None
    ) -> tuple[tuple[Array, Array, Array], None]:
        v, x, skip = carry
        p, narrow = self.features, colours(self.features, self.channels)
        gates = colours(p, self.channels, gates=2)
        down = TapConv(down_taps(self.kernel), 2 * p, 2.0, self.dtype, name="down")(v)
        right = MaskedConv(row_taps(self.kernel), "B", narrow, gates, self.dtype, name="right")(x)
        link = self.param("link", nn.initializers.normal((2 * p) ** -0.5), (2 * p, 2 * p))
        right = right + dense(down, link.astype(self.dtype))
        if condition is not None:
            init = nn.initializers.lecun_normal()
            kernel = self.param("condition", init, (condition.shape[-1], 4 * p)).astype(self.dtype)
            share = dense(condition.astype(self.dtype), kernel)
            down, right = down + share[..., : 2 * p], right + share[..., 2 * p :]
        hidden = nn.Dropout(self.dropout, deterministic=not self.train)(gate(right))
        out = MaskedConv(POINT, "B", narrow, narrow + narrow, self.dtype, name="out")(hidden)
        return (gate(down), x + out[..., :p], skip + out[..., p:]), None


class GatedNet(nn.Module):
    """Image in, logits out: `layers` gated layers of `features` features (p) with n×n kernels, n = `kernel`.

    `outputs` per sub-pixel; `marks` adds an ink/no-ink channel (value > 0) and a channel of ones, which shows the
    padding. The layers are one `scan` over stacked parameters, so that compile time does not grow with depth.
    """

    layers: int
    features: int
    kernel: int
    head: int
    channels: int
    outputs: int
    dropout: float = 0.0
    marks: bool = False
    dtype: str = "float32"

    @property
    def sources(self) -> tuple[int, ...]:
        """Colour groups of the input channels."""
        plain = tuple(range(self.channels))
        return (*plain, *plain, self.channels - 1) if self.marks else plain

    @property
    def head_maps(self) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
        """Name, source and target groups of the last two 1×1 maps."""
        heads = colours(self.head, self.channels)
        target = tuple(np.repeat(np.arange(self.channels), self.outputs).tolist())
        return ("head", colours(self.features, self.channels), heads), ("logits", heads, target)

    def pixels(self, x: Float[Array, "*s c"]) -> Float[Array, "*s i"]:
        """The input channels: x, 0 … 1, moved to −1 … 1, and the marks."""
        marks = [(x > 0).astype(x.dtype), jnp.ones_like(x[..., :1])] if self.marks else []
        return jnp.concatenate([2 * x - 1, *marks], axis=-1)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Float[Array, "b h2 w2 k"] | None = None, train: bool = False
    ) -> Float[Array, "b h w c outputs"]:
        """Outputs for every sub-pixel, in float32 at least; x is the image scaled to 0 … 1.

        `condition` enters both gates of every layer by 1×1 maps of its own, unmasked; height and width 1 where all
        pixels share it.
        """
        c, narrow, pixels = self.channels, colours(self.features, self.channels), self.pixels(x)
        down = TapConv(above_taps(FIRST), self.features, 1.0, self.dtype, name="embed_down")(pixels)
        right = MaskedConv(row_taps(FIRST), "A", self.sources, narrow, self.dtype, name="embed_right")(pixels)
        layers: Any = nn.scan(
            GatedLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=self.layers,
        )(self.features, c, self.kernel, self.dropout, self.dtype, train, name="layers")
        (_, x, skip), _ = layers((down, right, jnp.zeros_like(right)), condition)
        for name, source, target in self.head_maps:
            last = name == "logits"
            dtype = accumulator(jnp.dtype(self.dtype)).name if last else self.dtype
            x = relu(x.astype(dtype) if last else x + skip)
            x = MaskedConv(POINT, "B", source, target, dtype, name=name)(x)
        return x.reshape(*x.shape[:3], c, self.outputs)
