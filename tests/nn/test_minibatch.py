"""Minibatch discrimination against loops over pairs."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.nn.minibatch import MinibatchDiscrimination, closeness

KEY = jax.random.key(1)


def test_closeness_sums_over_the_others():
    m = np.asarray(jax.random.normal(KEY, (4, 3, 2)))
    want = np.zeros((4, 3))
    for i in range(4):
        for b in range(3):
            want[i, b] = sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(4) if j != i)
    np.testing.assert_allclose(closeness(jnp.asarray(m)), want, rtol=1e-5)


def test_equal_examples_are_as_close_as_can_be_and_single_ones_have_no_mates():
    """And who is where in the batch is no matter."""
    layer, features = MinibatchDiscrimination(kernels=3), np.random.default_rng(0).standard_normal((5, 6), np.float32)
    variables = layer.init(KEY, jnp.asarray(features))
    apply = jax.jit(lambda x: layer.apply(variables, x))
    np.testing.assert_allclose(apply(np.tile(features[:1], (5, 1))), np.full((5, 3), 4.0), rtol=1e-6)
    np.testing.assert_allclose(apply(features[::-1].copy())[::-1], apply(features), rtol=1e-5)
    np.testing.assert_array_equal(closeness(jnp.zeros((1, 1, 6))), np.zeros((1, 1)))


def test_the_gradient_of_equal_examples_is_finite():
    """|·| has no derivative at 0, where all of a collapsed generator's are."""
    assert np.isfinite(jax.jit(jax.grad(lambda m: closeness(m).sum()))(np.zeros((3, 2, 2), np.float32))).all()
