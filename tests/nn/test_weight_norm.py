"""Weight normalisation and its data-dependent initialisation, from their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn import shifted
from jaxgen.nn.weight_norm import WeightNormConv, kernel_and_bias

KEY = jax.random.key(0)


def test_a_kernel_has_the_norms_of_its_scales():
    """Eq. 2 of 1602.07868; the length of a direction is of no account, nor is it moved."""
    module, x = shifted.down_shifted(5), jax.random.normal(KEY, (2, 4, 4, 3))
    draw = np.random.default_rng(9).normal
    params = jax.tree.map(lambda p: p + jnp.float32(0.5 * draw(size=p.shape)), jax.jit(module.init)(KEY, x)["params"])
    kernel, bias = kernel_and_bias(params, jnp.float32)
    np.testing.assert_allclose(np.sqrt((kernel**2).sum((0, 1, 2))), np.abs(params["scale"]), rtol=1e-5)
    np.testing.assert_array_equal(bias, params["bias"])
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(module.apply({"params": p}, x) ** 3)))(params)["direction"]
    along = (gradient * params["direction"]).sum((0, 1, 2))
    assert float(jnp.abs(along).max()) < 1e-3 * float(jnp.abs(gradient).max())


@pytest.mark.parametrize("conv", [WeightNormConv, shifted.down_shifted, shifted.down_right_shifted])
def test_initial_outputs_are_standardised_on_the_batch(conv):
    x = 3 + 2 * jax.random.normal(KEY, (6, 5, 5, 4))
    module = conv(7, init_scale=0.1)
    variables = jax.jit(module.init)(KEY, x)
    y = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 0.1, rtol=1e-4)
    np.testing.assert_allclose(variables["params"]["direction"].std(), 0.05, rtol=0.3)


def test_initial_outputs_that_do_not_vary_keep_their_scale():
    """All images the same, of one position: nothing is blown up, and other images stay small."""
    module, x = WeightNormConv(7, init_scale=0.1), jnp.ones((6, 1, 1, 4))
    variables = jax.jit(module.init)(KEY, x)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), 0, atol=1e-5)
    np.testing.assert_allclose(variables["params"]["scale"], 0.1, rtol=1e-6)
