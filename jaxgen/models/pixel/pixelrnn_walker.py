"""`PixelNet` pixel by pixel, at about the cost of one forward pass for an image.

At the start of a row all that depends on finished rows is one product for all layers and columns together; in the row
itself a pixel costs a few small products per layer. A colour pixel is passed once for each channel, with the channels
drawn so far. Lines of a map are [layers, w, b, features], as their products take and give them: a pixel cuts out its
column. To turn them, so that columns came first, would take as long as the products.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.core.dtypes import accumulator
from jaxgen.models.pixel.grouped import GroupedWalker
from jaxgen.models.pixel.pixelrnn_net import ConvLayer, DiagonalLayer, PixelNet, RowLayer
from jaxgen.models.pixel.walker import DrawPixel, entry
from jaxgen.nn.lstm import activated, gates
from jaxgen.nn.masked import POINT, colours, live_kernel, raster_taps, row_taps


class PixelWalker(GroupedWalker):
    """`PixelNet` pixel by pixel.

    Its cache is the last three rows of input channels and what the layers keep.
    """

    def __init__(self, net: PixelNet, params: Any, width: int, batch: int, levels: int, condition: Array | None = None):
        super().__init__(net, params, width, batch, levels, condition)
        self.layer = _KINDS[net.layer](net, params["layers"], width, batch)
        self.embed = _Embedding(net, params["embed"], "A")
        self.embed_right = _Embedding(net, params["embed_right"], "B") if net.mend else None

    def cache(self) -> Any:
        """Three rows of zeros, which stand for what is above the image, and the layers' own."""
        above = jnp.zeros((self.batch, 3, self.width, len(self.embed.source)), self.dtype)
        return above, self.layer.cache

    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """What finished rows and the condition give to each column."""
        above, layers = cache
        window = jnp.zeros((self.batch, 3, len(self.embed.source)), self.dtype)
        given = self.embed.upper_part(above), self.layer.row(layers, r, self.condition_at(r))
        return given, (window, self.layer.start)

    def column(self, given: Any, j: Array) -> Any:
        """What column j is given."""
        embedded, lines = given
        return entry(embedded, j), entry(lines, j, axis=1)

    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[Array, Any, Any]:
        """One pass of all layers for each channel, with the channels drawn so far."""
        embedded, given = given
        window, state = state
        beside = self.layer.beside(state)

        def outputs(value: Array) -> tuple[Array, Any]:
            x = embedded + self.embed.row_part(window, self.pixels(value))
            skip = jnp.zeros_like(x)
            states, kept = [], []
            for n in range(self.net.layers):
                hidden, state_n, kept_n = self.layer.pixel(n, _at(given, n), _at(beside, n), x)
                out = self.layer.out(n, hidden)
                x, skip = x + out[..., : x.shape[-1]], skip + out[..., x.shape[-1] :]
                states.append(state_n)
                kept.append(kept_n)
            return self.results(x + skip), (states, kept)

        value, (states, kept) = self.drawn(draw, outputs)
        window = jnp.concatenate([window[:, 1:], self.pixels(value)[:, None]], axis=1)
        return value, (window, _stack(states)), _stack(kept)

    def finish(self, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        """The row joins those above, and the layers file away what they kept."""
        above, layers = cache
        own = self.pixels(values.swapaxes(0, 1))
        right = None if self.embed_right is None else self.embed_right.whole_row(above, own)
        above = jnp.concatenate([above[:, 1:], own[:, None]], axis=1)
        kept = jax.tree.map(lambda a: a.swapaxes(0, 1), kept)
        return above, self.layer.finish(layers, kept, right, self.condition_at(r))


def _at(tree: Any, n: int) -> Any:
    return jax.tree.map(lambda a: a[n], tree)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


class _Embedding:
    """The first 7×7 convolution, split in the three rows above and the current row."""

    def __init__(self, net: PixelNet, params: Any, kind: Any):
        self.source, dtype = net.sources, jnp.dtype(net.dtype)
        kernel = live_kernel(params["kernel"], raster_taps(7), kind, self.source, colours(net.stream, net.channels))
        self.above, self.left, self.bias = (a.astype(dtype) for a in (kernel[:21], kernel[21:], params["bias"]))

    def upper_part(self, rows: Array) -> Array:
        """[w,b,2h] from the three rows above [b,3,w,i], bias included."""
        w = rows.shape[2]
        padded = jnp.pad(rows, ((0, 0), (0, 0), (3, 3), (0, 0)))
        parts = [padded[:, i, j : j + w] for i in range(3) for j in range(7)]
        kernel = self.above.reshape(-1, self.above.shape[-1])
        return (jnp.concatenate(parts, axis=-1) @ kernel + self.bias).swapaxes(0, 1)

    def row_part(self, window: Array, own: Array) -> Array:
        """[b,2h] from the three pixels to the left [b,3,i] and the own one [b,i]."""
        seen = jnp.concatenate([window, own[:, None]], axis=1)
        return seen.reshape(len(seen), -1) @ self.left.reshape(-1, self.left.shape[-1])

    def whole_row(self, above: Array, own: Array) -> Array:
        """[w,b,2h] of a finished row [b,w,i]."""
        w = own.shape[1]
        padded = jnp.pad(own, ((0, 0), (3, 0), (0, 0)))
        parts = jnp.concatenate([padded[:, j : j + w] for j in range(4)], axis=-1)
        return self.upper_part(above) + (parts @ self.left.reshape(-1, self.left.shape[-1])).swapaxes(0, 1)


class _Layers:
    """All layers of one kind: parameters stacked along a first axis, as `scan` made them.

    `cache` is what a row leaves to the next, `start` what a row's first pixel finds to its left.
    """

    def __init__(self, net: PixelNet, params: Any, width: int, batch: int):
        self.net, self.params, self.width, self.batch = net, params, width, batch
        self.dtype, self.features = jnp.dtype(net.dtype), net.features
        self.wide, self.narrow = (colours(n * net.features, net.channels) for n in (2, 1))
        self.gates = colours(net.features, net.channels, gates=4)
        out_kernel, self.out_bias = self.conv("out", POINT, self.narrow, self.wide + self.wide)
        self.out_kernel = list(out_kernel[:, 0])
        self.prepare()

    def conv(self, name: str, taps: Any, source: Any, target: Any) -> tuple[Array, Array]:
        """Kernel [layers, taps, in, out] and bias [layers, out] of a masked convolution."""
        layer = self.params[name]
        kernel = live_kernel(layer["kernel"], taps, "B", source, target)
        return kernel.astype(self.dtype), layer["bias"].astype(self.dtype)

    def zeros(self, *shape: int) -> Array:
        return jnp.zeros((self.net.layers, *shape, self.batch, self.features), self.dtype)

    def initial(self, name: str, side: int | None = None) -> Array:
        """A learned initial state, [layers, b, h]."""
        value = self.params[name] if side is None else self.params[name][:, side]
        return jnp.broadcast_to(value[:, None].astype(self.dtype), (self.net.layers, self.batch, self.features))

    def line(self, state: Array) -> Array:
        """The same state in every column."""
        layers, *rest = state.shape
        return jnp.broadcast_to(state[:, None], (layers, self.width, *rest))

    def out(self, n: int, hidden: Array) -> Array:
        """Residual and skip part of layer n, [b,4h]."""
        return hidden @ self.out_kernel[n] + self.out_bias[n]

    cache: Any = None
    start: Any = None

    def prepare(self) -> None:
        """Kernels, `cache` and `start`."""
        raise NotImplementedError

    def row(self, cache: Any, r: Array, condition: Array | None) -> Any:
        """What finished rows and the condition [w|1,b,k] give to each column of row r; leaves [layers, w, b, …]."""
        raise NotImplementedError

    def share(self, condition: Array | None, part: slice = slice(None)) -> Any:
        """The condition's share [layers, w, b, o] of the maps that it biases; `part` of their features."""
        if condition is None:
            return 0
        kernel = self.params["condition"][..., part].astype(self.dtype)
        condition = jnp.broadcast_to(condition, (self.width, *condition.shape[1:]))
        return jnp.einsum("wbk,lko->lwbo", condition, kernel)

    def beside(self, state: Any) -> Any:
        """What the left neighbour gives to a pixel, in all layers at once; leaves [layers, b, …]."""
        raise NotImplementedError

    def pixel(self, n: int, given: Any, beside: Any, x: Array) -> tuple[Array, Any, Any]:
        """Layer n at one pixel: its hidden features, its state for the next pixel, and what the row keeps."""
        raise NotImplementedError

    def finish(self, cache: Any, kept: Any, right: Array | None, condition: Array | None) -> Any:
        """The cache after a row; by default what its pixels kept, as lines. `right` [w,b,2h] is the first layer's
        right-to-left input, where that has an embedding of its own."""
        return kept


def _lines(x: Array, kernel: Array) -> Array:
    """[layers, w, b, i] times [layers, i, o]."""
    # Not by einsum, whose product has its positions last and is long to turn back.
    return jax.lax.dot_general(x, kernel, (((3,), (1,)), ((0,), (0,))))


def _near(lines: Array) -> Array:
    """Each column of [layers, w, b, i] between its neighbours, zeros outside: [layers, w, b, 3i]."""
    padded = jnp.pad(lines, ((0, 0), (1, 1), (0, 0), (0, 0)))
    return jnp.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=-1)


class _Conv(_Layers):
    """Keeps the narrow features of the row above; their upper taps are summed at the start of a row."""

    def prepare(self) -> None:
        narrow_kernel, self.narrow_bias = self.conv("narrow", POINT, self.wide, self.narrow)
        self.narrow_kernel = list(narrow_kernel[:, 0])
        kernel, self.bias = self.conv("conv", raster_taps(3), self.narrow, self.narrow)
        self.above = kernel[:, :3].reshape(len(kernel), -1, self.features)
        self.left, self.own = kernel[:, 3], list(kernel[:, 4])
        self.cache, self.start = self.zeros(self.width), self.zeros()

    def row(self, cache: Array, r: Array, condition: Array | None) -> Array:
        return _lines(_near(cache), self.above) + self.share(condition)

    def beside(self, state: Array) -> Array:
        return _each(state, self.left)

    def pixel(self, n: int, given: Array, beside: Array, x: Array) -> tuple[Array, Any, Any]:
        narrow = jax.nn.relu(jax.nn.relu(x) @ self.narrow_kernel[n] + self.narrow_bias[n])
        return jax.nn.relu(given + beside + narrow @ self.own[n] + self.bias[n]), narrow, narrow


def _each(x: Array, kernel: Array) -> Array:
    """[layers, b, i] times [layers, i, o]."""
    return jnp.einsum("lbi,lio->lbo", x, kernel)


def _cell(t: Array, c: Array) -> Array:
    """The LSTM's next cell from `activated` gates."""
    _, f, i, g = gates(t)
    return f * c + i * g


def _hidden(t: Array, c: Array, dtype: Any) -> Array:
    """The LSTM's next h from `activated` gates and the cell before."""
    return (gates(t)[0] * jnp.tanh(_cell(t, c))).astype(dtype)


def _again(t: Array) -> Array:
    """The same gates, for a state that is computed from them anew. In one program with what else they give, XLA-CPU
    would make one more kernel of what they share, which in so small products takes longer than to do it twice."""
    return jax.lax.optimization_barrier(t)


class _Row(_Layers):
    """Keeps h and c of the row above; a pixel's state is its left neighbour's input, for the 1×3 mask-B map."""

    def prepare(self) -> None:
        kernel, self.bias = self.conv("input_to_state", row_taps(3), self.wide, self.gates)
        self.left, self.own = kernel[:, 0], list(kernel[:, 1])
        self.weights = self.params["state_to_state"].astype(self.dtype)
        self.cache = self.line(self.initial("h0")), self.line(self.initial("c0").astype(accumulator(self.dtype)))
        self.start = jnp.concatenate([self.zeros(), self.zeros()], axis=-1)

    def row(self, cache: Any, r: Array, condition: Array | None) -> Any:
        h, c = cache
        return _lines(_near(h), self.weights) + self.share(condition), c

    def beside(self, state: Array) -> Array:
        return _each(state, self.left)

    def pixel(self, n: int, given: Any, beside: Array, x: Array) -> tuple[Array, Any, Any]:
        pre, c = given
        t = activated(pre + beside + x @ self.own[n] + self.bias[n])
        h = _hidden(t, c, self.dtype)
        return h, x, (h, _cell(_again(t), c))


class _Diagonal(_Layers):
    """Keeps both streams' h of the row above; the right-to-left stream runs over a row once that row is finished."""

    def prepare(self) -> None:
        self.left, self.left_bias = self.conv("input_to_left", POINT, self.wide, self.gates)
        right, self.right_bias = self.conv("input_to_right", POINT, self.wide, self.gates)
        weights = self.params["state_to_state"].astype(self.dtype)  # [layers, stream, up|left, gates]
        up, side = jnp.split(weights.swapaxes(0, 1), 2, axis=2)
        # Behind a barrier, or they would be cut out anew at every pixel.
        self.up, self.right, self.side = jax.lax.optimization_barrier(
            (up[0], jnp.concatenate([right[:, 0], up[1]], axis=1), list(side))
        )
        self.own = list(self.left[:, 0])
        self.cache = self.line(self.initial("h0", 0)), self.line(self.initial("h0", 1))
        self.start = self.initial("h0", 0), self.initial("c0", 0).astype(accumulator(self.dtype))

    def row(self, cache: Any, r: Array, condition: Array | None) -> Any:
        left, right = cache
        given = _lines(left, self.up) + self.share(condition, slice(4 * self.features))
        return given, jnp.where(r > 0, right, 0)

    def beside(self, state: Any) -> Any:
        h, c = state
        return _each(h, self.side[0]), c

    def pixel(self, n: int, given: Any, beside: Any, x: Array) -> tuple[Array, Any, Any]:
        (pre, right), (side, c) = given, beside
        t = activated(pre + side + x @ self.own[n] + self.left_bias[n])
        hidden, t = _hidden(t, c, self.dtype) + right, _again(t)
        h = _hidden(t, c, self.dtype)
        return hidden, (h, _cell(t, c)), (h, x)

    def finish(self, cache: Any, kept: Any, right: Array | None, condition: Array | None) -> Any:
        left, inputs = kept
        if right is not None:  # the first layer's stream has an embedding of its own
            inputs = inputs.at[0].set(right)
        pre = _lines(jnp.concatenate([inputs, cache[1]], axis=-1), self.right)
        pre = pre + self.share(condition, slice(4 * self.features, None))

        def pixel(state: Any, j: Array) -> Any:
            h, c, lines = state
            t = activated(entry(pre, j, axis=1) + _each(h, self.side[1]) + self.right_bias[:, None])
            h, c = _hidden(t, c, self.dtype), _cell(_again(t), c)
            return (h, c, jax.lax.dynamic_update_index_in_dim(lines, h, j, 1, allow_negative_indices=False)), None

        start = self.initial("h0", 1), self.initial("c0", 1).astype(accumulator(self.dtype))
        (_, _, lines), _ = jax.lax.scan(pixel, (*start, cache[1]), jnp.arange(self.width), reverse=True)
        return left, lines


_KINDS: dict[Any, type[_Layers]] = {ConvLayer: _Conv, RowLayer: _Row, DiagonalLayer: _Diagonal}
