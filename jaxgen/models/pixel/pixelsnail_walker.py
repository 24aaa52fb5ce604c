"""`SnailNet` pixel by pixel, at about the cost of one forward pass for an image.

At the start of a row, what the row above gives to the 2×2 convolutions is one product for each layer, all blocks and
columns together; in the row itself a pixel passes through the blocks in a scan. It attends to the finished rows, whose
keys and values are written once per row, and to its own row's, which are few enough to be written pixel by pixel. Its
own keys and values read its value, and follow once that is drawn, in one product for all blocks. All channels are
drawn from one pass, since the outputs do not depend on them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.core.dtypes import accumulator
from jaxgen.models.pixel.pixelsnail_net import SnailNet, positions
from jaxgen.models.pixel.walker import DrawPixel, Walker, beside
from jaxgen.nn.attention import attend
from jaxgen.nn.shifted import gated
from jaxgen.nn.weight_norm import kernel_and_bias

elu = jax.nn.elu


class SnailWalker(Walker):
    """`SnailNet` pixel by pixel, for images of `shape` (h, w, c).

    Its cache is the row above, of input channels [w,b,i] and of each layer's two inputs [w,blocks,b,f], and the keys
    and values of all finished rows [blocks,b,h·w,…].
    """

    def __init__(
        self,
        net: SnailNet,
        params: Any,
        shape: tuple[int, int, int],
        batch: int,
        levels: int,
        condition: Array | None = None,
    ):
        self.height, width, channels = shape
        super().__init__(net, width, channels, batch, levels, condition)
        blocks = params["blocks"]
        self.layers = tuple(f"layer_{n}" for n in range(net.layers))
        self.resnets = (*self.layers, "content", "question", "merge")

        def flat(params: Any, dtype: Any = self.dtype) -> tuple[Array, Array]:
            kernel, bias = kernel_and_bias(params, dtype)
            return kernel.reshape(-1, kernel.shape[-1]), bias[None]

        (above, bias), (left, left_bias) = flat(params["above"]), flat(params["left"])
        self.embed_above, (self.embed_corner, self.embed_left) = above, jnp.split(left, 2)
        self.embed_bias, self.out = bias + left_bias, flat(params["out"], accumulator(self.dtype))

        # Kernels [blocks,i,o] and biases [blocks,1,o], by names. A layer's kernels are halves: row above, own row.
        stacked = jax.vmap(flat)
        self.maps = {n: {k: stacked(blocks[n][k]) for k in blocks[n] if k != "condition"} for n in self.resnets}
        self.query, self.key_value = stacked(blocks["query"]), stacked(blocks["key_value"])
        self.upper, self.own = (
            {n: {k: jnp.split(kernel, 2, axis=1)[half] for k, (kernel, _) in self.maps[n].items()} for n in self.layers}
            for half in (0, 1)
        )
        self.conditions = {n: blocks[n]["condition"].astype(self.dtype) for n in self.resnets if condition is not None}
        self.places = positions(*shape[:2]).astype(self.dtype)

    def cache(self) -> Any:
        """Zeros stand for what is above the image."""
        net, n = self.net, self.height * self.width
        above = jnp.zeros((self.width, self.batch, self.channels + 1), self.dtype)
        line = jnp.zeros((self.width, net.blocks, self.batch, net.features), self.dtype)
        return above, dict.fromkeys(self.layers, (line, line)), self._memory(n)

    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """What finished rows, the condition and the place give to each column; nothing is left of the first pixel."""
        above, lines, finished = cache
        embedded = beside(above, (-1, 0, 1)) @ self.embed_above + beside(above, (-1,)) @ self.embed_corner
        condition = self.condition_at(r)
        biases: dict[str, Any] = {name: self._gate_bias(name, condition) for name in self.resnets}
        for name, (first, second) in lines.items():
            upper, bias = self.upper[name], self.maps[name]["first"][1]
            biases[name] = (
                beside(elu(first), (-1, 0)) @ upper["first"] + bias,
                beside(elu(second), (-1, 0)) @ upper["second"] + biases[name],
            )
        n, columns = self.height * self.width, jnp.arange(self.width)
        seen = jnp.concatenate(
            [jnp.broadcast_to(jnp.arange(n) < r * self.width, (self.width, n)), columns < columns[:, None]], axis=1
        )
        place = jax.lax.dynamic_index_in_dim(self.places, r, 0, keepdims=False)
        left = jax.tree.map(lambda line: jnp.zeros_like(line[0]), (above, lines))
        return (embedded + self.embed_bias, biases, place, seen, columns), (left, self._memory(self.width), finished)

    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[Array, Any, Any]:
        """One pass through the blocks, the draws, and the pixel's own keys and values."""
        embedded, biases, place, seen, column = given
        (left_pixel, left), own_row, finished = state
        place = jnp.broadcast_to(place, (self.batch, 2))

        def block(x: Array, at: Any) -> tuple[Array, Any]:
            maps, own, (to_query, query_bias), biases, left, memory = at
            inputs = {}
            for name in self.layers:
                (first, second), (left_first, left_second) = biases[name], left[name]
                hidden = first + elu(jnp.concatenate([left_first, x], axis=-1)) @ own[name]["first"]
                both = second + elu(jnp.concatenate([left_second, hidden], axis=-1)) @ own[name]["second"]
                inputs[name] = x, hidden
                x = gated(x, both)
            question = _resnet(maps["question"], biases["question"], jnp.concatenate([x, place], axis=-1))
            query = question @ to_query + query_bias
            mixed = attend(query[:, None], memory, seen[None])[:, 0]
            return _resnet(maps["merge"], biases["merge"], x, mixed), (inputs, x)

        maps = {name: self.maps[name] for name in ("question", "merge")}
        x = embedded + left_pixel @ self.embed_left
        at = (maps, self.own, self.query, biases, left, (finished, own_row))
        x, (inputs, results) = jax.lax.scan(block, x, at)
        kernel, bias = self.out
        outputs = (elu(x.astype(kernel.dtype)) @ kernel + bias).reshape(self.batch, *self.net.outputs)
        value, _ = self.drawn(draw, lambda _: (outputs, None))

        pixel = self.pixels(value)
        image, place = (jnp.broadcast_to(a, (self.net.blocks, *a.shape)) for a in (pixel[:, :-1], place))
        content = _resnet(self.maps["content"], biases["content"], jnp.concatenate([image, results, place], axis=-1))
        key_value = content @ self.key_value[0] + self.key_value[1]
        new = tuple(jnp.split(key_value, [self.net.key_size], axis=-1))
        own_row = jax.tree.map(
            lambda line, a: jax.lax.dynamic_update_slice_in_dim(line, a[:, :, None], column, axis=2), own_row, new
        )
        return value, ((pixel, inputs), own_row, finished), (inputs, new)

    def finish(self, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        """The row is the one above the next; its keys and values join those of the rows before it."""
        lines, new = kept
        finished = jax.tree.map(
            lambda past, a: jax.lax.dynamic_update_slice_in_dim(past, a.transpose(1, 2, 0, 3), r * self.width, axis=2),
            cache[2],
            new,
        )
        return self.pixels(values), lines, finished

    def _memory(self, n: int) -> tuple[Array, Array]:
        """Keys and values of n places, all zeros."""
        sizes = self.net.key_size, self.net.features // 2
        return tuple(jnp.zeros((self.net.blocks, self.batch, n, k), self.dtype) for k in sizes)  # type: ignore[return-value]

    def _gate_bias(self, name: str, condition: Array | None) -> Array:
        """What is added to a gated ResNet's second map in a row, [w,blocks,b,2f], or 1 for b: bias and condition."""
        bias = jnp.broadcast_to(self.maps[name]["second"][1], (self.width, *self.maps[name]["second"][1].shape))
        if condition is None:
            return bias
        return bias + jnp.einsum("wbk,lko->wlbo", condition, self.conditions[name])


def _resnet(maps: Any, gate_bias: Array, x: Array, shortcut: Array | None = None) -> Array:
    """`nn.shifted.GatedResNet` of 1×1 maps, for one block or for stacked ones."""
    kernel, bias = maps["first"]
    hidden = elu(x) @ kernel + bias
    if shortcut is not None:
        kernel, bias = maps["shortcut"]
        hidden = hidden + (elu(shortcut) @ kernel + bias)
    return gated(x, elu(hidden) @ maps["second"][0] + gate_bias)
