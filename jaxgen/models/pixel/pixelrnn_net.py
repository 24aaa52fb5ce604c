"""The body that the pixel models of 1601.06759 share, and the three layers that tell them apart.

Body (table 1): 7×7 mask-A convolution to 2h features; `layers` layers, each h → 2h with a residual connection and a
skip connection to the output; ReLU, 1×1 to `head_features` features, ReLU, 1×1 to the outputs. Every 1×1 is mask B. The
layers are one `scan` over stacked parameters, so that compile time does not grow with depth; a few are unrolled, which
saves stacking what the backward pass needs of each.
Deviation: the skip connections are 1×1 maps to 2h features, summed with the last layer's residual stream.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.pixel.grouped import GroupedNet
from jaxgen.nn.dropout import Dropout, takes_keys
from jaxgen.nn.lstm import default_pack, diagonal_bilstm, diagonals, row_lstm
from jaxgen.nn.masked import POINT, MaskedConv, colours, dense, raster_taps, relu, row_taps

FEW = 4
"""Layers that are compiled one after the other; more are one loop, so that compile time does not grow with them."""


class _Layer(nn.Module):
    """One layer: what it computes from (x, right) is `hidden`; residual and skip connections are the same for all."""

    features: int
    channels: int
    dropout: float
    dtype: str
    train: bool

    @nn.compact
    def __call__(
        self, carry: tuple[Array, Array, Array], condition: Array | None
    ) -> tuple[tuple[Array, Array, Array], None]:
        x, right, skip = carry
        wide = colours(2 * self.features, self.channels)
        hidden = self.hidden(x, right, condition)
        hidden = Dropout(self.dropout, not self.train)(hidden)
        out = self.conv("out", POINT, colours(self.features, self.channels), wide + wide)(hidden)
        x = x + out[..., : len(wide)]
        return (x, x, skip + out[..., len(wide) :]), None

    def conv(self, name: str, taps: Any, source: tuple[int, ...], target: tuple[int, ...]) -> MaskedConv:
        return MaskedConv(taps, "B", source, target, self.dtype, name=name)

    def initial(self, name: str, *shape: int) -> Array:
        return self.param(name, nn.initializers.zeros, (*shape, self.features)).astype(self.dtype)

    def state_to_state(self, *shape: int) -> Array:
        init = nn.initializers.normal(shape[-1] ** -0.5)
        return self.param("state_to_state", init, (*shape, 4 * self.features)).astype(self.dtype)

    def share(self, condition: Array | None, outputs: int) -> Any:
        """What the condition [b,1|h,1|w,k] adds to a map of so many features: a 1×1 map of it, unmasked."""
        if condition is None:
            return 0
        return dense(condition.astype(self.dtype), self.condition_kernel(condition, outputs))

    def condition_kernel(self, condition: Array, outputs: int) -> Array:
        init = nn.initializers.lecun_normal()
        return self.param("condition", init, (condition.shape[-1], outputs)).astype(self.dtype)

    def hidden(self, x: Array, right: Array, condition: Array | None = None) -> Array:
        """[b,h,w,2·features] to [b,h,w,features]; `right` feeds the right-to-left stream where there is one."""
        raise NotImplementedError


class ConvLayer(_Layer):
    """PixelCNN's layer: ReLU, 1×1 (2h → h), ReLU, 3×3 mask B (h → h), ReLU (1601.06759, figure 5)."""

    def hidden(self, x: Array, right: Array, condition: Array | None = None) -> Array:
        wide, narrow = colours(2 * self.features, self.channels), colours(self.features, self.channels)
        x = relu(self.conv("narrow", POINT, wide, narrow)(relu(x)))
        return relu(self.conv("conv", raster_taps(3), narrow, narrow)(x) + self.share(condition, self.features))


class RowLayer(_Layer):
    """Row LSTM's layer: input-to-state 1×3 mask B to four gates, each masked by itself; state-to-state 1×3."""

    def hidden(self, x: Array, right: Array, condition: Array | None = None) -> Array:
        gates = colours(self.features, self.channels, gates=4)
        x, bias = self.conv("input_to_state", row_taps(3), colours(2 * self.features, self.channels), gates).apart(x)
        x = x + self.share(condition, 4 * self.features)
        return row_lstm(x, bias, self.state_to_state(3 * self.features), self.initial("h0"), self.initial("c0"))


class DiagonalLayer(_Layer):
    """Diagonal BiLSTM's layer: input-to-state 1×1 mask B to eight gates (four for each direction)."""

    def hidden(self, x: Array, right: Array, condition: Array | None = None) -> Array:
        wide, gates = colours(2 * self.features, self.channels), colours(self.features, self.channels, gates=4)
        pack = default_pack(len(x))
        # Skewed before the products and not after them: the input is narrower than its gates.
        left, left_bias = self.conv("input_to_left", POINT, wide, gates).apart(diagonals(x, pack))
        right, right_bias = self.conv("input_to_right", POINT, wide, gates).apart(diagonals(right[:, :, ::-1], pack))
        if condition is not None:
            condition = jnp.broadcast_to(condition, (*x.shape[:3], condition.shape[-1])).astype(self.dtype)
            kernel = self.condition_kernel(condition, 8 * self.features)
            to_left, to_right = jnp.split(kernel, 2, axis=-1)
            left += dense(diagonals(condition, pack), to_left)
            right += dense(diagonals(condition[:, :, ::-1], pack), to_right)
        bias, weights = jnp.stack([left_bias, right_bias]), self.state_to_state(2, 2 * self.features)
        return diagonal_bilstm(left, right, bias, weights, self.initial("h0", 2), self.initial("c0", 2), pack)


class PixelNet(GroupedNet, kw_only=True):
    """Image in, logits out: the body around `layer`.

    With `mend`, the first layer's right-to-left stream reads a mask-B embedding of its own: that stream is shifted
    down by one row, so it may see its own pixel, and the mask-A features would hide the last pixel of the row above
    from most columns.
    """

    layer: type[_Layer]
    mend: bool = False

    @property
    def stream(self) -> int:
        """Twice the hidden features."""
        return 2 * self.features

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Float[Array, "b h2 w2 k"] | None = None, train: bool = False
    ) -> Float[Array, "b h w c outputs"]:
        """Outputs for every sub-pixel, in float32 at least; x is the image scaled to 0 … 1.

        `condition` is added to every layer's input-to-state map by a 1×1 map of its own, unmasked; height and width 1
        where all pixels share it.
        """
        source, wide = self.sources, colours(self.stream, self.channels)
        pixels = self.pixels(x)
        embed = MaskedConv(raster_taps(7), "A", source, wide, self.dtype, name="embed")(pixels)
        right = embed
        if self.mend:
            right = MaskedConv(raster_taps(7), "B", source, wide, self.dtype, name="embed_right")(pixels)
        again = self.remat and train  # in a loop, since XLA-CPU would compute the layers anew all at once
        layers = nn.scan(
            nn.remat(self.layer, prevent_cse=False) if again else self.layer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            check_constancy_invariants=takes_keys(self, train),
            length=self.layers,
            unroll=self.layers if self.layers <= FEW and not again else 1,
        )(self.features, self.channels, self.dropout, self.dtype, train, name="layers")
        (x, _, skip), _ = layers((embed, right, jnp.zeros_like(embed)), condition)
        return self.results(x + skip)
