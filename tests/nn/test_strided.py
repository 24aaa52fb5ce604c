"""Convolutions that are each other's gradient: equal to Flax's layers, with first and second derivatives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.strided import Conv, ConvTranspose, conv, conv_transpose, same

KEY = jax.random.key(3)
X = jax.random.normal(KEY, (2, 5, 6, 3))


def derivatives(layer, x):
    """Of a layer with fixed random weights: its map, its gradients, and a gradient penalty's."""
    params = jax.tree.map(
        lambda a: jnp.asarray(np.random.default_rng(a.size).normal(size=a.shape), jnp.float32),
        jax.eval_shape(layer.init, KEY, x)["params"],
    )

    def value(params, x):
        return jnp.tanh(layer.apply({"params": params}, x)).sum()

    def penalty(params):
        return (jax.grad(value, argnums=1)(params, x) ** 2).sum()

    return layer.apply({"params": params}, x), jax.grad(value, argnums=(0, 1))(params, x), jax.grad(penalty)(params)


@pytest.mark.parametrize(
    ("ours", "flax", "options"),
    [
        (Conv, nn.Conv, {"strides": (2, 2)}),
        (Conv, nn.Conv, {"padding": "VALID", "features": 12}),
        (Conv, nn.Conv, {"strides": (2, 1), "padding": ((1, 0), (2, 2)), "use_bias": False}),
        (ConvTranspose, nn.ConvTranspose, {"strides": (2, 2)}),
        (ConvTranspose, nn.ConvTranspose, {"strides": (2, 2), "kernel_size": (4, 5), "use_bias": False}),
        (ConvTranspose, nn.ConvTranspose, {"strides": (2, 2), "kernel_size": (5, 5), "padding": ((3, 1), (3, 3))}),
        (ConvTranspose, nn.ConvTranspose, {"strides": (3, 2), "kernel_size": (2, 2)}),
    ],
    ids=str,
)
def test_equals_flax_with_its_second_derivatives(ours, flax, options):
    """On odd and even sides, with numbers of outputs that are filled up, and strides beyond the kernel."""
    options = {"features": 4, "kernel_size": (3, 4), **options}
    actual, expected = derivatives(ours(**options), X), derivatives(flax(**options), X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), actual, expected)


def test_each_is_the_others_transpose():
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩."""
    kernel = jax.random.normal(jax.random.key(1), (5, 3, 3, 9))
    padding = same((5, 6), (5, 3), (2, 3))
    down = conv(X, kernel, (2, 3), padding)
    y = jax.random.normal(jax.random.key(2), down.shape)
    up = conv_transpose(y, kernel, (5, 6), (2, 3), padding)
    assert up.shape == X.shape
    np.testing.assert_allclose((down * y).sum(), (X * up).sum(), rtol=1e-4)
