"""The LSTM recurrences of PixelRNN (1601.06759, §3.1–3.2): over rows, and over diagonals in both directions.

Both are one recurrence: a line of n positions moves step by step over the map, and each position takes the hidden
state of some neighbours on the line before, and the cell state of one of them. The part of the gates that comes
from the input is computed for the whole map beforehand; inside the loop there is one matrix product. The backward
pass is written out, so that the weight gradient is one product after the loop and not one in each step.

Gates are ordered o, f, i, g: `o, f, i = σ(·)`, `g = tanh(·)`; `c' = f⊙c + i⊙g`; `h' = o⊙tanh(c')`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def _shift(h: Array, offset: int, fill: Array) -> Array:
    """h [s,b,n,d] such that position j holds h[j+offset]; `fill` [s,b,n,d] where that lies outside the line."""
    n = h.shape[2]
    if offset == 0:
        return h
    if offset < 0:
        return jnp.concatenate([fill[:, :, :-offset], h[:, :, : n + offset]], axis=2)
    return jnp.concatenate([h[:, :, offset:], fill[:, :, n - offset :]], axis=2)


def _neighbours(h: Array, offsets: tuple[int, ...], fill: Array, start: Array, reset: Array) -> Array:
    """Hidden states that each position takes, side by side: [s,b,n,k·d]."""
    own = jnp.where(reset[None, None, :, None], start, h)
    return jnp.concatenate([own if o == 0 else _shift(h, o, fill) for o in offsets], axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def lstm_scan(
    x: Float[Array, "t s b n gates"],
    w: Float[Array, "s k gates"],
    h0: Float[Array, "s d"],
    c0: Float[Array, "s d"],
    reset: Float[Array, "t n"],
    offsets: tuple[int, ...],
    edge: bool,
) -> Float[Array, "t s b n d"]:
    """Hidden states of `s` independent recurrences over `t` lines of `n` positions.

    `x` is the input's part of the four gates (o, f, i, g), `w` the state-to-state map from the neighbours at
    `offsets` of the line before (k = offsets·d). The line before the first is `h0`, `c0` everywhere. Where `reset`
    is nonzero, the position's own previous state (offset 0, and the cell) is `h0`, `c0` too. Past the ends of the
    line the neighbours are `h0` if `edge`, else zeros.
    """
    return _forward(x, w, h0, c0, reset, offsets, edge)[0]


def accumulator(dtype: Any) -> Any:
    """The type in which cells and sums are kept: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def _starts(x: Array, h0: Array, c0: Array, edge: bool) -> tuple[Array, Array, Array]:
    s, b, n, gates = x.shape[1:]
    h = jnp.broadcast_to(h0[:, None, None], (s, b, n, gates // 4)).astype(x.dtype)
    c = jnp.broadcast_to(c0[:, None, None], (s, b, n, gates // 4)).astype(accumulator(x.dtype))
    return h, c, h if edge else jnp.zeros_like(h)


def _forward(x, w, h0, c0, reset, offsets, edge):  # type: ignore[no-untyped-def]
    wide = accumulator(x.dtype)
    h_start, c_start, fill = _starts(x, h0, c0, edge)

    def step(carry, line):  # type: ignore[no-untyped-def]
        h, c = carry
        x_t, reset_t = line
        c = jnp.where(reset_t[None, None, :, None], c_start, c)
        near = _neighbours(h, offsets, fill, h_start, reset_t)
        pre = x_t.astype(wide) + jnp.einsum("sbnk,skg->sbng", near, w, preferred_element_type=wide)
        o, f, i, g = _gates(pre)
        c = f * c + i * g
        h = (o * jnp.tanh(c)).astype(x.dtype)
        return (h, c), (h, c, pre.astype(x.dtype))

    _, (hs, cs, pre) = jax.lax.scan(step, (h_start, c_start), (x, reset != 0))
    return hs, (hs, cs, pre, w, h0, c0, reset)


def _gates(pre: Array) -> tuple[Array, Array, Array, Array]:
    """o, f, i, g from what stands before their non-linearities."""
    d = pre.shape[-1] // 4
    # The barrier keeps XLA-CPU from fusing them into what reads them, slice by slice and no longer vectorised.
    ofi, g = jax.lax.optimization_barrier((jax.nn.sigmoid(pre[..., : 3 * d]), jnp.tanh(pre[..., 3 * d :])))
    o, f, i = jnp.split(ofi, 3, axis=-1)
    return o, f, i, g


def _backward(offsets, edge, saved, dhs):  # type: ignore[no-untyped-def]
    hs, cs, pre, w, h0, c0, reset = saved
    d, wide = w.shape[-1] // 4, accumulator(pre.dtype)
    h_start, c_start, fill = _starts(pre, h0, c0, edge)
    fresh = reset != 0
    zero = jnp.zeros_like(c_start)
    wt = w.swapaxes(1, 2)

    # All that the loop multiplies with depends on the forward pass alone: made for the whole map at once. With dh and
    # dc the gradients of a line's states, dc' = dc + dh⊙through, and those of its gates are slope⊙(dh, dc', dc', dc').
    c_before = jnp.where(fresh[:, None, None, :, None], c_start, jnp.concatenate([c_start[None], cs[:-1]]))
    o, f, i, g = _gates(pre.astype(wide))
    tanh_c = jnp.tanh(cs)
    slopes = (tanh_c * o * (1 - o), c_before * f * (1 - f), g * i * (1 - i), i * (1 - g * g))
    slope = jnp.stack(jax.lax.optimization_barrier(slopes), axis=-2)
    through = o * (1 - tanh_c * tanh_c)
    is_output = (jnp.arange(4) == 0)[:, None]

    def step(carry, line):  # type: ignore[no-untyped-def]
        dh, dc, dc0 = carry
        dh_t, slope_t, through_t, forget_t, fresh_t = line
        fresh_t = fresh_t[None, None, :, None]
        dh = dh + dh_t.astype(wide)
        dc = dc + dh * through_t
        dpre = jnp.where(is_output, dh[..., None, :], dc[..., None, :]) * slope_t
        dpre = dpre.reshape(*dh.shape[:-1], 4 * d).astype(hs.dtype)
        dnear = jnp.einsum("sbng,sgk->sbnk", dpre, wt, preferred_element_type=wide)
        dc = dc * forget_t
        dc0 = dc0 + jnp.where(fresh_t, dc, 0.0).sum(axis=2)
        dh = zero
        for k, offset in enumerate(offsets):
            part = dnear[..., k * d : (k + 1) * d]
            dh = dh + (jnp.where(fresh_t, 0.0, part) if offset == 0 else _shift(part, -offset, zero))
        return (dh, jnp.where(fresh_t, 0.0, dc), dc0), dpre

    # Summed over the batch after the loop only: over a mesh, that sum waits for the other devices.
    start = (zero, zero, jnp.zeros_like(zero[:, :, 0]))
    (_, dc, dc0), dpre = jax.lax.scan(step, start, (dhs, slope, through, f, fresh), reverse=True)
    h_before = jnp.concatenate([h_start[None], hs[:-1]])
    near = jax.vmap(lambda h, r: _neighbours(h, offsets, fill, h_start, r))(h_before, fresh)
    dw = jnp.einsum("tsbnk,tsbng->skg", near, dpre, preferred_element_type=wide)
    # h0 enters linearly wherever a neighbour is missing: sum the gates' gradients there, then one small product.
    dh0 = jnp.zeros(h0.shape, wide)
    t, n = reset.shape
    for k, offset in enumerate(offsets):
        missing = fresh if offset == 0 else _outside(t, n, offset, edge)
        missing = missing | (jnp.arange(t) == 0)[:, None] & (_inside(n, offset) | edge)
        summed = jnp.einsum("tn,tsbng->sg", missing.astype(dpre.dtype), dpre, preferred_element_type=wide)
        dh0 = dh0 + jnp.einsum("sg,sgd->sd", summed, wt[..., k * d : (k + 1) * d].astype(wide))
    dc0 = dc0.sum(axis=1) + dc.sum(axis=(1, 2))
    return dpre, dw.astype(w.dtype), dh0.astype(h0.dtype), dc0.astype(c0.dtype), jnp.zeros_like(reset)


def _inside(n: int, offset: int) -> np.ndarray:
    """Which of n positions have a neighbour at the offset: bool[n]."""
    return (np.arange(n) + offset >= 0) & (np.arange(n) + offset < n)


def _outside(t: int, n: int, offset: int, edge: bool) -> np.ndarray:
    """Which positions take h0 because the line ends: bool[t,n]."""
    return np.broadcast_to(~_inside(n, offset) & edge, (t, n))


lstm_scan.defvjp(_forward, _backward)


def row_lstm(
    x: Float[Array, "b h w gates"], weights: Float[Array, "k gates"], h0: Float[Array, " d"], c0: Float[Array, " d"]
) -> Float[Array, "b h w d"]:
    """Row LSTM: each row takes the row before through an unmasked 1×3 state-to-state convolution (k = 3d).

    `x` is the input-to-state part of the gates. The states before the first row are `h0`, `c0`; sideways h is
    padded with zeros.
    """
    lines = x.transpose(1, 0, 2, 3)[:, None]
    h = lstm_scan(lines, weights[None], h0[None], c0[None], jnp.zeros((x.shape[1], x.shape[2])), (-1, 0, 1), False)
    return h[:, 0].transpose(1, 0, 2, 3)


def skew(x: Float[Array | np.ndarray, "*s h w d"]) -> Float[Array, "*s h t d"]:
    """Row r moved r columns to the right, so that diagonals become columns; t = w+h−1. Zeros where nothing was."""
    *s, h, w, d = x.shape
    x = jnp.pad(x, [(0, 0)] * (len(s) + 1) + [(0, h), (0, 0)]).reshape(*s, h * (w + h), d)
    return x[..., : h * (w + h - 1), :].reshape(*s, h, w + h - 1, d)


def unskew(x: Float[Array | np.ndarray, "*s h t d"]) -> Float[Array | np.ndarray, "*s h w d"]:
    """The inverse of `skew`: row r moved r columns to the left, the first w = t−h+1 columns kept."""
    *s, h, t, d = x.shape
    x = jnp.pad(x.reshape(*s, h * t, d), [(0, 0)] * len(s) + [(0, h), (0, 0)])
    return x.reshape(*s, h, t + 1, d)[..., : t - h + 1, :]


def shift_down(x: Float[Array | np.ndarray, "b h w d"]) -> Float[Array, "b h w d"]:
    """Each row takes the row above it; row 0 becomes zeros."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def default_pack(batch: int) -> int:
    """Images laid side by side in one map: all that one device holds on a CPU, 1 elsewhere.

    Side by side, the empty corners of the skewed maps are shared; but the scan grows longer, which only a CPU
    does not mind.
    """
    devices = jax.local_device_count()
    return batch // devices if jax.default_backend() == "cpu" and batch % devices == 0 else 1


def diagonal_bilstm(
    left: Float[Array, "b h w gates"],
    right: Float[Array, "b h w gates"],
    weights: Float[Array, "2 k gates"],
    h0: Float[Array, "2 d"],
    c0: Float[Array, "2 d"],
    pack: int | None = None,
) -> Float[Array, "b h w d"]:
    """Diagonal BiLSTM: both directions in one scan over the skewed columns, added (k = 2d).

    `left` and `right` are the input-to-state parts of the gates of the left-to-right and of the right-to-left
    stream, both in the image's own layout. The state of (r, c) takes those of (r−1, c) and (r, c−1); outside the
    map they are `h0`, `c0`. The right-to-left stream runs on the image flipped left-right; it is shifted down by
    one row before it is added, so that it sees rows above only. `pack` images share one map (it divides b); the
    result does not depend on it.
    """
    b, h, w, gates = left.shape
    pack = default_pack(b) if pack is None else pack
    x = jnp.stack([left, right[:, :, ::-1]])
    x = x.reshape(2, b // pack, pack, h, w, gates).swapaxes(2, 3).reshape(2, b // pack, h, pack * w, gates)
    lines = skew(x).transpose(3, 0, 1, 2, 4)
    t = lines.shape[0]
    first_column = (np.arange(t)[:, None] - np.arange(h)[None, :]) % w == 0
    states = lstm_scan(lines, weights, h0, c0, jnp.asarray(first_column, jnp.float32), (-1, 0), True)
    y = unskew(states.transpose(1, 2, 3, 0, 4))
    y = y.reshape(2, b // pack, h, pack, w, gates // 4).swapaxes(2, 3).reshape(2, b, h, w, gates // 4)
    return y[0] + shift_down(y[1, :, :, ::-1])
