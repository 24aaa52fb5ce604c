"""PixelSNAIL's net: causal convolutions by turns with causal attention (1712.09763, §2, and its authors' code).

Each block is `layers` gated ResNet layers of 2×2 convolutions (above-left, above, left, own), then attention over all
pixels before the own one, then a 1×1 gated ResNet that merges the two. Features never see their own pixel: the first
maps read the row above and the left neighbour only. The keys and values also read the image at their own place, and so
are open to later pixels alone. Position enters as two channels, row and column.

ELU is the nonlinearity, as in the command that the authors give for their figures, and not the concat-ELU of their
functions' defaults. The blocks are one `scan` over stacked parameters, so that compile time does not grow with their
number; convolutions are products over taps (`nn.masked`), which on a CPU stay fast inside that loop. Deviations: the
weights of attention sum to exactly one (theirs to one less about 1e-6), and no dropout is drawn at initialisation.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.dtypes import accumulator
from jaxgen.nn.attention import causal_attention
from jaxgen.nn.dropout import takes_keys
from jaxgen.nn.masked import Taps, tap_conv
from jaxgen.nn.shifted import GatedResNet, framed
from jaxgen.nn.weight_norm import WeightNormConv

ABOVE: Taps = ((-1, -1), (-1, 0), (-1, 1))
LEFT: Taps = ((-1, -1), (0, -1))
CORNER: Taps = ((-1, -1), (-1, 0), (0, -1), (0, 0))


def positions(height: int, width: int) -> Float[Array, "h w 2"]:
    """Row and column of each pixel, −½ to ½."""
    row, column = jnp.arange(height) / height - 0.5, jnp.arange(width) / width - 0.5
    return jnp.stack(jnp.broadcast_arrays(row[:, None], column), axis=-1)


class WeightNormTaps(WeightNormConv):
    """`WeightNormConv` over a list of taps, zeros outside the map; `size` is (1, number of taps)."""

    taps: Taps = ()

    def _convolve(self, x: Array, kernel: Array) -> Array:
        return tap_conv(x.astype(self.dtype), kernel[0].astype(self.dtype), self.taps)


def over(taps: Taps) -> Any:
    """What makes a `WeightNormTaps` of these taps."""
    return functools.partial(WeightNormTaps, size=(1, len(taps)), taps=taps)


class SnailBlock(nn.Module):
    """Gated ResNet layers, attention, and their merger (1712.09763, figures 3 and 4). Scanned: gives (x, None)."""

    layers: int
    key_size: int
    value_size: int
    dropout: float
    dtype: str
    train: bool

    def resnet(self, conv: Any, name: str) -> GatedResNet:
        return GatedResNet(conv, self.dropout, self.train, self.dtype, jax.nn.elu, name=name)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w f"], image: Array, place: Array, condition: Array | None
    ) -> tuple[Float[Array, "b h w f"], None]:
        """`image` [b,h,w,c] enters keys and values, `place` [b,h,w,2] these and the queries."""
        for n in range(self.layers):
            x = self.resnet(over(CORNER), f"layer_{n}")(x, condition=condition)
        content = jnp.concatenate([image, x, place], axis=-1)
        content = self.resnet(WeightNormConv, "content")(content, condition=condition)
        content = WeightNormConv(self.key_size + self.value_size, dtype=self.dtype, name="key_value")(content)
        query = self.resnet(WeightNormConv, "question")(jnp.concatenate([x, place], axis=-1), condition=condition)
        query = WeightNormConv(self.key_size, dtype=self.dtype, name="query")(query)
        query, content = (a.reshape(a.shape[0], -1, a.shape[-1]) for a in (query, content))
        mixed = causal_attention(query, content[..., : self.key_size], content[..., self.key_size :])
        mixed = mixed.reshape(*x.shape[:3], self.value_size)
        return self.resnet(WeightNormConv, "merge")(x, mixed, condition=condition), None


class SnailNet(nn.Module):
    """Image in, outputs of shape `outputs` for each pixel out: `blocks` blocks of `features` features.

    Keys have `key_size` features, values half as many as the blocks.
    """

    blocks: int
    layers: int
    features: int
    key_size: int
    outputs: tuple[int, ...]
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False

    def pixels(self, x: Float[Array, "*s c"]) -> Float[Array, "*s i"]:
        """The input channels: x, 0 … 1, and its frame."""
        return framed(x).astype(self.dtype)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Float[Array, "b h2 w2 k"] | None = None, train: bool = False
    ) -> Float[Array, "b h w *o"]:
        """In float32 at least; x is the image scaled to 0 … 1. `condition` biases the gates of every gated ResNet;
        height and width 1 where all pixels share it."""
        b, h, w, _ = x.shape
        pixels = self.pixels(x)
        x = over(ABOVE)(self.features, dtype=self.dtype, name="above")(pixels)
        x = x + over(LEFT)(self.features, dtype=self.dtype, name="left")(pixels)
        place = jnp.broadcast_to(positions(h, w).astype(self.dtype), (b, h, w, 2))
        blocks: Any = nn.scan(
            nn.remat(SnailBlock, prevent_cse=False) if self.remat and train else SnailBlock,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            check_constancy_invariants=takes_keys(self, train),
            length=self.blocks,
        )(self.layers, self.key_size, self.features // 2, self.dropout, self.dtype, train, name="blocks")
        x, _ = blocks(x, pixels[..., :-1], place, condition)
        wide = accumulator(jnp.dtype(self.dtype))
        x = WeightNormConv(math.prod(self.outputs), dtype=wide.name, name="out")(jax.nn.elu(x.astype(wide)))
        return x.reshape(b, h, w, *self.outputs)
