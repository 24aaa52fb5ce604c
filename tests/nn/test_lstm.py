"""Skewing, and both LSTM recurrences against slow loops written from the equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.lstm import diagonal_bilstm, diagonals, lstm_scan, row_lstm, shift_down, skew, unskew


def test_skew_moves_row_r_by_r_columns_and_unskew_undoes_it():
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    skewed = np.asarray(skew(x))
    assert skewed.shape == (2, 4, 6, 5)
    for r in range(4):
        np.testing.assert_array_equal(skewed[:, r, r : r + 3], x[:, r])
        assert not skewed[:, r, :r].any()
        assert not skewed[:, r, r + 3 :].any()
    np.testing.assert_array_equal(unskew(skewed), x)


def test_shift_down_zeroes_the_first_row():
    x = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4, 1)
    shifted = np.asarray(shift_down(x))
    assert not shifted[:, 0].any()
    np.testing.assert_array_equal(shifted[:, 1:], x[:, :-1])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _cell(pre, c):
    """One LSTM cell from its four gates before their non-linearities, as 1601.06759 eq. 3 gives it."""
    o, f, i, g = np.split(pre, 4)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def slow_row_lstm(x, weights, h0, c0):
    """Loop over images, rows and columns; `weights` [3d,4d] acts on the row above at columns j−1, j, j+1."""
    b, height, width, gates = x.shape
    d = gates // 4
    out = np.zeros((b, height, width, d))
    for n in range(b):
        h, c = np.tile(h0, (width, 1)), np.tile(c0, (width, 1))
        for r in range(height):
            new_h, new_c = np.zeros_like(h), np.zeros_like(c)
            for j in range(width):
                above = [h[k] if 0 <= k < width else np.zeros(d) for k in (j - 1, j, j + 1)]
                new_h[j], new_c[j] = _cell(x[n, r, j] + np.concatenate(above) @ weights, c[j])
            h, c = new_h, new_c
            out[n, r] = h
    return out


def slow_diagonal(x, weights, h0, c0):
    """One direction, left to right: the state of (r, c) from those of (r−1, c) and (r, c−1), pixel by pixel."""
    b, height, width, gates = x.shape
    out = np.zeros((b, height, width, gates // 4))
    for n in range(b):
        cell = np.zeros_like(out[n])
        for r in range(height):
            for j in range(width):
                up = out[n, r - 1, j] if r else h0
                left = out[n, r, j - 1] if j else h0
                c = cell[r, j - 1] if j else c0
                out[n, r, j], cell[r, j] = _cell(x[n, r, j] + np.concatenate([up, left]) @ weights, c)
    return out


@pytest.fixture
def draw():
    rng = np.random.default_rng(0)
    return lambda *shape: rng.normal(size=shape)


def test_row_lstm_equals_the_slow_loop(draw):
    x, bias, *rest = draw(2, 5, 4, 12), draw(12), draw(9, 12), draw(3), draw(3)
    got = row_lstm(*map(jnp.float32, (x, bias, *rest)))
    np.testing.assert_allclose(got, slow_row_lstm(x + bias, *rest), atol=1e-5)


@pytest.mark.parametrize("pack", [1, 2, 4])
@pytest.mark.parametrize("size", [(5, 3), (2, 6), (1, 4), (4, 1)])
def test_diagonal_bilstm_equals_the_slow_loop(draw, size, pack):
    """Any packing, wide and tall; the second direction is the flipped image's, moved down one row."""
    left, right = draw(4, *size, 12), draw(4, *size, 12)
    bias, weights, h0, c0 = draw(2, 12), draw(2, 6, 12), draw(2, 3), draw(2, 3)
    wanted = slow_diagonal(left + bias[0], weights[0], h0[0], c0[0])
    mirrored = slow_diagonal(right[:, :, ::-1] + bias[1], weights[1], h0[1], c0[1])[:, :, ::-1]
    wanted[:, 1:] += mirrored[:, :-1]

    @jax.jit
    def both(left, right, *rest):
        return diagonal_bilstm(diagonals(left, pack), diagonals(right, pack), *rest, pack=pack)

    got = both(*map(jnp.float32, (left, right[:, :, ::-1], bias, weights, h0, c0)))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(("offsets", "edge"), [((-1, 0, 1), False), ((-1, 0), True)])
def test_backward_pass_of_the_recurrence(draw, offsets, edge):
    """The written-out gradient equals that of JAX through the same recurrence without it."""
    x, bias, w = (jnp.float32(draw(*s)) for s in ((5, 2, 3, 4, 12), (2, 12), (2, 3 * len(offsets), 12)))
    h0, c0, cotangent = (jnp.float32(draw(*s)) for s in ((2, 3), (2, 3), (5, 2, 3, 4, 3)))
    reset = jnp.float32((draw(5, 4) > 0.5) & edge)

    def plain(x, bias, w, h0, c0):
        h = h_start = jnp.broadcast_to(h0[:, None, None], (2, 3, 4, 3))
        c = c_start = jnp.broadcast_to(c0[:, None, None], (2, 3, 4, 3))
        lines = []
        for t in range(5):
            fresh = reset[t][None, None, :, None] != 0
            c = jnp.where(fresh, c_start, c)
            fill = h_start[:, :, :1] if edge else jnp.zeros_like(h[:, :, :1])
            padded = jnp.concatenate([fill, h, fill], axis=2)
            near = [jnp.where(fresh, h_start, h) if o == 0 else padded[:, :, 1 + o : 5 + o] for o in offsets]
            pre = x[t] + bias[:, None, None] + jnp.einsum("sbnk,skg->sbng", jnp.concatenate(near, -1), w)
            o, f, i, g = jnp.split(pre, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            lines.append(h)
        return jnp.stack(lines)

    def scanned(x, *rest):
        return jnp.stack(lstm_scan((x[:, 0], x[:, 1]), *rest, reset, offsets, edge), axis=1)

    got = jax.grad(lambda *a: (scanned(*a) * cotangent).sum(), argnums=(0, 1, 2, 3, 4))
    wanted = jax.grad(lambda *a: (plain(*a) * cotangent).sum(), argnums=(0, 1, 2, 3, 4))
    for a, b in zip(got(x, bias, w, h0, c0), wanted(x, bias, w, h0, c0)):
        np.testing.assert_allclose(a, b, atol=2e-5)
