"""`GatedNet` pixel by pixel, at about the cost of one forward pass for an image.

The vertical stack of a row needs finished rows only: it is run once per row, all columns together, layer after layer,
from the last ⌊n/2⌋ rows of each layer's input. In the row itself, what a layer's left neighbours give is one product
for all layers; then the layers follow each other with two small products each, once for each channel of a pixel.
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.models.pixel.gated_net import FIRST, GatedNet, gate
from jaxgen.models.pixel.grouped import GroupedWalker
from jaxgen.models.pixel.walker import DrawPixel, entry
from jaxgen.nn.masked import POINT, colours, live_kernel, row_taps


class GatedWalker(GroupedWalker):
    """`GatedNet` pixel by pixel.

    Its cache is the last three rows of input channels [3,w,b,i], the last rows of every layer's vertical input
    [layers,⌊n/2⌋,w,b,p], and what the vertical stack gives to the row that comes next [layers,w,b,2p].
    """

    def __init__(self, net: GatedNet, params: Any, width: int, batch: int, levels: int, condition: Array | None = None):
        super().__init__(net, params, width, batch, levels, condition)
        self.reach, source, narrow = net.kernel // 2, net.sources, colours(net.features, net.channels)
        gates, layers = colours(net.features, net.channels, gates=2), params["layers"]

        first = live_kernel(params["embed_right"]["kernel"], row_taps(FIRST), "A", source, narrow).astype(self.dtype)
        self.embed_left, self.embed_own = _flat(first[:-1]), first[-1]
        self.embed_bias = params["embed_right"]["bias"].astype(self.dtype)
        self.embed_down = _flat(params["embed_down"]["kernel"]).astype(self.dtype)
        self.embed_down_bias = params["embed_down"]["bias"].astype(self.dtype)

        right = live_kernel(layers["right"]["kernel"], row_taps(net.kernel), "B", narrow, gates).astype(self.dtype)
        self.left, self.own = _flat(right[:, :-1]), list(right[:, -1])
        out = live_kernel(layers["out"]["kernel"], POINT, "B", narrow, narrow + narrow)[:, 0]
        self.out, self.out_bias = list(out.astype(self.dtype)), list(layers["out"]["bias"].astype(self.dtype))
        vertical = {
            "down": _flat(layers["down"]["kernel"]),
            "down_bias": layers["down"]["bias"],
            "link": layers["link"],
            "right_bias": layers["right"]["bias"],
        } | ({} if condition is None else {"condition": layers["condition"]})
        self.vertical = jax.tree.map(lambda a: a.astype(self.dtype), vertical)

    def cache(self) -> Any:
        """Zeros stand for what is above the image."""
        above = jnp.zeros((FIRST // 2, self.width, self.batch, len(self.net.sources)), self.dtype)
        shape = (self.net.layers, self.reach, self.width, self.batch, self.net.features)
        return self._descend(above, jnp.zeros(shape, self.dtype), jnp.int32(0))

    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """What the vertical stack gives to each column of row r; zeros stand for what is left of the image."""
        window = jnp.zeros((self.batch, self.embed_left.shape[0]), self.dtype)
        left = jnp.zeros((self.net.layers, self.batch, self.left.shape[1]), self.dtype)
        return cache[2], (window, left)

    def column(self, given: Array, j: Array) -> Array:
        """What column j is given [layers,b,2p]."""
        return cast(Array, entry(given, j, axis=1))

    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[Array, Any, Any]:
        """One pass of all layers for each channel, with the channels drawn so far."""
        window, left = state
        given = given + jnp.einsum("lbi,lio->lbo", left, self.left)
        embedded = window @ self.embed_left + self.embed_bias
        p = self.net.features

        def outputs(value: Array) -> tuple[Array, list[Array]]:
            x, inputs = embedded + self.pixels(value) @ self.embed_own, []
            skip = jnp.zeros_like(x)
            for n in range(self.net.layers):
                inputs.append(x)
                out = gate(given[n] + x @ self.own[n]) @ self.out[n] + self.out_bias[n]
                x, skip = x + out[:, :p], skip + out[:, p:]
            return self.results(x + skip), inputs

        value, inputs = self.drawn(draw, outputs)
        window = jnp.concatenate([window, self.pixels(value)], axis=-1)[:, self.embed_own.shape[0] :]
        left = jnp.concatenate([left, jnp.stack(inputs)], axis=-1)[..., p:]
        return value, (window, left), None

    def finish(self, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        """The row joins those above, and the vertical stack moves on to the next one."""
        above, rows, _ = cache
        return self._descend(jnp.concatenate([above[1:], self.pixels(values)[None]]), rows, r + 1)

    def _descend(self, above: Array, rows: Array, r: Array) -> Any:
        """The cache once the vertical stack has been run over row r."""
        condition = self.condition_at(r)

        def layer(v: Array, at: Any) -> tuple[Array, Any]:
            rows, own = at
            rows = jnp.concatenate([rows, v[None]])
            down = _near(rows, self.reach) @ own["down"] + own["down_bias"]
            right = down @ own["link"] + own["right_bias"]
            if condition is not None:
                to_down, to_right = jnp.split(condition @ own["condition"], 2, axis=-1)
                down, right = down + to_down, right + to_right
            return gate(down), (rows[1:], right)

        v = _near(above, FIRST // 2) @ self.embed_down + self.embed_down_bias
        _, (rows, given) = jax.lax.scan(layer, v, (rows, self.vertical))
        return above, rows, given


def _flat(kernel: Array) -> Array:
    """[…,taps,i,o] as one matrix over taps and inputs."""
    return kernel.reshape(*kernel.shape[:-3], -1, kernel.shape[-1])


def _near(rows: Array, reach: int) -> Array:
    """Rows [t,w,b,i] and their neighbours up to `reach` columns away, side by side: [w,b,t·(2·reach+1)·i]."""
    w = rows.shape[1]
    padded = jnp.pad(rows, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    parts = [padded[i, j : j + w] for i in range(len(rows)) for j in range(2 * reach + 1)]
    return jnp.concatenate(parts, axis=-1)
