"""`PlusPlusNet` pixel by pixel, at about the cost of one forward pass for an image.

Position (i, j) of level k stands for pixel (2^k·i, 2^k·j) and sees only what comes before that, so that it can be
computed there. When row r of the image is opened, the stream above moves on by one line, all columns together, at
every level k of which 2^k divides r; what this line and the finished rows give to the stream left is summed as well.
At pixel (r, c) the stream left then moves on by one position, at every level of which 2^k divides r and c. A position
of level k+1 comes up to four of level k, (2i, 2j) … (2i+1, 2j+1): the first is there, the others wait for their turn.
Levels that have no turn are left out by `cond`. All channels are drawn from one pass: the outputs do not depend on
them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.core.dtypes import accumulator
from jaxgen.models.pixel.pixelcnnpp_net import Hourglass, PlusPlusNet
from jaxgen.models.pixel.walker import DrawPixel, Walker, beside
from jaxgen.nn.shifted import concat_elu, gated
from jaxgen.nn.weight_norm import kernel_and_bias

CORNER, SIDES, NEXT = (-1, 0), (-1, 0, 1), (0, 1)
"""Columns that a row of a 2×2 and of a 2×3 convolution reads; those that an odd column of a doubled map reads."""


class PlusPlusWalker(Walker):
    """`PlusPlusNet` pixel by pixel.

    Its cache is the last two rows of input channels [2,w,b,i], and of every level the latest line of both streams,
    [w_k,b,…]: the inputs of the convolutions there, side by side, in the order in which the wiring comes to them.
    """

    def __init__(
        self,
        net: PlusPlusNet,
        params: Any,
        width: int,
        channels: int,
        batch: int,
        levels: int,
        condition: Array | None = None,
    ):
        super().__init__(net, width, channels, batch, levels, condition)
        self.maps = {name: _map(name, own, self.dtype) for name, own in params.items() if name != "out"}
        kernel, bias = kernel_and_bias(params["out"], accumulator(self.dtype))
        self.out = kernel[0, 0], bias

    def blank(self, columns: tuple[int, ...], stream: str, level: int) -> Array:
        """Zeros in place of a line or a position of a stream: nothing is there."""
        inner = level + 1 < self.net.resolutions
        maps = 2 * (2 * self.net.layers + inner)  # two convolutions in each layer
        maps += 2 * inner if stream == "above" else inner + 4 * (level > 0)  # on the way down, and up
        return jnp.zeros((*columns, self.batch, maps * self.net.features), self.dtype)

    def cache(self) -> Any:
        """Nothing is above the image."""
        rows = jnp.zeros((2, self.width, self.batch, self.channels + 1), self.dtype)
        widths = [-(-self.width // 2**level) for level in range(self.net.resolutions)]
        above, left = ([self.blank((w,), stream, k) for k, w in enumerate(widths)] for stream in ("above", "left"))
        return rows, above, left

    def row(self, cache: Any, r: Array) -> tuple[Any, Any]:
        """What the stream above and the finished rows give to each column; nothing is left of the first pixel.

        The new lines of the stream above ride along with the columns, since it is `finish` that files them.
        """
        (further, near), above, left = cache
        opening = _Opening(self, r, above, left)
        kernel, bias = self.maps["first_above"]
        line = jnp.concatenate([beside(further, SIDES), beside(near, SIDES)], axis=-1) @ _flat(kernel) + bias
        opening.run(0, jnp.where(r > 0, line, 0), [])
        kernel, bias = self.maps["first_row"]
        given = jnp.where(r > 0, beside(near, SIDES) @ _flat(kernel) + bias, 0)
        kernel, bias = self.maps["first_column"]
        corner = beside(near, (-1,)) @ kernel[0, 0] + bias
        given = given.at[1:].add(corner[1:])  # in column 0 there is nothing to the left, not even a bias
        place = jnp.stack([jnp.full(self.width, r), jnp.arange(self.width)], axis=-1)
        spread = self._spread(opening.sums), self._spread(opening.lines)
        state = [self.blank((), "left", level) for level in range(self.net.resolutions)]
        return (given, place, *spread), (jnp.zeros_like(near[0]), state)

    def _spread(self, lines: dict[int, Array]) -> list[Array]:
        """Lines of each level with as many columns as the image."""
        return [jnp.repeat(lines[k], 2**k, axis=0)[: self.width] for k in range(self.net.resolutions)]

    def pixel(self, given: Any, state: Any, draw: DrawPixel) -> tuple[Array, Any, Any]:
        """One pass through the layers that have their turn here, and the draws."""
        first, place, given, lines = given
        left_pixel, left = state
        move = _Move(self, place, given, left)
        x = move.run(0, first + left_pixel @ self.maps["first_column"][0][1, 0])
        kernel, bias = self.out
        outputs = (jax.nn.elu(x.astype(kernel.dtype)) @ kernel + bias).reshape(self.batch, *self.net.outputs)
        value, _ = self.drawn(draw, lambda _: (outputs, None))
        left = [move.states[level] for level in range(self.net.resolutions)]
        return value, (self.pixels(value), left), (lines, left)

    def finish(self, cache: Any, kept: Any, values: Array, r: Array) -> Any:
        """The row joins those above; each stream's lines are filed where the level had its turn."""
        rows, _, old = cache
        above, left = ([line[:: 2**k] for k, line in enumerate(lines)] for lines in kept)
        left = [jnp.where(r % 2**k == 0, *lines) for k, lines in enumerate(zip(left, old))]
        return jnp.stack([rows[1], self.pixels(values)]), above, left


class _Taken:
    """Features side by side, taken one map after the other."""

    def __init__(self, features: Array):
        self.features, self.at = features, 0

    def take(self, number: int) -> Array:
        self.at += number
        return self.features[..., self.at - number : self.at]


class _Opening(Hourglass):
    """A row is opened: x is a line [w_k,b,f] of the stream above.

    Of each level that is through, `lines` is the stream's new line, and `sums` what the stream left is given.
    """

    def __init__(self, walker: PlusPlusWalker, r: Array, above: list[Array], left: list[Array]):
        self.maps, self.features, self.r = walker.maps, walker.net.features, r
        self.layers, self.resolutions = walker.net.layers, walker.net.resolutions
        self.old_above, self.old_left = above, left
        self.above: dict[int, _Taken] = {}
        self.left: dict[int, _Taken] = {}
        self.noted: dict[int, list[Array]] = {}
        self.summed: dict[int, list[Array]] = {}
        self.lines: dict[int, Array] = {}
        self.sums: dict[int, Array] = {}
        self.condition = walker.condition_at(r)

    def run(self, level: int, x: Array, summed: list[Array]) -> Array:
        """`through` a level, of which the stream left is given `summed` besides."""
        self.above[level], self.left[level] = _Taken(self.old_above[level]), _Taken(self.old_left[level])
        self.noted[level], self.summed[level] = [], summed
        x = self.through(level, x)
        self.lines[level] = jnp.concatenate(self.noted[level], axis=-1)
        self.sums[level] = jnp.concatenate(self.summed[level], axis=-1)
        return x

    def share(self, level: int, kernel: Any) -> Any:
        """What the condition gives to a line."""
        return 0 if self.condition is None else self.condition[:: 2**level] @ kernel

    def layer(self, level: int, n: int, x: Array, shortcut: Array | None) -> Array:
        old_x, old_hidden = (self.above[level].take(self.features) for _ in range(2))
        first, first_bias, second, second_bias, condition = self.maps[f"above_{level}_{n}"]
        seen = [beside(concat_elu(line), SIDES) for line in (old_x, x)]
        hidden = _joined(*seen, *([] if shortcut is None else [concat_elu(shortcut)])) @ first + first_bias
        seen = [beside(concat_elu(line), SIDES) for line in (old_hidden, hidden)]
        self.noted[level] += [x, hidden]
        x = gated(x, _joined(*seen) @ second + second_bias + self.share(level, condition))

        old_left, old_hidden = (self.left[level].take(self.features) for _ in range(2))
        upper, first_bias, _, upper_second, second_bias, _, condition = self.maps[f"left_{level}_{n}"]
        self.summed[level] += [
            _joined(beside(concat_elu(old_left), CORNER), concat_elu(x)) @ upper + first_bias,
            beside(concat_elu(old_hidden), CORNER) @ upper_second + second_bias + self.share(level, condition),
        ]
        return x

    def inner(self, level: int, x: Array) -> Array:
        before, late = (self.above[level].take(self.features) for _ in range(2))
        left_before = self.left[level].take(self.features)
        columns, coarser = len(x), range(level + 1, self.resolutions)

        def turn() -> Any:
            kernel, bias = self.maps[f"above_{level}_down"]
            half = _joined(beside(before, SIDES), beside(x, SIDES))[::2] @ _flat(kernel) + bias
            kernel, bias = self.maps[f"left_{level}_down"]
            half = self.run(level + 1, half, [beside(left_before, CORNER)[::2] @ _flat(kernel[0]) + bias])
            kernel, bias = self.maps[f"above_{level}_up"]
            both = []
            for row in (kernel[1], kernel[0]):  # of the doubled map, with zeros between: even rows, odd rows
                even, odd = half @ row[1] + bias, beside(half, NEXT) @ _flat(row[::2]) + bias
                both.append(_by_turns(even, odd, columns))
            return *both, {k: self.lines[k] for k in coarser}, {k: self.sums[k] for k in coarser}

        def rest() -> Any:
            nothing = {k: jnp.zeros((*self.old_left[k].shape[:2], self._sums(k)), x.dtype) for k in coarser}
            return late, late, {k: self.old_above[k] for k in coarser}, nothing

        now, late, lines, sums = jax.lax.cond((self.r >> level) % 2 == 0, turn, rest)
        self.lines |= lines
        self.sums |= sums
        self.noted[level] += [x, late]
        even, odd = jnp.split(self.old_left[level + 1][..., -2 * self.features :], 2, axis=-1)
        self.summed[level].append(_by_turns(even, odd, columns))
        return now

    def _sums(self, level: int) -> int:
        """Features that a level of the stream left is given: three maps for each layer, what comes down and up."""
        inner = level + 1 < self.resolutions
        return (3 * (2 * self.layers + inner) + (level > 0) + inner) * self.features


class _Move(Hourglass):
    """The stream left moves on by one pixel: x is a position [b,f] of it. `states` is what each level notes of it."""

    def __init__(self, walker: PlusPlusWalker, place: Array, given: list[Array], states: list[Array]):
        self.maps, self.features, self.place = walker.maps, walker.net.features, place
        self.layers, self.resolutions = walker.net.layers, walker.net.resolutions
        self.given, self.old = given, states
        self.sums: dict[int, _Taken] = {}
        self.left: dict[int, _Taken] = {}
        self.noted: dict[int, list[Array]] = {}
        self.states: dict[int, Array] = {}

    def run(self, level: int, x: Array) -> Array:
        """`through` a level, from what enters it but for the sums of finished rows."""
        self.sums[level], self.left[level], self.noted[level] = _Taken(self.given[level]), _Taken(self.old[level]), []
        if level:
            x = x + self.sums[level].take(self.features)
        x = self.through(level, x)
        if level:  # what comes up: [even row | odd row] × [even column | odd column]
            kernel, bias = self.maps[f"left_{level - 1}_up"]
            self.noted[level] += [x @ kernel[t, s] + bias for t in (1, 0) for s in (1, 0)]
        self.states[level] = jnp.concatenate(self.noted[level], axis=-1)
        return x

    def layer(self, level: int, n: int, x: Array, shortcut: Array | None) -> Array:
        old_x, old_hidden = (self.left[level].take(self.features) for _ in range(2))
        _, _, first, _, _, second, _ = self.maps[f"left_{level}_{n}"]
        seen = [concat_elu(a) for a in (old_x, x, *([] if shortcut is None else [shortcut]))]
        hidden = self.sums[level].take(self.features) + _joined(*seen) @ first
        both = self.sums[level].take(2 * self.features)
        both = both + _joined(concat_elu(old_hidden), concat_elu(hidden)) @ second
        self.noted[level] += [x, hidden]
        return gated(x, both)

    def inner(self, level: int, x: Array) -> Array:
        before, given = self.left[level].take(self.features), self.sums[level].take(self.features)
        row, column = (self.place >> level) % 2 == 0
        coarser = range(level + 1, self.resolutions)
        self.noted[level].append(x)

        def turn() -> Any:
            kernel, _ = self.maps[f"left_{level}_down"]
            self.run(level + 1, _joined(before, x) @ _flat(kernel[1]))
            return {k: self.states[k] for k in coarser}

        self.states |= jax.lax.cond(row & column, turn, lambda: {k: self.old[k] for k in coarser})
        come = self.states[level + 1][..., -4 * self.features :]
        even, odd = come[..., : self.features], come[..., self.features : 2 * self.features]
        return jnp.where(row, jnp.where(column, even, odd), given)


def _map(name: str, params: Any, dtype: Any) -> tuple[Any, ...]:
    """The kernels of a map or of a layer, such that inputs side by side need one product."""
    if "first" not in params:
        return kernel_and_bias(params, dtype)
    (first, first_bias), (second, second_bias) = (kernel_and_bias(params[k], dtype) for k in ("first", "second"))
    condition = params["condition"].astype(dtype) if "condition" in params else None
    shortcut = jnp.zeros((0, first.shape[-1]), dtype)
    if "shortcut" in params:
        kernel, bias = kernel_and_bias(params["shortcut"], dtype)
        shortcut, first_bias = kernel[0, 0], first_bias + bias
    if name.startswith("above"):
        return _joined(_flat(first), shortcut, axis=0), first_bias, _flat(second), second_bias, condition
    i = first.shape[2]  # of the short-cut, the first part comes from the stream above
    upper, own = (_joined(_flat(k), part, axis=0) for k, part in zip(first, (shortcut[:i], shortcut[i:])))
    return upper, first_bias, own, _flat(second[0]), second_bias, _flat(second[1]), condition


def _flat(kernel: Array) -> Array:
    """[…,i,o] as one matrix over all but the outputs."""
    return kernel.reshape(-1, kernel.shape[-1])


def _joined(*parts: Array, axis: int = -1) -> Array:
    return jnp.concatenate(parts, axis=axis)


def _by_turns(even: Array, odd: Array, columns: int) -> Array:
    """A line with these even and odd columns, cut to `columns`."""
    return jnp.stack([even, odd], axis=1).reshape(-1, *even.shape[1:])[:columns]
