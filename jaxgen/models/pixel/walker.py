"""Walking over an image pixel by pixel with memory: what cached samplers, completion and the codec share.

A *walker* is a net's incremental form. Rows are opened and closed: opening one computes, for all of its columns at
once, what finished rows give to them; closing it files away what later rows need. In between, a pixel costs a few
small products. A net's walker must agree with the net: tests hold every output and every drawn pixel against full
passes.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

from jaxgen.core.images import to_float

DrawPixel = Callable[[int, Array, Array], Array]
"""`(channel, outputs, value) -> uint8[b]`: a sub-pixel from the net's outputs for its pixel and from `value`
uint8[b,c], of which the channels before it are set."""


def entry(tree: Any, j: Array, axis: int = 0) -> Any:
    """Entry j of every leaf, counted along `axis`."""
    pick = functools.partial(jax.lax.dynamic_index_in_dim, axis=axis, keepdims=False, allow_negative_indices=False)
    return jax.tree.map(lambda leaf: pick(leaf, j), tree)


def beside(line: Array, columns: tuple[int, ...]) -> Array:
    """A line [w,…,f] at neighbouring columns, −1 to 1, zeros outside, side by side."""
    w = len(line)
    padded = jnp.pad(line, ((1, 1), *((0, 0),) * (line.ndim - 1)))
    return jnp.concatenate([padded[1 + c : 1 + c + w] for c in columns], axis=-1)


class Walker(abc.ABC):
    """The incremental form of a net, for `batch` images of `width` columns and `channels`; pytrees are its own affair.

    `condition` is as the net takes it: [b,h,w,k], height and width 1 where all pixels share it.
    """

    def __init__(self, net: Any, width: int, channels: int, batch: int, levels: int, condition: Array | None = None):
        self.net, self.width, self.channels, self.batch, self.levels = net, width, channels, batch, levels
        self.dtype, self.condition = jnp.dtype(net.dtype), condition

    def pixels(self, value: Array) -> Array:
        """Input channels of values uint8[…,c]."""
        return cast(Array, self.net.pixels(to_float(value, self.levels)))

    def condition_at(self, r: Array) -> Array | None:
        """The condition of row r in the net's dtype, [w,b,k], or [1,b,k] where all columns share it."""
        if self.condition is None:
            return None
        row = jnp.minimum(r, self.condition.shape[1] - 1)
        line = jax.lax.dynamic_index_in_dim(self.condition, row, 1, keepdims=False)
        return line.swapaxes(0, 1).astype(self.dtype)

    def drawn(self, draw: DrawPixel, outputs: Callable[[Array], tuple[Array, Any]]) -> tuple[UInt8[Array, "b c"], Any]:
        """A pixel's channels, one after the other, and what the last pass left: `outputs(value)` gives the net's
        outputs, given the channels of value uint8[b,c] that are drawn already, and what that pass leaves."""
        value, left = jnp.zeros((self.batch, self.channels), jnp.uint8), None
        for k in range(self.channels):
            output, left = outputs(value)
            value = value.at[:, k].set(draw(k, output, value))
        return value, left

    @abc.abstractmethod
    def cache(self) -> Any:
        """What is known before the first row."""

    @abc.abstractmethod
    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """Open row r: what its columns are given, and the first pixel's state."""

    def column(self, given: Any, j: Array) -> Any:
        """What column j is given, of what `row` gave to all; by default, columns are the first axis of every leaf."""
        return entry(given, j)

    @abc.abstractmethod
    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[UInt8[Array, "b c"], Any, Any]:
        """One pixel: its channels by `draw` one after the other, the state for its right neighbour, what its row keeps.

        `given` is its `column` of what `row` gave. What `draw` is given for a channel, and the state, must not depend
        on later channels.
        """

    @abc.abstractmethod
    def finish(self, cache: Any, kept: Any, values: UInt8[Array, "w b c"], r: Array) -> Any:
        """Close row r, of which the pixels kept `kept` (leading axis of columns) and have these values."""


Draw = Callable[[Array, int, Array, Array, Array, Any], Array]
"""`(i, channel, outputs, value, old, noise) -> uint8[b]`: sub-pixel number i (raster order, channels inside) from the
net's outputs for its pixel, the pixel's channels so far, the value that stood there, and `noise(i)`."""


MOST_NOISE = 4_000_000
"""Numbers of noise that are made at once for a whole image: 16 MB."""


def draw_image(
    walker: Walker, start: UInt8[Array, "b h w c"], draw: Draw, noise: Callable[[Array], Any] = lambda i: None
) -> UInt8[Array, "b h w c"]:
    """Images drawn over `start` in raster order, sub-pixel after sub-pixel, in two nested scans.

    `noise(i)` is made for the whole image at once, or row by row where that would be large: cheaper than in `draw`.
    """
    h, w, c = start.shape[1:]
    every = jnp.arange(h * w * c).reshape(h, w, c)
    noises_of = jax.vmap(jax.vmap(noise))
    size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(jax.vmap(noises_of), every)))
    at_once = size <= MOST_NOISE

    def row(cache: Any, line: Any) -> Any:
        r, old, numbers, noises = line
        given, state = walker.row(cache, r)

        def pixel(state: Any, at: Any) -> Any:
            i, j, old, noise = at

            def draw_channel(k: int, outputs: Array, value: Array) -> Array:
                return draw(i[k], k, outputs, value, old[:, k], jax.tree.map(lambda n: n[k], noise))

            value, state, kept = walker.pixel(walker.column(given, j), state, draw_channel)
            return state, (value, kept)

        noises = noises if at_once else noises_of(numbers)
        _, (values, kept) = jax.lax.scan(pixel, state, (numbers, jnp.arange(w), old, noises))
        return walker.finish(cache, kept, values, r), values

    lines = (jnp.arange(h), start.transpose(1, 2, 0, 3), every, jax.vmap(noises_of)(every) if at_once else None)
    return jax.lax.scan(row, walker.cache(), lines)[1].transpose(2, 0, 1, 3)
