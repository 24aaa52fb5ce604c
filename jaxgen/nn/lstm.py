"""The LSTM recurrences of PixelRNN (1601.06759, §3.1–3.2): over rows, and over diagonals in both directions.

Both are one recurrence: a line of n positions moves step by step over the map, and each position takes the hidden
state of some neighbours on the line before, and the cell state of one of them. The part of the gates that comes
from the input is computed for the whole map beforehand; inside the loop there is one matrix product. The backward
pass is written out, so that the weight gradient is one product after the loop and not one in each step.

Gates are ordered o, f, i, g: `o, f, i = σ(·)`, `g = tanh(·)`; `c' = f⊙c + i⊙g`; `h' = o⊙tanh(c')`.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.core.dtypes import accumulator


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


@partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def lstm_scan(
    x: tuple[Float[Array, "t b n gates"], ...],
    bias: Float[Array, "s gates"],
    w: Float[Array, "s k gates"],
    h0: Float[Array, "s d"],
    c0: Float[Array, "s d"],
    reset: Float[Array, "t n"],
    offsets: tuple[int, ...],
    edge: bool,
) -> tuple[Float[Array, "t b n d"], ...]:
    """Hidden states of `s` independent recurrences, streams, over `t` lines of `n` positions, all in one scan.

    `x` and `bias` are each stream's input part of the four gates (o, f, i, g), `w` the state-to-state maps from the
    neighbours at `offsets` of the line before (k = offsets·d). The line before the first is `h0`, `c0` everywhere.
    Where `reset` is nonzero, the position's own previous state (offset 0, and the cell) is `h0`, `c0` too. Past the
    ends of the line the neighbours are `h0` if `edge`, else zeros.
    """
    return _forward(x, bias, w, h0, c0, reset, offsets, edge, False)[0]


def _starts(x: Array, h0: Array, c0: Array, edge: bool) -> tuple[Array, Array, Array]:
    """First states of a stream x [t,b,n,gates], and what lies past the ends of its lines."""
    b, n, gates = x.shape[1:]
    h = jnp.broadcast_to(h0, (b, n, gates // 4)).astype(x.dtype)
    c = jnp.broadcast_to(c0, (b, n, gates // 4)).astype(accumulator(x.dtype))
    return h, c, h if edge else jnp.zeros_like(h)


def _flat(lines: Array) -> Array:
    """Lines [t,b,n,·] as [t,b·n,·]: where b is 1, XLA-CPU's operations differ in where that axis lies in memory, and
    whole maps are copied to move it."""
    return lines.reshape(len(lines), -1, lines.shape[-1])


def _line(lines: Array, t: Array | int, like: Array) -> Array:
    """Line t of lines [t,b·n,gates], as [b,n,gates] where `like` is [b,n,…]."""
    line = jax.lax.dynamic_index_in_dim(lines, t, keepdims=False, allow_negative_indices=False)
    return line.reshape(*like.shape[:2], -1)


def _replace(lines: Array, line: Array, t: Array | int) -> Array:
    """The lines [t,b·n,gates] with `line` in the place of line t; of the first or the last if t lies outside."""
    line = line.reshape(lines.shape[1:])
    return jax.lax.dynamic_update_index_in_dim(lines, line, t, axis=0, allow_negative_indices=False)


def _finish(lines: Array, line: Array, t: int) -> Array:
    """The lines with the last one in its place. On a CPU in a loop of one round, of which the compiler must not know
    that it is one: as an operation of the program around it, XLA-CPU would make it anew for each product that reads the
    lines, on a copy of all of them."""
    if jax.default_backend() != "cpu":
        return _replace(lines, line, t)
    once = jax.lax.optimization_barrier(jnp.int32(1))
    return jax.lax.fori_loop(0, once, lambda _, lines: _replace(lines, line, t), lines)


def _forward(x, bias, w, h0, c0, reset, offsets, edge, keep=True):  # type: ignore[no-untyped-def]
    # All that the backward loop multiplies with is made here, where the gates are at hand. With dh and dc the gradients
    # of a line's states, dc' = dc + dh⊙through, and those of its gates are slopes⊙(dh, dc', dc', dc'). The slopes take
    # the place of the inputs, line by line, and their place is taken by the gates' gradients in turn: a buffer that the
    # loop carries and overwrites need not be filled with zeros first, as the stacked results of a scan are. A line is
    # written one step late, before the next is read: whatever the compiler fuses, no reader is left of the lines
    # before, which it would copy for them. In the first step, the line that is written is the one that is there.
    starts = [_starts(*stream, edge) for stream in zip(x, h0, c0)]
    wide, maps = accumulator(x[0].dtype), list(zip(w, bias))

    def step(carry, line):  # type: ignore[no-untyped-def]
        t, fresh = line
        states, kept = [], []
        for (h, c, lines, slopes), (w_s, bias_s), (h_start, c_start, fill) in zip(carry, maps, starts):
            lines = _replace(lines, slopes, t - 1) if keep else lines
            c = jnp.where(fresh[None, :, None], c_start, c)
            near = _neighbours(h, offsets, fill, h_start, fresh)
            pre = _line(lines, t, h).astype(wide) + jnp.einsum("bnk,kg->bng", near, w_s, preferred_element_type=wide)
            o, f, i, g = gates(activated(pre + bias_s))
            before, c = c, f * c + i * g
            c, tanh_c = jax.lax.optimization_barrier((c, jnp.tanh(c)))
            h = (o * tanh_c).astype(h.dtype)
            if keep:
                parts = (tanh_c * o * (1 - o), before * f * (1 - f), g * i * (1 - i), i * (1 - g * g))
                slopes = jnp.concatenate(parts, axis=-1).astype(lines.dtype)
            states.append((h, c, lines, slopes))
            kept.append((h, (o * (1 - tanh_c * tanh_c)).astype(h.dtype), f.astype(h.dtype)) if keep else (h,))
        return tuple(states), tuple(kept)

    start = tuple((h, c, lines, _line(lines, 0, h)) for (h, c, _), lines in zip(starts, map(_flat, x)))
    last, kept = jax.lax.scan(step, start, (jnp.arange(len(reset)), reset != 0))
    slopes = tuple(_finish(lines, line, len(reset) - 1) for _, _, lines, line in last) if keep else None
    return tuple(hs for hs, *_ in kept), (kept, slopes, bias, w, h0, c0, reset)


def activated(pre: Float[Array, "*s gates"]) -> Float[Array, "*s gates"]:
    """tanh of what stands before the gates' non-linearities, halved for o, f, i: σ(x) = (1 + tanh(x/2)) / 2. So all
    four are made alike, in one pass, in float32 at least."""
    pre, number = pre.astype(accumulator(pre.dtype)), jnp.arange(pre.shape[-1])
    scale = jnp.where(number < pre.shape[-1] // 4 * 3, 0.5, 1.0).astype(pre.dtype)
    # The barrier keeps XLA-CPU from fusing it into what reads it, slice by slice and no longer vectorised.
    return jax.lax.optimization_barrier(jnp.tanh(pre * scale))


def gates(t: Array) -> tuple[Array, Array, Array, Array]:
    """o, f, i, g of what is `activated`."""
    o, f, i, g = jnp.split(t, 4, axis=-1)
    return (1 + o) / 2, (1 + f) / 2, (1 + i) / 2, g


def _backward(offsets, edge, saved, dhs):  # type: ignore[no-untyped-def]
    kept, slopes, bias, w, h0, c0, reset = saved
    d, wide = w.shape[-1] // 4, accumulator(slopes[0].dtype)
    fresh, maps = reset != 0, [w_s.T for w_s in w]
    missing = [None if o == 0 or not edge else np.s_[:, :-o] if o < 0 else np.s_[:, -o:] for o in offsets]

    def step(carry, line):  # type: ignore[no-untyped-def]
        t, streams, fresh_t = line
        fresh_t = fresh_t[None, :, None]
        carries = []
        for (dh, dc, dh0, dc0, lines, dpre), (dh_t, through, forget), wt_s in zip(carry, streams, maps):
            lines = _replace(lines, dpre, t + 1)
            dh = dh + dh_t.reshape(dh.shape).astype(wide)
            dc = dc + dh * through
            dpre = (jnp.concatenate([dh, dc, dc, dc], axis=-1) * _line(lines, t, dh)).astype(lines.dtype)
            dnear = jnp.einsum("bng,gk->bnk", dpre, wt_s, preferred_element_type=wide)
            dc = dc * forget
            dc0 = dc0 + jnp.where(fresh_t, dc, 0.0)
            dh = zero = jnp.zeros_like(dc)
            for k, offset in enumerate(offsets):
                part = dnear[..., k * d : (k + 1) * d]
                if offset == 0:
                    dh, dh0 = dh + jnp.where(fresh_t, 0.0, part), dh0 + jnp.where(fresh_t, part, 0.0)
                else:
                    dh = dh + _shift(part, -offset, zero)
                    dh0 = dh0 if missing[k] is None else dh0.at[missing[k]].add(part[missing[k]])
            carries.append((dh, jnp.where(fresh_t, 0.0, dc), dh0, dc0, lines, dpre))
        return tuple(carries), None

    # The gradients of the first states are summed after the loop only: over a mesh, a sum over the batch waits for the
    # other devices.
    zeros = [jnp.zeros(hs.shape[1:], wide) for hs, *_ in kept]
    start = tuple((z, z, z, z, lines, _line(lines, len(lines) - 1, z)) for z, lines in zip(zeros, slopes))
    streams = tuple((_flat(dh), through, forget) for dh, (_, through, forget) in zip(dhs, kept))
    last, _ = jax.lax.scan(step, start, (jnp.arange(len(reset)), streams, fresh), reverse=True)
    dx = tuple(_finish(lines, line, 0).reshape(*hs.shape[:3], -1) for (*_, lines, line), (hs, *_) in zip(last, kept))
    dbias, dw, dh0, dc0 = [], [], [], []
    for (hs, *_), dpre, h, c, (dh_first, dc_first, dh_own, dc_own, *_) in zip(kept, dx, h0, c0, last):
        h_start, _, fill = _starts(dpre, h, c, edge)
        h_before = jnp.concatenate([h_start[None], hs[:-1]])
        near = jax.vmap(lambda h, r, fill=fill, s=h_start: _neighbours(h, offsets, fill, s, r))(h_before, fresh)
        flat = (lines.reshape(-1, lines.shape[-1]) for lines in (near, dpre))  # as a plain product, nothing is moved
        dbias.append(dpre.sum(axis=(0, 1, 2), dtype=wide))
        dw.append(jnp.einsum("pk,pg->kg", *flat, preferred_element_type=wide))
        dh0.append((dh_own + dh_first).sum(axis=(0, 1)))
        dc0.append((dc_own + dc_first).sum(axis=(0, 1)))
    stacked = (jnp.stack(g).astype(p.dtype) for g, p in ((dbias, bias), (dw, w), (dh0, h0), (dc0, c0)))
    return (dx, *stacked, jnp.zeros_like(reset))


lstm_scan.defvjp(_forward, _backward)


def row_lstm(
    x: Float[Array, "b h w gates"],
    bias: Float[Array, " gates"],
    weights: Float[Array, "k gates"],
    h0: Float[Array, " d"],
    c0: Float[Array, " d"],
) -> Float[Array, "b h w d"]:
    """Row LSTM: each row takes the row before through an unmasked 1×3 state-to-state convolution (k = 3d).

    `x` and `bias` are the input-to-state part of the gates. The states before the first row are `h0`, `c0`; sideways
    h is padded with zeros.
    """
    lines = x.transpose(1, 0, 2, 3)
    own = (one[None] for one in (bias, weights, h0, c0))
    (h,) = lstm_scan((lines,), *own, jnp.zeros((x.shape[1], x.shape[2])), (-1, 0, 1), False)
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
    bias: Float[Array, "2 gates"],
    weights: Float[Array, "2 k gates"],
    h0: Float[Array, "2 d"],
    c0: Float[Array, "2 d"],
    pack: int,
) -> Float[Array, "b h w d"]:
    """Diagonal BiLSTM: both directions in one scan over the diagonals, added (k = 2d).

    `left` and `right` are the input-to-state parts of the gates of the left-to-right stream, on the `diagonals` of the
    map, and of the right-to-left stream, on those of the map flipped left-right; `bias` is added to them. The state of
    (r, c) takes those of (r−1, c) and (r, c−1); outside the map they are `h0`, `c0`. The right-to-left stream is moved
    down by one row before it is added, so that it sees rows above only. The result does not depend on `pack`.
    """
    t, _, h, _ = left.shape
    w = (t - h + 1) // pack
    first_column = (np.arange(t)[:, None] - np.arange(h)[None, :]) % w == 0
    states = lstm_scan((left, right), bias, weights, h0, c0, jnp.asarray(first_column, jnp.float32), (-1, 0), True)
    to_right, to_left = (undiagonals(stream, pack) for stream in states)
    return to_right + shift_down(to_left[:, :, ::-1])
