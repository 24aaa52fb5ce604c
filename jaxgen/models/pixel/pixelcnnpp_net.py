"""PixelCNN++'s net: two streams of shifted convolutions, down through several resolutions and up again (1701.05517).

The stream *above* sees the rows above a pixel, the stream *left* these (through the other) and what is left of it in
its own row. Each is led through gated ResNet layers, halved in size between resolutions and doubled again, with
short-cuts from the layers on the way down to those on the way up (§2.4, figure 2, and the reference code). No feature
sees its own pixel: how the channels of a pixel depend on each other is the head's affair. Sides of any length will do:
halves are rounded up, and doubled maps cut to the size of their short-cut.

The wiring is written once, in `Hourglass`; the net, its declared context (`reach`) and the cached sampler all follow
it. The layers are not scanned: XLA-CPU runs the gradients of convolutions in loops many times slower.
"""

from __future__ import annotations

import abc
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxgen.core.dtypes import accumulator
from jaxgen.nn.shifted import (
    GatedResNet,
    down_right_shifted,
    down_right_shifted_up,
    down_shift,
    down_shifted,
    down_shifted_up,
    framed,
    right_shift,
)
from jaxgen.nn.weight_norm import WeightNormConv


class Hourglass(abc.ABC):
    """The wiring: what a map passes through, `layers` layers at each of `resolutions` resolutions and as many back.

    On the way back each layer has a short-cut from a map of the way down, the latest one first; these are one more
    than the layers where a finer map comes up from a coarser one. What "a map" is, implementations say.
    """

    layers: int
    resolutions: int

    def through(self, level: int, x: Any) -> Any:
        """A map of resolution `level` (0: that of the image), from its first layer there to its last."""
        passed = [x]
        for n in range(self.layers):
            passed.append(self.layer(level, n, passed[-1], None))
        x = passed.pop() if level + 1 == self.resolutions else self.inner(level, passed[-1])
        for n, shortcut in enumerate(reversed(passed), self.layers):
            x = self.layer(level, n, x, shortcut)
        return x

    @abc.abstractmethod
    def layer(self, level: int, n: int, x: Any, shortcut: Any) -> Any:
        """Layer n of a resolution; the first `layers` of them have None for a short-cut."""

    @abc.abstractmethod
    def inner(self, level: int, x: Any) -> Any:
        """Down to the next resolution, `through` it, and up again."""


class PlusPlusNet(nn.Module):
    """Image in, outputs of shape `outputs` for each pixel out. Map names are those of the two streams and the level."""

    layers: int
    features: int
    resolutions: int
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
        """In float32 at least; x is the image scaled to 0 … 1.

        `condition` biases the gates of every layer, coarser ones by what it is at the pixels that they stand for;
        height and width 1 where all pixels share it.
        """
        pixels, dtype = self.pixels(x), self.dtype
        above = down_shift(down_shifted(self.features, name="first_above", dtype=dtype)(pixels))
        left = down_shift(down_shifted(self.features, (1, 3), name="first_row", dtype=dtype)(pixels))
        left = left + right_shift(down_right_shifted(self.features, (2, 1), name="first_column", dtype=dtype)(pixels))
        wide = accumulator(jnp.dtype(self.dtype))
        _, left = _Maps(self, condition, train).through(0, (above, left))
        out = WeightNormConv(int(np.prod(self.outputs)), dtype=wide.name, name="out")(jax.nn.elu(left.astype(wide)))
        return out.reshape(*x.shape[:3], *self.outputs)


class _Maps(Hourglass):
    """The wiring over whole maps: x is (above, left)."""

    def __init__(self, net: PlusPlusNet, condition: Array | None, train: bool):
        self.net, self.condition, self.train = net, condition, train
        self.layers, self.resolutions = net.layers, net.resolutions

    def layer(self, level: int, n: int, x: Any, shortcut: Any) -> Any:
        (above, left), (near_above, near_left) = x, ((), ()) if shortcut is None else ((s,) for s in shortcut)
        step = 2**level
        condition = None if self.condition is None else self.condition[:, ::step, ::step]
        options: dict[str, Any] = {"dropout": self.net.dropout, "train": self.train, "dtype": self.net.dtype}
        resnet: Any = nn.remat(GatedResNet) if self.net.remat and self.train else GatedResNet
        above_layer = resnet(down_shifted, name=f"above_{level}_{n}", **options)
        left_layer = resnet(down_right_shifted, name=f"left_{level}_{n}", **options)
        above = above_layer(above, *near_above, condition=condition)
        return above, left_layer(left, above, *near_left, condition=condition)

    def inner(self, level: int, x: Any) -> Any:
        features, dtype, target = self.net.features, self.net.dtype, x[0].shape[1:3]
        down = {"above": down_shifted, "left": down_right_shifted}
        up = {"above": down_shifted_up, "left": down_right_shifted_up}
        halves = [
            conv(features, stride=2, dtype=dtype, name=f"{stream}_{level}_down")(part)
            for (stream, conv), part in zip(down.items(), x)
        ]
        halves = self.through(level + 1, tuple(halves))
        return tuple(
            conv(features, target, dtype=dtype, name=f"{stream}_{level}_up")(part)
            for (stream, conv), part in zip(up.items(), halves)
        )


def reach(layers: int, resolutions: int, height: int, width: int) -> Bool[np.ndarray, "h w h2 w2"]:
    """Which pixels (last two axes) the outputs for a pixel (first two) depend on: the wiring, followed with sets.

    All that comes before a pixel, where the net is deep enough for the image, but for a hole that coarser maps do not
    mend. They join at even rows and columns, and know what lies before those. In odd rows, what is left in the own
    row and what is right in the row above is therefore seen as far only as the finest layers reach by themselves:
    4·layers + 2 columns (4·layers + 1 with one resolution). The paper's net for 32×32 images has this hole.
    """
    pixels = np.eye(height * width, dtype=bool).reshape(height, width, -1)
    above = _moved(_convolved(pixels, _WIDE), 1, 0)
    left = _moved(_convolved(pixels, _WIDE[:3]), 1, 0) | _moved(_convolved(pixels, ((0, 0), (1, 0))), 0, 1)
    return _Sets(layers, resolutions).through(0, (above, left))[1].reshape(height, width, height, width)


_WIDE = ((0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
_CORNER = ((0, 0), (0, 1), (1, 0), (1, 1))
"""How many rows down, and columns to the right, an input has its effect: of the 2×3 and the 2×2 convolution."""


class _Sets(Hourglass):
    """The wiring over sets of pixels: x is (above, left), each `bool[h,w,n]`."""

    def __init__(self, layers: int, resolutions: int):
        self.layers, self.resolutions = layers, resolutions

    def layer(self, level: int, n: int, x: Any, shortcut: Any) -> Any:
        (above, left), (near_above, near_left) = x, shortcut or (False, False)
        above = _convolved(_convolved(above, _WIDE) | near_above, _WIDE)
        return above, _convolved(_convolved(left, _CORNER) | above | near_left, _CORNER)

    def inner(self, level: int, x: Any) -> Any:
        h, w = x[0].shape[:2]
        halves = tuple(_convolved(part, taps)[::2, ::2] for part, taps in zip(x, (_WIDE, _CORNER)))
        above, left = (part.repeat(2, 0).repeat(2, 1)[:h, :w] for part in self.through(level + 1, halves))
        above[:, 1::2] |= _moved(above, 0, -1)[:, 1::2]
        return above, left


def _moved(sets: np.ndarray, down: int, right: int) -> np.ndarray:
    """A map moved by at most one row or column, nothing coming in."""
    h, w = sets.shape[:2]
    padded = np.pad(sets, ((1, 1), (1, 1), (0, 0)))
    return padded[1 - down : 1 - down + h, 1 - right : 1 - right + w]


def _convolved(sets: np.ndarray, taps: tuple[tuple[int, int], ...]) -> np.ndarray:
    union = np.zeros_like(sets)
    for down, right in taps:
        union |= _moved(sets, down, right)
    return union
