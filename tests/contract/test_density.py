"""Likelihoods are nats of each image and sum to one; bounds sum to no more."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.zoo import BATCH, KEY, OTHER, ROWS, batch_of, compiled, rows, same, shaken, variables_of

from jaxgen.core.capabilities import Density


@rows(Density)
def test_log_prob_is_nats_of_each_image(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    log_prob = compiled(model, "log_prob")
    value, other = (log_prob(variables_of(model), image, key) for key in (KEY, OTHER))
    assert value.shape == (BATCH,)
    assert value.dtype == jnp.float32
    assert jnp.isfinite(value).all()
    assert same(value, log_prob(variables_of(model), image, KEY))
    if model.exact or model.by_example:
        assert same(value, other)
        assert (value < 0).all()
        np.testing.assert_allclose(log_prob(variables_of(model), image[::-1], KEY)[::-1], value, rtol=1e-5)
    else:
        assert (value != other).all()


@rows(Density)
def test_probabilities_sum_to_one_and_bounds_to_no_more(name):
    """Over all images of a small shape. A bound is first averaged over its draws, as its promise is in expectation."""
    c = ROWS[name].shape[2]
    model = dataclasses.replace(ROWS[name], shape=(2, 2, 1) if c == 1 else (1, 2, c))
    assert model.levels <= 4, "a row of few levels, please: all images are counted"
    values = itertools.product(range(model.levels), repeat=math.prod(model.shape))
    images = jnp.array(list(values), jnp.uint8).reshape(-1, *model.shape)
    keys = jax.random.split(KEY, 1 if model.exact else 100)
    log_prob = jax.jit(jax.vmap(model.log_prob, (None, None, 0)))(shaken(model, 0), images, keys).mean(0)
    total = float(jnp.exp(log_prob).sum())
    assert total == pytest.approx(1, abs=1e-4) if model.exact else 0.01 < total < 1
