"""Masked layers of the pixel models: colour groups, and convolutions over the live taps alone (1601.06759, §3.4).

Features are split in `c` groups (R | G | B), as even as `numpy.array_split` makes them. A feature of group k at a
pixel may see, in that pixel, input groups < k (mask A) or ≤ k (mask B). Where a map feeds several gates, each
gate is masked by itself: its output groups are the groups of one gate, repeated.

A masked convolution is one matrix product over its live taps. This is exact, does no work for the dead taps, and
unlike a convolution its gradient stays fast inside loops on a CPU (XLA-CPU runs gradient convolutions in a loop
up to 57 times slower).
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Taps = tuple[tuple[int, int], ...]
Colours = tuple[int, ...]


def groups(features: int, channels: int, gates: int = 1) -> np.ndarray:
    """Colour group of each feature, `int[gates·features]`: `channels` even groups, repeated for each gate."""
    sizes = [len(part) for part in np.array_split(np.arange(features), channels)]
    return np.tile(np.repeat(np.arange(channels), sizes), gates)


def group_mask(kind: Literal["A", "B"], source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`float32[source, target]`, 1 where a target feature may see a source feature of its own pixel."""
    seen = source[:, None] < target[None, :] if kind == "A" else source[:, None] <= target[None, :]
    return seen.astype(np.float32)


def raster_taps(size: int) -> Taps:
    """(row, column) offsets of a `size`×`size` kernel that lie before the centre in raster order, then the centre."""
    r = size // 2
    above = [(i, j) for i in range(-r, 0) for j in range(-r, r + 1)]
    return (*above, *((0, j) for j in range(-r, 1)))


def row_taps(size: int) -> Taps:
    """Offsets of a 1×`size` kernel up to the centre."""
    return tuple((0, j) for j in range(-(size // 2), 1))


def gather(x: Float[Array, "b h w i"], taps: Taps, sign: int = 1) -> Float[Array, "b h w o"]:
    """Copies of x at `sign`·taps, zeros outside, side by side: o = taps·i."""
    h, w = x.shape[1:3]
    up, down = (max(max(s * sign * r for r, _ in taps), 0) for s in (-1, 1))
    left, right = (max(max(s * sign * c for _, c in taps), 0) for s in (-1, 1))
    padded = jnp.pad(x, ((0, 0), (up, down), (left, right), (0, 0)))
    parts = [
        jax.lax.slice_in_dim(
            jax.lax.slice_in_dim(padded, up + sign * r, up + sign * r + h, axis=1),
            left + sign * c,
            left + sign * c + w,
            axis=2,
        )
        for r, c in taps
    ]
    return jnp.concatenate(parts, axis=-1)


def dense(x: Float[Array, "*s i"], kernel: Float[Array, "i o"]) -> Float[Array, "*s o"]:
    """x · kernel as one product of two matrices: with more axes, XLA-CPU transposes whole maps for the gradient."""
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def tap_conv(x: Float[Array, "b h w i"], kernel: Float[Array, "t i o"], taps: Taps) -> Float[Array, "b h w o"]:
    """Convolution over a list of taps: y(p) = Σ_t x(p + tap_t) · kernel_t, zeros outside the map."""
    return dense(gather(x, taps), kernel.reshape(-1, kernel.shape[-1]))


def _tap_conv_forward(x: Array, kernel: Array, taps: Taps) -> tuple[Array, tuple[Array, Array]]:
    return tap_conv(x, kernel, taps), (x, kernel)


def _tap_conv_backward(taps: Taps, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    # What is shifted is the narrower side: where that is dy, both gradients are products with the same copies of it;
    # where it is x, dy is multiplied as it is and the products are shifted and summed.
    x, kernel = saved
    t, i, o = kernel.shape
    if i < o:
        parts = jnp.split(dense(dy, kernel.transpose(2, 0, 1).reshape(o, t * i)), t, axis=-1)
        dx = reduce(jnp.add, (gather(part, (tap,), -1) for part, tap in zip(parts, taps)))
        return dx, (gather(x, taps).reshape(-1, t * i).T @ dy.reshape(-1, o)).reshape(t, i, o)
    shifted = gather(dy, taps, -1)
    dk = x.reshape(-1, i).T @ shifted.reshape(-1, t * o)
    return dense(shifted, kernel.swapaxes(1, 2).reshape(t * o, i)), dk.reshape(i, t, o).swapaxes(0, 1)


tap_conv.defvjp(_tap_conv_forward, _tap_conv_backward)


def centre_mask(kind: Literal["A", "B"], taps: Taps, source: Colours, target: Colours) -> np.ndarray:
    """`float32[taps, source, target]`: ones, but for the tap (0, 0), which is masked by colour groups."""
    mask = np.ones((len(taps), len(source), len(target)), np.float32)
    mask[taps.index((0, 0))] = group_mask(kind, np.array(source), np.array(target))
    return mask


def live_kernel(
    kernel: Float[Array, "*layers t i o"], taps: Taps, kind: Literal["A", "B"], source: Colours, target: Colours
) -> Float[Array, "*layers t i o"]:
    """A `MaskedConv`'s kernel with its centre masked."""
    mask = centre_mask(kind, taps, source, target)
    return kernel if mask.all() else kernel * mask


class MaskedConv(nn.Module):
    """Convolution over `taps`, the centre (0, 0) masked by colour groups, with bias.

    `source` and `target` are the colour groups of the input and output features. Variance of the initial kernel is
    1 / (live inputs of the average output).
    """

    taps: Taps
    kind: Literal["A", "B"]
    source: Colours
    target: Colours
    dtype: str = "float32"

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """Feature map of the same height and width."""
        y, bias = self.apart(x)
        return y + bias

    @nn.compact
    def apart(self, x: Float[Array, "b h w i"]) -> tuple[Float[Array, "b h w o"], Float[Array, " o"]]:
        """The map and, beside it, the bias, for one who adds it along with something else."""
        mask = centre_mask(self.kind, self.taps, self.source, self.target)
        centre, o = self.taps.index((0, 0)), len(self.target)
        live = max(mask.sum() / o, 1.0)
        kernel = self.param("kernel", nn.initializers.normal(live**-0.5), mask.shape)
        bias = self.param("bias", nn.initializers.zeros, (o,))
        if not mask[centre].any():  # nothing of the own pixel is seen: drop the tap
            taps, kernel = self.taps[:centre] + self.taps[centre + 1 :], jnp.delete(kernel, centre, axis=0)
        else:
            taps, kernel = self.taps, live_kernel(kernel, self.taps, self.kind, self.source, self.target)
        dtype = jnp.dtype(self.dtype)
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        y = dense(x, kernel[0]) if taps == ((0, 0),) else tap_conv(x, kernel, taps)
        return y, bias.astype(dtype)


POINT = ((0, 0),)


def colours(features: int, channels: int, gates: int = 1) -> tuple[int, ...]:
    """Colour group of each feature of a map, as a tuple (`nn.masked.groups`)."""
    return tuple(groups(features, channels, gates).tolist())


@jax.custom_vjp
def relu(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """max(x, 0), which remembers its result alone: the product that follows keeps that anyway."""
    return jnp.maximum(x, 0)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, dy: Array) -> tuple[Array]:
    return (jnp.where(y > 0, dy, 0),)


relu.defvjp(_relu_forward, _relu_backward)
