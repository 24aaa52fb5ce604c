"""PixelCNN++'s shifted convolutions and gated layers, from their equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn import shifted
from jaxgen.nn.weight_norm import kernel_and_bias

KEY = jax.random.key(0)


def slow_conv(x, params, taps, stride=1):
    """y(r,c) = b + Σ x(s·r + i, s·c + j) · K over (i, j) of `taps`, rows of the kernel after rows, zeros outside."""
    kernel, bias = (np.asarray(a, np.float64) for a in kernel_and_bias(params, jnp.float32))
    b, h, w, _ = x.shape
    kernel = kernel.reshape(-1, *kernel.shape[2:])
    y = np.zeros((b, -(-h // stride), -(-w // stride), len(bias))) + bias
    for r, c in np.ndindex(*y.shape[1:3]):
        for (i, j), part in zip(taps, kernel):
            at = r * stride + i, c * stride + j
            if 0 <= at[0] < h and 0 <= at[1] < w:
                y[:, r, c] += x[:, at[0], at[1]] @ part
    return y


WIDE = [(i, j) for i in (-1, 0) for j in (-1, 0, 1)]
CORNER = [(i, j) for i in (-1, 0) for j in (-1, 0)]


def random_params(module, *x, scale=0.5):
    """Weights of a module, none of them special."""
    draw = np.random.default_rng(9).normal
    params = jax.jit(module.init)(KEY, *x)["params"]
    return jax.tree.map(lambda p: p + jnp.float32(scale * draw(size=p.shape)), params)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 6), (4, 7), (1, 2)])
def test_shifted_convolutions_read_what_they_say(size, stride):
    x = jax.random.normal(KEY, (2, *size, 3))
    for conv, taps in ((shifted.down_shifted, WIDE), (shifted.down_right_shifted, CORNER)):
        module = conv(5, stride=stride)
        params = random_params(module, x)
        got = jax.jit(module.apply)({"params": params}, x)
        np.testing.assert_allclose(got, slow_conv(np.asarray(x), params, taps, stride), atol=1e-4)


@pytest.mark.parametrize("target", [(6, 8), (5, 7), (2, 1)])
def test_doubling_convolutions_read_what_they_say(target):
    """Of a map with zeros between, rows r−1, r and columns c−1, c (and c+1)."""
    x = jax.random.normal(KEY, (2, *(-(-n // 2) for n in target), 3))
    spread = np.zeros((2, *(2 * n for n in x.shape[1:3]), 3))
    spread[:, ::2, ::2] = x
    for conv, taps in ((shifted.down_shifted_up, WIDE), (shifted.down_right_shifted_up, CORNER)):
        module = conv(5, target)
        params = random_params(module, x)
        wanted = slow_conv(spread, params, taps)[:, : target[0], : target[1]]
        np.testing.assert_allclose(jax.jit(module.apply)({"params": params}, x), wanted, atol=1e-4)


def test_shifts_bring_in_zeros():
    x = np.arange(1.0, 13.0, dtype=np.float32).reshape(1, 3, 4, 1)
    down, right = np.zeros_like(x), np.zeros_like(x)
    down[:, 1:], right[:, :, 1:] = x[:, :-1], x[:, :, :-1]
    np.testing.assert_array_equal(shifted.down_shift(jnp.asarray(x)), down)
    np.testing.assert_array_equal(shifted.right_shift(jnp.asarray(x)), right)


def elu2(x):
    both = np.concatenate([x, -x], axis=-1)
    return np.where(both > 0, both, np.expm1(both))


def test_one_gated_layer_is_what_the_equations_say():
    draw = np.random.default_rng(0).normal
    x, a, b = draw(size=(2, 4, 5, 3)), draw(size=(2, 4, 5, 3)), draw(size=(2, 4, 5, 2))
    condition = draw(size=(2, 4, 5, 4))
    inputs = tuple(jnp.float32(m) for m in (x, a, b))
    module = shifted.GatedResNet(shifted.down_right_shifted)
    layer = jax.jit(functools.partial(module.apply, condition=jnp.float32(condition)))
    params = jax.jit(module.init)(KEY, *inputs, condition=jnp.float32(condition))["params"]
    params = jax.tree.map(lambda p: p + jnp.float32(0.5 * draw(size=p.shape)), params)
    near = np.concatenate([elu2(a), elu2(b)], axis=-1)
    hidden = slow_conv(elu2(x), params["first"], CORNER) + slow_conv(near, params["shortcut"], [(0, 0)])
    both = slow_conv(elu2(hidden), params["second"], CORNER) + condition @ np.asarray(params["condition"])
    wanted = x + both[..., :3] / (1 + np.exp(-both[..., 3:]))
    np.testing.assert_allclose(layer({"params": params}, *inputs), wanted, atol=1e-4)
