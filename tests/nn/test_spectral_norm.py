"""Spectral norm against a singular value decomposition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.spectral_norm import SpectralLayer, power_iteration

KEY = jax.random.key(2)


def test_power_iterations_reach_the_largest_singular_value_from_below():
    matrix = jax.random.normal(KEY, (7, 4))
    u, largest, values = jnp.ones(4) / 2, np.linalg.svd(matrix, compute_uv=False)[0], []
    iteration = jax.jit(power_iteration)
    for _ in range(60):
        sigma, u = iteration(matrix, u)
        values.append(float(sigma))
    assert all(np.diff(values) > -1e-5)
    assert max(values) < largest + 1e-5
    np.testing.assert_allclose(values[-1], largest, rtol=1e-5)


def test_the_gradient_of_sigma_is_the_outer_product_of_its_vectors():
    """dσ/dW = v uᵀ (1802.05957, eq. 9), of the decomposition too."""
    matrix, u = jnp.diag(jnp.array([3.0, 2.0])) + 0.1, jnp.array([1.0, 0.0])
    iteration = jax.jit(power_iteration)
    for _ in range(40):
        _, u = iteration(matrix, u)
    left, _, right = np.linalg.svd(matrix)
    gradient = jax.grad(lambda m: power_iteration(m, u)[0])(matrix)
    np.testing.assert_allclose(gradient, np.outer(left[:, 0], right[0]), atol=1e-4)


@pytest.mark.parametrize(("kernel", "x"), [((), jnp.ones((2, 6))), ((3, 3), jnp.ones((2, 5, 5, 2)))])
def test_a_layer_has_spectral_norm_one_whatever_its_weights(kernel, x):
    """Once u has found them; a pass that is no training leaves u where it is."""
    layer = SpectralLayer(4, kernel, use_bias=False)
    apply = jax.jit(functools.partial(layer.apply, train=True, mutable=["batch_stats"]))
    variables = jax.jit(functools.partial(layer.init, train=False))(KEY, x)
    for _ in range(40):
        variables = {**variables, **apply(variables, x)[1]}
    weights = variables["params"]["kernel"]
    sigma = np.linalg.svd(np.asarray(weights).reshape(-1, 4), compute_uv=False)[0]
    plain = {"params": {"kernel": weights * 5}, "batch_stats": variables["batch_stats"]}
    y, same = layer.apply(plain, x, train=False, mutable=["batch_stats"])
    np.testing.assert_array_equal(same["batch_stats"]["u"], variables["batch_stats"]["u"])
    if kernel:
        layout = ("NHWC", "HWIO", "NHWC")
        want = jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=layout) / sigma
    else:
        want = x @ weights / sigma
    np.testing.assert_allclose(y, want, rtol=1e-4)


def test_fresh_weights_are_nearly_normed():
    """The first pass is of a critic that must not be steeper than it should be."""
    layer, x = SpectralLayer(8), jnp.eye(8)
    y = jax.jit(lambda: layer.apply(layer.init(KEY, x, train=False), x, train=False))()
    assert 1 <= np.linalg.svd(y, compute_uv=False)[0] < 1.1
