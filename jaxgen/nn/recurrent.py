"""The LSTM recurrences of PixelRNN (1601.06759, §3.1–3.2): over rows, and over diagonals in both directions.

Both are one recurrence: a line of n positions moves step by step over the map, and each position takes the hidden
state of some neighbours on the line before, and the cell state of one of them. The part of the gates that comes
from the input is computed for the whole map beforehand; inside the loop there is one matrix product. The backward
pass is written out, so that the weight gradient is one product after the loop and not one in each step.

Gates are ordered o, f, i, g: `o, f, i = σ(·)`, `g = tanh(·)`; `c' = f⊙c + i⊙g`; `h' = o⊙tanh(c')`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def _shift(h: Array, offset: int, fill: Array) -> Array:
    """h [b,n,d] such that position j holds h[j+offset]; `fill` [b,n,d] where that lies outside the line."""
    n = h.shape[1]
    if offset == 0:
        return h
    if offset < 0:
        return jnp.concatenate([fill[:, :-offset], h[:, : n + offset]], axis=1)
    return jnp.concatenate([h[:, offset:], fill[:, n - offset :]], axis=1)


def _neighbours(h: Array, offsets: tuple[int, ...], fill: Array, start: Array, fresh: Array) -> Array:
    """Hidden states that each position takes, side by side: [b,n,k·d]."""
    own = jnp.where(fresh[None, :, None], start, h)
    return jnp.concatenate([own if o == 0 else _shift(h, o, fill) for o in offsets], axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def lstm_scan(
    x: tuple[Float[Array, "t b n gates"], ...],
    w: Float[Array, "s k gates"],
    h0: Float[Array, "s d"],
    c0: Float[Array, "s d"],
    reset: Float[Array, "t n"],
    offsets: tuple[int, ...],
    edge: bool,
) -> tuple[Float[Array, "t b n d"], ...]:
    """Hidden states of `s` independent recurrences, streams, over `t` lines of `n` positions, all in one scan.

    `x` is each stream's input part of the four gates (o, f, i, g), `w` the state-to-state maps from the neighbours at
    `offsets` of the line before (k = offsets·d). The line before the first is `h0`, `c0` everywhere. Where `reset`
    is nonzero, the position's own previous state (offset 0, and the cell) is `h0`, `c0` too. Past the ends of the
    line the neighbours are `h0` if `edge`, else zeros.
    """
    return _forward(x, w, h0, c0, reset, offsets, edge)[0]


def accumulator(dtype: Any) -> Any:
    """The type in which cells and sums are kept: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def _starts(x: Array, h0: Array, c0: Array, edge: bool) -> tuple[Array, Array, Array]:
    """First states of a stream x [t,b,n,gates], and what lies past the ends of its lines."""
    b, n, gates = x.shape[1:]
    h = jnp.broadcast_to(h0, (b, n, gates // 4)).astype(x.dtype)
    c = jnp.broadcast_to(c0, (b, n, gates // 4)).astype(accumulator(x.dtype))
    return h, c, h if edge else jnp.zeros_like(h)


def _forward(x, w, h0, c0, reset, offsets, edge):  # type: ignore[no-untyped-def]
    starts = [_starts(*stream, edge) for stream in zip(x, h0, c0)]
    wide = accumulator(x[0].dtype)

    def step(carry, line):  # type: ignore[no-untyped-def]
        lines, fresh = line
        states, kept = [], []
        for (h, c), x_t, w_s, (h_start, c_start, fill) in zip(carry, lines, w, starts):
            c = jnp.where(fresh[None, :, None], c_start, c)
            near = _neighbours(h, offsets, fill, h_start, fresh)
            pre = x_t.astype(wide) + jnp.einsum("bnk,kg->bng", near, w_s, preferred_element_type=wide)
            o, f, i, g = _gates(pre)
            c = f * c + i * g
            h = (o * jnp.tanh(c)).astype(x_t.dtype)
            states.append((h, c))
            kept.append((h, c, pre.astype(x_t.dtype)))
        return tuple(states), tuple(kept)

    start = tuple((h, c) for h, c, _ in starts)
    _, kept = jax.lax.scan(step, start, (x, reset != 0))
    return tuple(hs for hs, _, _ in kept), (kept, w, h0, c0, reset)


def _gates(pre: Array) -> tuple[Array, Array, Array, Array]:
    """o, f, i, g from what stands before their non-linearities."""
    d = pre.shape[-1] // 4
    # The barrier keeps XLA-CPU from fusing them into what reads them, slice by slice and no longer vectorised.
    ofi, g = jax.lax.optimization_barrier((jax.nn.sigmoid(pre[..., : 3 * d]), jnp.tanh(pre[..., 3 * d :])))
    o, f, i = jnp.split(ofi, 3, axis=-1)
    return o, f, i, g


def _backward(offsets, edge, saved, dhs):  # type: ignore[no-untyped-def]
    kept, w, h0, c0, reset = saved
    d, wide = w.shape[-1] // 4, accumulator(kept[0][2].dtype)
    fresh = reset != 0
    wt = w.swapaxes(1, 2)
    is_output = (jnp.arange(4) == 0)[:, None]
    missing = [None if o == 0 or not edge else np.s_[:, :-o] if o < 0 else np.s_[:, -o:] for o in offsets]

    def factors(own: tuple[Array, Array, Array], h0: Array, c0: Array, dh: Array) -> tuple[Array, ...]:
        # All that the loop multiplies with depends on the forward pass alone: made for the whole map at once. With dh
        # and dc the gradients of a line's states, dc' = dc + dh⊙through, and those of its gates are
        # slope⊙(dh, dc', dc', dc').
        _, cs, pre = own
        _, c_start, _ = _starts(pre, h0, c0, edge)
        c_before = jnp.where(fresh[:, None, :, None], c_start, jnp.concatenate([c_start[None], cs[:-1]]))
        o, f, i, g = _gates(pre.astype(wide))
        tanh_c = jnp.tanh(cs)
        slopes = (tanh_c * o * (1 - o), c_before * f * (1 - f), g * i * (1 - i), i * (1 - g * g))
        return dh, jnp.stack(jax.lax.optimization_barrier(slopes), axis=-2), o * (1 - tanh_c * tanh_c), f

    def step(carry, line):  # type: ignore[no-untyped-def]
        lines, fresh_t = line
        fresh_t = fresh_t[None, :, None]
        carries, dpres = [], []
        for (dh, dc, dh0, dc0), (dh_t, slope, through, forget), wt_s in zip(carry, lines, wt):
            dh = dh + dh_t.astype(wide)
            dc = dc + dh * through
            dpre = jnp.where(is_output, dh[..., None, :], dc[..., None, :]) * slope
            dpre = dpre.reshape(*dh.shape[:-1], 4 * d).astype(dh_t.dtype)
            dnear = jnp.einsum("bng,gk->bnk", dpre, wt_s, preferred_element_type=wide)
            dc = dc * forget
            dc0 = dc0 + jnp.where(fresh_t, dc, 0.0).sum(axis=1)
            dh = zero = jnp.zeros_like(dc)
            for k, offset in enumerate(offsets):
                part = dnear[..., k * d : (k + 1) * d]
                if offset == 0:
                    dh, dh0 = dh + jnp.where(fresh_t, 0.0, part), dh0 + jnp.where(fresh_t, part, 0.0).sum(axis=1)
                else:
                    dh = dh + _shift(part, -offset, zero)
                    dh0 = dh0 if missing[k] is None else dh0 + part[missing[k]].sum(axis=1)
            carries.append((dh, jnp.where(fresh_t, 0.0, dc), dh0, dc0))
            dpres.append(dpre)
        return tuple(carries), tuple(dpres)

    streams = [factors(own, h, c, dh) for own, h, c, dh in zip(kept, h0, c0, dhs)]
    # The gradients of the first states are summed over the batch after the loop only: over a mesh, that sum waits for
    # the other devices.
    zeros = [jnp.zeros(hs.shape[1:], wide) for hs, _, _ in kept]
    start = tuple((z, z, z[:, 0], z[:, 0]) for z in zeros)
    first, dpres = jax.lax.scan(step, start, (tuple(streams), fresh), reverse=True)
    dw, dh0, dc0 = [], [], []
    for (hs, _, pre), dpre, h, c, (dh_first, dc_first, dh_own, dc_own) in zip(kept, dpres, h0, c0, first):
        h_start, _, fill = _starts(pre, h, c, edge)
        h_before = jnp.concatenate([h_start[None], hs[:-1]])
        near = jax.vmap(lambda h, r, fill=fill, s=h_start: _neighbours(h, offsets, fill, s, r))(h_before, fresh)
        dw.append(jnp.einsum("tbnk,tbng->kg", near, dpre, preferred_element_type=wide))
        dh0.append((dh_own + dh_first.sum(axis=1)).sum(axis=0))
        dc0.append((dc_own + dc_first.sum(axis=1)).sum(axis=0))
    stacked = (jnp.stack(g).astype(p.dtype) for g, p in ((dw, w), (dh0, h0), (dc0, c0)))
    return (dpres, *stacked, jnp.zeros_like(reset))


lstm_scan.defvjp(_forward, _backward)


def row_lstm(
    x: Float[Array, "b h w gates"], weights: Float[Array, "k gates"], h0: Float[Array, " d"], c0: Float[Array, " d"]
) -> Float[Array, "b h w d"]:
    """Row LSTM: each row takes the row before through an unmasked 1×3 state-to-state convolution (k = 3d).

    `x` is the input-to-state part of the gates. The states before the first row are `h0`, `c0`; sideways h is
    padded with zeros.
    """
    lines = x.transpose(1, 0, 2, 3)
    (h,) = lstm_scan(
        (lines,), weights[None], h0[None], c0[None], jnp.zeros((x.shape[1], x.shape[2])), (-1, 0, 1), False
    )
    return h.transpose(1, 0, 2, 3)


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
    does not mind. Inside `shard_map`, the batch is one device's already.
    """
    if jax.default_backend() != "cpu":
        return 1
    devices = 1 if jax.sharding.get_abstract_mesh().manual_axes else jax.local_device_count()
    return batch // devices if batch % devices == 0 else 1


def diagonals(x: Float[Array, "b h w d"], pack: int) -> Float[Array, "t b2 h d"]:
    """The diagonals of a map as lines, `pack` images side by side in one map: t = pack·w + h − 1, b2 = b / pack."""
    b, h, w, d = x.shape
    x = x.reshape(b // pack, pack, h, w, d).swapaxes(1, 2).reshape(b // pack, h, pack * w, d)
    return skew(x).transpose(2, 0, 1, 3)


def undiagonals(lines: Float[Array, "t b2 h d"], pack: int) -> Float[Array, "b h w d"]:
    """The inverse of `diagonals`."""
    t, b, h, d = lines.shape
    w = (t - h + 1) // pack
    x = unskew(lines.transpose(1, 2, 0, 3)).reshape(b, h, pack, w, d)
    return cast(Array, x.swapaxes(1, 2).reshape(b * pack, h, w, d))


def diagonal_bilstm(
    left: Float[Array, "t b2 h gates"],
    right: Float[Array, "t b2 h gates"],
    weights: Float[Array, "2 k gates"],
    h0: Float[Array, "2 d"],
    c0: Float[Array, "2 d"],
    pack: int,
) -> Float[Array, "b h w d"]:
    """Diagonal BiLSTM: both directions in one scan over the diagonals, added (k = 2d).

    `left` and `right` are the input-to-state parts of the gates of the left-to-right stream, on the `diagonals` of the
    map, and of the right-to-left stream, on those of the map flipped left-right. The state of (r, c) takes those of
    (r−1, c) and (r, c−1); outside the map they are `h0`, `c0`. The right-to-left stream is shifted down by one row
    before it is added, so that it sees rows above only. The result does not depend on `pack`.
    """
    t, _, h, _ = left.shape
    w = (t - h + 1) // pack
    first_column = (np.arange(t)[:, None] - np.arange(h)[None, :]) % w == 0
    states = lstm_scan((left, right), weights, h0, c0, jnp.asarray(first_column, jnp.float32), (-1, 0), True)
    to_right, to_left = (undiagonals(stream, pack) for stream in states)
    return to_right + shift_down(to_left[:, :, ::-1])
