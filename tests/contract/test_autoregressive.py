"""Conditionals add up to the likelihood, and see what the declared context says: causally, and all of it."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from contract.zoo import BATCH, KEY, ROWS, batch_of, compiled, rows, shaken, variables_of

from jaxgen.core.capabilities import Autoregressive


@rows(Autoregressive)
def test_log_prob_adds_up_the_conditionals(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    log_pmf = compiled(model, "log_pmf")(variables_of(model), image)
    assert log_pmf.shape == (BATCH, *model.shape, model.levels)
    assert log_pmf.dtype == jnp.float32
    np.testing.assert_allclose(jax.nn.logsumexp(log_pmf, axis=-1), 0, atol=1e-5)
    chosen = np.take_along_axis(np.asarray(log_pmf), np.asarray(image, np.int64)[..., None], -1).sum((1, 2, 3, 4))
    np.testing.assert_allclose(compiled(model, "log_prob")(variables_of(model), image, KEY), chosen, rtol=1e-5)


def can_be_read(context):
    """Whether there is an order in which each sub-pixel sees only those before it."""
    left = np.ones(len(context), bool)
    while (ready := left & ~context[:, left].any(axis=1)).any():
        left &= ~ready
    return not left.any()


@rows(Autoregressive)
def test_the_context_is_causal_and_is_what_the_logits_see(name):
    """The Jacobian of logits by sub-pixels: zero outside the declared context, nonzero inside in some random net."""
    model = ROWS[name]
    n = math.prod(model.shape)
    context = np.asarray(model.context()).reshape(n, n)
    assert can_be_read(context), "no order of sub-pixels lets each see only those before it"

    @jax.jit
    def seen(variables, x):
        jacobian = jax.jacrev(lambda x: model.logits(variables, x[None])[0])(x)
        return (jacobian != 0).any(axis=3).reshape(n, n)

    points = np.random.default_rng(0).random((16, *model.shape), np.float32)
    actual = (np.asarray(seen(shaken(model, seed), x)) for seed, x in enumerate(points))
    np.testing.assert_array_equal(functools.reduce(np.logical_or, actual), context)
