"""Convolutions and transposed ones, each the other's gradient.

To XLA a transposed convolution is one over zeros between the inputs, and the gradient of its kernel one over twice as
many zeros: on a CPU five times the work of what it is, the gradient of a strided convolution's kernel with input and
output gradient in each other's place. Written as a pair, each with the other as its derivative, neither is ever
differentiated by XLA's rule, nor are the second derivatives that a gradient penalty wants.
A CPU also takes twice as long for a number of outputs that is no multiple of 8, unless they are few: they are filled
up. A 1×1 convolution is a product of matrices, whose gradient takes an eighth of the convolution's; so is one of a
kernel larger than its map of outputs, which XLA would turn round, kernel and map in each other's place, and then run in
a plain loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.nn.masked import dense

LAYOUT = ("NHWC", "HWIO", "NHWC")
LANES = 8
"""Numbers that a CPU's vector unit takes at once."""

Pair = tuple[int, ...]
"""Of rows and columns."""
Padding = tuple[Pair, ...]
"""Before and after rows, and columns."""


def same(sides: Pair, size: Pair, strides: Pair) -> Padding:
    """Zeros before and after rows and columns, so that a map has ⌈side / stride⌉ places.

    >>> same((28, 28), (5, 5), (2, 2))
    ((1, 2), (1, 2))
    """
    totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sides, size, strides)]
    return tuple((total // 2, total - total // 2) for total in totals)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(
    x: Float[Array, "b h w i"], kernel: Float[Array, "kh kw i o"], strides: Pair, padding: Padding
) -> Float[Array, "b h2 w2 o"]:
    """y(p) = Σ_t x(stride·p + t − before) · kernel_t, zeros outside the map."""
    return _conv(x, kernel, strides, padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv_transpose(
    y: Float[Array, "b h w o"], kernel: Float[Array, "kh kw i o"], sides: Pair, strides: Pair, padding: Padding
) -> Float[Array, "b h2 w2 i"]:
    """The transpose of `conv(·, kernel, strides, padding)` as a linear map of images with these sides: from its outputs
    to its inputs."""
    if _small(kernel, y):
        return _scattered(y, kernel, sides, strides, padding)
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    edges = []
    for n, m, k, s, (before, _) in zip(sides, y.shape[1:3], kernel.shape, strides, padding):
        edges.append((k - 1 - before, n - 1 - (m - 1) * s + before))
    return jax.lax.conv_general_dilated(y, flipped, (1, 1), edges, lhs_dilation=strides, dimension_numbers=LAYOUT)


def _small(kernel: Array, y: Array) -> bool:
    """Whether a kernel is larger than the map of its outputs."""
    return math.prod(kernel.shape[:2]) > math.prod(y.shape[1:3])


def _gathered(x: Array, size: Pair, strides: Pair, padding: Padding) -> Float[Array, "b h w k"]:
    """What each output sees, taps before channels."""
    places = [(n + sum(edge) - k) // s + 1 for n, k, s, edge in zip(x.shape[1:3], size, strides, padding)]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    taps = []
    for i, j in np.ndindex(*size):
        rows, columns = (slice(t, t + s * (m - 1) + 1, s) for t, s, m in zip((i, j), strides, places))
        taps.append(x[:, rows, columns])
    return jnp.concatenate(taps, axis=-1)


def _scattered(y: Array, kernel: Array, sides: Pair, strides: Pair, padding: Padding) -> Array:
    """The transpose of `_gathered` and a product."""
    (kh, kw, i, o), (b, h, w, _) = kernel.shape, y.shape
    taps = dense(y, kernel.reshape(-1, o).T).reshape(b, h, w, kh * kw, i)
    parts = []
    for number, tap in enumerate(np.ndindex(kh, kw)):
        edges = []
        for n, m, t, s, (before, _) in zip(sides, (h, w), tap, strides, padding):
            edges.append((t - before, n - 1 - (m - 1) * s - t + before, s - 1))
        parts.append(jax.lax.pad(taps[:, :, :, number], jnp.zeros((), y.dtype), ((0, 0, 0), *edges, (0, 0, 0))))
    return reduce(jnp.add, parts)


def _conv(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    if (*kernel.shape[:2], *strides) == (1, 1, 1, 1) and padding == ((0, 0), (0, 0)):
        return dense(x, kernel[0, 0])
    places = [(n + sum(edge) - k) // s + 1 for n, k, s, edge in zip(x.shape[1:3], kernel.shape, strides, padding)]
    if math.prod(kernel.shape[:2]) > math.prod(places):
        return dense(_gathered(x, kernel.shape[:2], strides, padding), kernel.reshape(-1, kernel.shape[-1]))
    outputs = kernel.shape[-1]
    odd = -outputs % LANES if outputs > LANES else 0
    if odd:
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, odd)))
    y = jax.lax.conv_general_dilated(x, kernel, strides, cast(Any, padding), dimension_numbers=LAYOUT)
    return y[..., :outputs] if odd else y


def _kernel_gradient(x: Array, dy: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """Of ⟨dy, conv(x, kernel)⟩, which is linear in the kernel."""
    (gradient,) = jax.vjp(lambda k: _conv(x, k, strides, padding), kernel)[1](dy)
    return gradient


def _conv_forward(x: Array, kernel: Array, strides: Pair, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return conv(x, kernel, strides, padding), (x, kernel)


def _conv_backward(strides: Pair, padding: Padding, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dx = conv_transpose(dy, kernel, x.shape[1:3], strides, padding)
    return dx, _kernel_gradient(x, dy, kernel, strides, padding)


conv.defvjp(_conv_forward, _conv_backward)


def _transpose_forward(
    y: Array, kernel: Array, sides: Pair, strides: Pair, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return conv_transpose(y, kernel, sides, strides, padding), (y, kernel)


def _transpose_backward(
    sides: Pair, strides: Pair, padding: Padding, saved: tuple[Array, Array], dx: Array
) -> tuple[Array, Array]:
    y, kernel = saved
    return conv(dx, kernel, strides, padding), _kernel_gradient(dx, y, kernel, strides, padding)


conv_transpose.defvjp(_transpose_forward, _transpose_backward)


class Layer(nn.Module):
    """What both layers have: settings, a kernel, and a bias. `padding` is "SAME" or (before, after) for rows and
    columns."""

    features: int
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: str | Sequence[Pair] = "SAME"
    use_bias: bool = True
    dtype: Any = "float32"
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    def _kernel(self, x: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        return jnp.asarray(kernel, self.dtype)

    def _biased(self, y: Array) -> Array:
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(y.dtype) if self.use_bias else y


class Conv(Layer):
    """A convolution with bias; `padding` may also be "VALID"."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The map of `features` features, in `dtype`."""
        if self.padding == "SAME":
            padding: Any = same(x.shape[1:3], self.kernel_size, self.strides)
        else:
            padding = ((0, 0), (0, 0)) if self.padding == "VALID" else tuple(map(tuple, self.padding))
        # Without a stride XLA's own derivatives are as quick, forward ones among them.
        convolve = _conv if set(self.strides) == {1} else conv
        return self._biased(convolve(jnp.asarray(x, self.dtype), self._kernel(x), self.strides, padding))


class ConvTranspose(Layer):
    """A transposed convolution with bias. `padding` is of the zeros between the inputs, as in Flax; "SAME" multiplies
    the sides by the strides."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The map of `features` features, in `dtype`."""
        sides, padding = self._transposed(x.shape[1:3])
        flipped = jnp.flip(self._kernel(x), (0, 1)).swapaxes(2, 3)
        return self._biased(conv_transpose(jnp.asarray(x, self.dtype), flipped, sides, self.strides, padding))

    def _transposed(self, places: Pair) -> tuple[Pair, Padding]:
        """Sides of the result, and the padding of the convolution that this one is the transpose of."""
        sides, edges = [], []
        for axis, (m, k, s) in enumerate(zip(places, self.kernel_size, self.strides)):
            if self.padding == "SAME":
                total = k + s - 2
                before = k - 1 if s > k - 1 else math.ceil(total / 2)
                after = total - before
            else:
                before, after = cast(Sequence[Pair], self.padding)[axis]
            n = (m - 1) * s + before + after - k + 2
            sides.append(n)
            edges.append((k - 1 - before, (m - 1) * s + before + 1 - n))
        return tuple(sides), tuple(edges)
