"""Walking over an image pixel by pixel with memory: what cached samplers, completion and the codec share.

A *walker* is a net's incremental form. Rows are opened and closed: opening one computes, for all of its columns at
once, what finished rows give to them; closing it files away what later rows need. In between, a pixel costs a few
small products. A net's walker must agree with the net: tests hold every output and every drawn pixel against full
passes.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

DrawPixel = Callable[[int, Array, Array], Array]
"""`(channel, outputs, value) -> uint8[b]`: a sub-pixel from the net's outputs for its pixel and from `value`
uint8[b,c], of which the channels before it are set."""


class Walker(abc.ABC):
    """The incremental form of a net for images of `width` columns and `channels`; pytrees are its own affair."""

    width: int
    channels: int

    @abc.abstractmethod
    def cache(self) -> Any:
        """What is known before the first row."""

    @abc.abstractmethod
    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """Open row r: what its columns are given, with a leading axis of columns, and the first pixel's state."""

    @abc.abstractmethod
    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[UInt8[Array, "b c"], Any, Any]:
        """One pixel: its channels by `draw` one after the other, the state for its right neighbour, what its row keeps.

        `given` is one column of what `row` gave. What `draw` is given for a channel, and the state, must not depend on
        later channels.
        """

    @abc.abstractmethod
    def finish(self, cache: Any, kept: Any, values: UInt8[Array, "w b c"], r: Array) -> Any:
        """Close row r, of which the pixels kept `kept` (leading axis of columns) and have these values."""


Draw = Callable[[Array, int, Array, Array, Array], Array]


def draw_image(walker: Walker, start: UInt8[Array, "b h w c"], draw: Draw) -> UInt8[Array, "b h w c"]:
    """Images drawn in raster order, sub-pixel after sub-pixel, in two nested scans.

    `draw(i, channel, outputs, value, old) -> uint8[b]` gives sub-pixel number i (raster order, channels inside) from
    the net's outputs for its pixel, the pixel's channels so far and the value that stands in `start`.
    """
    h, w, c = start.shape[1:]

    def row(cache: Any, line: Any) -> Any:
        r, old = line
        given, state = walker.row(cache, r)

        def pixel(state: Any, at: Any) -> Any:
            j, given, old = at

            def draw_channel(k: int, outputs: Array, value: Array) -> Array:
                return draw((r * w + j) * c + k, k, outputs, value, old[:, k])

            value, state, kept = walker.pixel(given, state, draw_channel)
            return state, (value, kept)

        _, (values, kept) = jax.lax.scan(pixel, state, (jnp.arange(w), given, old))
        return walker.finish(cache, kept, values, r), values

    lines = (jnp.arange(h), start.transpose(1, 2, 0, 3))
    return jax.lax.scan(row, walker.cache(), lines)[1].transpose(2, 0, 1, 3)
