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

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.models.pixel.grouped import GroupedNet
from jaxgen.nn.dropout import Dropout, takes_keys
from jaxgen.nn.masked import POINT, Colours, MaskedConv, Taps, centre_mask, colours, dense, gather, row_taps

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
    """tanh of the first half of the features times σ of the second (1606.05328, eq. 2). Remembers x alone."""
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.tanh(a) * jax.nn.sigmoid(b)


def _gate_forward(x: Array) -> tuple[Array, Array]:
    return gate(x), x


def _gate_backward(x: Array, dy: Array) -> tuple[Array]:
    a, b = jnp.split(x, 2, axis=-1)
    t, s = jnp.tanh(a), jax.nn.sigmoid(b)
    return (jnp.concatenate([dy * s * (1 - t * t), dy * t * s * (1 - s)], axis=-1),)


gate.defvjp(_gate_forward, _gate_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def joint_conv(
    maps: tuple[Float[Array, "b h w _"], ...], kernel: Float[Array, "k o"], taps: tuple[Taps, ...]
) -> Float[Array, "b h w o"]:
    """The sum of convolutions of several maps, each over taps of its own, and a bias, as one matrix product.

    The rows of `kernel` are the maps' kernels [taps·inputs,o] one below the other, and at last the bias: added
    afterwards, inside a loop over layers, it would keep XLA-CPU from vectorising the gate (forward pass: half as slow
    again), and its gradient would be a pass of its own. Shifted copies are made anew in the backward pass.
    """
    columns = _columns(maps, taps)
    return dense(jnp.concatenate([columns, jnp.ones_like(columns[..., :1])], axis=-1), kernel)


def _columns(maps: tuple[Array, ...], taps: tuple[Taps, ...]) -> Array:
    return jnp.concatenate([gather(x, t) for x, t in zip(maps, taps)], axis=-1)


def _joint_conv_forward(maps: Any, kernel: Array, taps: tuple[Taps, ...]) -> tuple[Array, Any]:
    return joint_conv(maps, kernel, taps), (maps, kernel)


def _joint_conv_backward(taps: tuple[Taps, ...], saved: Any, dy: Array) -> tuple[Any, Array]:
    maps, kernel = saved
    columns, spread = jax.vjp(lambda maps: _columns(maps, taps), maps)
    columns = jnp.concatenate([columns, jnp.ones_like(columns[..., :1])], axis=-1)
    dk = columns.reshape(-1, columns.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
    return spread(dense(dy, kernel[:-1].T))[0], dk


joint_conv.defvjp(_joint_conv_forward, _joint_conv_backward)


class Weights(nn.Module):
    """A kernel over `taps`, its centre masked (B) by the colour groups `source` and `target`, and a bias, as rows of o.

    Variance of the initial kernel is `gain`² / (live inputs of the average output).
    """

    taps: Taps
    source: Colours
    target: Colours
    gain: float = 1.0

    @nn.compact
    def __call__(self) -> tuple[Float[Array, "k o"], Float[Array, "1 o"]]:
        """For `joint_conv`."""
        mask = np.ones((len(self.taps), len(self.source), len(self.target)), np.float32)
        if (0, 0) in self.taps:
            mask = centre_mask("B", self.taps, self.source, self.target)
        o = len(self.target)
        kernel = self.param("kernel", nn.initializers.normal(self.gain * (mask.sum() / o) ** -0.5), mask.shape)
        bias = self.param("bias", nn.initializers.zeros, (o,))
        return (kernel if mask.all() else kernel * mask).reshape(-1, o), bias[None]


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
        down_at, right_at = down_taps(self.kernel), row_taps(self.kernel)

        def conv(maps: tuple[Array, ...], taps: tuple[Taps, ...], *rows: Array) -> Array:
            return joint_conv(maps, jnp.concatenate(rows).astype(self.dtype), taps)

        down = conv((v,), (down_at,), *Weights(down_at, (0,) * p, (0,) * 2 * p, 2.0, name="down")())
        link = self.param("link", nn.initializers.normal((2 * p) ** -0.5), (2 * p, 2 * p))
        kernel, bias = Weights(right_at, narrow, gates, name="right")()
        right = conv((x, down), (right_at, POINT), kernel, link, bias)
        if condition is not None:
            init = nn.initializers.lecun_normal()
            kernel = self.param("condition", init, (condition.shape[-1], 4 * p))
            share = dense(condition.astype(self.dtype), kernel.astype(self.dtype))
            down, right = down + share[..., : 2 * p], right + share[..., 2 * p :]
        hidden = Dropout(self.dropout, not self.train)(gate(right))
        out = conv((hidden,), (POINT,), *Weights(POINT, narrow, narrow + narrow, name="out")())
        return (gate(down), x + out[..., :p], skip + out[..., p:]), None


class GatedNet(GroupedNet, kw_only=True):
    """Image in, logits out: `layers` gated layers of `features` features (p) with n×n kernels, n = `kernel`.

    The layers are one `scan` over stacked parameters, so that compile time does not grow with depth.
    """

    kernel: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Float[Array, "b h2 w2 k"] | None = None, train: bool = False
    ) -> Float[Array, "b h w c outputs"]:
        """Outputs for every sub-pixel, in float32 at least; x is the image scaled to 0 … 1.

        `condition` enters both gates of every layer by 1×1 maps of its own, unmasked; height and width 1 where all
        pixels share it.
        """
        c, p, dtype = self.channels, self.features, jnp.dtype(self.dtype)
        pixels, above = self.pixels(x), above_taps(FIRST)
        rows = Weights(above, self.sources, (0,) * p, name="embed_down")()
        down = joint_conv((pixels,), jnp.concatenate(rows).astype(dtype), (above,))
        embed = MaskedConv(row_taps(FIRST), "A", self.sources, colours(p, c), self.dtype, name="embed_right")
        right = embed(pixels)
        layers: Any = nn.scan(
            nn.remat(GatedLayer, prevent_cse=False) if self.remat and train else GatedLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            check_constancy_invariants=takes_keys(self, train),
            length=self.layers,
        )(p, c, self.kernel, self.dropout, self.dtype, train, name="layers")
        (_, x, skip), _ = layers((down, right, jnp.zeros_like(right)), condition)
        return self.results(x + skip)
